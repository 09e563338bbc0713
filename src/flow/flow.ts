/** Flow: the friendly object of CLI and API, made from a record when somebody looks. Never on a hot path. */
import { formatAddress } from './address.js';
import {
  AF_INET6,
  DCCP_STATE_NAMES,
  IPPROTO_DCCP,
  IPPROTO_SCTP,
  IPPROTO_TCP,
  PROTOCOL_NAMES,
  SCTP_STATE_NAMES,
  STATUS_NAMES,
  TCP_STATE_NAMES,
} from './conntrack-enums.js';
import {
  addressBytes,
  familyOf,
  findPart,
  HAS_ID,
  HAS_TIMEOUT,
  lengthOf,
  type Memory,
  OFF_HAS,
  OFF_ID,
  OFF_ORIG_L4,
  OFF_ORIG_SRC,
  OFF_PROTOCOL,
  OFF_TIMEOUT,
  OFF_ZONE,
  offMark,
  offParts,
  offProtoBits,
  offReplyL4,
  offReplySrc,
  offState,
  offStatus,
  offTcpFlags,
  offWscale,
  PART_COUNTERS_ORIG,
  PART_COUNTERS_REPLY,
  PART_DCCP_HANDSHAKE_SEQ,
  PART_HELPER,
  PART_LABELS,
  PART_MASTER,
  PART_SCTP_VTAGS,
  PART_SECCTX,
  PART_SEQADJ_ORIG,
  PART_SEQADJ_REPLY,
  PART_SHOWN,
  PART_STATUS_SHOWN,
  PART_SYNPROXY,
  PART_TCP_FLAGS_SHOWN,
  PART_TIMESTAMP,
  PART_TIMESTAMP_EVENT,
  PART_USE,
  PROTO_HAS_FLAGS_ORIG,
  PROTO_HAS_FLAGS_REPLY,
  PROTO_HAS_ROLE,
  PROTO_HAS_STATE,
  PROTO_HAS_WSCALE_ORIG,
  PROTO_HAS_WSCALE_REPLY,
  PROTO_ROLE_SERVER,
  ZONE_ORIGINAL,
  ZONE_REPLY,
  zoneDirectionOf,
} from './record.js';
import { usesIcmp, usesPorts } from './tuple.js';

export { recordFromFlow } from './flow-to-record.js';

export type StatusName = (typeof STATUS_NAMES)[number];

/** One direction: addresses as text, and ports (or GRE keys) or ICMP fields, as the protocol has them. */
export interface Tuple {
  source: string;
  destination: string;
  sourcePort?: number;
  destinationPort?: number;
  icmpType?: number;
  icmpCode?: number;
  icmpId?: number;
}

interface TcpInfo {
  kind: 'tcp';
  state: string;
  wscaleOriginal?: number;
  wscaleReply?: number;
  flagsOriginal?: number;
  flagsReply?: number;
}

interface SctpInfo {
  kind: 'sctp';
  state?: string;
  vtagOriginal?: number;
  vtagReply?: number;
}

interface DccpInfo {
  kind: 'dccp';
  state?: string;
  role?: 'client' | 'server';
  handshakeSequence?: bigint;
}

export type Protoinfo = TcpInfo | SctpInfo | DccpInfo;

export interface SequenceAdjustment {
  position: number;
  before: number;
  after: number;
}

export interface PacketCounters {
  packets: bigint;
  bytes: bigint;
}

/** One flow. What is absent is undefined; `protocol` is a name of PROTOCOL_NAMES or a number as text. */
export interface Flow {
  family: 'ipv4' | 'ipv6';
  protocol: string;
  zone?: number;
  /** Set if the zone holds for one direction only. */
  zoneDirection?: 'original' | 'reply';
  original: Tuple;
  /** In input: the plain inverse of the original tuple unless given. */
  reply?: Tuple;
  status: StatusName[];
  /** Seconds. */
  timeout?: number;
  mark?: number;
  protoinfo?: Protoinfo;
  /** Numbers of the label bits that are set, 0..127. */
  labels?: number[];
  helper?: string;
  /** The original tuple of the flow that this one was expected by. */
  master?: Tuple & { protocol: string };
  seqadj?: { original?: SequenceAdjustment; reply?: SequenceAdjustment };
  synproxy?: { isn: number; its: number; tsoff: number };
  /** Parts of the record that this version does not know, as hexadecimal text. */
  unknownParts?: { type: number; bytes: string }[];
  // From here on only shown: never restored from here.
  id?: number;
  use?: number;
  counters?: { original?: PacketCounters; reply?: PacketCounters };
  /** Nanoseconds since 1970. */
  timestamp?: { start?: bigint; stop?: bigint; event?: bigint };
  secctx?: string;
}

