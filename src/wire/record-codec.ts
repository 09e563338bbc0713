/**
 * A record's wire form, both directions, without an allocation:
 *
 *     [ WIRE_UPSERT | flags, timeout or nil, idle, bin fixed, (part type, bin part)* ]
 *
 * `fixed` is the record from OFF_KEY to its parts, as it lies in memory (little-endian, ports and addresses
 * in network order): 40 bytes for IPv4 and 88 for IPv6, or 28 and 52 when UPSERT_INVERSE says that the reply
 * tuple is the inverse of the original. Unknown parts below PART_SHOWN go through untouched; the receiver's
 * record has the same bytes from OFF_KEY on as the sender's, which is what the digests are over.
 */
import { AF_INET, AF_INET6 } from '../flow/conntrack-enums.js';
import {
  addressBytes,
  HAS_TIMEOUT,
  keyBytes,
  lengthOf,
  MAX_TABLE_RECORD_BYTES,
  type Memory,
  OFF_HAS,
  OFF_IDLE,
  OFF_KEY,
  OFF_TIMEOUT,
  offParts,
  offReplySrc,
  offStatus,
} from '../flow/record.js';
import { replyIsInverse, writeInverseReply } from '../flow/tuple.js';
import type { ByteCursor } from './byte-cursor.js';
import type { ByteWriter } from './byte-writer.js';
import { UPSERT_FRESH, UPSERT_INVERSE, WIRE_DELETE, WIRE_UPSERT } from './ops.js';

/** Bytes of an UPSERT that are not record: heads, op, timeout, idle, bin head. */
const UPSERT_OVERHEAD_BYTES = 3 + 1 + 5 + 2 + 2;

/** Appends an UPSERT of the record at `at`; false, with nothing written, when it does not fit. */
export function encodeUpsert(w: ByteWriter, m: Memory, at: number, isFresh: boolean): boolean {
  const end = at + lengthOf(m, at);
  const addr = addressBytes(m, at);
  const parts = at + offParts(addr);
  let partCount = 0;
  for (let p = parts; p < end; p += partStep(m, p)) partCount++;
  // A part's head on the wire (type, bin head) is at most one byte longer than its head in the record.
  if (!w.hasRoom(UPSERT_OVERHEAD_BYTES + (end - at - OFF_KEY) + partCount)) return false;
  const inverse = replyIsInverse(m, at);
  w.array(4 + 2 * partCount);
  w.byte(WIRE_UPSERT | (isFresh ? UPSERT_FRESH : 0) | (inverse ? UPSERT_INVERSE : 0));
  if (m.u8[at + OFF_HAS] & HAS_TIMEOUT) w.uint(m.u32[(at + OFF_TIMEOUT) >>> 2]);
  else w.byte(0xc0);
  w.uint(m.u8[at + OFF_IDLE]);
  if (inverse) {
    w.binHead(offParts(addr) - OFF_KEY - 2 * addr - 4);
    w.bytes(m.u8, at + OFF_KEY, at + offReplySrc(addr));
    w.bytes(m.u8, at + offStatus(addr), parts);
  } else {
    w.binHead(offParts(addr) - OFF_KEY);
    w.bytes(m.u8, at + OFF_KEY, parts);
  }
  for (let p = parts; p < end; p += partStep(m, p)) {
    const bytes = m.u16[(p >>> 1) + 1];
    w.uint(m.u16[p >>> 1]);
    w.binHead(bytes);
    w.bytes(m.u8, p + 4, p + 4 + bytes);
  }
  return true;
}

/** Appends a DELETE of the key of the record at `at`; false when it does not fit. */
export function encodeDelete(w: ByteWriter, m: Memory, at: number): boolean {
  const bytes = keyBytes(addressBytes(m, at));
  if (!w.hasRoom(4 + bytes)) return false;
  w.array(2);
  w.byte(WIRE_DELETE);
  w.binHead(bytes);
  w.bytes(m.u8, at + OFF_KEY, at + OFF_KEY + bytes);
  return true;
}

/**
 * Reads the elements of an UPSERT after its op (`elements` of them) into the record at 0 of `out`, which
 * holds at least MAX_TABLE_RECORD_BYTES. Returns its length, 0 when it is msgpack but no record (the cursor
 * may then be anywhere in the op), -1 when it is not even that. The record is to be validated by the caller.
 */
