/** A flow as the command line that makes it again: `-o save`, what `-R` reads. */
import {
  AF_INET,
  DCCP_STATE_NAMES,
  IPPROTO_DCCP,
  IPPROTO_GRE,
  IPPROTO_ICMPV6,
  IPPROTO_SCTP,
  IPPROTO_TCP,
  IPS_ASSURED,
  IPS_DST_NAT,
  IPS_EXPECTED,
  IPS_FIXED_TIMEOUT,
  IPS_HW_OFFLOAD,
  IPS_OFFLOAD,
  IPS_SEEN_REPLY,
  IPS_SRC_NAT,
  PROTOCOL_NAMES,
  SCTP_STATE_NAMES,
  TCP_STATE_NAMES,
} from '../flow/conntrack-enums.js';
import * as R from '../flow/record.js';
import { usesIcmp, usesPorts } from '../flow/tuple.js';
import { statusOf } from './flow-match.js';
import { tagAsStored } from './flow-protoinfo.js';
import type { TextBuffer } from './text-buffer.js';

const STATUS_WORDS: readonly (readonly [number, string])[] = [
  [IPS_EXPECTED, 'EXPECTED'],
  [IPS_SEEN_REPLY, 'SEEN_REPLY'],
  [IPS_ASSURED, 'ASSURED'],
  [IPS_FIXED_TIMEOUT, 'FIXED_TIMEOUT'],
  [IPS_OFFLOAD, 'OFFLOAD'],
  [IPS_HW_OFFLOAD, 'HW_OFFLOAD'],
];
const ZONE_OPTIONS = ['-w', '--orig-zone', '--reply-zone'];

function stateName(protocol: number, state: number): string | undefined {
  if (protocol === IPPROTO_TCP) return TCP_STATE_NAMES[state];
  if (protocol === IPPROTO_SCTP) return SCTP_STATE_NAMES[state];
  return protocol === IPPROTO_DCCP ? DCCP_STATE_NAMES[state] : undefined;
}

/** Writes the line without its end; `letter` is the command it begins with. */
export function writeSave(out: TextBuffer, m: R.Memory, at: number, letter: string): void {
  const { u8, u32 } = m;
  const addr = R.addressBytes(m, at);
  const family = R.familyOf(m, at);
  const protocol = u8[at + R.OFF_PROTOCOL];
  const status = statusOf(m, at);
  out.text(`-${letter}`);
  if ((u8[at + R.OFF_HAS] & R.HAS_TIMEOUT) !== 0) out.text(` -t ${u32[(at + R.OFF_TIMEOUT) >>> 2]}`);
  const words = STATUS_WORDS.filter(([bit]) => (status & bit) !== 0).map(([, word]) => word);
  out.text(` -u ${words.length === 0 ? 'UNSET' : words.join(',')}`);
  const zone = m.u16[(at + R.OFF_ZONE) >>> 1];
  if (zone !== 0) out.text(` ${ZONE_OPTIONS[R.zoneDirectionOf(m, at)]} ${zone}`);
  const address = (option: string, place: number) => {
    out.text(` ${option} `);
    out.address(u8, at + place, family === AF_INET ? AF_INET : 0);
  };
  address('-s', R.OFF_ORIG_SRC);
  address('-d', R.offOrigDst(addr));
  // A translated end is written as what it was translated to.
  address((status & IPS_DST_NAT) !== 0 ? '-g' : '-r', R.offReplySrc(addr));
  address((status & IPS_SRC_NAT) !== 0 ? '-n' : '-q', R.offReplyDst(addr));
  out.text(` -p ${PROTOCOL_NAMES.get(protocol) ?? protocol}`);
  writeLayer4(out, m, at, addr, protocol);
}

function writeLayer4(out: TextBuffer, m: R.Memory, at: number, addr: number, protocol: number): void {
  const { u8, u32 } = m;
  const original = at + R.OFF_ORIG_L4;
  const reply = at + R.offReplyL4(addr);
  const number = (from: number) => (u8[from] << 8) | u8[from + 1];
  const two = (first: string, second: string, from: number) => {
    out.text(` --${first} ${number(from)} --${second} ${number(from + 2)}`);
  };
  if (protocol === IPPROTO_GRE) {
    two('srckey', 'dstkey', original);
    two('reply-key-src', 'reply-key-dst', reply);
  } else if (usesPorts(protocol)) {
    // Linux 6.17 and later track DCCP without ports.
    if (u32[original >>> 2] === 0 && protocol === IPPROTO_DCCP) return;
    two('sport', 'dport', original);
    two('reply-port-src', 'reply-port-dst', reply);
  } else if (usesIcmp(protocol)) {
    const name = protocol === IPPROTO_ICMPV6 ? 'icmpv6' : 'icmp';
    out.text(` --${name}-type ${u8[original + 2]} --${name}-code ${u8[original + 3]}`);
    out.text(` --${name}-id ${number(original)}`);
  }
  if ((u8[at + R.offProtoBits(addr)] & R.PROTO_HAS_STATE) === 0) return;
  const state = stateName(protocol, u8[at + R.offState(addr)]);
  if (state !== undefined) out.text(` --state ${state}`);
  const vtags = protocol === IPPROTO_SCTP ? R.findPart(m, at, R.PART_SCTP_VTAGS) : -1;
  if (vtags >= 0) {
    const [first, second] = [u32[(vtags + 4) >>> 2], u32[(vtags + 8) >>> 2]].map(tagAsStored);
    out.text(` --orig-vtag ${first} --reply-vtag ${second}`);
  }
  if (protocol === IPPROTO_DCCP) {
    const isServer = (u8[at + R.offProtoBits(addr)] & R.PROTO_ROLE_SERVER) !== 0;
    out.text(` --role ${isServer ? 'server' : 'client'}`);
  }
}
