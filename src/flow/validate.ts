/**
 * Is this a record at all? What comes from a link is asked here before anything else reads it.
 *
 * Only normal form is a record: a peer normalises before it hashes, so anything else is a fault or an attack.
 * Unknown parts below 0x80 pass (a newer peer may know them). Nothing here throws or allocates.
 */
import {
  AF_INET,
  AF_INET6,
  IPPROTO_DCCP,
  IPPROTO_SCTP,
  IPPROTO_TCP,
  TCP_CONNTRACK_LISTEN,
} from './conntrack-enums.js';
import { isAbsentWhenZero, protoBitsOf } from './normalise.js';
import {
  DURABLE_STATUS,
  DURABLE_TCP_FLAGS,
  HAS_ID,
  HAS_TIMEOUT,
  lengthOf,
  MAX_TABLE_RECORD_BYTES,
  type Memory,
  OFF_FAMILY,
  OFF_HAS,
  OFF_PROTOCOL,
  OFF_ZONE,
  offParts,
  offProtoBits,
  offState,
  offStatus,
  offTcpFlags,
  offWscale,
  PART_DCCP_HANDSHAKE_SEQ,
  PART_HELPER,
  PART_LABELS,
  PART_MASTER,
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
  ZONE_REPLY,
} from './record.js';

/** Largest window scale, RFC 7323. */
export const WSCALE_MAX = 14;
// The highest state of SCTP and DCCP in the kernel's headers is 9; a newer kernel may know a few more.
const OTHER_STATE_MAX = 15;
// NF_CT_HELPER_NAME_LEN, linux/netfilter/nf_conntrack_common.h; the NUL is not in the record.
const HELPER_NAME_MAX_BYTES = 16;

function validateProtoinfo(m: Memory, at: number, addr: number): string | undefined {
  const u8 = m.u8;
  const protocol = u8[at + OFF_PROTOCOL];
  const bits = u8[at + offProtoBits(addr)];
  const state = u8[at + offState(addr)];
  const wscale = u8[at + offWscale(addr)];
  const flags = u8[at + offTcpFlags(addr)];
  if ((bits & ~protoBitsOf(protocol)) !== 0) return 'protoinfo bits';
  if (bits !== 0 && (bits & PROTO_HAS_STATE) === 0) return 'protoinfo bits';
  if ((bits & (PROTO_HAS_ROLE | PROTO_ROLE_SERVER)) === PROTO_ROLE_SERVER) return 'protoinfo bits';
  const stateMax =
    protocol === IPPROTO_TCP ? TCP_CONNTRACK_LISTEN : (bits & PROTO_HAS_STATE) !== 0 ? OTHER_STATE_MAX : 0;
  if (state > stateMax || (state !== 0 && bits === 0)) return 'protoinfo state';
  if ((wscale & 0x0f) > WSCALE_MAX || wscale >>> 4 > WSCALE_MAX) return 'window scale';
  if ((wscale & 0x0f) !== 0 && (bits & PROTO_HAS_WSCALE_ORIG) === 0) return 'window scale';
  if ((wscale & 0xf0) !== 0 && (bits & PROTO_HAS_WSCALE_REPLY) === 0) return 'window scale';
  if (wscale !== 0 && (flags & 0x11) !== 0x11) return 'window scale';
  if ((flags & 0x0f & ~DURABLE_TCP_FLAGS) !== 0 || (flags >>> 4) & ~DURABLE_TCP_FLAGS) return 'tcp flags';
  if ((flags & 0x0f) !== 0 && (bits & PROTO_HAS_FLAGS_ORIG) === 0) return 'tcp flags';
  if ((flags & 0xf0) !== 0 && (bits & PROTO_HAS_FLAGS_REPLY) === 0) return 'tcp flags';
  return undefined;
}

/** Size in bytes of a known part of fixed size; -1 if the size varies or the type is not known. */
function partBytes(type: number, addr: number): number {
  switch (type) {
    case PART_LABELS:
      return 16;
    case PART_MASTER:
      return 8 + 2 * addr;
    case PART_SEQADJ_ORIG:
    case PART_SEQADJ_REPLY:
    case PART_SYNPROXY:
      return 12;
    case PART_SCTP_VTAGS:
    case PART_DCCP_HANDSHAKE_SEQ:
      return 8;
    default:
      return -1;
  }
}

