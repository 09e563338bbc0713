/** Record to stage: what a request to the kernel says about a flow, by verb (rules: docs of OP_* and ctnetlink). */
import {
  AF_INET,
  IPPROTO_DCCP,
  IPPROTO_ICMP,
  IPPROTO_ICMPV6,
  IPPROTO_SCTP,
  IPPROTO_TCP,
  IPS_CONFIRMED,
  IPS_EXPECTED,
  IPS_FIXED_TIMEOUT,
} from '../flow/conntrack-enums.js';
import { OP_CREATE, OP_DELETE, OP_GET_REPLY, OP_RETIME, OP_UPDATE } from '../flow/kernel-port.js';
import * as R from '../flow/record.js';
import { usesPorts } from '../flow/tuple.js';
import * as E from './enums.js';
import * as P from './presence.js';
import * as S from './stage.js';

/** Timeout of a created flow whose record has none, as a commit may meet it. Seconds. */
const TIMEOUT_DEFAULT_S = 30;
/** The kernel refuses more; and 0 would create a flow that is gone at once. Seconds. */
const TIMEOUT_MAX_S = 8_589_934;

const V4 = (1 << E.CTA_IP_V4_SRC) | (1 << E.CTA_IP_V4_DST);
const V6 = (1 << E.CTA_IP_V6_SRC) | (1 << E.CTA_IP_V6_DST);
const TUPLE = (1 << E.CTA_TUPLE_IP) | (1 << E.CTA_TUPLE_PROTO);
const TUPLE_WITH_ZONE = TUPLE | (1 << E.CTA_TUPLE_ZONE);
const NUM = 1 << E.CTA_PROTO_NUM;
const PORTS = NUM | (1 << E.CTA_PROTO_SRC_PORT) | (1 << E.CTA_PROTO_DST_PORT);
const ICMP = NUM | (1 << E.CTA_PROTO_ICMP_ID) | (1 << E.CTA_PROTO_ICMP_TYPE) | (1 << E.CTA_PROTO_ICMP_CODE);
const ICMPV6 =
  NUM | (1 << E.CTA_PROTO_ICMPV6_ID) | (1 << E.CTA_PROTO_ICMPV6_TYPE) | (1 << E.CTA_PROTO_ICMPV6_CODE);
const NAT_V4 = (1 << E.CTA_NAT_V4_MINIP) | (1 << E.CTA_NAT_V4_MAXIP);
const NAT_V6 = (1 << E.CTA_NAT_V6_MINIP) | (1 << E.CTA_NAT_V6_MAXIP);
const NAT_PROTO = 1 << E.CTA_NAT_PROTO;
const NAT_PORTS = (1 << E.CTA_PROTONAT_PORT_MIN) | (1 << E.CTA_PROTONAT_PORT_MAX);
const THREE =
  (1 << E.CTA_SEQADJ_CORRECTION_POS) | (1 << E.CTA_SEQADJ_OFFSET_BEFORE) | (1 << E.CTA_SEQADJ_OFFSET_AFTER);

/** Which attributes of ctattr_l4proto a tuple of this protocol has. */
function protoMask(protocol: number): number {
  if (protocol === IPPROTO_ICMP) return ICMP;
  if (protocol === IPPROTO_ICMPV6) return ICMPV6;
  return usesPorts(protocol) ? PORTS : NUM;
}

