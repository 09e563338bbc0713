/** Makes packed records from a short description, for tests of everything that takes records. */
import { AF_INET, AF_INET6, IPPROTO_ICMP, IPPROTO_TCP, IPPROTO_UDP } from '../../src/flow/conntrack-enums.js';
import { normalise } from '../../src/flow/normalise.js';
import {
  allocateMemory,
  HAS_ID,
  HAS_TIMEOUT,
  MAX_RECORD_BYTES,
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
  offOrigDst,
  offParts,
  offProtoBits,
  offReplyDst,
  offReplyL4,
  offReplySrc,
  offState,
  offStatus,
  offTcpFlags,
  offWscale,
  PART_HELPER,
  PART_LABELS,
  PART_MASTER,
  PART_SEQADJ_ORIG,
  PROTO_HAS_FLAGS_ORIG,
  PROTO_HAS_FLAGS_REPLY,
  PROTO_HAS_STATE,
  PROTO_HAS_WSCALE_ORIG,
  PROTO_HAS_WSCALE_REPLY,
} from '../../src/flow/record.js';
import { writeInverseReply } from '../../src/flow/tuple.js';

/** One direction of a flow: addresses as text, ports (for ICMP: id, type). */
export interface TupleDescription {
  source: string;
  destination: string;
  sourcePort?: number;
  destinationPort?: number;
}

/** A flow for a test; what is left out is TCP, plain inverse reply, no status, no mark. */
export interface FlowDescription extends TupleDescription {
  protocol?: 'tcp' | 'udp' | 'icmp';
  reply?: TupleDescription;
  status?: number;
  mark?: number;
  timeout?: number;
  id?: number;
  zone?: number;
  /** ZONE_BOTH, ZONE_ORIGINAL or ZONE_REPLY. */
  zoneDirection?: number;
  state?: number;
  wscale?: [number, number];
  helper?: string;
  labels?: number;
  seqadj?: [number, number, number];
  master?: TupleDescription & { protocol?: 'tcp' | 'udp' | 'icmp' };
}

const TCP_BITS =
  PROTO_HAS_STATE |
  PROTO_HAS_WSCALE_ORIG |
  PROTO_HAS_WSCALE_REPLY |
  PROTO_HAS_FLAGS_ORIG |
  PROTO_HAS_FLAGS_REPLY;
const PROTOCOLS = { tcp: IPPROTO_TCP, udp: IPPROTO_UDP, icmp: IPPROTO_ICMP };

/** A record in memory of its own. */
export interface RecordInMemory {
  readonly m: Memory;
  readonly at: number;
}

/** Bytes of a test's address: dotted IPv4, or IPv6 with at most one "::" and no dotted tail. */
export function testAddressBytes(text: string): number[] {
  if (!text.includes(':')) return text.split('.').map(Number);
  const [head, tail] = text.split('::');
  const words = (part: string | undefined): number[] =>
    part === undefined || part === '' ? [] : part.split(':').map((word) => Number.parseInt(word, 16));
  const front = words(head);
  const back = words(tail);
  const all = [...front, ...new Array(8 - front.length - back.length).fill(0), ...back];
  return all.flatMap((word) => [word >> 8, word & 0xff]);
}

function writeL4(m: Memory, at: number, protocol: number, tuple: TupleDescription): void {
  const source = tuple.sourcePort ?? 0;
  const destination = tuple.destinationPort ?? 0;
  m.u8.set([source >> 8, source & 0xff], at);
  // ICMP: id, then type (here the "destination port") and code 0.
  m.u8.set(protocol === IPPROTO_ICMP ? [destination, 0] : [destination >> 8, destination & 0xff], at + 2);
}

/** Writes parts (type, bytes) at `p`; returns where they end. */
function writePart(m: Memory, p: number, type: number, bytes: ArrayLike<number>): number {
  m.u16[p >>> 1] = type;
  m.u16[(p >>> 1) + 1] = bytes.length;
  m.u8.fill(0, p + 4, p + 4 + ((bytes.length + 3) & ~3));
  m.u8.set(bytes, p + 4);
  return p + 4 + ((bytes.length + 3) & ~3);
}

