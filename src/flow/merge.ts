/**
 * What an event does to what is known of a flow: pure functions from two records to one.
 *
 * Kernel updates are partial (a mark change carries no protoinfo), so an update overlays; a NEW tells
 * everything and replaces (the caller copies it). A kernel of 6.18 omits what was cleared: see `whenAbsent`
 * below.
 */
import { IPPROTO_SCTP, IPPROTO_TCP, IPS_EXPECTED, TCP_CONNTRACK_LISTEN } from './conntrack-enums.js';
import {
  SEEN_LABELS,
  SEEN_MARK,
  SEEN_MASTER,
  SEEN_PROTOINFO,
  SEEN_SEQADJ,
  SEEN_STATUS,
  SEEN_SYNPROXY,
} from './kernel-port.js';
import { normalise } from './normalise.js';
import {
  addressBytes,
  copyRecord,
  findPart,
  HAS_ID,
  HAS_TIMEOUT,
  keyBytes,
  lengthOf,
  type Memory,
  OFF_FAMILY,
  OFF_HAS,
  OFF_ID,
  OFF_IDLE,
  OFF_KEY,
  OFF_LENGTH,
  OFF_PROTOCOL,
  OFF_TIMEOUT,
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
  STICKY_STATUS,
} from './record.js';

/** A life never changes these: another value is another life. The key is among them by being the key. */
export const IMMUTABLE_FIELDS = ['zone', 'reply', 'master'] as const;
/** A life never loses these status bits: one that is gone means another life. */
export const STICKY_FIELDS = ['EXPECTED', 'SEEN_REPLY', 'ASSURED'] as const;
/** These may change to anything within a life. */
export const FREE_FIELDS = [
  'status',
  'mark',
  'protoinfo',
  'labels',
  'helper',
  'seqadj',
  'synproxy',
  'timeout',
] as const;

/** Bits of `status` whose loss ends a life; a related flow is EXPECTED from its first packet to its last. */
const NEVER_LOST = STICKY_STATUS | IPS_EXPECTED;

/**
 * How an update treats each part: which SEEN_* bit names it, and what a part that is named but absent
 * means.
 */
const PART_RULES = [
  { part: PART_LABELS, seen: SEEN_LABELS, whenAbsent: 'clear' },
  // The kernel tells a helper in every update, as long as there is one: silence means it was removed.
  { part: PART_HELPER, seen: 0, whenAbsent: 'clear' },
  // Told by NEW, dumps and ctnetlink's own updates only, and never changed.
  { part: PART_MASTER, seen: SEEN_MASTER, whenAbsent: 'keep' },
  { part: PART_SEQADJ_ORIG, seen: SEEN_SEQADJ, whenAbsent: 'clear' },
  { part: PART_SEQADJ_REPLY, seen: SEEN_SEQADJ, whenAbsent: 'clear' },
  { part: PART_SYNPROXY, seen: SEEN_SYNPROXY, whenAbsent: 'clear' },
  { part: PART_SCTP_VTAGS, seen: SEEN_PROTOINFO, whenAbsent: 'keep' },
  { part: PART_DCCP_HANDSHAKE_SEQ, seen: SEEN_PROTOINFO, whenAbsent: 'keep' },
] as const;

const SEEN_ALWAYS = 0x100;
const ABSENT_CLEARS = 0x200;
/** PART_RULES by part type, as bits; unknown types: 0, the event's part wins if it is there. */
const RULE_OF = new Uint16Array(PART_SHOWN);
for (const { part, seen, whenAbsent } of PART_RULES) {
  RULE_OF[part] = (seen === 0 ? SEEN_ALWAYS : seen) | (whenAbsent === 'clear' ? ABSENT_CLEARS : 0);
}

/** Copies the part at `p` to `to`, and returns where it ends there. */
function copyPart(m: Memory, p: number, out: Memory, to: number): number {
  const end = p + 4 + ((m.u16[(p >>> 1) + 1] + 3) & ~3);
  for (let i = p; i < end; i += 4, to += 4) out.u32[to >>> 2] = m.u32[i >>> 2];
  return to;
}