/** Puts the request for `verb` about the record at `at` into the stage; `present` is written wholly. */
export function unpackRequest(
  verb: number,
  m: R.Memory,
  at: number,
  stage: R.Memory,
  present: Uint32Array,
): void {
  if (verb === OP_GET_REPLY) {
    present[P.TOP] = 1 << E.CTA_TUPLE_REPLY;
    unpackTuple(
      m,
      at,
      R.offReplySrc(R.addressBytes(m, at)),
      R.offReplyL4(R.addressBytes(m, at)),
      stage,
      P.REPLY,
      present,
    );
  } else {
    present[P.TOP] = 1 << E.CTA_TUPLE_ORIG;
    unpackTuple(m, at, R.OFF_ORIG_SRC, R.OFF_ORIG_L4, stage, P.ORIG, present);
  }
  if (verb === OP_CREATE) unpackInverse(m, at, stage, present);
  unpackZone(verb, m, at, stage, present);
  if (verb === OP_DELETE && (m.u8[at + R.OFF_HAS] & R.HAS_ID) !== 0) {
    present[P.TOP] |= 1 << E.CTA_ID;
    stage.u32[S.STAGE_ID >>> 2] = m.u32[(at + R.OFF_ID) >>> 2];
  }
  if (verb === OP_RETIME) {
    stage.u32[S.STAGE_TIMEOUT >>> 2] = timeoutToSend(m, at);
    present[P.TOP] |= 1 << E.CTA_TIMEOUT;
  }
  if (verb !== OP_CREATE && verb !== OP_UPDATE) return;
  unpackState(verb, m, at, stage, present);
  unpackProtoinfo(verb, m, at, stage, present);
  unpackParts(verb, m, at, stage, present);
}

const baseOf = (table: number): number =>
  table === P.ORIG ? S.STAGE_ORIG : table === P.REPLY ? S.STAGE_REPLY : S.STAGE_MASTER;

/** Marks a tuple's nests as present: `table` is one of P.ORIG, P.REPLY, P.MASTER. */
function markTuple(present: Uint32Array, table: number, family: number, protocol: number): void {
  const ip = table === P.ORIG ? P.ORIG_IP : table === P.REPLY ? P.REPLY_IP : P.MASTER_IP;
  const proto = table === P.ORIG ? P.ORIG_PROTO : table === P.REPLY ? P.REPLY_PROTO : P.MASTER_PROTO;
  present[table] = TUPLE;
  present[ip] = family === AF_INET ? V4 : V6;
  present[proto] = protoMask(protocol);
}

/** Copies a tuple whose source stands at record offset `src` (its destination behind it) and its L4 word at `l4`. */
function unpackTuple(
  m: R.Memory,
  at: number,
  src: number,
  l4: number,
  stage: R.Memory,
  table: number,
  present: Uint32Array,
): void {
  const words = R.addressBytes(m, at) >>> 2;
  const base = baseOf(table) >>> 2;
  const from = (at + src) >>> 2;
  const s = stage.u32;
  for (let i = 0; i < words; i++) {
    s[base + (S.TUPLE_SRC >>> 2) + i] = m.u32[from + i];
    s[base + (S.TUPLE_DST >>> 2) + i] = m.u32[from + words + i];
  }
  s[base + (S.TUPLE_L4 >>> 2)] = m.u32[(at + l4) >>> 2];
  const protocol = m.u8[at + R.OFF_PROTOCOL];
  stage.u8[baseOf(table) + S.TUPLE_PROTOCOL] = protocol;
  markTuple(present, table, R.familyOf(m, at), protocol);
}

/**
 * The reply tuple of a create: the plain inverse of the original one, and what translates it as CTA_NAT_SRC and
 * CTA_NAT_DST. A translated reply tuple would be accepted, and the flow never translated (Linux 6.18).
 */