export function decodeUpsert(c: ByteCursor, elements: number, flags: number, out: Memory): number {
  const timeout = c.uintOrNil();
  const idle = c.uint();
  if (timeout === -1 || idle === -1) return -1;
  const fixed = c.bin();
  if (fixed < 0) return -1;
  const parts = decodeFixed(c, fixed, flags, out);
  if (parts === 0 || idle > 255 || timeout > 0xffffffff) return 0;
  out.u32[0] = 0;
  out.u8[OFF_IDLE] = idle;
  out.u8[OFF_HAS] = timeout >= 0 ? HAS_TIMEOUT : 0;
  out.u32[OFF_TIMEOUT >>> 2] = Math.max(timeout, 0);
  out.u32[2] = 0;
  const end = elements > 3 ? decodeParts(c, elements - 3, out, parts) : parts;
  if (end > 0) out.u16[0] = end;
  return end;
}

/** Reads the key of a DELETE into the record at 0 of `out` (only the key is good); false when it is none. */
export function decodeDelete(c: ByteCursor, out: Memory): boolean {
  const bytes = c.bin();
  if (bytes < 0) return false;
  const from = c.at;
  c.at += bytes;
  if (bytes < 20 - OFF_KEY || bytes !== keyBytesOfFamily(c.u8[from] & 0x3f)) return false;
  copyBytes(c.u8, from, from + bytes, out.u8, OFF_KEY);
  out.u32[0] = 0;
  out.u32[1] = 0;
  out.u32[2] = 0;
  out.u16[0] = OFF_KEY + bytes;
  return true;
}

/** The fixed part; returns the offset of the parts, or 0. Leaves the cursor after the bin. */
function decodeFixed(c: ByteCursor, bytes: number, flags: number, out: Memory): number {
  const from = c.at;
  c.at += bytes;
  const addr = bytes > 0 ? addressBytesOfFamily(c.u8[from] & 0x3f) : 0;
  if (addr === 0) return 0;
  const whole = offParts(addr) - OFF_KEY;
  if ((flags & UPSERT_INVERSE) === 0) {
    if (bytes !== whole) return 0;
    copyBytes(c.u8, from, from + bytes, out.u8, OFF_KEY);
    return offParts(addr);
  }
  if (bytes !== whole - 2 * addr - 4) return 0;
  const key = keyBytes(addr);
  copyBytes(c.u8, from, from + key, out.u8, OFF_KEY);
  copyBytes(c.u8, from + key, from + bytes, out.u8, offStatus(addr));
  out.u16[0] = offParts(addr);
  writeInverseReply(out, 0);
  return offParts(addr);
}

/** The parts; returns the end of the record, 0 when they make none, -1 when they are cut off. */
function decodeParts(c: ByteCursor, elements: number, out: Memory, start: number): number {
  let at = start;
  for (let i = 0; i + 1 < elements; i += 2) {
    const type = c.uint();
    const bytes = type < 0 ? -1 : c.bin();
    if (bytes < 0) return -1;
    const from = c.at;
    c.at += bytes;
    if (type > 0xffff || at + 4 + bytes + 3 > MAX_TABLE_RECORD_BYTES) return 0;
    out.u16[at >>> 1] = type;
    out.u16[(at >>> 1) + 1] = bytes;
    const padded = (bytes + 3) & ~3;
    if (padded > 0) out.u32[(at + padded) >>> 2] = 0;
    copyBytes(c.u8, from, from + bytes, out.u8, at + 4);
    at += 4 + padded;
  }
  return (elements & 1) === 0 ? at : 0;
}

const partStep = (m: Memory, p: number): number => 4 + ((m.u16[(p >>> 1) + 1] + 3) & ~3);

const addressBytesOfFamily = (family: number): number =>
  family === AF_INET ? 4 : family === AF_INET6 ? 16 : 0;

function keyBytesOfFamily(family: number): number {
  const addr = addressBytesOfFamily(family);
  return addr === 0 ? -1 : keyBytes(addr);
}

function copyBytes(from: Uint8Array, at: number, end: number, to: Uint8Array, toAt: number): void {
  let j = toAt;
  for (let i = at; i < end; i++) to[j++] = from[i];
}
