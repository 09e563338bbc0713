/**
 * The packed expectation. Numbers are in host order unless "net" says network order; A is 4 for IPv4 and 16 for IPv6,
 * a tuple is 4 bytes of L4 (ports, net; or ICMP id, type, code), A source, A destination: T = 4 + 2A bytes.
 *
 *       0 u16 length of the whole, bytes, a multiple of 4
 *       2 u16 timeout, seconds; 0: not known
 *      --- the key: 12 + 3T bytes -----------------------------------------------
 *       4 u8  family, u8 protocol of tuple and mask, u8 protocol of the master, u8 0
 *       8 u16 zone, u16 0
 *      12 u32 class
 *      16 T   tuple, T mask, T original tuple of the master
 *      --- the rest --------------------------------------------------------------
 *   16+3T u32 flags
 *   20+3T u8  NAT (NAT_*), u8 bytes of the helper's name, u8 bytes of the function's name, u8 0
 *   24+3T T   translation, if there is one
 *         the two names, padded to 4 with zeros
 *
 * Everything from byte 4 on is durable; equal expectations have equal bytes there. Expectations are few, so nothing
 * here is on a hot path.
 */
import { EXPECTATION_MAX_BYTES } from '../limits.js';
import { AF_INET, AF_INET6 } from './conntrack-enums.js';
import { allocateMemory, type Memory, OFF_FAMILY, OFF_ORIG_L4, OFF_PROTOCOL, OFF_ZONE } from './record.js';

export const EXP_OFF_TIMEOUT = 2;
export const EXP_OFF_KEY = 4;
export const EXP_OFF_FAMILY = 4;
export const EXP_OFF_PROTOCOL = 5;
export const EXP_OFF_MASTER_PROTOCOL = 6;
export const EXP_OFF_ZONE = 8;
export const EXP_OFF_CLASS = 12;
export const EXP_OFF_TUPLE = 16;

/** Translation of the expected flow: none, or CTA_EXPECT_NAT_DIR 0 (original) and 1 (reply), one higher. */
export const NAT_NONE = 0;
export const NAT_ORIGINAL = 1;
export const NAT_REPLY = 2;

/** Longest names. The kernel's are 15 (NF_CT_HELPER_NAME_LEN) and, so far, 17 ("nat-follow-master"). Bytes. */
export const EXPECT_HELPER_MAX_BYTES = 16;
export const EXPECT_FN_MAX_BYTES = 32;

/** NF_CT_EXPECT_INACTIVE, linux/netfilter/nf_conntrack_common.h: announced, and not yet granted by the other end. */
const FLAG_INACTIVE = 2;

const expectAddressBytes = (m: Memory, at: number): number =>
  m.u8[at + EXP_OFF_FAMILY] === AF_INET6 ? 16 : 4;
/** Bytes of one tuple: 12 or 36. */
export const tupleBytesOf = (m: Memory, at: number): number => 4 + 2 * expectAddressBytes(m, at);
export const expOffMask = (tupleBytes: number): number => EXP_OFF_TUPLE + tupleBytes;
export const expOffMaster = (tupleBytes: number): number => EXP_OFF_TUPLE + 2 * tupleBytes;
export const expOffFlags = (tupleBytes: number): number => EXP_OFF_TUPLE + 3 * tupleBytes;
export const expOffNat = (tupleBytes: number): number => 20 + 3 * tupleBytes;
export const expOffHelperBytes = (tupleBytes: number): number => 21 + 3 * tupleBytes;
export const expOffFnBytes = (tupleBytes: number): number => 22 + 3 * tupleBytes;
export const expOffNatTuple = (tupleBytes: number): number => 24 + 3 * tupleBytes;

/** Where the names stand, from the expectation's start. */
export const expOffNames = (m: Memory, at: number): number => {
  const t = tupleBytesOf(m, at);
  return expOffNatTuple(t) + (m.u8[at + expOffNat(t)] === NAT_NONE ? 0 : t);
};

/** Length of the expectation at `at`, bytes. */
export const expectationBytes = (m: Memory, at: number): number => m.u16[at >>> 1];

/** Bytes of the key that starts at EXP_OFF_KEY: 48 for IPv4, 120 for IPv6. */
export const expectationKeyBytes = (m: Memory, at: number): number => 12 + 3 * tupleBytesOf(m, at);

/** The length that the fields say. */
export function measureExpectation(m: Memory, at: number): number {
  const t = tupleBytesOf(m, at);
  const names = m.u8[at + expOffHelperBytes(t)] + m.u8[at + expOffFnBytes(t)];
  return (expOffNames(m, at) + names + 3) & ~3;
}

/** A copy in memory of its own size. */
export function cloneExpectation(m: Memory, at: number): Memory {
  const bytes = expectationBytes(m, at);
  const copy = allocateMemory(bytes);
  copy.u8.set(m.u8.subarray(at, at + bytes));
  return copy;
}