function unpackInverse(m: R.Memory, at: number, stage: R.Memory, present: Uint32Array): void {
  const addr = R.addressBytes(m, at);
  const words = addr >>> 2;
  const s = stage.u32;
  const orig = S.STAGE_ORIG >>> 2;
  const reply = S.STAGE_REPLY >>> 2;
  const protocol = m.u8[at + R.OFF_PROTOCOL];
  const wanted = (at + R.offReplySrc(addr)) >>> 2;
  let sourceDiffers = false;
  let destinationDiffers = false;
  for (let i = 0; i < words; i++) {
    s[reply + i] = s[orig + 4 + i];
    s[reply + 4 + i] = s[orig + i];
    if (m.u32[wanted + words + i] !== s[orig + i]) sourceDiffers = true;
    if (m.u32[wanted + i] !== s[orig + 4 + i]) destinationDiffers = true;
  }
  const origL4 = m.u32[(at + R.OFF_ORIG_L4) >>> 2];
  const replyL4 = m.u32[(at + R.offReplyL4(addr)) >>> 2];
  const hasPorts = usesPorts(protocol);
  const isIcmp = protocol === IPPROTO_ICMP || protocol === IPPROTO_ICMPV6;
  // What answers: ports change places; ICMP keeps its id, and type and code of the reply are the record's.
  const inverse = hasPorts
    ? (origL4 << 16) | (origL4 >>> 16)
    : isIcmp
      ? (replyL4 & ~0xffff) | (origL4 & 0xffff)
      : 0;
  s[reply + (S.TUPLE_L4 >>> 2)] = inverse;
  stage.u8[S.STAGE_REPLY + S.TUPLE_PROTOCOL] = protocol;
  markTuple(present, P.REPLY, R.familyOf(m, at), protocol);
  present[P.TOP] |= 1 << E.CTA_TUPLE_REPLY;
  // The reply's destination is what the source became, and the other way round. An ICMP id counts as a source port.
  const sourcePort = hasPorts ? replyL4 >>> 16 : isIcmp ? replyL4 & 0xffff : -1;
  const destinationPort = hasPorts ? replyL4 & 0xffff : -1;
  if (hasPorts || isIcmp) {
    if (sourcePort !== (origL4 & 0xffff)) sourceDiffers = true;
    if (hasPorts && destinationPort !== origL4 >>> 16) destinationDiffers = true;
  }
  if (sourceDiffers) unpackNat(m, wanted + words, words, sourcePort, stage, P.NAT_SRC, present);
  if (destinationDiffers) unpackNat(m, wanted, words, destinationPort, stage, P.NAT_DST, present);
}

/** One translation: to exactly this address, and to exactly this port where there is one (-1: none). */
function unpackNat(
  m: R.Memory,
  from: number,
  words: number,
  port: number,
  stage: R.Memory,
  table: number,
  present: Uint32Array,
): void {
  const isSource = table === P.NAT_SRC;
  const base = isSource ? S.STAGE_NAT_SRC : S.STAGE_NAT_DST;
  for (let i = 0; i < words; i++) {
    stage.u32[((base + S.NAT_MIN_ADDRESS) >>> 2) + i] = m.u32[from + i];
    stage.u32[((base + S.NAT_MAX_ADDRESS) >>> 2) + i] = m.u32[from + i];
  }
  present[P.TOP] |= 1 << (isSource ? E.CTA_NAT_SRC : E.CTA_NAT_DST);
  present[table] = words === 1 ? NAT_V4 : NAT_V6;
  if (port < 0) return;
  stage.u16[(base + S.NAT_MIN_PORT) >>> 1] = port;
  stage.u16[(base + S.NAT_MAX_PORT) >>> 1] = port;
  present[table] |= NAT_PROTO;
  present[isSource ? P.NAT_SRC_PROTO : P.NAT_DST_PROTO] = NAT_PORTS;
}

/** The zone: CTA_ZONE for both directions, else CTA_TUPLE_ZONE in the one tuple it holds for, if that one is sent. */
function unpackZone(verb: number, m: R.Memory, at: number, stage: R.Memory, present: Uint32Array): void {
  const zone = m.u16[(at + R.OFF_ZONE) >>> 1];
  if (zone === 0) return;
  const direction = R.zoneDirectionOf(m, at);
  if (direction === R.ZONE_BOTH) {
    stage.u16[S.STAGE_ZONE >>> 1] = zone;
    present[P.TOP] |= 1 << E.CTA_ZONE;
  } else if (direction === R.ZONE_ORIGINAL) {
    if (verb === OP_GET_REPLY) return; // In the reply direction this flow is in zone 0.
    stage.u16[(S.STAGE_ORIG + S.TUPLE_ZONE) >>> 1] = zone;
    present[P.ORIG] = TUPLE_WITH_ZONE;
  } else if (verb === OP_CREATE || verb === OP_GET_REPLY) {
    stage.u16[(S.STAGE_REPLY + S.TUPLE_ZONE) >>> 1] = zone;
    present[P.REPLY] = TUPLE_WITH_ZONE;
  }
}

