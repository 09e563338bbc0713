/**
 * The record: a flow's packed bytes, the one form in which flows move through Conntwin.
 *
 * Numbers are in host order (little-endian, checked at start) unless "net" says network order. A is 4 for IPv4
 * and 16 for IPv6. Everything from byte 12 on is durable: it is hashed, compared and sent. The first 12 bytes are
 * what changes without an event, or differs between kernels.
 *
 *      0 u16 length of the whole record, bytes, a multiple of 4
 *      2 u8  idle class (0 = unknown)
 *      3 u8  has: HAS_TIMEOUT | HAS_ID
 *      4 u32 timeout, seconds
 *      8 u32 ct id, as this kernel told it
 *     --- the key: 8 + 2A bytes ------------------------------------------------
 *     12 u8  family (AF_INET, AF_INET6), zone direction in the top two bits
 *     13 u8  L4 protocol
 *     14 u16 zone
 *     16 4   original L4: ports (net, net), or ICMP id (net), type, code; GRE keys stand as ports; else 0
 *     20 A   original source
 *   20+A A   original destination
 *     --- the rest of the durable fields ----------------------------------------
 *  20+2A A   reply source
 *  20+3A A   reply destination
 *  20+4A 4   reply L4
 *  24+4A u32 status, masked to DURABLE_STATUS
 *  28+4A u32 mark
 *  32+4A u8  protoinfo state; u8 window scales (original | reply << 4);
 *        u8  TCP flags (original | reply << 4), masked; u8 protoinfo bits (PROTO_*)
 *  36+4A     optional parts: u16 type, u16 length in bytes, the bytes, padded to 4 with zeros; ascending by type
 */
import {
  AF_INET6,
  IPS_ASSURED,
  IPS_DST_NAT,
  IPS_EXPECTED,
  IPS_FIXED_TIMEOUT,
  IPS_SEEN_REPLY,
  IPS_SRC_NAT,
} from './conntrack-enums.js';

/** Views over one ArrayBuffer in which records stand at byte offsets that are multiples of 4. */
export interface Memory {
  readonly u8: Uint8Array;
  readonly u16: Uint16Array;
  readonly u32: Uint32Array;
}

/** Memory of `bytes` zero bytes (rounded up to 8). Pages that are never touched cost no process memory on Linux. */
export function allocateMemory(bytes: number): Memory {
  const buffer = new ArrayBuffer((bytes + 7) & ~7);
  return { u8: new Uint8Array(buffer), u16: new Uint16Array(buffer), u32: new Uint32Array(buffer) };
}

export const OFF_LENGTH = 0;
export const OFF_IDLE = 2;
export const OFF_HAS = 3;
export const OFF_TIMEOUT = 4;
export const OFF_ID = 8;
export const OFF_KEY = 12;
export const OFF_FAMILY = 12;
export const OFF_PROTOCOL = 13;
export const OFF_ZONE = 14;
export const OFF_ORIG_L4 = 16;
export const OFF_ORIG_SRC = 20;

export const HAS_TIMEOUT = 1;
export const HAS_ID = 2;

/** Zone direction, top two bits of the family byte: the zone holds for both directions, or for one. */
export const ZONE_BOTH = 0;
export const ZONE_ORIGINAL = 1;
export const ZONE_REPLY = 2;

export const PROTO_HAS_STATE = 1;
export const PROTO_HAS_WSCALE_ORIG = 2;
export const PROTO_HAS_WSCALE_REPLY = 4;
export const PROTO_HAS_FLAGS_ORIG = 8;
export const PROTO_HAS_FLAGS_REPLY = 16;
export const PROTO_HAS_ROLE = 32; // DCCP
export const PROTO_ROLE_SERVER = 64; // DCCP

/** Optional parts. Types of 0x80 and above are only shown: never in the table, never on a link, never restored. */
export const PART_LABELS = 1; // 16 bytes, as the kernel has them
export const PART_HELPER = 2; // name, 1..16 bytes, no NUL
export const PART_MASTER = 3; // u8 family, u8 protocol, u16 zone (0), 4 L4, A source, A destination
export const PART_SEQADJ_ORIG = 4; // u32 correction position, u32 offset before, u32 offset after
export const PART_SEQADJ_REPLY = 5;
export const PART_SYNPROXY = 6; // u32 isn, u32 its, u32 tsoff
export const PART_SCTP_VTAGS = 7; // u32 original, u32 reply
export const PART_DCCP_HANDSHAKE_SEQ = 8; // u64, low word first
export const PART_SHOWN = 0x80;
export const PART_COUNTERS_ORIG = 0x81; // u64 packets, u64 bytes, low words first
export const PART_COUNTERS_REPLY = 0x82;
export const PART_TIMESTAMP = 0x83; // u64 start, u64 stop, nanoseconds, low words first
export const PART_SECCTX = 0x84; // text
export const PART_USE = 0x85; // u32
export const PART_TIMESTAMP_EVENT = 0x86; // u64
export const PART_STATUS_SHOWN = 0x87; // u32, status with every bit the kernel reports
export const PART_TCP_FLAGS_SHOWN = 0x88; // u8 original, u8 reply, unmasked

