/** Stage to record: the second half of decoding. What comes out is in normal form (flow/normalise.ts). */
import { AF_INET, IPPROTO_DCCP, IPPROTO_SCTP, IPPROTO_TCP } from '../flow/conntrack-enums.js';
import {
  DURABLE_STATUS,
  DURABLE_TCP_FLAGS,
  HAS_ID,
  HAS_TIMEOUT,
  type Memory,
  PART_MASTER,
  PART_STATUS_SHOWN,
  PART_TCP_FLAGS_SHOWN,
  PROTO_HAS_FLAGS_ORIG,
  PROTO_HAS_FLAGS_REPLY,
  PROTO_HAS_ROLE,
  PROTO_HAS_STATE,
  PROTO_HAS_WSCALE_ORIG,
  PROTO_HAS_WSCALE_REPLY,
  PROTO_ROLE_SERVER,
  ZONE_ORIGINAL,
  ZONE_REPLY,
} from '../flow/record.js';
import * as E from './enums.js';
import * as P from './presence.js';
import * as S from './stage.js';

/** Error codes, as negative results; their reasons stand in DECODE_REASONS. */
const ERROR_TUPLE = -7;
const ERROR_ZONE = -8;
const ERROR_STATE = -9;

const V4_ADDRESSES = (1 << E.CTA_IP_V4_SRC) | (1 << E.CTA_IP_V4_DST);
const V6_ADDRESSES = (1 << E.CTA_IP_V6_SRC) | (1 << E.CTA_IP_V6_DST);
const TUPLE_NESTS = (1 << E.CTA_TUPLE_IP) | (1 << E.CTA_TUPLE_PROTO);
const NUM = 1 << E.CTA_PROTO_NUM;
const HAS_ZONE = 1 << E.CTA_TUPLE_ZONE;
/** Highest protoinfo state: TCP's is sure, the others' may grow with the kernel (flow/validate.ts). */
const TCP_STATE_MAX = 9;
const OTHER_STATE_MAX = 15;
/** A larger window scale is used as 14 (RFC 7323, section 2.3). */
const WSCALE_MAX = 14;
// IP_CT_TCP_FLAG_WINDOW_SCALE in both directions: without it the kernel does not keep the scales.
const WINDOW_SCALE_BOTH = 0x11;
const TOP_PARTS =
  (1 << E.CTA_LABELS) |
  (1 << E.CTA_HELP) |
  (1 << E.CTA_TUPLE_MASTER) |
  (1 << E.CTA_SEQ_ADJ_ORIG) |
  (1 << E.CTA_SEQ_ADJ_REPLY) |
  (1 << E.CTA_SYNPROXY);

/** Writes the record at 0 of `m` and returns its length, or a negative error code. */
export function packRecord(
  stage: Memory,
  present: Uint32Array,
  family: number,
  m: Memory,
  shown: boolean,
): number {
  const s = stage.u32;
  const u8 = stage.u8;
  const r = m.u32;
  const top = present[P.TOP];
  const addresses = family === AF_INET ? V4_ADDRESSES : V6_ADDRESSES;
  if (
    (top & P.TUPLES) !== P.TUPLES ||
    (present[P.ORIG] & TUPLE_NESTS) !== TUPLE_NESTS ||
    (present[P.REPLY] & TUPLE_NESTS) !== TUPLE_NESTS ||
    (present[P.ORIG_IP] & addresses) !== addresses ||
    (present[P.REPLY_IP] & addresses) !== addresses ||
    (present[P.ORIG_PROTO] & present[P.REPLY_PROTO] & NUM) === 0 ||
    u8[S.STAGE_ORIG + S.TUPLE_PROTOCOL] !== u8[S.STAGE_REPLY + S.TUPLE_PROTOCOL]
  ) {
    return ERROR_TUPLE;
  }
  const protocol = u8[S.STAGE_ORIG + S.TUPLE_PROTOCOL];
  const zone = zoneWord(stage, present);
  if (zone < 0) return ERROR_ZONE;
  const hasTimeout = (top & (1 << E.CTA_TIMEOUT)) !== 0;
  const hasId = (top & (1 << E.CTA_ID)) !== 0;
  r[1] = hasTimeout ? s[S.STAGE_TIMEOUT >>> 2] : 0;
  r[2] = hasId ? s[S.STAGE_ID >>> 2] : 0;
  r[3] = family | (protocol << 8) | zone;
  r[4] = s[(S.STAGE_ORIG + S.TUPLE_L4) >>> 2];
  let w = family === AF_INET ? packAddresses4(s, r) : packAddresses6(s, r);
  r[w] = s[(S.STAGE_REPLY + S.TUPLE_L4) >>> 2];
  r[w + 1] = (top & P.STATUS) !== 0 ? s[P.STATUS_WORD] & DURABLE_STATUS : 0;
  r[w + 2] = (top & (1 << E.CTA_MARK)) !== 0 ? s[S.STAGE_MARK >>> 2] : 0;
  r[w + 3] = 0;
  let info = 0;
  if ((top & (1 << E.CTA_PROTOINFO)) !== 0) {
    info = protoinfoBits(present, protocol);
    const stateMax = protocol === IPPROTO_TCP ? TCP_STATE_MAX : OTHER_STATE_MAX;
    if (info !== 0 && u8[S.STAGE_STATE] > stateMax) return ERROR_STATE;
    r[w + 3] = protoinfoWord(u8, protocol, info);
  }
  w += 4;
  if ((top & TOP_PARTS) !== 0 || protocol === IPPROTO_SCTP || protocol === IPPROTO_DCCP) {
    w = packParts(stage, present, family, m, w, info);
    if (w < 0) return w;
  }
  if (shown) w = packShownParts(stage, present, m, w, info);
  r[0] = (w << 2) | (((hasTimeout ? HAS_TIMEOUT : 0) | (hasId ? HAS_ID : 0)) << 24);
  return w << 2;
}