/** The timeout of the record as the kernel takes it. Seconds. */
export function timeoutToSend(m: R.Memory, at: number): number {
  const hasTimeout = (m.u8[at + R.OFF_HAS] & R.HAS_TIMEOUT) !== 0;
  const timeout = hasTimeout ? m.u32[(at + R.OFF_TIMEOUT) >>> 2] : TIMEOUT_DEFAULT_S;
  return Math.max(1, Math.min(timeout, TIMEOUT_MAX_S));
}

/** Status, timeout and mark. */
function unpackState(verb: number, m: R.Memory, at: number, stage: R.Memory, present: Uint32Array): void {
  const addr = R.addressBytes(m, at);
  const status = m.u32[(at + R.offStatus(addr)) >>> 2] & R.DURABLE_STATUS;
  // A create must not say EXPECTED (the kernel sets it with the master), an update must not take it away.
  stage.u32[P.STATUS_WORD] = (verb === OP_CREATE ? status & ~IPS_EXPECTED : status) | IPS_CONFIRMED;
  present[P.TOP] |= P.STATUS;
  const hasTimeout = (m.u8[at + R.OFF_HAS] & R.HAS_TIMEOUT) !== 0;
  if (verb === OP_CREATE || (hasTimeout && (status & IPS_FIXED_TIMEOUT) === 0)) {
    stage.u32[S.STAGE_TIMEOUT >>> 2] = timeoutToSend(m, at);
    present[P.TOP] |= 1 << E.CTA_TIMEOUT;
  }
  const mark = m.u32[(at + R.offMark(addr)) >>> 2];
  if (verb === OP_UPDATE || mark !== 0) {
    stage.u32[S.STAGE_MARK >>> 2] = mark;
    present[P.TOP] |= 1 << E.CTA_MARK;
  }
}

const BE_LIBERAL = 0x08; // IP_CT_TCP_FLAG_BE_LIBERAL, linux/netfilter/nf_conntrack_tcp.h

/** The protocol's state, where the record has one. */
function unpackProtoinfo(verb: number, m: R.Memory, at: number, stage: R.Memory, present: Uint32Array): void {
  const addr = R.addressBytes(m, at);
  const bits = m.u8[at + R.offProtoBits(addr)];
  if ((bits & R.PROTO_HAS_STATE) === 0) return;
  const protocol = m.u8[at + R.OFF_PROTOCOL];
  stage.u8[S.STAGE_STATE] = m.u8[at + R.offState(addr)];
  if (protocol === IPPROTO_TCP) {
    unpackTcp(verb, m, at, addr, bits, stage, present);
  } else if (protocol === IPPROTO_SCTP) {
    // The kernel takes a state only with both tags; a part in the record overwrites these zeros.
    stage.u32[S.STAGE_VTAGS >>> 2] = 0;
    stage.u32[(S.STAGE_VTAGS + 4) >>> 2] = 0;
    present[P.PROTOINFO] = 1 << E.CTA_PROTOINFO_SCTP;
    present[P.SCTP] =
      (1 << E.CTA_PROTOINFO_SCTP_STATE) |
      (1 << E.CTA_PROTOINFO_SCTP_VTAG_ORIGINAL) |
      (1 << E.CTA_PROTOINFO_SCTP_VTAG_REPLY);
  } else if (protocol === IPPROTO_DCCP && (bits & R.PROTO_HAS_ROLE) !== 0) {
    stage.u8[S.STAGE_ROLE] = (bits & R.PROTO_ROLE_SERVER) !== 0 ? 1 : 0;
    present[P.PROTOINFO] = 1 << E.CTA_PROTOINFO_DCCP;
    present[P.DCCP] = (1 << E.CTA_PROTOINFO_DCCP_STATE) | (1 << E.CTA_PROTOINFO_DCCP_ROLE);
  } else {
    return;
  }
  present[P.TOP] |= 1 << E.CTA_PROTOINFO;
}

