/** What a dump asks for: which of the kernel's lists, and the part of a filter that the kernel itself can judge. */
import { usesPorts } from '../flow/tuple.js';
import type { AttributeWriter } from './attribute-writer.js';
import * as E from './enums.js';

/**
 * The table; the table, with every counter set to zero as it is told; flows that are destroyed and whose events wait for
 * a listener; flows whose first packet is still on its way (empty since Linux 5.19, which keeps no such list).
 */
export type DumpList = 'table' | 'zeroing' | 'dying' | 'unconfirmed';

const MESSAGES: Readonly<Record<DumpList, number>> = {
  table: E.IPCTNL_MSG_CT_GET,
  zeroing: E.IPCTNL_MSG_CT_GET_CTRZERO,
  dying: E.IPCTNL_MSG_CT_GET_DYING,
  unconfirmed: E.IPCTNL_MSG_CT_GET_UNCONFIRMED,
};

/** What one tuple must have; absent means any. Ports need a protocol that has them. */
export interface DumpTuple {
  /** Four bytes. An IPv6 address must be compared here: the kernel's own comparison of those is inverted (6.18). */
  readonly source?: Uint8Array;
  readonly destination?: Uint8Array;
  readonly protocol?: number;
  readonly sourcePort?: number;
  readonly destinationPort?: number;
}

/**
 * A filter that the kernel applies to the lists `table` and `zeroing`. Kernels before 6.8 know no zone here, those before
 * 5.8 neither tuples nor status: they show more, so who asks must look at every row again.
 */
export interface DumpFilter {
  /** AF_INET or AF_INET6; needed with a tuple. */
  readonly family?: number;
  readonly mark?: { readonly value: number; readonly mask: number };
  /** IPS_* bits: `value` of those in `mask`. */
  readonly status?: { readonly value: number; readonly mask: number };
  readonly zone?: number;
  readonly original?: DumpTuple;
  readonly reply?: DumpTuple;
}

// The flags of CTA_FILTER, net/netfilter/nf_internals.h: which attributes of a tuple count.
const F_IP_SRC = 1 << 0;
const F_IP_DST = 1 << 1;
const F_PROTO_NUM = 1 << 3;
const F_PROTO_SRC_PORT = 1 << 4;
const F_PROTO_DST_PORT = 1 << 5;

/** Writes the request and returns its bytes; throws RangeError for a filter that no kernel takes. */
export function writeDumpRequest(
  out: AttributeWriter,
  sequence: number,
  list: DumpList,
  filter: DumpFilter = {},
): number {
  const tuples = [filter.original, filter.reply].map((tuple) => (tuple ? tupleFlags(tuple) : 0));
  if (tuples.some((flags) => flags !== 0) && filter.family === undefined) {
    throw new RangeError('dump filter: a tuple needs a family');
  }
  out.begin(E.NFNL_SUBSYS_CTNETLINK, MESSAGES[list], E.NLM_F_DUMP, sequence, filter.family ?? 0);
  writeTableFilter(out, filter);
  if (tuples[0] !== 0) writeTuple(out, E.CTA_TUPLE_ORIG, filter.original!, tuples[0]);
  if (tuples[1] !== 0) writeTuple(out, E.CTA_TUPLE_REPLY, filter.reply!, tuples[1]);
  if (tuples.some((flags) => flags !== 0)) {
    out.nest(E.CTA_FILTER, () => {
      out.hostU32(E.CTA_FILTER_ORIG_FLAGS, tuples[0]);
      out.hostU32(E.CTA_FILTER_REPLY_FLAGS, tuples[1]);
    });
  }
  return out.end();
}

/** Mark, status and zone: what a flush takes as well as a dump. */
export function writeTableFilter(out: AttributeWriter, filter: DumpFilter): void {
  if (filter.mark !== undefined) {
    out.u32(E.CTA_MARK, filter.mark.value);
    out.u32(E.CTA_MARK_MASK, filter.mark.mask);
  }
  // The kernel refuses a mask of nothing.
  if (filter.status !== undefined && filter.status.mask !== 0) {
    out.u32(E.CTA_STATUS, filter.status.value);
    out.u32(E.CTA_STATUS_MASK, filter.status.mask);
  }
  if (filter.zone !== undefined) out.u16(E.CTA_ZONE, filter.zone);
}

function tupleFlags(tuple: DumpTuple): number {
  let flags = 0;
  if (tuple.source !== undefined) flags |= F_IP_SRC;
  if (tuple.destination !== undefined) flags |= F_IP_DST;
  if (tuple.protocol !== undefined) flags |= F_PROTO_NUM;
  if (tuple.sourcePort !== undefined) flags |= F_PROTO_SRC_PORT;
  if (tuple.destinationPort !== undefined) flags |= F_PROTO_DST_PORT;
  const hasPorts = (flags & (F_PROTO_SRC_PORT | F_PROTO_DST_PORT)) !== 0;
  if (hasPorts && !usesPorts(tuple.protocol ?? -1)) {
    throw new RangeError('dump filter: ports need a protocol that has them');
  }
  if ([tuple.source, tuple.destination].some((address) => address !== undefined && address.length !== 4)) {
    throw new RangeError('dump filter: the kernel compares IPv4 addresses only');
  }
  return flags;
}

function writeTuple(out: AttributeWriter, type: number, tuple: DumpTuple, flags: number): void {
  out.nest(type, () => {
    if ((flags & (F_IP_SRC | F_IP_DST)) !== 0) {
      out.nest(E.CTA_TUPLE_IP, () => {
        if (tuple.source !== undefined) out.data(E.CTA_IP_V4_SRC, tuple.source);
        if (tuple.destination !== undefined) out.data(E.CTA_IP_V4_DST, tuple.destination);
      });
    }
    if (tuple.protocol !== undefined) {
      const { protocol } = tuple;
      out.nest(E.CTA_TUPLE_PROTO, () => {
        out.u8(E.CTA_PROTO_NUM, protocol);
        if (tuple.sourcePort !== undefined) out.u16(E.CTA_PROTO_SRC_PORT, tuple.sourcePort);
        if (tuple.destinationPort !== undefined) out.u16(E.CTA_PROTO_DST_PORT, tuple.destinationPort);
      });
    }
  });
}
