/**
 * A flow as the line of `conntrack -L` and `-E`, straight from the packed record to bytes. The record must have been
 * decoded with what is shown.
 */
import {
  AF_INET,
  DCCP_STATE_NAMES,
  IPPROTO_DCCP,
  IPPROTO_GRE,
  IPPROTO_SCTP,
  IPPROTO_TCP,
  IPS_ASSURED,
  IPS_HW_OFFLOAD,
  IPS_OFFLOAD,
  IPS_SEEN_REPLY,
  PROTOCOL_NAMES,
  SCTP_STATE_NAMES,
  TCP_STATE_NAMES,
} from '../flow/conntrack-enums.js';
import { SEEN_MARK, SEEN_STATUS } from '../flow/kernel-port.js';
import * as R from '../flow/record.js';
import { usesIcmp, usesPorts } from '../flow/tuple.js';
import type { LabelMap } from './labels.js';
import type { OutputSettings } from './settings.js';
import { ascii, type TextBuffer } from './text-buffer.js';

/** What a dump row tells of every flow (an event may leave some out). */
export const SEEN_IN_DUMP = SEEN_MARK | SEEN_STATUS;

const TWO_TO_32 = 4294967296;
const NS_PER_S = 1e9;
const SPACE = 0x20;

const T = {
  ipv4: ascii('ipv4     2 '),
  ipv6: ascii('ipv6     10 '),
  src: ascii('src='),
  dst: ascii(' dst='),
  sport: ascii('sport='),
  dport: ascii(' dport='),
  srckey: ascii('srckey=0x'),
  dstkey: ascii(' dstkey=0x'),
  type: ascii('type='),
  code: ascii(' code='),
  id: ascii(' id='),
  zoneOrig: ascii('zone-orig='),
  zoneReply: ascii('zone-reply='),
  packets: ascii('packets='),
  bytes: ascii(' bytes='),
  unreplied: ascii('[UNREPLIED] '),
  assured: ascii('[ASSURED] '),
  offload: ascii('[OFFLOAD] '),
  hwOffload: ascii('[HW_OFFLOAD] '),
  mark: ascii('mark='),
  secctx: ascii('secctx='),
  zone: ascii('zone='),
  delta: ascii('delta-time='),
  start: ascii('[start='),
  stop: ascii('[stop='),
  helper: ascii('helper='),
  use: ascii('use='),
  idAlone: ascii('id='),
  labels: ascii('labels='),
};

/** "tcp      6 " for every protocol. */
const PROTOCOLS: readonly Uint8Array[] = Array.from({ length: 256 }, (_, number) =>
  ascii(`${(PROTOCOL_NAMES.get(number) ?? 'unknown').padEnd(8)} ${number} `),
);
const named = (names: readonly string[]): readonly Uint8Array[] => names.map((name) => ascii(`${name} `));
const TCP_STATES = named(TCP_STATE_NAMES);
const SCTP_STATES = named(SCTP_STATE_NAMES);
const DCCP_STATES = named(DCCP_STATE_NAMES);

function statesOf(protocol: number): readonly Uint8Array[] | undefined {
  if (protocol === IPPROTO_TCP) return TCP_STATES;
  if (protocol === IPPROTO_SCTP) return SCTP_STATES;
  return protocol === IPPROTO_DCCP ? DCCP_STATES : undefined;
}