/** Status bits that events report reliably and that survive an injection (the rest differ or change in silence). */
export const DURABLE_STATUS =
  IPS_EXPECTED | IPS_SEEN_REPLY | IPS_ASSURED | IPS_SRC_NAT | IPS_DST_NAT | IPS_FIXED_TIMEOUT;
/** Status bits that a life never loses: one that is gone means another life (PROTOCOL.md, section 2). */
export const STICKY_STATUS = IPS_SEEN_REPLY | IPS_ASSURED;
/** TCP flags that do not change in silence: window scaling and SACK permitted (nf_conntrack_tcp.h 0x01, 0x02). */
export const DURABLE_TCP_FLAGS = 0x03;

/** Largest record with shown parts, and largest without them (the table refuses longer ones). Bytes. */
export const MAX_RECORD_BYTES = 1024;
export const MAX_TABLE_RECORD_BYTES = 512;

/** AF_INET or AF_INET6 of the record at `at`. */
export const familyOf = (m: Memory, at: number): number => m.u8[at + OFF_FAMILY] & 0x3f;
export const zoneDirectionOf = (m: Memory, at: number): number => m.u8[at + OFF_FAMILY] >>> 6;
/** Bytes of one address, 4 or 16. */
export const addressBytes = (m: Memory, at: number): number =>
  (m.u8[at + OFF_FAMILY] & 0x3f) === AF_INET6 ? 16 : 4;
export const lengthOf = (m: Memory, at: number): number => m.u16[at >>> 1];
/** Bytes of the key that starts at OFF_KEY: 16 for IPv4, 40 for IPv6. */
export const keyBytes = (addr: number): number => 8 + 2 * addr;

export const offOrigDst = (addr: number): number => 20 + addr;
export const offReplySrc = (addr: number): number => 20 + 2 * addr;
export const offReplyDst = (addr: number): number => 20 + 3 * addr;
export const offReplyL4 = (addr: number): number => 20 + 4 * addr;
export const offStatus = (addr: number): number => 24 + 4 * addr;
export const offMark = (addr: number): number => 28 + 4 * addr;
export const offState = (addr: number): number => 32 + 4 * addr;
export const offWscale = (addr: number): number => 33 + 4 * addr;
export const offTcpFlags = (addr: number): number => 34 + 4 * addr;
export const offProtoBits = (addr: number): number => 35 + 4 * addr;
/** Where the parts begin, which is also the length of a record without parts: 52 for IPv4, 100 for IPv6. */
export const offParts = (addr: number): number => 36 + 4 * addr;

/** Offset (from the start of memory) of the header of the part of this type, or -1. */
export function findPart(m: Memory, at: number, type: number): number {
  const end = at + lengthOf(m, at);
  let p = at + offParts(addressBytes(m, at));
  while (p + 4 <= end) {
    const t = m.u16[p >>> 1];
    if (t === type) return p;
    if (t > type) return -1;
    p += 4 + ((m.u16[(p >>> 1) + 1] + 3) & ~3);
  }
  return -1;
}

/** Copies the record at `from` to `to`; both ends are multiples of 4. Returns its length in bytes. */
export function copyRecord(src: Memory, from: number, dst: Memory, to: number): number {
  const length = src.u16[from >>> 1];
  const a = src.u32;
  const b = dst.u32;
  let i = from >>> 2;
  let j = to >>> 2;
  const end = i + (length >>> 2);
  while (i < end) b[j++] = a[i++];
  return length;
}

/** Copies the ct id from one record to another, or that none is known. */
export function copyId(src: Memory, from: number, dst: Memory, to: number): void {
  dst.u8[to + OFF_HAS] = (dst.u8[to + OFF_HAS] & ~HAS_ID) | (src.u8[from + OFF_HAS] & HAS_ID);
  dst.u32[(to + OFF_ID) >>> 2] = src.u32[(from + OFF_ID) >>> 2];
}