/** Merges the parts of table and event (both ascending) into `out` from `to`; returns where they end. */
function overlayParts(
  table: Memory,
  tableAt: number,
  event: Memory,
  eventAt: number,
  seen: number,
  out: Memory,
  to: number,
): number {
  const parts = offParts(addressBytes(table, tableAt));
  const tableEnd = tableAt + lengthOf(table, tableAt);
  const eventEnd = eventAt + lengthOf(event, eventAt);
  let a = tableAt + parts;
  let b = eventAt + parts;
  while (a < tableEnd || b < eventEnd) {
    const typeA = a < tableEnd ? table.u16[a >>> 1] : PART_SHOWN;
    const typeB = b < eventEnd ? event.u16[b >>> 1] : PART_SHOWN;
    const type = Math.min(typeA, typeB);
    if (type >= PART_SHOWN) break;
    const rule = RULE_OF[type];
    const isCleared = (rule & ABSENT_CLEARS) !== 0 && (rule & (seen | SEEN_ALWAYS)) !== 0;
    // A part that the event has was told, whatever `seen` says.
    if (typeB === type) to = copyPart(event, b, out, to);
    else if (!isCleared) to = copyPart(table, a, out, to);
    if (typeA === type) a += 4 + ((table.u16[(a >>> 1) + 1] + 3) & ~3);
    if (typeB === type) b += 4 + ((event.u16[(b >>> 1) + 1] + 3) & ~3);
  }
  return to;
}

/** Overlays what the event's protoinfo tells; a DESTROY, for one, tells the state only. */
function overlayProtoinfo(event: Memory, eventAt: number, out: Memory, outAt: number, addr: number): void {
  const from = event.u8;
  const to = out.u8;
  const bits = from[eventAt + offProtoBits(addr)];
  let known = to[outAt + offProtoBits(addr)];
  if (bits & PROTO_HAS_STATE) to[outAt + offState(addr)] = from[eventAt + offState(addr)];
  let mask = (bits & PROTO_HAS_WSCALE_ORIG ? 0x0f : 0) | (bits & PROTO_HAS_WSCALE_REPLY ? 0xf0 : 0);
  to[outAt + offWscale(addr)] =
    (to[outAt + offWscale(addr)] & ~mask) | (from[eventAt + offWscale(addr)] & mask);
  mask = (bits & PROTO_HAS_FLAGS_ORIG ? 0x0f : 0) | (bits & PROTO_HAS_FLAGS_REPLY ? 0xf0 : 0);
  to[outAt + offTcpFlags(addr)] =
    (to[outAt + offTcpFlags(addr)] & ~mask) | (from[eventAt + offTcpFlags(addr)] & mask);
  if (bits & PROTO_HAS_ROLE) known &= ~PROTO_ROLE_SERVER;
  to[outAt + offProtoBits(addr)] = known | bits;
}

/**
 * Overlays an UPDATE (`seen` says what it carried) on the table's record of the same key, writes the
 * normalised result at `outAt` (MAX_RECORD_BYTES free, not one of the inputs) and returns its length.
 */
export function mergeEvent(
  table: Memory,
  tableAt: number,
  event: Memory,
  eventAt: number,
  seen: number,
  out: Memory,
  outAt: number,
): number {
  const addr = addressBytes(table, tableAt);
  const fixed = offParts(addr);
  const o = outAt >>> 2;
  const e = eventAt >>> 2;
  for (let i = 0; i < fixed >>> 2; i++) out.u32[o + i] = table.u32[(tableAt >>> 2) + i];

  const has = event.u8[eventAt + OFF_HAS];
  out.u8[outAt + OFF_HAS] |= has;
  if (has & HAS_TIMEOUT) out.u32[o + (OFF_TIMEOUT >>> 2)] = event.u32[e + (OFF_TIMEOUT >>> 2)];
  if (has & HAS_ID) out.u32[o + (OFF_ID >>> 2)] = event.u32[e + (OFF_ID >>> 2)];
  if (event.u8[eventAt + OFF_IDLE] !== 0) out.u8[outAt + OFF_IDLE] = event.u8[eventAt + OFF_IDLE];

  // Every event has both tuples.
  const replyEnd = (offReplyL4(addr) >>> 2) + 1;
  for (let i = offReplySrc(addr) >>> 2; i < replyEnd; i++) out.u32[o + i] = event.u32[e + i];
  if (seen & SEEN_STATUS) out.u32[o + (offStatus(addr) >>> 2)] = event.u32[e + (offStatus(addr) >>> 2)];
  if (seen & SEEN_MARK) out.u32[o + (offMark(addr) >>> 2)] = event.u32[e + (offMark(addr) >>> 2)];
  if (seen & SEEN_PROTOINFO) overlayProtoinfo(event, eventAt, out, outAt, addr);

  const end = overlayParts(table, tableAt, event, eventAt, seen, out, outAt + fixed);
  out.u16[(outAt + OFF_LENGTH) >>> 1] = end - outAt;
  return normalise(out, outAt);
}

/**
 * Writes the record at `at` with the sequence adjustment of `from` to `outAt` (MAX_RECORD_BYTES free, not one of the
 * inputs), and returns its length. Nothing else of `from` counts.
 */