/** As ctime writes it, without the line's end: local time. */
export function clockText(seconds: number): string {
  const date = new Date(seconds * 1000);
  const two = (n: number) => String(n).padStart(2, '0');
  const day = ['Sun', 'Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat'][date.getDay()];
  const months = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];
  const time = `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
  const dayOfMonth = String(date.getDate()).padStart(2, ' ');
  return `${day} ${months[date.getMonth()]} ${dayOfMonth} ${time} ${date.getFullYear()}`;
}

/** When the kernel says that the event was, in seconds since 1970: Linux 6.14 with nf_conntrack_timestamp. */
export function eventTime(m: R.Memory, at: number): number | undefined {
  const part = R.findPart(m, at, R.PART_TIMESTAMP_EVENT);
  if (part < 0) return undefined;
  const w = (part + 4) >>> 2;
  return (m.u32[w + 1] * TWO_TO_32 + m.u32[w]) / NS_PER_S;
}

/** Writes lines into a buffer; one for a run of the command. */
export class TextWriter {
  /** Now, in seconds since 1970: a flow with a start shows its age. Set it from time to time. */
  now = Date.now() / 1000;
  readonly #out: TextBuffer;
  readonly #isExtended: boolean;
  readonly #hasId: boolean;
  readonly #hasKernelTimestamp: boolean;
  readonly #labels: LabelMap | undefined;

  constructor(out: TextBuffer, output: OutputSettings, labels: LabelMap | undefined) {
    this.#out = out;
    this.#isExtended = output.isExtended;
    this.#hasId = output.hasId;
    this.#hasKernelTimestamp = output.hasKernelTimestamp;
    this.#labels = labels;
  }

  /** The line without its end. `seen`: SEEN_* bits of the message. */
  flow(m: R.Memory, at: number, seen: number): void {
    const { u8, u32 } = m;
    const out = this.#out;
    const addr = R.addressBytes(m, at);
    const protocol = u8[at + R.OFF_PROTOCOL];
    if (this.#isExtended) out.put(R.familyOf(m, at) === AF_INET ? T.ipv4 : T.ipv6);
    out.put(PROTOCOLS[protocol]);
    if ((u8[at + R.OFF_HAS] & R.HAS_TIMEOUT) !== 0) this.#number(u32[(at + R.OFF_TIMEOUT) >>> 2]);
    if ((u8[at + R.offProtoBits(addr)] & R.PROTO_HAS_STATE) !== 0) {
      const state = statesOf(protocol)?.[u8[at + R.offState(addr)]];
      if (state !== undefined) out.put(state);
    }
    this.#tuple(m, at + R.OFF_ORIG_SRC, at + R.OFF_ORIG_L4, addr, protocol);
    const zone = m.u16[(at + R.OFF_ZONE) >>> 1];
    const direction = zone === 0 ? -1 : R.zoneDirectionOf(m, at);
    if (direction === R.ZONE_ORIGINAL) this.#field(T.zoneOrig, zone);
    // Status and counters stand behind the durable parts: one walk finds them all.
    this.#findParts(m, at, addr);
    if (this.#countersOriginal >= 0) this.#counters(u32, this.#countersOriginal);
    const status = this.#status;
    if ((seen & SEEN_STATUS) !== 0 && (status & IPS_SEEN_REPLY) === 0) out.put(T.unreplied);
    this.#tuple(m, at + R.offReplySrc(addr), at + R.offReplyL4(addr), addr, protocol);
    if (direction === R.ZONE_REPLY) this.#field(T.zoneReply, zone);
    if (this.#countersReply >= 0) this.#counters(u32, this.#countersReply);
    if ((status & IPS_HW_OFFLOAD) !== 0) out.put(T.hwOffload);
    else if ((status & IPS_OFFLOAD) !== 0) out.put(T.offload);
    else if ((status & IPS_ASSURED) !== 0) out.put(T.assured);
    const mark = u32[(at + R.offMark(addr)) >>> 2];
    if ((seen & SEEN_MARK) !== 0 || mark !== 0) this.#field(T.mark, mark);
    if (this.#secctx >= 0) this.#named(T.secctx, m, this.#secctx);
    if (direction === R.ZONE_BOTH) this.#field(T.zone, zone);
    if (this.#timestamp >= 0) this.#times(u32, this.#timestamp);
    if (this.#helper >= 0) this.#named(T.helper, m, this.#helper);
    if (this.#use >= 0) this.#field(T.use, u32[(this.#use + 4) >>> 2]);
    if (this.#hasId && (u8[at + R.OFF_HAS] & R.HAS_ID) !== 0) {
      this.#field(T.idAlone, u32[(at + R.OFF_ID) >>> 2]);
    }
    if (this.#labels !== undefined && this.#labelsPart >= 0) this.#labelNames(this.#labels, m);
    out.at--; // the last space
  }

  // Where each part of the record in hand stands, or -1.
  #countersOriginal = -1;
  #countersReply = -1;
  #secctx = -1;
  #timestamp = -1;
  #helper = -1;
  #use = -1;
  #labelsPart = -1;
  #status = 0;

  #findParts(m: R.Memory, at: number, addr: number): void {
    this.#countersOriginal = -1;
    this.#countersReply = -1;
    this.#secctx = -1;
    this.#timestamp = -1;
    this.#helper = -1;
    this.#use = -1;
    this.#labelsPart = -1;
    this.#status = m.u32[(at + R.offStatus(addr)) >>> 2];
    const end = at + R.lengthOf(m, at);
    let p = at + R.offParts(addr);
    while (p + 4 <= end) {
      switch (m.u16[p >>> 1]) {
        case R.PART_LABELS:
          this.#labelsPart = p;
          break;
        case R.PART_HELPER:
          this.#helper = p;
          break;
        case R.PART_COUNTERS_ORIG:
          this.#countersOriginal = p;
          break;
        case R.PART_COUNTERS_REPLY:
          this.#countersReply = p;
          break;
        case R.PART_TIMESTAMP:
          this.#timestamp = p;
          break;
        case R.PART_SECCTX:
          this.#secctx = p;
          break;
        case R.PART_USE:
          this.#use = p;
          break;
        case R.PART_STATUS_SHOWN:
          this.#status = m.u32[(p + 4) >>> 2];
          break;
      }
      p += 4 + ((m.u16[(p >>> 1) + 1] + 3) & ~3);
    }
  }

  #number(value: number): void {
    this.#out.u32(value);
    this.#out.byte(SPACE);
  }

  #field(name: Uint8Array, value: number): void {
    this.#out.put(name);
    this.#number(value);
  }

  #named(name: Uint8Array, m: R.Memory, part: number): void {
    this.#out.put(name);
    this.#out.copy(m.u8, part + 4, m.u16[(part >>> 1) + 1]);
    this.#out.byte(SPACE);
  }

  #tuple(m: R.Memory, from: number, l4: number, addr: number, protocol: number): void {
    const out = this.#out;
    const { u8 } = m;
    const family = addr === 4 ? AF_INET : 0;
    out.put(T.src);
    out.address(u8, from, family);
    out.put(T.dst);
    out.address(u8, from + addr, family);
    out.byte(SPACE);
    if (protocol === IPPROTO_GRE) {
      out.put(T.srckey);
      out.hex((u8[l4] << 8) | u8[l4 + 1]);
      out.put(T.dstkey);
      out.hex((u8[l4 + 2] << 8) | u8[l4 + 3]);
    } else if (usesPorts(protocol)) {
      out.put(T.sport);
      out.port(u8, l4);
      out.put(T.dport);
      out.port(u8, l4 + 2);
    } else if (usesIcmp(protocol)) {
      out.put(T.type);
      out.u32(u8[l4 + 2]);
      out.put(T.code);
      out.u32(u8[l4 + 3]);
      out.put(T.id);
      out.port(u8, l4);
    } else return;
    out.byte(SPACE);
  }

  #counters(u32: Uint32Array, part: number): void {
    const w = (part + 4) >>> 2;
    const out = this.#out;
    out.put(T.packets);
    out.u64(u32[w], u32[w + 1]);
    out.put(T.bytes);
    out.u64(u32[w + 2], u32[w + 3]);
    out.byte(SPACE);
  }

  /** Age, and when asked for the times themselves. */
  #times(u32: Uint32Array, part: number): void {
    const w = (part + 4) >>> 2;
    const start = u32[w + 1] * TWO_TO_32 + u32[w];
    const stop = u32[w + 3] * TWO_TO_32 + u32[w + 2];
    if (start === 0) return;
    const end = stop !== 0 ? stop : this.now * NS_PER_S;
    this.#field(T.delta, end > start ? Math.floor((end - start) / NS_PER_S) : 0);
    if (!this.#hasKernelTimestamp) return;
    this.#clock(T.start, start);
    if (stop !== 0) this.#clock(T.stop, stop);
  }

  #clock(name: Uint8Array, ns: number): void {
    this.#out.put(name);
    this.#out.text(`${clockText(Math.floor(ns / NS_PER_S))}] `);
  }

  #labelNames(labels: LabelMap, m: R.Memory): void {
    const names = labels.namesOf(m.u8, this.#labelsPart + 4);
    if (names.length === 0) return;
    this.#out.put(T.labels);
    this.#out.text(`${names.join(',')} `);
  }
}
