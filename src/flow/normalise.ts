/**
 * Normal form: two records of one flow are equal byte for byte if kernels could not tell the flows apart.
 *
 * The kernel shows what nobody set (seqadj 0/0/0 on every injected flow), omits what is zero (mark,
 * labels), and changes some bits in silence. Hash and comparison come after this, never before.
 */
import { IPPROTO_DCCP, IPPROTO_SCTP, IPPROTO_TCP } from './conntrack-enums.js';
import {
  addressBytes,
  DURABLE_STATUS,
  DURABLE_TCP_FLAGS,
  HAS_ID,
  HAS_TIMEOUT,
  type Memory,
  OFF_FAMILY,
  OFF_HAS,
  OFF_ID,
  OFF_LENGTH,
  OFF_PROTOCOL,
  OFF_TIMEOUT,
  OFF_ZONE,
  offParts,
  offProtoBits,
  offState,
  offStatus,
  offTcpFlags,
  offWscale,
  PART_LABELS,
  PART_SCTP_VTAGS,
  PART_SEQADJ_ORIG,
  PART_SEQADJ_REPLY,
  PART_SHOWN,
  PART_SYNPROXY,
  PROTO_HAS_FLAGS_ORIG,
  PROTO_HAS_FLAGS_REPLY,
  PROTO_HAS_ROLE,
  PROTO_HAS_STATE,
  PROTO_HAS_WSCALE_ORIG,
  PROTO_HAS_WSCALE_REPLY,
  PROTO_ROLE_SERVER,
} from './record.js';

const FLAGS_BOTH = (DURABLE_TCP_FLAGS | (DURABLE_TCP_FLAGS << 4)) & 0xff;
// IP_CT_TCP_FLAG_WINDOW_SCALE, linux/netfilter/nf_conntrack_tcp.h, in both directions
const WINDOW_SCALE_BOTH = 0x11;

const TCP_BITS =
  PROTO_HAS_STATE |
  PROTO_HAS_WSCALE_ORIG |
  PROTO_HAS_WSCALE_REPLY |
  PROTO_HAS_FLAGS_ORIG |
  PROTO_HAS_FLAGS_REPLY;
const DCCP_BITS = PROTO_HAS_STATE | PROTO_HAS_ROLE | PROTO_ROLE_SERVER;

/** The PROTO_* bits that mean something for this L4 protocol. */
export function protoBitsOf(protocol: number): number {
  if (protocol === IPPROTO_TCP) return TCP_BITS;
  if (protocol === IPPROTO_SCTP) return PROTO_HAS_STATE;
  if (protocol === IPPROTO_DCCP) return DCCP_BITS;
  return 0;
}

/** Clears bits without meaning and values without a bit. */
function normaliseProtoinfo(m: Memory, at: number, addr: number): void {
  const u8 = m.u8;
  let bits = u8[at + offProtoBits(addr)] & protoBitsOf(u8[at + OFF_PROTOCOL]);
  if ((bits & PROTO_HAS_STATE) === 0) bits = 0;
  if ((bits & PROTO_HAS_ROLE) === 0) bits &= ~PROTO_ROLE_SERVER;
  u8[at + offProtoBits(addr)] = bits;
  if ((bits & PROTO_HAS_STATE) === 0) u8[at + offState(addr)] = 0;

  let flags = u8[at + offTcpFlags(addr)] & FLAGS_BOTH;
  if ((bits & PROTO_HAS_FLAGS_ORIG) === 0) flags &= 0xf0;
  if ((bits & PROTO_HAS_FLAGS_REPLY) === 0) flags &= 0x0f;
  u8[at + offTcpFlags(addr)] = flags;

  let wscale = u8[at + offWscale(addr)];
  if ((bits & PROTO_HAS_WSCALE_ORIG) === 0) wscale &= 0xf0;
  if ((bits & PROTO_HAS_WSCALE_REPLY) === 0) wscale &= 0x0f;
  // The kernel takes scales only where both ends scale, and zeroes them when the SYN/ACK shows that one does
  // not: before that an injected half-open flow shows 0 where the born one shows the SYN's scale (6.18).
  if ((flags & WINDOW_SCALE_BOTH) !== WINDOW_SCALE_BOTH) wscale = 0;
  u8[at + offWscale(addr)] = wscale;
}

/**
 * True if a part of this type says nothing when all its bytes are zero: the kernel shows it as well as not.
 */
export function isAbsentWhenZero(type: number): boolean {
  return (
    type === PART_LABELS ||
    type === PART_SEQADJ_ORIG ||
    type === PART_SEQADJ_REPLY ||
    type === PART_SYNPROXY ||
    type === PART_SCTP_VTAGS
  );
}

function isZero(u8: Uint8Array, from: number, to: number): boolean {
  for (let i = from; i < to; i++) if (u8[i] !== 0) return false;
  return true;
}

/** Drops shown parts and parts that say nothing, zeroes pad bytes; returns where the kept parts end. */
function normaliseParts(m: Memory, at: number, addr: number, end: number): number {
  const { u8, u16, u32 } = m;
  let from = at + offParts(addr);
  let to = from;
  while (from + 4 <= end) {
    const type = u16[from >>> 1];
    const bytes = u16[(from >>> 1) + 1];
    const next = from + 4 + ((bytes + 3) & ~3);
    if (type >= PART_SHOWN || next > end) break; // Ascending: everything from here on is only shown.
    if (!isAbsentWhenZero(type) || !isZero(u8, from + 4, from + 4 + bytes)) {
      for (let i = from + 4 + bytes; i < next; i++) u8[i] = 0;
      for (let i = from; i < next; i += 4, to += 4) u32[to >>> 2] = u32[i >>> 2];
    }
    from = next;
  }
  return to;
}

/** Brings the record into normal form in place and returns its length, which may have shrunk. */
export function normalise(m: Memory, at: number): number {
  const { u8, u16, u32 } = m;
  const addr = addressBytes(m, at);
  const has = u8[at + OFF_HAS] & (HAS_TIMEOUT | HAS_ID);
  u8[at + OFF_HAS] = has;
  if ((has & HAS_TIMEOUT) === 0) u32[(at + OFF_TIMEOUT) >>> 2] = 0;
  if ((has & HAS_ID) === 0) u32[(at + OFF_ID) >>> 2] = 0;
  if (u16[(at + OFF_ZONE) >>> 1] === 0) u8[at + OFF_FAMILY] &= 0x3f;
  u32[(at + offStatus(addr)) >>> 2] &= DURABLE_STATUS;
  normaliseProtoinfo(m, at, addr);
  const length = normaliseParts(m, at, addr, at + u16[(at + OFF_LENGTH) >>> 1]) - at;
  u16[(at + OFF_LENGTH) >>> 1] = length;
  return length;
}
