/** Tuples inside a record: which protocols have ports, what the reply of an untranslated flow looks like. */
import {
  IPPROTO_DCCP,
  IPPROTO_GRE,
  IPPROTO_ICMP,
  IPPROTO_ICMPV6,
  IPPROTO_SCTP,
  IPPROTO_TCP,
  IPPROTO_UDP,
  IPPROTO_UDPLITE,
} from './conntrack-enums.js';
import {
  addressBytes,
  type Memory,
  OFF_ORIG_L4,
  OFF_ORIG_SRC,
  OFF_PROTOCOL,
  offReplyL4,
  offReplySrc,
} from './record.js';

// Pairs of ICMP types that answer each other, as nf_conntrack_proto_icmp.c and _icmpv6.c know them.
const ICMP_PAIRS = [
  [8, 0], // echo
  [13, 14], // timestamp
  [15, 16], // information
  [17, 18], // address mask
];
const ICMPV6_PAIRS = [
  [128, 129], // echo
  [139, 140], // node information
];

/** A table of 256 answers; a type without an answer stands for itself. */
function answers(pairs: number[][]): Uint8Array {
  const table = Uint8Array.from({ length: 256 }, (_, type) => type);
  for (const [a, b] of pairs) {
    table[a] = b;
    table[b] = a;
  }
  return table;
}
const ICMP_ANSWER = answers(ICMP_PAIRS);
const ICMPV6_ANSWER = answers(ICMPV6_PAIRS);

/** True if the L4 word of a tuple holds two ports (or GRE keys, which travel as ports). */
export function usesPorts(protocol: number): boolean {
  switch (protocol) {
    case IPPROTO_TCP:
    case IPPROTO_UDP:
    case IPPROTO_GRE:
    case IPPROTO_SCTP:
    case IPPROTO_UDPLITE:
    case IPPROTO_DCCP: // Up to Linux 6.16; later kernels leave the word 0.
      return true;
    default:
      return false;
  }
}

/** True for ICMP and ICMPv6, whose L4 word holds id (net), type, code. */
export const usesIcmp = (protocol: number): boolean =>
  protocol === IPPROTO_ICMP || protocol === IPPROTO_ICMPV6;

/** The L4 word (as it stands in `u32`) that answers this one: ports swapped, ICMP type answered. */
export function inverseL4(protocol: number, word: number): number {
  if (protocol === IPPROTO_ICMP) {
    return ((word & 0xff00ffff) | (ICMP_ANSWER[(word >>> 16) & 0xff] << 16)) >>> 0;
  }
  if (protocol === IPPROTO_ICMPV6) {
    return ((word & 0xff00ffff) | (ICMPV6_ANSWER[(word >>> 16) & 0xff] << 16)) >>> 0;
  }
  return ((word << 16) | (word >>> 16)) >>> 0;
}

/** True if the reply tuple is the plain inverse of the original one: the flow is not translated. */
export function replyIsInverse(m: Memory, at: number): boolean {
  const u32 = m.u32;
  const addr = addressBytes(m, at);
  const words = addr >>> 2;
  const original = (at + OFF_ORIG_SRC) >>> 2;
  const reply = (at + offReplySrc(addr)) >>> 2;
  for (let i = 0; i < words; i++) {
    if (u32[original + i] !== u32[reply + words + i]) return false;
    if (u32[original + words + i] !== u32[reply + i]) return false;
  }
  const word = u32[(at + OFF_ORIG_L4) >>> 2];
  return u32[(at + offReplyL4(addr)) >>> 2] === inverseL4(m.u8[at + OFF_PROTOCOL], word);
}

/** Fills the reply tuple with the plain inverse of the original one. */
export function writeInverseReply(m: Memory, at: number): void {
  const u32 = m.u32;
  const addr = addressBytes(m, at);
  const words = addr >>> 2;
  const original = (at + OFF_ORIG_SRC) >>> 2;
  const reply = (at + offReplySrc(addr)) >>> 2;
  for (let i = 0; i < words; i++) {
    u32[reply + words + i] = u32[original + i];
    u32[reply + i] = u32[original + words + i];
  }
  const word = u32[(at + OFF_ORIG_L4) >>> 2];
  u32[(at + offReplyL4(addr)) >>> 2] = inverseL4(m.u8[at + OFF_PROTOCOL], word);
}