function words(values: readonly number[]): number[] {
  return [...new Uint8Array(Uint32Array.from(values).buffer)];
}

function writeParts(m: Memory, at: number, from: number, flow: FlowDescription): number {
  let p = from;
  if (flow.labels !== undefined) p = writePart(m, p, PART_LABELS, words([flow.labels, 0, 0, 0]));
  if (flow.helper !== undefined) p = writePart(m, p, PART_HELPER, Buffer.from(flow.helper));
  if (flow.master !== undefined) {
    const source = testAddressBytes(flow.master.source);
    const protocol = PROTOCOLS[flow.master.protocol ?? 'tcp'];
    const family = source.length === 16 ? AF_INET6 : AF_INET;
    const bytes = [family, protocol, 0, 0, 0, 0, 0, 0, ...source];
    const part = p;
    p = writePart(m, p, PART_MASTER, [...bytes, ...testAddressBytes(flow.master.destination)]);
    writeL4(m, part + 8, protocol, flow.master);
  }
  if (flow.seqadj !== undefined) p = writePart(m, p, PART_SEQADJ_ORIG, words(flow.seqadj));
  return p - at;
}

/** Writes the normalised record of `flow` at `at`, and returns its length. */
export function writeRecord(m: Memory, at: number, flow: FlowDescription): number {
  m.u8.fill(0, at, at + MAX_RECORD_BYTES);
  const source = testAddressBytes(flow.source);
  const addr = source.length;
  const protocol = PROTOCOLS[flow.protocol ?? 'tcp'];
  const family = addr === 16 ? AF_INET6 : AF_INET;
  m.u8[at + OFF_FAMILY] = family | ((flow.zoneDirection ?? 0) << 6);
  m.u8[at + OFF_PROTOCOL] = protocol;
  m.u16[(at + OFF_ZONE) >>> 1] = flow.zone ?? 0;
  m.u8[at + OFF_HAS] = (flow.timeout === undefined ? 0 : HAS_TIMEOUT) | (flow.id === undefined ? 0 : HAS_ID);
  m.u32[(at + OFF_TIMEOUT) >>> 2] = flow.timeout ?? 0;
  m.u32[(at + OFF_ID) >>> 2] = flow.id ?? 0;
  writeL4(m, at + OFF_ORIG_L4, protocol, flow);
  m.u8.set(source, at + OFF_ORIG_SRC);
  m.u8.set(testAddressBytes(flow.destination), at + offOrigDst(addr));
  if (flow.reply === undefined) writeInverseReply(m, at);
  else {
    m.u8.set(testAddressBytes(flow.reply.source), at + offReplySrc(addr));
    m.u8.set(testAddressBytes(flow.reply.destination), at + offReplyDst(addr));
    writeL4(m, at + offReplyL4(addr), protocol, flow.reply);
  }
  m.u32[(at + offStatus(addr)) >>> 2] = flow.status ?? 0;
  m.u32[(at + offMark(addr)) >>> 2] = flow.mark ?? 0;
  if (flow.state !== undefined) {
    m.u8[at + offState(addr)] = flow.state;
    // A kernel that tells a TCP state tells flags and window scales with it, also when they are 0.
    m.u8[at + offProtoBits(addr)] = protocol === IPPROTO_TCP ? TCP_BITS : PROTO_HAS_STATE;
  }
  if (flow.wscale !== undefined) {
    m.u8[at + offWscale(addr)] = flow.wscale[0] | (flow.wscale[1] << 4);
    m.u8[at + offTcpFlags(addr)] = 0x33;
  }
  m.u16[(at + OFF_LENGTH) >>> 1] = writeParts(m, at, at + offParts(addr), flow);
  return normalise(m, at);
}

/** The normalised record of `flow`. */
export function makeRecord(flow: FlowDescription): RecordInMemory {
  const m = allocateMemory(MAX_RECORD_BYTES);
  writeRecord(m, 0, flow);
  return { m, at: 0 };
}