/** Zone and its direction in their places of the record's word 3, or -1 when two zones are told. */
function zoneWord(stage: Memory, present: Uint32Array): number {
  const u16 = stage.u16;
  let both = 0;
  if ((present[P.TOP] & (1 << E.CTA_ZONE)) !== 0) both = u16[S.STAGE_ZONE >>> 1];
  let orig = 0;
  if ((present[P.ORIG] & HAS_ZONE) !== 0) orig = u16[(S.STAGE_ORIG + S.TUPLE_ZONE) >>> 1];
  let reply = 0;
  if ((present[P.REPLY] & HAS_ZONE) !== 0) reply = u16[(S.STAGE_REPLY + S.TUPLE_ZONE) >>> 1];
  if (orig === 0 && reply === 0) return both * 0x10000;
  if (both !== 0 || (orig !== 0 && reply !== 0)) return -1;
  return orig !== 0 ? orig * 0x10000 + (ZONE_ORIGINAL << 6) : reply * 0x10000 + (ZONE_REPLY << 6);
}

/** Four IPv4 addresses to words 5 to 8; returns the word behind them. */
function packAddresses4(s: Uint32Array, r: Uint32Array): number {
  r[5] = s[(S.STAGE_ORIG + S.TUPLE_SRC) >>> 2];
  r[6] = s[(S.STAGE_ORIG + S.TUPLE_DST) >>> 2];
  r[7] = s[(S.STAGE_REPLY + S.TUPLE_SRC) >>> 2];
  r[8] = s[(S.STAGE_REPLY + S.TUPLE_DST) >>> 2];
  return 9;
}

/** Four IPv6 addresses to words 5 to 20: source and destination stand together in the stage as in the record. */
function packAddresses6(s: Uint32Array, r: Uint32Array): number {
  const orig = (S.STAGE_ORIG + S.TUPLE_SRC) >>> 2;
  const reply = (S.STAGE_REPLY + S.TUPLE_SRC) >>> 2;
  for (let i = 0; i < 8; i++) {
    r[5 + i] = s[orig + i];
    r[13 + i] = s[reply + i];
  }
  return 21;
}

