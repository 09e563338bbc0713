/** Records to play with: flow number `n` in variant `v`, written by hand so that they depend on no codec. */
import { AF_INET, AF_INET6, IPPROTO_TCP, IPPROTO_UDP } from '../../src/flow/conntrack-enums.js';
import {
  HAS_TIMEOUT,
  type Memory,
  OFF_HAS,
  OFF_ORIG_L4,
  OFF_PROTOCOL,
  offMark,
  offParts,
  offProtoBits,
  offReplySrc,
  offState,
  offStatus,
  PART_HELPER,
  PART_LABELS,
  PROTO_HAS_STATE,
} from '../../src/flow/record.js';
import { writeInverseReply } from '../../src/flow/tuple.js';

/**
 * Every fifth flow is IPv6, every seventh translated, every third UDP; the variant sets mark, state and
 * parts.
 */
export function writeSample(m: Memory, at: number, n: number, v: number): number {
  const addr = n % 5 === 4 ? 16 : 4;
  const end = offParts(addr);
  m.u32.fill(0, at >>> 2, (at + end) >>> 2);
  m.u16[at >>> 1] = end;
  m.u8[at + OFF_HAS] = HAS_TIMEOUT;
  m.u32[(at + 4) >>> 2] = 100 + v;
  m.u8[at + 12] = addr === 16 ? AF_INET6 : AF_INET;
  const isTcp = n % 3 !== 0;
  m.u8[at + OFF_PROTOCOL] = isTcp ? IPPROTO_TCP : IPPROTO_UDP;
  m.u32[(at + OFF_ORIG_L4) >>> 2] = 0x5000_0000 | (n & 0xffff);
  m.u8[at + 20] = 10;
  m.u32[(at + 20 + addr) >>> 2] = (0x0100_000a ^ (n >>> 16)) >>> 0;
  writeInverseReply(m, at);
  if (n % 7 === 0) m.u8[at + offReplySrc(addr)] ^= 0x40;
  m.u32[(at + offStatus(addr)) >>> 2] = v % 2 === 0 ? 2 : 6;
  m.u32[(at + offMark(addr)) >>> 2] = v;
  if (isTcp) {
    m.u8[at + offState(addr)] = 1 + (v % 7);
    m.u8[at + offProtoBits(addr)] = PROTO_HAS_STATE;
  }
  return v % 4 === 3 ? addParts(m, at, v) : end;
}

function addParts(m: Memory, at: number, v: number): number {
  let p = at + m.u16[at >>> 1];
  m.u16[p >>> 1] = PART_LABELS;
  m.u16[(p >>> 1) + 1] = 16;
  m.u32.fill(v, (p + 4) >>> 2, (p + 20) >>> 2);
  p += 20;
  m.u16[p >>> 1] = PART_HELPER;
  m.u16[(p >>> 1) + 1] = 3;
  m.u32[(p + 4) >>> 2] = 0x0070_7466; // "ftp"
  m.u16[at >>> 1] = p + 8 - at;
  return p + 8 - at;
}