export function withSeqadjOf(
  m: Memory,
  at: number,
  from: Memory,
  fromAt: number,
  out: Memory,
  outAt: number,
): number {
  const fixed = offParts(addressBytes(m, at));
  for (let i = 0; i < fixed >>> 2; i++) out.u32[(outAt >>> 2) + i] = m.u32[(at >>> 2) + i];
  const end = at + lengthOf(m, at);
  let p = at + fixed;
  let to = outAt + fixed;
  for (; p < end && m.u16[p >>> 1] < PART_SEQADJ_ORIG; p += partBytes(m, p)) to = copyPart(m, p, out, to);
  for (const type of [PART_SEQADJ_ORIG, PART_SEQADJ_REPLY]) {
    const part = findPart(from, fromAt, type);
    if (part >= 0) to = copyPart(from, part, out, to);
  }
  for (; p < end; p += partBytes(m, p)) if (m.u16[p >>> 1] > PART_SEQADJ_REPLY) to = copyPart(m, p, out, to);
  out.u16[(outAt + OFF_LENGTH) >>> 1] = to - outAt;
  return normalise(out, outAt);
}

const partBytes = (m: Memory, p: number): number => 4 + ((m.u16[(p >>> 1) + 1] + 3) & ~3);

/** True if the two records have the same part of this type, or neither has one. */
export function partEqual(a: Memory, aAt: number, b: Memory, bAt: number, type: number): boolean {
  const p = findPart(a, aAt, type);
  const q = findPart(b, bAt, type);
  if (p < 0 || q < 0) return p === q;
  const words = 1 + ((a.u16[(p >>> 1) + 1] + 3) >>> 2);
  for (let i = 0; i < words; i++) if (a.u32[(p >>> 2) + i] !== b.u32[(q >>> 2) + i]) return false;
  return true;
}

/** True if both have the same family, protocol, zone with direction, and reply tuple. */
function zoneAndReplyEqual(a: Memory, aAt: number, b: Memory, bAt: number): boolean {
  // Family, zone direction, protocol and zone share one word.
  if (a.u32[(aAt + OFF_FAMILY) >>> 2] !== b.u32[(bAt + OFF_FAMILY) >>> 2]) return false;
  const addr = addressBytes(a, aAt);
  const end = (offReplyL4(addr) >>> 2) + 1;
  for (let i = offReplySrc(addr) >>> 2; i < end; i++) {
    if (a.u32[(aAt >>> 2) + i] !== b.u32[(bAt >>> 2) + i]) return false;
  }
  return true;
}

/**
 * True if the immutable fields (zone, reply tuple, master) are the same: the kernel can turn one into the
 * other.
 */
export function immutableEqual(a: Memory, aAt: number, b: Memory, bAt: number): boolean {
  return zoneAndReplyEqual(a, aAt, b, bAt) && partEqual(a, aAt, b, bAt, PART_MASTER);
}

/**
 * True if `next` cannot be a later moment of the life that `old` shows. `next` may be an event, a merged
 * record or a dump row: an absent master says nothing by itself (updates omit it), the lost EXPECTED bit
 * does.
 */
export function isNewLife(old: Memory, oldAt: number, next: Memory, nextAt: number): boolean {
  if (!zoneAndReplyEqual(old, oldAt, next, nextAt)) return true;
  const status = offStatus(addressBytes(old, oldAt));
  const lost = old.u32[(oldAt + status) >>> 2] & ~next.u32[(nextAt + status) >>> 2];
  if ((lost & NEVER_LOST) !== 0) return true;
  return findPart(next, nextAt, PART_MASTER) >= 0 && !partEqual(old, oldAt, next, nextAt, PART_MASTER);
}

/**
 * True if no update of the kernel makes `old` of `next`, though both may be of one life: labels are only ever replaced,
 * and of a flow that has a helper nobody takes it away or gives it another.
 */
export function isBeyondUpdate(old: Memory, oldAt: number, next: Memory, nextAt: number): boolean {
  if (lengthOf(old, oldAt) === offParts(addressBytes(old, oldAt))) return false;
  if (findPart(old, oldAt, PART_LABELS) >= 0 && findPart(next, nextAt, PART_LABELS) < 0) return true;
  return findPart(old, oldAt, PART_HELPER) >= 0 && !partEqual(old, oldAt, next, nextAt, PART_HELPER);
}

/** True if the two normalised records are the same but for timeout, idle class and ct id. */
export function durableEqual(a: Memory, aAt: number, b: Memory, bAt: number): boolean {
  const length = lengthOf(a, aAt);
  if (length !== lengthOf(b, bAt)) return false;
  const i = aAt >>> 2;
  const j = bAt >>> 2;
  for (let k = OFF_KEY >>> 2; k < length >>> 2; k++) if (a.u32[i + k] !== b.u32[j + k]) return false;
  return true;
}

