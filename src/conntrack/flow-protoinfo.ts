/** State, tags and role of a flow's record, as conntrack(8) writes them, and the request that changes them. */
import { IPPROTO_SCTP } from '../flow/conntrack-enums.js';
import * as R from '../flow/record.js';
import * as E from '../kernel/enums.js';
import { statusOf, zoneOf } from './flow-match.js';
import { type ProtoinfoSettings, writeProtoinfo } from './protoinfo-attributes.js';
import type { Requester } from './requester.js';
import { writeTuple } from './tuple-attributes.js';

/** A tag's bytes as they stand in the kernel, read as a number of this machine: what -I takes again. */
export const tagAsStored = (tag: number): number =>
  ((tag << 24) | ((tag & 0xff00) << 8) | ((tag >>> 8) & 0xff00) | (tag >>> 24)) >>> 0;

/** What the flow has; without a state, nothing. */
export function protoinfoOf(m: R.Memory, at: number): ProtoinfoSettings {
  const addr = R.addressBytes(m, at);
  const bits = m.u8[at + R.offProtoBits(addr)];
  if ((bits & R.PROTO_HAS_STATE) === 0) return {};
  const state = m.u8[at + R.offState(addr)];
  const isServer = (bits & R.PROTO_ROLE_SERVER) !== 0;
  const tags = m.u8[at + R.OFF_PROTOCOL] === IPPROTO_SCTP ? R.findPart(m, at, R.PART_SCTP_VTAGS) : -1;
  if (tags < 0) return { state, isServer };
  const [vtagOriginal, vtagReply] = [m.u32[(tags + 4) >>> 2], m.u32[(tags + 8) >>> 2]].map(tagAsStored);
  return { state, isServer, vtagOriginal, vtagReply };
}

/** What the flow has with what is wanted in its place. */
export function changedProtoinfo(has: ProtoinfoSettings, wanted: ProtoinfoSettings): ProtoinfoSettings {
  const given = Object.entries(wanted).filter(([, value]) => value !== undefined);
  return { ...has, ...Object.fromEntries(given) };
}

export const isSameProtoinfo = (a: ProtoinfoSettings, b: ProtoinfoSettings): boolean =>
  a.state === b.state &&
  a.vtagOriginal === b.vtagOriginal &&
  a.vtagReply === b.vtagReply &&
  a.isServer === b.isServer;

/**
 * Changes a flow's protoinfo together with the other attributes of `attributes` (1 << CTA_*), which are taken from the
 * record at 0. Returns 0 or a positive errno.
 */
export function requestChange(
  requester: Requester,
  m: R.Memory,
  attributes: number,
  info: ProtoinfoSettings,
): number {
  const out = requester.request;
  const addr = R.addressBytes(m, 0);
  const protocol = m.u8[R.OFF_PROTOCOL];
  const has = (type: number) => (attributes & (1 << type)) !== 0;
  requester.beginFlow(E.IPCTNL_MSG_CT_NEW, 0, R.familyOf(m, 0));
  const source = m.u8.subarray(R.OFF_ORIG_SRC, R.OFF_ORIG_SRC + addr);
  const destination = m.u8.subarray(R.offOrigDst(addr), R.offOrigDst(addr) + addr);
  const tuple = { source, destination, protocol, l4: m.u32[R.OFF_ORIG_L4 >>> 2] };
  const zone = zoneOf(m, 0, R.ZONE_ORIGINAL);
  writeTuple(out, E.CTA_TUPLE_ORIG, tuple, zone === 0 ? undefined : zone);
  if (has(E.CTA_STATUS)) out.u32(E.CTA_STATUS, statusOf(m, 0) | m.u32[R.offStatus(addr) >>> 2]);
  writeProtoinfo(out, protocol, info);
  if (has(E.CTA_TIMEOUT)) out.u32(E.CTA_TIMEOUT, m.u32[R.OFF_TIMEOUT >>> 2]);
  if (has(E.CTA_MARK)) out.u32(E.CTA_MARK, m.u32[R.offMark(addr) >>> 2]);
  const both = zoneOf(m, 0, R.ZONE_BOTH);
  if (both !== 0) out.u16(E.CTA_ZONE, both);
  const labels = has(E.CTA_LABELS) ? R.findPart(m, 0, R.PART_LABELS) : -1;
  if (labels >= 0) out.data(E.CTA_LABELS, m.u8.subarray(labels + 4, labels + 20));
  return requester.send();
}
