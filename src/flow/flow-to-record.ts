/**
 * Flow to record: what a person or a program wrote, checked field by field; errors say where and what
 * instead.
 */
import { parseAddress } from './address.js';
import {
  AF_INET,
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
import type { Flow, Protoinfo, SequenceAdjustment, Tuple } from './flow.js';
import { normalise } from './normalise.js';
import {
  HAS_ID,
  HAS_TIMEOUT,
  MAX_TABLE_RECORD_BYTES,
  type Memory,
  OFF_FAMILY,
  OFF_HAS,
  OFF_ID,
  OFF_LENGTH,
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
  ZONE_ORIGINAL,
  ZONE_REPLY,
} from './record.js';
import { usesIcmp, usesPorts, writeInverseReply } from './tuple.js';
import { validateRecord, WSCALE_MAX } from './validate.js';

const U32_MAX = 0xffffffff;

function fail(where: string, value: unknown, want: string): never {
  throw new RangeError(`${where}: ${JSON.stringify(value) ?? 'missing'} is not ${want}`);
}

function integer(where: string, value: number | undefined, max: number): number {
  if (value === undefined) return 0;
  if (!Number.isInteger(value) || value < 0 || value > max) fail(where, value, `an integer from 0 to ${max}`);
  return value;
}

/**
 * The number of an L4 protocol given as a name or as decimal text; throws a RangeError that names `where`.
 */
export function protocolNumber(where: string, text: string): number {
  for (const [number, name] of PROTOCOL_NAMES) if (name === text) return number;
  const value = /^[0-9]{1,3}$/.test(text) ? Number(text) : -1;
  if (value < 0 || value > 255)
    fail(where, text, `one of ${[...PROTOCOL_NAMES.values()].join(', ')}, 0..255`);
  return value;
}

/** The number of a state name (or "STATE_n"); throws a RangeError that names `where`. */
export function stateNumber(where: string, names: readonly string[], text: string): number {
  const index = names.indexOf(text);
  if (index >= 0) return index;
  const number = /^STATE_([0-9]{1,2})$/.exec(text)?.[1];
  if (number === undefined || Number(number) < names.length) fail(where, text, `one of ${names.join(', ')}`);
  return Number(number);
}

function writeAddress(where: string, text: string, m: Memory, to: number, addr: number): void {
  const bytes = parseAddress(text);
  if (bytes?.length !== addr) fail(where, text, addr === 4 ? 'an IPv4 address' : 'an IPv6 address');
  m.u8.set(bytes, to);
}

function writeTuple(
  where: string,
  tuple: Tuple,
  m: Memory,
  protocol: number,
  addr: number,
  l4: number,
  source: number,
): void {
  const u8 = m.u8;
  writeAddress(`${where}.source`, tuple.source, m, source, addr);
  writeAddress(`${where}.destination`, tuple.destination, m, source + addr, addr);
  if (usesPorts(protocol)) {
    const from = integer(`${where}.sourcePort`, tuple.sourcePort, 0xffff);
    const to = integer(`${where}.destinationPort`, tuple.destinationPort, 0xffff);
    u8.set([from >>> 8, from & 0xff, to >>> 8, to & 0xff], l4);
  } else if (usesIcmp(protocol)) {
    const id = integer(`${where}.icmpId`, tuple.icmpId, 0xffff);
    const type = integer(`${where}.icmpType`, tuple.icmpType, 0xff);
    u8.set([id >>> 8, id & 0xff, type, integer(`${where}.icmpCode`, tuple.icmpCode, 0xff)], l4);
  }
}

/** Writes parts one behind the other, refusing what no table record can hold. */
class PartWriter {
  readonly #m: Memory;
  readonly #limit: number;
  to: number;

  constructor(m: Memory, at: number, to: number) {
    this.#m = m;
    this.#limit = at + MAX_TABLE_RECORD_BYTES;
    this.to = to;
  }

  /** Returns the offset of the zeroed body. */
  begin(where: string, type: number, bytes: number): number {
    const body = this.to + 4;
    const end = body + ((bytes + 3) & ~3);
    if (end > this.#limit)
      fail(where, bytes, `short enough: a record has at most ${MAX_TABLE_RECORD_BYTES} bytes`);
    this.#m.u16[this.to >>> 1] = type;
    this.#m.u16[(this.to >>> 1) + 1] = bytes;
    this.#m.u8.fill(0, body, end);
    this.to = end;
    return body;
  }

  bytes(where: string, type: number, bytes: Uint8Array): void {
    const body = this.begin(where, type, bytes.length);
    this.#m.u8.set(bytes, body);
  }

  words(where: string, type: number, words: number[]): void {
    const body = this.begin(where, type, 4 * words.length);
    this.#m.u32.set(words, body >>> 2);
  }
}

function writeProtoinfo(info: Protoinfo, m: Memory, at: number, protocol: number, addr: number): void {
  const u8 = m.u8;
  const kinds = { tcp: IPPROTO_TCP, sctp: IPPROTO_SCTP, dccp: IPPROTO_DCCP };
  if (kinds[info.kind] !== protocol)
    fail('flow.protoinfo.kind', info.kind, "the kind of the flow's protocol");
  const names = { tcp: TCP_STATE_NAMES, sctp: SCTP_STATE_NAMES, dccp: DCCP_STATE_NAMES }[info.kind];
  let bits = 0;
  if (info.state !== undefined) {
    bits |= PROTO_HAS_STATE;
    u8[at + offState(addr)] = stateNumber('flow.protoinfo.state', names, info.state);
  }
  if (info.kind === 'dccp' && info.role !== undefined) {
    bits |= PROTO_HAS_ROLE | (info.role === 'server' ? PROTO_ROLE_SERVER : 0);
  }
  if (info.kind === 'tcp') {
    const scale = 'flow.protoinfo.wscale';
    if (info.wscaleOriginal !== undefined) bits |= PROTO_HAS_WSCALE_ORIG;
    if (info.wscaleReply !== undefined) bits |= PROTO_HAS_WSCALE_REPLY;
    if (info.flagsOriginal !== undefined) bits |= PROTO_HAS_FLAGS_ORIG;
    if (info.flagsReply !== undefined) bits |= PROTO_HAS_FLAGS_REPLY;
    u8[at + offWscale(addr)] =
      integer(`${scale}Original`, info.wscaleOriginal, WSCALE_MAX) |
      (integer(`${scale}Reply`, info.wscaleReply, WSCALE_MAX) << 4);
    u8[at + offTcpFlags(addr)] =
      (integer('flow.protoinfo.flagsOriginal', info.flagsOriginal, 0xff) & 0x0f) |
      (integer('flow.protoinfo.flagsReply', info.flagsReply, 0xff) << 4);
  }
  u8[at + offProtoBits(addr)] = bits;
}

function writeLabels(labels: number[], parts: PartWriter): void {
  const bytes = new Uint8Array(16);
  for (const [i, label] of labels.entries()) {
    bytes[integer(`flow.labels[${i}]`, label, 127) >>> 3] |= 1 << (label & 7);
  }
  parts.bytes('flow.labels', PART_LABELS, bytes);
}

function writeMaster(
  master: NonNullable<Flow['master']>,
  m: Memory,
  family: number,
  parts: PartWriter,
): void {
  const addr = family === AF_INET6 ? 16 : 4;
  const protocol = protocolNumber('flow.master.protocol', master.protocol);
  const body = parts.begin('flow.master', PART_MASTER, 8 + 2 * addr);
  m.u8[body] = family;
  m.u8[body + 1] = protocol;
  writeTuple('flow.master', master, m, protocol, addr, body + 4, body + 8);
}

function writeSeqadj(
  where: string,
  type: number,
  value: SequenceAdjustment | undefined,
  parts: PartWriter,
): void {
  if (value === undefined) return;
  parts.words(where, type, [
    integer(`${where}.position`, value.position, U32_MAX),
    integer(`${where}.before`, value.before, U32_MAX),
    integer(`${where}.after`, value.after, U32_MAX),
  ]);
}

function writeUnknownParts(flow: Flow, parts: PartWriter): void {
  let last = PART_DCCP_HANDSHAKE_SEQ;
  for (const [i, { type, bytes }] of (flow.unknownParts ?? []).entries()) {
    const where = `flow.unknownParts[${i}]`;
    if (!Number.isInteger(type) || type <= last || type >= PART_SHOWN) {
      fail(`${where}.type`, type, `an integer from ${last + 1} to ${PART_SHOWN - 1}, ascending`);
    }
    if (!/^([0-9a-f]{2})*$/i.test(bytes)) fail(`${where}.bytes`, bytes, 'hexadecimal text');
    parts.bytes(where, type, Buffer.from(bytes, 'hex'));
    last = type;
  }
}

/** Writes the optional parts, ascending by type. */
function writeParts(flow: Flow, m: Memory, family: number, parts: PartWriter): void {
  if (flow.labels !== undefined) writeLabels(flow.labels, parts);
  if (flow.helper !== undefined) {
    parts.bytes('flow.helper', PART_HELPER, new TextEncoder().encode(flow.helper));
  }
  if (flow.master !== undefined) writeMaster(flow.master, m, family, parts);
  writeSeqadj('flow.seqadj.original', PART_SEQADJ_ORIG, flow.seqadj?.original, parts);
  writeSeqadj('flow.seqadj.reply', PART_SEQADJ_REPLY, flow.seqadj?.reply, parts);
  const { synproxy, protoinfo } = flow;
  if (synproxy !== undefined) {
    parts.words('flow.synproxy', PART_SYNPROXY, [
      integer('flow.synproxy.isn', synproxy.isn, U32_MAX),
      integer('flow.synproxy.its', synproxy.its, U32_MAX),
      integer('flow.synproxy.tsoff', synproxy.tsoff, U32_MAX),
    ]);
  }
  if (protoinfo?.kind === 'sctp' && (protoinfo.vtagOriginal ?? protoinfo.vtagReply) !== undefined) {
    parts.words('flow.protoinfo', PART_SCTP_VTAGS, [
      integer('flow.protoinfo.vtagOriginal', protoinfo.vtagOriginal, U32_MAX),
      integer('flow.protoinfo.vtagReply', protoinfo.vtagReply, U32_MAX),
    ]);
  }
  if (protoinfo?.kind === 'dccp' && protoinfo.handshakeSequence !== undefined) {
    const sequence = protoinfo.handshakeSequence;
    if (sequence < 0n || sequence >> 64n !== 0n) {
      fail('flow.protoinfo.handshakeSequence', String(sequence), 'below 2^64');
    }
    const low = Number(sequence & 0xffffffffn);
    parts.words('flow.protoinfo', PART_DCCP_HANDSHAKE_SEQ, [low, Number(sequence >> 32n)]);
  }
  writeUnknownParts(flow, parts);
}

function writeKey(flow: Flow, m: Memory, at: number, family: number, protocol: number): void {
  const zone = integer('flow.zone', flow.zone, 0xffff);
  const direction = { original: ZONE_ORIGINAL, reply: ZONE_REPLY };
  m.u8[at + OFF_FAMILY] = family | (flow.zoneDirection ? direction[flow.zoneDirection] << 6 : 0);
  m.u8[at + OFF_PROTOCOL] = protocol;
  m.u16[(at + OFF_ZONE) >>> 1] = zone;
}

/** The family the flow names, or else the one its first address has. */
function familyOfFlow(flow: Flow): number {
  if (flow.family === 'ipv4') return AF_INET;
  if (flow.family === 'ipv6') return AF_INET6;
  if (flow.family !== undefined) fail('flow.family', flow.family, 'ipv4 or ipv6');
  return parseAddress(flow.original.source)?.length === 16 ? AF_INET6 : AF_INET;
}

/**
 * Writes the flow's record in normal form at `at` (MAX_RECORD_BYTES free) and returns its length. What is
 * only shown (counters, use, ...) and status bits that cannot be restored are left out. Throws a RangeError
 * with the field's path if a value is not possible.
 */
export function recordFromFlow(flow: Flow, m: Memory, at: number): number {
  const { u8, u32 } = m;
  const family = familyOfFlow(flow);
  const addr = family === AF_INET6 ? 16 : 4;
  const protocol = protocolNumber('flow.protocol', flow.protocol);
  u8.fill(0, at, at + offParts(addr));
  writeKey(flow, m, at, family, protocol);
  writeTuple('flow.original', flow.original, m, protocol, addr, at + OFF_ORIG_L4, at + OFF_ORIG_SRC);
  if (flow.reply === undefined) writeInverseReply(m, at);
  else writeTuple('flow.reply', flow.reply, m, protocol, addr, at + offReplyL4(addr), at + offReplySrc(addr));
  let status = 0;
  for (const [i, name] of (flow.status ?? []).entries()) {
    const bit = STATUS_NAMES.indexOf(name);
    if (bit < 0) fail(`flow.status[${i}]`, name, `one of ${STATUS_NAMES.join(', ')}`);
    status |= 1 << bit;
  }
  u32[(at + offStatus(addr)) >>> 2] = status;
  u32[(at + offMark(addr)) >>> 2] = integer('flow.mark', flow.mark, U32_MAX);
  u32[(at + OFF_TIMEOUT) >>> 2] = integer('flow.timeout', flow.timeout, U32_MAX);
  u32[(at + OFF_ID) >>> 2] = integer('flow.id', flow.id, U32_MAX);
  u8[at + OFF_HAS] = (flow.timeout === undefined ? 0 : HAS_TIMEOUT) | (flow.id === undefined ? 0 : HAS_ID);
  if (flow.protoinfo !== undefined) writeProtoinfo(flow.protoinfo, m, at, protocol, addr);
  const parts = new PartWriter(m, at, at + offParts(addr));
  writeParts(flow, m, family, parts);
  m.u16[(at + OFF_LENGTH) >>> 1] = parts.to - at;
  const length = normalise(m, at);
  const reason = validateRecord(m, at, length);
  if (reason !== undefined) throw new RangeError(`flow: no record can be made of it: ${reason}`);
  return length;
}
