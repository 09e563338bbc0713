/**
 * What happens to a flow that the kernel has already, when a commit wants to create it (PROTOCOL.md, section 6).
 *
 * | the kernel's flow, against the replica's record                         | verdict |
 * |-------------------------------------------------------------------------|---------|
 * | equal in everything durable                                             | KEEP    |
 * | same immutable fields, not touched here, a helper of the same name      | UPDATE, sticky bits kept |
 * | same immutable fields, touched here (or born here after the cut)        | JOIN    |
 * | same immutable fields, not touched, another helper, or no labels any     | REPLACE |
 * |   more (no update can do it)                                             |         |
 * | other immutable fields: ASSURED, seen both ways and born after the cut  | STAY: the kernel's flow lives on |
 * | other immutable fields                                                  | REPLACE: delete by key and id, create |
 *
 * What an update cannot do (F4, F5, FACTS section 4): another reply tuple or master, a cleared sticky bit, a helper, to
 * take away labels.
 */
import {
  IPS_ASSURED,
  IPS_DST_NAT,
  IPS_EXPECTED,
  IPS_FIXED_TIMEOUT,
  IPS_SEEN_REPLY,
  IPS_SRC_NAT,
} from '../flow/conntrack-enums.js';
import { durableEqual, immutableEqual, isBeyondUpdate, joinRecords } from '../flow/merge.js';
import { addressBytes, copyRecord, findPart, type Memory, offStatus, PART_HELPER } from '../flow/record.js';

export const KEEP = 1;
export const UPDATE = 2;
export const JOIN = 3;
export const REPLACE = 4;
export const STAY = 5;

/** Status bits that an update must repeat, or it fails or is pointless. */
const KEPT_STATUS = IPS_SEEN_REPLY | IPS_ASSURED | IPS_FIXED_TIMEOUT;
/** Status bits that only the kernel sets: from the master, and from what the reply tuple says. */
const SET_BY_KERNEL = IPS_EXPECTED | IPS_SRC_NAT | IPS_DST_NAT;
const LIVE_STATUS = IPS_SEEN_REPLY | IPS_ASSURED;

/** The verdict on the kernel's flow at `kernelAt`, wanted as the record at `at`. */
export function judge(
  m: Memory,
  at: number,
  kernel: Memory,
  kernelAt: number,
  isTouched: boolean,
  isBornHere: boolean,
): number {
  if (durableEqual(m, at, kernel, kernelAt)) return KEEP;
  if (!immutableEqual(m, at, kernel, kernelAt)) {
    return isBornHere && isLive(kernel, kernelAt) ? STAY : REPLACE;
  }
  if (isTouched || isBornHere) return JOIN;
  if (!hasSameHelper(m, at, kernel, kernelAt)) return REPLACE;
  return isBeyondUpdate(kernel, kernelAt, m, at) ? REPLACE : UPDATE;
}

/** True if the flow is ASSURED and was seen in both directions. */
export function isLive(m: Memory, at: number): boolean {
  return (m.u32[(at + offStatus(addressBytes(m, at))) >>> 2] & LIVE_STATUS) === LIVE_STATUS;
}

/** Writes the record that an UPDATE or JOIN aims at to `out`, and returns its length. */
export function writeGoal(
  verdict: number,
  m: Memory,
  at: number,
  kernel: Memory,
  kernelAt: number,
  out: Memory,
  outAt: number,
): number {
  const length =
    verdict === JOIN ? joinRecords(kernel, kernelAt, m, at, out, outAt) : copyRecord(m, at, out, outAt);
  const status = offStatus(addressBytes(m, at));
  const has = kernel.u32[(kernelAt + status) >>> 2];
  const word = (outAt + status) >>> 2;
  out.u32[word] = (out.u32[word] & ~SET_BY_KERNEL) | (has & (KEPT_STATUS | SET_BY_KERNEL));
  return length;
}

function hasSameHelper(a: Memory, aAt: number, b: Memory, bAt: number): boolean {
  const p = findPart(a, aAt, PART_HELPER);
  const q = findPart(b, bAt, PART_HELPER);
  if (p < 0 || q < 0) return p === q;
  const bytes = a.u16[(p >>> 1) + 1];
  if (bytes !== b.u16[(q >>> 1) + 1]) return false;
  for (let i = 4; i < 4 + bytes; i++) if (a.u8[p + i] !== b.u8[q + i]) return false;
  return true;
}