/** The PROTO_* bits of the protoinfo that belongs to this protocol; 0 without a state. */
function protoinfoBits(present: Uint32Array, protocol: number): number {
  const nests = present[P.PROTOINFO];
  let bits = 0;
  if (protocol === IPPROTO_TCP && (nests & (1 << E.CTA_PROTOINFO_TCP)) !== 0) {
    const types = present[P.TCP];
    if ((types & (1 << E.CTA_PROTOINFO_TCP_STATE)) !== 0) bits |= PROTO_HAS_STATE;
    if ((types & (1 << E.CTA_PROTOINFO_TCP_WSCALE_ORIGINAL)) !== 0) bits |= PROTO_HAS_WSCALE_ORIG;
    if ((types & (1 << E.CTA_PROTOINFO_TCP_WSCALE_REPLY)) !== 0) bits |= PROTO_HAS_WSCALE_REPLY;
    if ((types & (1 << E.CTA_PROTOINFO_TCP_FLAGS_ORIGINAL)) !== 0) bits |= PROTO_HAS_FLAGS_ORIG;
    if ((types & (1 << E.CTA_PROTOINFO_TCP_FLAGS_REPLY)) !== 0) bits |= PROTO_HAS_FLAGS_REPLY;
  } else if (protocol === IPPROTO_SCTP && (nests & (1 << E.CTA_PROTOINFO_SCTP)) !== 0) {
    if ((present[P.SCTP] & (1 << E.CTA_PROTOINFO_SCTP_STATE)) !== 0) bits |= PROTO_HAS_STATE;
  } else if (protocol === IPPROTO_DCCP && (nests & (1 << E.CTA_PROTOINFO_DCCP)) !== 0) {
    if ((present[P.DCCP] & (1 << E.CTA_PROTOINFO_DCCP_STATE)) !== 0) bits |= PROTO_HAS_STATE;
    if ((present[P.DCCP] & (1 << E.CTA_PROTOINFO_DCCP_ROLE)) !== 0) bits |= PROTO_HAS_ROLE;
  }
  return (bits & PROTO_HAS_STATE) !== 0 ? bits : 0;
}

/** The record's protoinfo word: state, scales, flags, bits. */
function protoinfoWord(u8: Uint8Array, protocol: number, info: number): number {
  if (info === 0) return 0;
  let bits = info;
  let scales = 0;
  let flags = 0;
  if (protocol === IPPROTO_TCP) {
    if ((info & PROTO_HAS_FLAGS_ORIG) !== 0) flags = u8[S.STAGE_FLAGS_ORIG] & DURABLE_TCP_FLAGS;
    if ((info & PROTO_HAS_FLAGS_REPLY) !== 0) flags |= (u8[S.STAGE_FLAGS_REPLY] & DURABLE_TCP_FLAGS) << 4;
    if ((flags & WINDOW_SCALE_BOTH) === WINDOW_SCALE_BOTH) {
      if ((info & PROTO_HAS_WSCALE_ORIG) !== 0) scales = Math.min(u8[S.STAGE_WSCALE_ORIG], WSCALE_MAX);
      if ((info & PROTO_HAS_WSCALE_REPLY) !== 0)
        scales |= Math.min(u8[S.STAGE_WSCALE_REPLY], WSCALE_MAX) << 4;
    }
  } else if ((info & PROTO_HAS_ROLE) !== 0 && u8[S.STAGE_ROLE] === 1) {
    bits |= PROTO_ROLE_SERVER; // CT_DCCP_ROLE_SERVER
  }
  return (u8[S.STAGE_STATE] | (scales << 8) | (flags << 16) | (bits << 24)) >>> 0;
}

/** True if the `words` words at byte `place` are all zero. */
function isZero(s: Uint32Array, place: number, words: number): boolean {
  let i = place >>> 2;
  const end = i + words;
  while (i < end) if (s[i++] !== 0) return false;
  return true;
}

/** Copies the part that stands ready at `place`, header and all, to word `w`; returns the word behind it. */
function copyPart(stage: Memory, place: number, r: Uint32Array, w: number): number {
  const s = stage.u32;
  let i = (place - 4) >>> 2;
  const end = i + 1 + ((stage.u16[(place - 2) >>> 1] + 3) >>> 2);
  while (i < end) r[w++] = s[i++];
  return w;
}