/**
 * TCP: without state, both scales and flag 0x01 in both directions the kernel would not take the scales.
 *
 * A created flow has no windows yet and takes them from its next packet. When that is an old one, sent again because
 * its acknowledgement was lost, the acknowledgement of all that came after it is beyond the window, and the kernel
 * would drop it for ever, so such a flow is told to be liberal, as conntrack(8) does.
 */
function unpackTcp(
  verb: number,
  m: R.Memory,
  at: number,
  addr: number,
  bits: number,
  stage: R.Memory,
  present: Uint32Array,
): void {
  const scales = m.u8[at + R.offWscale(addr)];
  const flags = m.u8[at + R.offTcpFlags(addr)];
  let types = 1 << E.CTA_PROTOINFO_TCP_STATE;
  const scalesKnown = R.PROTO_HAS_WSCALE_ORIG | R.PROTO_HAS_WSCALE_REPLY;
  if ((bits & scalesKnown) === scalesKnown) {
    stage.u8[S.STAGE_WSCALE_ORIG] = scales & 0x0f;
    stage.u8[S.STAGE_WSCALE_REPLY] = scales >>> 4;
    types |= (1 << E.CTA_PROTOINFO_TCP_WSCALE_ORIGINAL) | (1 << E.CTA_PROTOINFO_TCP_WSCALE_REPLY);
  }
  const liberal = verb === OP_CREATE ? BE_LIBERAL : 0;
  const original = (bits & R.PROTO_HAS_FLAGS_ORIG) !== 0 ? R.DURABLE_TCP_FLAGS : 0;
  const reply = (bits & R.PROTO_HAS_FLAGS_REPLY) !== 0 ? R.DURABLE_TCP_FLAGS : 0;
  if ((original | liberal) !== 0) {
    stage.u8[S.STAGE_FLAGS_ORIG] = (flags & original) | liberal;
    stage.u8[S.STAGE_FLAGS_ORIG + 1] = original | liberal;
    types |= 1 << E.CTA_PROTOINFO_TCP_FLAGS_ORIGINAL;
  }
  if ((reply | liberal) !== 0) {
    stage.u8[S.STAGE_FLAGS_REPLY] = ((flags >>> 4) & reply) | liberal;
    stage.u8[S.STAGE_FLAGS_REPLY + 1] = reply | liberal;
    types |= 1 << E.CTA_PROTOINFO_TCP_FLAGS_REPLY;
  }
  present[P.PROTOINFO] = 1 << E.CTA_PROTOINFO_TCP;
  present[P.TCP] = types;
}

/** The optional parts; unknown ones, and ones of a wrong size, are left out. */
function unpackParts(verb: number, m: R.Memory, at: number, stage: R.Memory, present: Uint32Array): void {
  const end = at + R.lengthOf(m, at);
  let p = at + R.offParts(R.addressBytes(m, at));
  while (p + 4 <= end) {
    const type = m.u16[p >>> 1];
    const bytes = m.u16[(p >>> 1) + 1];
    const next = p + 4 + ((bytes + 3) & ~3);
    if (next > end || type >= R.PART_SHOWN) return;
    unpackPart(verb, type, m, at, p + 4, bytes, stage, present);
    p = next;
  }
}