/** The name of an L4 protocol as Flow has it: "tcp", or "99" for one without a name. */
export const protocolName = (protocol: number): string => PROTOCOL_NAMES.get(protocol) ?? String(protocol);

/** The name of a state number, or "STATE_n" for one that a newer kernel may have. */
const stateName = (names: readonly string[], state: number): string => names[state] ?? `STATE_${state}`;

function readTuple(m: Memory, protocol: number, addr: number, l4: number, source: number): Tuple {
  const u8 = m.u8;
  const tuple: Tuple = {
    source: formatAddress(u8, source, addr),
    destination: formatAddress(u8, source + addr, addr),
  };
  const first = (u8[l4] << 8) | u8[l4 + 1];
  if (usesPorts(protocol)) {
    tuple.sourcePort = first;
    tuple.destinationPort = (u8[l4 + 2] << 8) | u8[l4 + 3];
  } else if (usesIcmp(protocol)) {
    tuple.icmpType = u8[l4 + 2];
    tuple.icmpCode = u8[l4 + 3];
    tuple.icmpId = first;
  }
  return tuple;
}

function readTcp(m: Memory, at: number, addr: number): TcpInfo {
  const u8 = m.u8;
  const bits = u8[at + offProtoBits(addr)];
  const wscale = u8[at + offWscale(addr)];
  const shown = findPart(m, at, PART_TCP_FLAGS_SHOWN);
  const flags = u8[at + offTcpFlags(addr)];
  const info: TcpInfo = { kind: 'tcp', state: stateName(TCP_STATE_NAMES, u8[at + offState(addr)]) };
  if (bits & PROTO_HAS_WSCALE_ORIG) info.wscaleOriginal = wscale & 0x0f;
  if (bits & PROTO_HAS_WSCALE_REPLY) info.wscaleReply = wscale >>> 4;
  if (bits & PROTO_HAS_FLAGS_ORIG) info.flagsOriginal = shown >= 0 ? u8[shown + 4] : flags & 0x0f;
  if (bits & PROTO_HAS_FLAGS_REPLY) info.flagsReply = shown >= 0 ? u8[shown + 5] : flags >>> 4;
  return info;
}

/** The 64-bit number whose low word stands at byte `p`. */
const readU64 = (m: Memory, p: number): bigint =>
  BigInt(m.u32[p >>> 2]) | (BigInt(m.u32[(p >>> 2) + 1]) << 32n);

function readProtoinfo(m: Memory, at: number, addr: number): Protoinfo | undefined {
  const u8 = m.u8;
  const bits = u8[at + offProtoBits(addr)];
  const hasState = (bits & PROTO_HAS_STATE) !== 0;
  const state = u8[at + offState(addr)];
  switch (u8[at + OFF_PROTOCOL]) {
    case IPPROTO_TCP:
      return hasState ? readTcp(m, at, addr) : undefined;
    case IPPROTO_SCTP: {
      const vtags = findPart(m, at, PART_SCTP_VTAGS);
      if (!hasState && vtags < 0) return undefined;
      const info: SctpInfo = { kind: 'sctp' };
      if (hasState) info.state = stateName(SCTP_STATE_NAMES, state);
      if (vtags >= 0) {
        info.vtagOriginal = m.u32[(vtags + 4) >>> 2];
        info.vtagReply = m.u32[(vtags + 8) >>> 2];
      }
      return info;
    }
    case IPPROTO_DCCP: {
      const sequence = findPart(m, at, PART_DCCP_HANDSHAKE_SEQ);
      if (!hasState && sequence < 0) return undefined;
      const info: DccpInfo = { kind: 'dccp' };
      if (hasState) info.state = stateName(DCCP_STATE_NAMES, state);
      if (bits & PROTO_HAS_ROLE) info.role = bits & PROTO_ROLE_SERVER ? 'server' : 'client';
      if (sequence >= 0) info.handshakeSequence = readU64(m, sequence + 4);
      return info;
    }
    default:
      return undefined;
  }
}

function readLabels(m: Memory, from: number, bytes: number): number[] {
  const labels: number[] = [];
  for (let bit = 0; bit < 8 * bytes; bit++) {
    if (m.u8[from + (bit >>> 3)] & (1 << (bit & 7))) labels.push(bit);
  }
  return labels;
}

function readText(m: Memory, from: number, bytes: number): string {
  return new TextDecoder().decode(m.u8.subarray(from, from + bytes));
}