/** True if every byte is printable ASCII without space, and there are 1 to 16 of them. */
function isHelperName(u8: Uint8Array, from: number, bytes: number): boolean {
  if (bytes < 1 || bytes > HELPER_NAME_MAX_BYTES) return false;
  for (let i = from; i < from + bytes; i++) if (u8[i] < 0x21 || u8[i] > 0x7e) return false;
  return true;
}

function validatePartBody(m: Memory, at: number, p: number, addr: number): string | undefined {
  const { u8, u16 } = m;
  const type = u16[p >>> 1];
  const bytes = u16[(p >>> 1) + 1];
  const fixed = partBytes(type, addr);
  if (fixed !== -1 && bytes !== fixed) return 'part size';
  if (type === PART_HELPER) return isHelperName(u8, p + 4, bytes) ? undefined : 'helper name';
  if (type === PART_SCTP_VTAGS && u8[at + OFF_PROTOCOL] !== IPPROTO_SCTP) return 'part of another protocol';
  if (type === PART_DCCP_HANDSHAKE_SEQ && u8[at + OFF_PROTOCOL] !== IPPROTO_DCCP) {
    return 'part of another protocol';
  }
  if (type === PART_MASTER) {
    if (u8[p + 4] !== (u8[at + OFF_FAMILY] & 0x3f)) return 'master family';
    if (u16[(p + 6) >>> 1] !== 0) return 'master zone';
  }
  return undefined;
}

function validateParts(m: Memory, at: number, addr: number, end: number): string | undefined {
  const { u8, u16 } = m;
  let last = 0;
  let p = at + offParts(addr);
  while (p < end) {
    // The record's length is a multiple of 4, so a header is always whole.
    const type = u16[p >>> 1];
    const bytes = u16[(p >>> 1) + 1];
    const next = p + 4 + ((bytes + 3) & ~3);
    if (next > end) return 'part overruns the record';
    if (type <= last) return 'parts not ascending';
    if (type >= PART_SHOWN) return 'part is only shown';
    const reason = validatePartBody(m, at, p, addr);
    if (reason !== undefined) return reason;
    let sum = 0;
    for (let i = p + 4; i < p + 4 + bytes; i++) sum |= u8[i];
    if (sum === 0 && isAbsentWhenZero(type)) return 'part says nothing';
    for (let i = p + 4 + bytes; i < next; i++) if (u8[i] !== 0) return 'padding';
    last = type;
    p = next;
  }
  return undefined;
}

/**
 * Why the record at `at`, of which `available` bytes may be read, is not one in normal form; undefined if
 * it is. The reason is a constant text, fit for a counter.
 */
export function validateRecord(m: Memory, at: number, available: number): string | undefined {
  const { u8, u16, u32 } = m;
  if ((at & 3) !== 0 || at < 0 || available < offParts(4) || at + available > u8.length) return 'truncated';
  const length = lengthOf(m, at);
  const family = u8[at + OFF_FAMILY] & 0x3f;
  if (family !== AF_INET && family !== AF_INET6) return 'family';
  const addr = family === AF_INET6 ? 16 : 4;
  if ((length & 3) !== 0 || length < offParts(addr) || length > MAX_TABLE_RECORD_BYTES) return 'length';
  if (length > available) return 'truncated';
  const zoneDirection = u8[at + OFF_FAMILY] >>> 6;
  if (zoneDirection > ZONE_REPLY) return 'zone direction';
  if (zoneDirection !== 0 && u16[(at + OFF_ZONE) >>> 1] === 0) return 'zone direction';
  if ((u8[at + OFF_HAS] & ~(HAS_TIMEOUT | HAS_ID)) !== 0) return 'has bits';
  if ((u32[(at + offStatus(addr)) >>> 2] & ~DURABLE_STATUS) !== 0) return 'status';
  return validateProtoinfo(m, at, addr) ?? validateParts(m, at, addr, at + length);
}