function unpackPart(
  verb: number,
  type: number,
  m: R.Memory,
  at: number,
  from: number,
  bytes: number,
  stage: R.Memory,
  present: Uint32Array,
): void {
  switch (type) {
    case R.PART_LABELS:
      if (bytes === 16) copyValue(m, from, 4, stage, S.STAGE_LABELS, present, E.CTA_LABELS);
      break;
    case R.PART_HELPER:
      // An update cannot change a helper, and naming another fails the whole message.
      if (verb === OP_CREATE && bytes >= 1 && bytes <= S.HELPER_NAME_MAX_BYTES) {
        for (let i = 0; i < bytes; i++) stage.u8[S.STAGE_HELPER + i] = m.u8[from + i];
        stage.u16[(S.STAGE_HELPER - 2) >>> 1] = bytes;
        present[P.TOP] |= 1 << E.CTA_HELP;
        present[P.HELP] = 1 << E.CTA_HELP_NAME;
      }
      break;
    case R.PART_MASTER:
      if (verb === OP_CREATE && bytes === 8 + 2 * R.addressBytes(m, at)) {
        unpackMaster(m, at, from, stage, present);
      }
      break;
    case R.PART_SEQADJ_ORIG:
      if (bytes !== 12) break;
      copyValue(m, from, 3, stage, S.STAGE_SEQADJ_ORIG, present, E.CTA_SEQ_ADJ_ORIG);
      present[P.SEQADJ_ORIG] = THREE;
      break;
    case R.PART_SEQADJ_REPLY:
      if (bytes !== 12) break;
      copyValue(m, from, 3, stage, S.STAGE_SEQADJ_REPLY, present, E.CTA_SEQ_ADJ_REPLY);
      present[P.SEQADJ_REPLY] = THREE;
      break;
    case R.PART_SYNPROXY:
      if (bytes !== 12) break;
      copyValue(m, from, 3, stage, S.STAGE_SYNPROXY, present, E.CTA_SYNPROXY);
      present[P.SYNPROXY_NEST] = THREE; // isn, its and tsoff count 1 to 3 as well
      break;
    case R.PART_SCTP_VTAGS:
      if (bytes === 8) copyValue(m, from, 2, stage, S.STAGE_VTAGS, present, 0);
      break;
    case R.PART_DCCP_HANDSHAKE_SEQ:
      if (bytes !== 8 || (present[P.TOP] & (1 << E.CTA_PROTOINFO)) === 0) break;
      if (m.u8[at + R.OFF_PROTOCOL] !== IPPROTO_DCCP) break;
      copyValue(m, from, 2, stage, S.STAGE_HANDSHAKE_SEQ, present, 0);
      present[P.DCCP] |= 1 << E.CTA_PROTOINFO_DCCP_HANDSHAKE_SEQ;
      break;
  }
}

/** Copies words to their place and marks top-level attribute `type` as present (0: it is part of a nest). */
function copyValue(
  m: R.Memory,
  from: number,
  words: number,
  stage: R.Memory,
  place: number,
  present: Uint32Array,
  type: number,
): void {
  for (let i = 0; i < words; i++) stage.u32[(place >>> 2) + i] = m.u32[(from >>> 2) + i];
  if (type !== 0) present[P.TOP] |= 1 << type;
}

/** The master's tuple from its part: u8 family, u8 protocol, u16 zone, L4, source, destination. */
function unpackMaster(m: R.Memory, at: number, from: number, stage: R.Memory, present: Uint32Array): void {
  const family = R.familyOf(m, at);
  if (m.u8[from] !== family) return;
  const words = R.addressBytes(m, at) >>> 2;
  const base = S.STAGE_MASTER >>> 2;
  for (let i = 0; i < words; i++) {
    stage.u32[base + i] = m.u32[(from >>> 2) + 2 + i];
    stage.u32[base + 4 + i] = m.u32[(from >>> 2) + 2 + words + i];
  }
  stage.u32[base + (S.TUPLE_L4 >>> 2)] = m.u32[(from >>> 2) + 1];
  stage.u8[S.STAGE_MASTER + S.TUPLE_PROTOCOL] = m.u8[from + 1];
  markTuple(present, P.MASTER, family, m.u8[from + 1]);
  present[P.TOP] |= 1 << E.CTA_TUPLE_MASTER;
}