/** Adds what the part with its header at `p` says. */
function readPart(flow: Flow, m: Memory, p: number, addr: number): void {
  const u32 = m.u32;
  const type = m.u16[p >>> 1];
  const bytes = m.u16[(p >>> 1) + 1];
  const body = p + 4;
  const word = body >>> 2;
  switch (type) {
    case PART_LABELS:
      flow.labels = readLabels(m, body, bytes);
      break;
    case PART_HELPER:
      flow.helper = readText(m, body, bytes);
      break;
    case PART_MASTER: {
      const protocol = m.u8[body + 1];
      const tuple = readTuple(m, protocol, addr, body + 4, body + 8);
      flow.master = { protocol: protocolName(protocol), ...tuple };
      break;
    }
    case PART_SEQADJ_ORIG:
    case PART_SEQADJ_REPLY: {
      const adjustment = { position: u32[word], before: u32[word + 1], after: u32[word + 2] };
      flow.seqadj = { ...flow.seqadj, [type === PART_SEQADJ_ORIG ? 'original' : 'reply']: adjustment };
      break;
    }
    case PART_SYNPROXY:
      flow.synproxy = { isn: u32[word], its: u32[word + 1], tsoff: u32[word + 2] };
      break;
    case PART_SCTP_VTAGS:
    case PART_DCCP_HANDSHAKE_SEQ:
    case PART_TCP_FLAGS_SHOWN:
      break; // These stand in protoinfo.
    default:
      if (type >= PART_SHOWN) readShownPart(flow, m, p);
      else {
        const hex = Buffer.from(m.u8.subarray(body, body + bytes)).toString('hex');
        flow.unknownParts = [...(flow.unknownParts ?? []), { type, bytes: hex }];
      }
  }
}

function readShownPart(flow: Flow, m: Memory, p: number): void {
  const type = m.u16[p >>> 1];
  const body = p + 4;
  switch (type) {
    case PART_COUNTERS_ORIG:
    case PART_COUNTERS_REPLY: {
      const counters = { packets: readU64(m, body), bytes: readU64(m, body + 8) };
      flow.counters = { ...flow.counters, [type === PART_COUNTERS_ORIG ? 'original' : 'reply']: counters };
      break;
    }
    case PART_TIMESTAMP: {
      const stop = readU64(m, body + 8);
      flow.timestamp = { ...flow.timestamp, start: readU64(m, body) };
      if (stop !== 0n) flow.timestamp.stop = stop;
      break;
    }
    case PART_TIMESTAMP_EVENT:
      flow.timestamp = { ...flow.timestamp, event: readU64(m, body) };
      break;
    case PART_SECCTX:
      flow.secctx = readText(m, body, m.u16[(p >>> 1) + 1]);
      break;
    case PART_USE:
      flow.use = m.u32[body >>> 2];
      break;
    case PART_STATUS_SHOWN:
      flow.status = statusNames(m.u32[body >>> 2]);
      break;
  }
}

function statusNames(status: number): StatusName[] {
  return STATUS_NAMES.filter((_, bit) => (status & (1 << bit)) !== 0);
}

/** The flow that a record shows. Shown parts (PART_STATUS_SHOWN, ...) win over the masked fields. */
export function flowFromRecord(m: Memory, at: number): Flow {
  const { u8, u16, u32 } = m;
  const addr = addressBytes(m, at);
  const protocol = u8[at + OFF_PROTOCOL];
  const flow: Flow = {
    family: familyOf(m, at) === AF_INET6 ? 'ipv6' : 'ipv4',
    protocol: protocolName(protocol),
    original: readTuple(m, protocol, addr, at + OFF_ORIG_L4, at + OFF_ORIG_SRC),
    reply: readTuple(m, protocol, addr, at + offReplyL4(addr), at + offReplySrc(addr)),
    status: statusNames(u32[(at + offStatus(addr)) >>> 2]),
  };
  const zone = u16[(at + OFF_ZONE) >>> 1];
  if (zone !== 0) flow.zone = zone;
  if (zoneDirectionOf(m, at) === ZONE_ORIGINAL) flow.zoneDirection = 'original';
  if (zoneDirectionOf(m, at) === ZONE_REPLY) flow.zoneDirection = 'reply';
  const mark = u32[(at + offMark(addr)) >>> 2];
  if (mark !== 0) flow.mark = mark;
  if (u8[at + OFF_HAS] & HAS_TIMEOUT) flow.timeout = u32[(at + OFF_TIMEOUT) >>> 2];
  if (u8[at + OFF_HAS] & HAS_ID) flow.id = u32[(at + OFF_ID) >>> 2];
  const protoinfo = readProtoinfo(m, at, addr);
  if (protoinfo !== undefined) flow.protoinfo = protoinfo;
  const end = at + lengthOf(m, at);
  for (let p = at + offParts(addr); p + 4 <= end; p += 4 + ((u16[(p >>> 1) + 1] + 3) & ~3)) {
    readPart(flow, m, p, addr);
  }
  return flow;
}