/** The key as text with one character a byte, for maps. */
export function expectationKey(m: Memory, at: number): string {
  const from = at + EXP_OFF_KEY;
  return textOf(m, from, expectationKeyBytes(m, at));
}

/** Name of the master's helper; empty if none was told. */
export function expectationHelper(m: Memory, at: number): string {
  const t = tupleBytesOf(m, at);
  return textOf(m, at + expOffNames(m, at), m.u8[at + expOffHelperBytes(t)]);
}

/** Name of the function that the kernel calls when the flow comes; empty if none. */
export function expectationFn(m: Memory, at: number): string {
  const t = tupleBytesOf(m, at);
  const from = at + expOffNames(m, at) + m.u8[at + expOffHelperBytes(t)];
  return textOf(m, from, m.u8[at + expOffFnBytes(t)]);
}

const textOf = (m: Memory, from: number, bytes: number): string =>
  String.fromCharCode(...m.u8.subarray(from, from + bytes));

/** True if all durable bytes of both are equal. */
export function expectationsEqual(a: Memory, at: number, b: Memory, bAt: number): boolean {
  const bytes = expectationBytes(a, at);
  if (bytes !== expectationBytes(b, bAt)) return false;
  for (let i = EXP_OFF_KEY; i < bytes; i++) if (a.u8[at + i] !== b.u8[bAt + i]) return false;
  return true;
}

/** True for one that lets nothing in yet: a SIP registration that the registrar has not accepted. */
export const isInactive = (m: Memory, at: number): boolean =>
  (m.u32[(at + expOffFlags(tupleBytesOf(m, at))) >>> 2] & FLAG_INACTIVE) !== 0;

/** True if `b` is `a` after it was granted: a change that the kernel makes without an event. */
export function isGranted(a: Memory, at: number, b: Memory, bAt: number): boolean {
  if (!isInactive(a, at) || isInactive(b, bAt)) return false;
  const granted = cloneExpectation(a, at);
  granted.u32[expOffFlags(tupleBytesOf(a, at)) >>> 2] &= ~FLAG_INACTIVE;
  return expectationsEqual(granted, 0, b, bAt);
}

/** Writes the key of the master's flow at 0 of `flow`, as a flow record has it: to find the flow in the table. */
export function writeMasterKey(m: Memory, at: number, flow: Memory): void {
  const t = tupleBytesOf(m, at);
  flow.u8[OFF_FAMILY] = m.u8[at + EXP_OFF_FAMILY];
  flow.u8[OFF_PROTOCOL] = m.u8[at + EXP_OFF_MASTER_PROTOCOL];
  flow.u16[OFF_ZONE >>> 1] = m.u16[(at + EXP_OFF_ZONE) >>> 1];
  const from = at + expOffMaster(t);
  for (let i = 0; i < t; i += 4) flow.u32[(OFF_ORIG_L4 + i) >>> 2] = m.u32[(from + i) >>> 2];
}

/**
 * Why the `bytes` bytes at `at` are no expectation in normal form, or undefined. What comes from a link is asked here
 * before anything else reads it; nothing throws.
 */
export function validateExpectation(m: Memory, at: number, bytes: number): string | undefined {
  if (bytes < 24 || bytes > EXPECTATION_MAX_BYTES || (bytes & 3) !== 0) return 'expectation-length';
  const family = m.u8[at + EXP_OFF_FAMILY];
  if (family !== AF_INET && family !== AF_INET6) return 'expectation-family';
  const t = tupleBytesOf(m, at);
  if (bytes < expOffNatTuple(t) || bytes !== expectationBytes(m, at)) return 'expectation-length';
  const helperBytes = m.u8[at + expOffHelperBytes(t)];
  const fnBytes = m.u8[at + expOffFnBytes(t)];
  if (m.u8[at + 7] !== 0 || m.u16[(at + 10) >>> 1] !== 0 || m.u8[at + 23 + 3 * t] !== 0) {
    return 'expectation-reserved';
  }
  if (m.u8[at + expOffNat(t)] > NAT_REPLY) return 'expectation-nat';
  if (helperBytes > EXPECT_HELPER_MAX_BYTES || fnBytes > EXPECT_FN_MAX_BYTES) return 'expectation-name';
  if (bytes !== measureExpectation(m, at)) return 'expectation-length';
  let p = at + expOffNames(m, at);
  for (const end = p + helperBytes + fnBytes; p < end; p++) {
    if (m.u8[p] <= 0x20 || m.u8[p] > 0x7e) return 'expectation-name';
  }
  while (p < at + bytes) if (m.u8[p++] !== 0) return 'expectation-padding';
  return undefined;
}

/** True if the `bytes` bytes of a key that stand at EXP_OFF_KEY of the expectation at `at` are one. */
export function isExpectationKey(m: Memory, at: number, bytes: number): boolean {
  const family = m.u8[at + EXP_OFF_FAMILY];
  return (family === AF_INET || family === AF_INET6) && bytes === expectationKeyBytes(m, at);
}