/** The optional parts of a table record, ascending; those that say nothing are left out. */
function packParts(
  stage: Memory,
  present: Uint32Array,
  family: number,
  m: Memory,
  w: number,
  info: number,
): number {
  const s = stage.u32;
  const r = m.u32;
  const top = present[P.TOP];
  if ((top & (1 << E.CTA_LABELS)) !== 0 && !isZero(s, S.STAGE_LABELS, 4)) {
    w = copyPart(stage, S.STAGE_LABELS, r, w);
  }
  if ((top & (1 << E.CTA_HELP)) !== 0 && (present[P.HELP] & (1 << E.CTA_HELP_NAME)) !== 0) {
    if (stage.u16[(S.STAGE_HELPER - 2) >>> 1] !== 0) w = copyPart(stage, S.STAGE_HELPER, r, w);
  }
  if ((top & (1 << E.CTA_TUPLE_MASTER)) !== 0) {
    w = packMaster(stage, present, family, r, w);
    if (w < 0) return w;
  }
  if ((top & (1 << E.CTA_SEQ_ADJ_ORIG)) !== 0 && !isZero(s, S.STAGE_SEQADJ_ORIG, 3)) {
    w = copyPart(stage, S.STAGE_SEQADJ_ORIG, r, w);
  }
  if ((top & (1 << E.CTA_SEQ_ADJ_REPLY)) !== 0 && !isZero(s, S.STAGE_SEQADJ_REPLY, 3)) {
    w = copyPart(stage, S.STAGE_SEQADJ_REPLY, r, w);
  }
  if ((top & (1 << E.CTA_SYNPROXY)) !== 0 && !isZero(s, S.STAGE_SYNPROXY, 3)) {
    w = copyPart(stage, S.STAGE_SYNPROXY, r, w);
  }
  if (info === 0) return w;
  const protocol = stage.u8[S.STAGE_ORIG + S.TUPLE_PROTOCOL];
  if (protocol === IPPROTO_SCTP && !isZero(s, S.STAGE_VTAGS, 2)) {
    w = copyPart(stage, S.STAGE_VTAGS, r, w);
  }
  if (protocol === IPPROTO_DCCP && (present[P.DCCP] & (1 << E.CTA_PROTOINFO_DCCP_HANDSHAKE_SEQ)) !== 0) {
    w = copyPart(stage, S.STAGE_HANDSHAKE_SEQ, r, w);
  }
  return w;
}

/** The master's tuple as a part. Its zone is not told by the kernel: it is the child's. */
function packMaster(stage: Memory, present: Uint32Array, family: number, r: Uint32Array, w: number): number {
  const s = stage.u32;
  const isV4 = family === AF_INET;
  const addresses = isV4 ? V4_ADDRESSES : V6_ADDRESSES;
  if (
    (present[P.MASTER] & TUPLE_NESTS) !== TUPLE_NESTS ||
    (present[P.MASTER_IP] & addresses) !== addresses ||
    (present[P.MASTER_PROTO] & NUM) === 0
  ) {
    return ERROR_TUPLE;
  }
  const words = isV4 ? 1 : 4;
  r[w++] = PART_MASTER | ((8 + 8 * words) << 16);
  r[w++] = family | (stage.u8[S.STAGE_MASTER + S.TUPLE_PROTOCOL] << 8);
  r[w++] = s[(S.STAGE_MASTER + S.TUPLE_L4) >>> 2];
  const src = (S.STAGE_MASTER + S.TUPLE_SRC) >>> 2;
  const dst = (S.STAGE_MASTER + S.TUPLE_DST) >>> 2;
  for (let i = 0; i < words; i++) r[w++] = s[src + i];
  for (let i = 0; i < words; i++) r[w++] = s[dst + i];
  return w;
}

/** The parts that are only shown, ascending. */
function packShownParts(stage: Memory, present: Uint32Array, m: Memory, w: number, info: number): number {
  const r = m.u32;
  const u8 = stage.u8;
  const top = present[P.TOP];
  if ((top & (1 << E.CTA_COUNTERS_ORIG)) !== 0) w = copyPart(stage, S.STAGE_COUNTERS_ORIG, r, w);
  if ((top & (1 << E.CTA_COUNTERS_REPLY)) !== 0) w = copyPart(stage, S.STAGE_COUNTERS_REPLY, r, w);
  if ((top & (1 << E.CTA_TIMESTAMP)) !== 0) w = copyPart(stage, S.STAGE_TIMESTAMP, r, w);
  if ((top & (1 << E.CTA_SECCTX)) !== 0 && (present[P.SECCTX] & (1 << E.CTA_SECCTX_NAME)) !== 0) {
    if (stage.u16[(S.STAGE_SECCTX - 2) >>> 1] !== 0) w = copyPart(stage, S.STAGE_SECCTX, r, w);
  }
  if ((top & (1 << E.CTA_USE)) !== 0) w = copyPart(stage, S.STAGE_USE, r, w);
  if ((top & (1 << E.CTA_TIMESTAMP_EVENT)) !== 0) w = copyPart(stage, S.STAGE_TIMESTAMP_EVENT, r, w);
  if ((top & P.STATUS) !== 0) {
    r[w++] = PART_STATUS_SHOWN | (4 << 16);
    r[w++] = stage.u32[P.STATUS_WORD];
  }
  const both = PROTO_HAS_FLAGS_ORIG | PROTO_HAS_FLAGS_REPLY;
  if ((info & both) === both) {
    r[w++] = PART_TCP_FLAGS_SHOWN | (2 << 16);
    r[w++] = u8[S.STAGE_FLAGS_ORIG] | (u8[S.STAGE_FLAGS_REPLY] << 8);
  }
  return w;
}