/**
 * A flow that the kernel has handed to a flow table (IPS_OFFLOAD) shows neither protoinfo nor timeout in dumps and answers
 * (ctnetlink_dump_info), and TCP's flows always show it otherwise. Writes what is known of it into such a row, in place.
 */
export function keepProtoinfo(known: Memory, knownAt: number, row: Memory, rowAt: number): void {
  if (row.u8[rowAt + OFF_PROTOCOL] !== IPPROTO_TCP) return;
  const addr = addressBytes(row, rowAt);
  if ((row.u8[rowAt + offProtoBits(addr)] & PROTO_HAS_STATE) !== 0) return;
  row.u32[(rowAt + offState(addr)) >>> 2] = known.u32[(knownAt + offState(addr)) >>> 2];
}

/** True if the two records have one key: family, zone, protocol, original tuple. */
export function keyEqual(a: Memory, aAt: number, b: Memory, bAt: number): boolean {
  const i = aAt >>> 2;
  const j = bAt >>> 2;
  const end = (OFF_KEY + keyBytes(addressBytes(a, aAt))) >>> 2;
  for (let k = OFF_KEY >>> 2; k < end; k++) if (a.u32[i + k] !== b.u32[j + k]) return false;
  return true;
}

/** How far a TCP state is along a connection's life; LISTEN is SYN_SENT2, a simultaneous open. */
function tcpRank(state: number): number {
  if (state === TCP_CONNTRACK_LISTEN) return 3;
  return 2 * state;
}

/** Takes b's protoinfo where it is further along than a's; what the handshake agreed on is never lost. */
function joinProtoinfo(b: Memory, bAt: number, out: Memory, outAt: number, addr: number): void {
  if (out.u8[outAt + OFF_PROTOCOL] !== IPPROTO_TCP) return;
  const u8 = out.u8;
  const otherBits = b.u8[bAt + offProtoBits(addr)];
  if ((otherBits & PROTO_HAS_STATE) === 0) return;
  const bits = u8[outAt + offProtoBits(addr)];
  const otherFlags = b.u8[bAt + offTcpFlags(addr)];
  const otherState = b.u8[bAt + offState(addr)];
  if ((bits & PROTO_HAS_STATE) === 0 || tcpRank(otherState) > tcpRank(u8[outAt + offState(addr)])) {
    u8[outAt + offState(addr)] = otherState;
  }
  // A record made by a mid-stream pickup lacks what the SYNs said.
  const flags = u8[outAt + offTcpFlags(addr)];
  if ((flags & 0x11) !== 0x11 && (otherFlags & 0x11) === 0x11) {
    u8[outAt + offTcpFlags(addr)] = otherFlags;
    u8[outAt + offWscale(addr)] = b.u8[bAt + offWscale(addr)];
  }
  u8[outAt + offProtoBits(addr)] = bits | otherBits;
}

/**
 * Joins two records of one life that went on apart, `a` the newer: status bits of both, the TCP state that is
 * further along, the rest from `a`. Writes at `outAt` (not one of the inputs), normalised; returns the
 * length.
 */
export function joinRecords(
  a: Memory,
  aAt: number,
  b: Memory,
  bAt: number,
  out: Memory,
  outAt: number,
): number {
  const length = copyRecord(a, aAt, out, outAt);
  const addr = addressBytes(a, aAt);
  out.u32[(outAt + offStatus(addr)) >>> 2] |= b.u32[(bAt + offStatus(addr)) >>> 2];
  joinProtoinfo(b, bAt, out, outAt, addr);
  // Vtags are told once, by the handshake, and the highest part there is: they can stand at the end.
  const vtags = findPart(b, bAt, PART_SCTP_VTAGS);
  if (
    vtags >= 0 &&
    out.u8[outAt + OFF_PROTOCOL] === IPPROTO_SCTP &&
    findPart(out, outAt, PART_SCTP_VTAGS) < 0 &&
    !hasPartAbove(out, outAt, PART_SCTP_VTAGS)
  ) {
    out.u16[(outAt + OFF_LENGTH) >>> 1] = copyPart(b, vtags, out, outAt + length) - outAt;
  }
  return normalise(out, outAt);
}

/** True if the record has a part of a higher type: nothing can be appended behind it. */
function hasPartAbove(m: Memory, at: number, type: number): boolean {
  const end = at + lengthOf(m, at);
  for (let p = at + offParts(addressBytes(m, at)); p + 4 <= end; ) {
    if (m.u16[p >>> 1] > type) return true;
    p += 4 + ((m.u16[(p >>> 1) + 1] + 3) & ~3);
  }
  return false;
}
