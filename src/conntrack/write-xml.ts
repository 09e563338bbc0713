/** A flow as conntrack(8)'s XML. One flow is one line. */
import {
  AF_INET,
  IPPROTO_GRE,
  IPS_ASSURED,
  IPS_SEEN_REPLY,
  PROTOCOL_NAMES,
  TCP_STATE_NAMES,
} from '../flow/conntrack-enums.js';
import { SEEN_MARK, SEEN_STATUS } from '../flow/kernel-port.js';
import * as R from '../flow/record.js';
import { usesPorts } from '../flow/tuple.js';
import { statusOf } from './flow-match.js';
import type { LabelMap } from './labels.js';
import type { OutputSettings } from './settings.js';
import type { TextBuffer } from './text-buffer.js';
import { eventTime } from './write-text.js';

export const XML_HEAD = '<?xml version="1.0" encoding="utf-8"?>\n<conntrack>\n';
export const XML_TAIL = '</conntrack>\n';
const NS_PER_S = 1_000_000_000n;

const escapeXml = (text: string): string => text.replace(/[&<>"]/g, (c) => `&#${c.charCodeAt(0)};`);

/** Writes flows as XML elements into a buffer. */
export class XmlWriter {
  /** Now, in seconds since 1970. */
  now = Date.now() / 1000;
  readonly #out: TextBuffer;
  readonly #output: OutputSettings;
  readonly #labels: LabelMap | undefined;

  constructor(out: TextBuffer, output: OutputSettings, labels: LabelMap | undefined) {
    this.#out = out;
    this.#output = output;
    this.#labels = labels;
  }

  /** The element without a line's end; `type` is that of an event. */
  flow(m: R.Memory, at: number, seen: number, type?: string): void {
    const out = this.#out;
    const addr = R.addressBytes(m, at);
    out.text(type === undefined ? '<flow>' : `<flow type="${type}">`);
    this.#direction(m, at, 'original', R.OFF_ORIG_SRC, R.OFF_ORIG_L4, R.PART_COUNTERS_ORIG, R.ZONE_ORIGINAL);
    const [source, l4] = [R.offReplySrc(addr), R.offReplyL4(addr)];
    this.#direction(m, at, 'reply', source, l4, R.PART_COUNTERS_REPLY, R.ZONE_REPLY);
    this.#independent(m, at, addr, seen);
    // Outside of all directions: so it has always been.
    this.#text(m, at, R.PART_HELPER, 'helper');
    if (this.#output.hasTimestamp && type !== undefined) this.#when(eventTime(m, at) ?? this.now);
    out.text('</flow>');
  }

  #direction(
    m: R.Memory,
    at: number,
    name: string,
    source: number,
    l4: number,
    countersType: number,
    zoneDirection: number,
  ): void {
    const out = this.#out;
    const { u8, u32 } = m;
    const addr = R.addressBytes(m, at);
    const protocol = u8[at + R.OFF_PROTOCOL];
    const family = addr === 4 ? AF_INET : 0;
    out.text(`<meta direction="${name}"><layer3 protonum="${R.familyOf(m, at)}" `);
    out.text(`protoname="${addr === 4 ? 'ipv4' : 'ipv6'}"><src>`);
    out.address(u8, at + source, family);
    out.text('</src><dst>');
    out.address(u8, at + source + addr, family);
    out.text(`</dst></layer3><layer4 protonum="${protocol}" `);
    out.text(`protoname="${PROTOCOL_NAMES.get(protocol) ?? 'unknown'}">`);
    const number = (from: number) => (u8[at + from] << 8) | u8[at + from + 1];
    if (protocol === IPPROTO_GRE) {
      out.text(`<srckey>0x${number(l4).toString(16)}</srckey>`);
      out.text(`<dstkey>0x${number(l4 + 2).toString(16)}</dstkey>`);
    } else if (usesPorts(protocol)) {
      out.text(`<sport>${number(l4)}</sport><dport>${number(l4 + 2)}</dport>`);
    }
    out.text('</layer4>');
    const zone = m.u16[(at + R.OFF_ZONE) >>> 1];
    if (zone !== 0 && R.zoneDirectionOf(m, at) === zoneDirection) out.text(`<zone>${zone}</zone>`);
    const counters = R.findPart(m, at, countersType);
    if (counters >= 0) {
      const w = (counters + 4) >>> 2;
      out.text('<counters><packets>');
      out.u64(u32[w], u32[w + 1]);
      out.text('</packets><bytes>');
      out.u64(u32[w + 2], u32[w + 3]);
      out.text('</bytes></counters>');
    }
    out.text('</meta>');
  }

  #independent(m: R.Memory, at: number, addr: number, seen: number): void {
    const out = this.#out;
    const { u8, u32 } = m;
    const status = statusOf(m, at);
    const tag = (name: string, value: number | string) => out.text(`<${name}>${value}</${name}>`);
    out.text('<meta direction="independent">');
    if ((u8[at + R.offProtoBits(addr)] & R.PROTO_HAS_STATE) !== 0) {
      // Debian's 1.4.7 has TCP's names here for every protocol, and readers of its XML know them.
      const state = TCP_STATE_NAMES[u8[at + R.offState(addr)]];
      if (state !== undefined) tag('state', state);
    }
    if ((u8[at + R.OFF_HAS] & R.HAS_TIMEOUT) !== 0) tag('timeout', u32[(at + R.OFF_TIMEOUT) >>> 2]);
    const mark = u32[(at + R.offMark(addr)) >>> 2];
    if ((seen & SEEN_MARK) !== 0 || mark !== 0) tag('mark', mark);
    const labels = this.#labels === undefined ? -1 : R.findPart(m, at, R.PART_LABELS);
    if (labels >= 0) {
      const names = this.#labels?.namesOf(u8, labels + 4) ?? [];
      const list = names.map((name) => `<label>${escapeXml(name)}</label>`);
      if (list.length > 0) tag('labels', list.join(''));
    }
    this.#text(m, at, R.PART_SECCTX, 'secctx');
    const zone = m.u16[(at + R.OFF_ZONE) >>> 1];
    if (zone !== 0 && R.zoneDirectionOf(m, at) === R.ZONE_BOTH) tag('zone', zone);
    const use = R.findPart(m, at, R.PART_USE);
    if (use >= 0) tag('use', u32[(use + 4) >>> 2]);
    if ((u8[at + R.OFF_HAS] & R.HAS_ID) !== 0) tag('id', u32[(at + R.OFF_ID) >>> 2]);
    if ((status & IPS_ASSURED) !== 0) out.text('<assured/>');
    if ((seen & SEEN_STATUS) !== 0 && (status & IPS_SEEN_REPLY) === 0) out.text('<unreplied/>');
    this.#times(m, at);
    out.text('</meta>');
  }

  /** A part that is text. */
  #text(m: R.Memory, at: number, type: number, name: string): void {
    const part = R.findPart(m, at, type);
    if (part < 0) return;
    const bytes = m.u8.subarray(part + 4, part + 4 + m.u16[(part >>> 1) + 1]);
    this.#out.text(`<${name}>${escapeXml(new TextDecoder().decode(bytes))}</${name}>`);
  }

  #times(m: R.Memory, at: number): void {
    const part = R.findPart(m, at, R.PART_TIMESTAMP);
    if (part < 0) return;
    const w = (part + 4) >>> 2;
    const at64 = (i: number) => (BigInt(m.u32[i + 1]) << 32n) | BigInt(m.u32[i]);
    const [start, stop] = [at64(w), at64(w + 2)];
    if (start === 0n) return;
    if (this.#output.hasKernelTimestamp) {
      this.#out.text(`<timestamp><start>${start}</start>`);
      if (stop !== 0n) this.#out.text(`<stop>${stop}</stop>`);
      this.#out.text('</timestamp>');
    }
    const end = stop !== 0n ? stop : BigInt(Math.floor(this.now * 1e9));
    this.#out.text(`<deltatime>${end > start ? (end - start) / NS_PER_S : 0n}</deltatime>`);
  }

  #when(seconds: number): void {
    const date = new Date(seconds * 1000);
    const tag = (name: string, value: number) => `<${name}>${value}</${name}>`;
    const time = tag('hour', date.getHours()) + tag('min', date.getMinutes()) + tag('sec', date.getSeconds());
    const day = tag('wday', date.getDay() + 1) + tag('day', date.getDate());
    this.#out.text(
      `<when>${time}${day}${tag('month', date.getMonth() + 1)}${tag('year', date.getFullYear())}</when>`,
    );
  }
}
