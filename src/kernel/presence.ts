/** Which attributes stand in the stage: one mask of `1 << type` for each flat table, and the names of those used. */
import {
  SEEN_HELPER,
  SEEN_LABELS,
  SEEN_MARK,
  SEEN_MASTER,
  SEEN_PROTOINFO,
  SEEN_SEQADJ,
  SEEN_STATUS,
  SEEN_SYNPROXY,
} from '../flow/kernel-port.js';
import { CONNTRACK_TABLES } from './compiled-tables.js';
import * as E from './enums.js';
import { STAGE_STATUS } from './stage.js';

const at = (...path: number[]): number => CONNTRACK_TABLES.tableAt(...path);

// Numbers of flat tables.
export const TOP = 0;
export const ORIG = at(E.CTA_TUPLE_ORIG);
export const ORIG_IP = at(E.CTA_TUPLE_ORIG, E.CTA_TUPLE_IP);
export const ORIG_PROTO = at(E.CTA_TUPLE_ORIG, E.CTA_TUPLE_PROTO);
export const REPLY = at(E.CTA_TUPLE_REPLY);
export const REPLY_IP = at(E.CTA_TUPLE_REPLY, E.CTA_TUPLE_IP);
export const REPLY_PROTO = at(E.CTA_TUPLE_REPLY, E.CTA_TUPLE_PROTO);
export const MASTER = at(E.CTA_TUPLE_MASTER);
export const MASTER_IP = at(E.CTA_TUPLE_MASTER, E.CTA_TUPLE_IP);
export const MASTER_PROTO = at(E.CTA_TUPLE_MASTER, E.CTA_TUPLE_PROTO);
export const PROTOINFO = at(E.CTA_PROTOINFO);
export const TCP = at(E.CTA_PROTOINFO, E.CTA_PROTOINFO_TCP);
export const DCCP = at(E.CTA_PROTOINFO, E.CTA_PROTOINFO_DCCP);
export const SCTP = at(E.CTA_PROTOINFO, E.CTA_PROTOINFO_SCTP);
export const HELP = at(E.CTA_HELP);
export const NAT_SRC = at(E.CTA_NAT_SRC);
export const NAT_SRC_PROTO = at(E.CTA_NAT_SRC, E.CTA_NAT_PROTO);
export const NAT_DST = at(E.CTA_NAT_DST);
export const NAT_DST_PROTO = at(E.CTA_NAT_DST, E.CTA_NAT_PROTO);
export const SECCTX = at(E.CTA_SECCTX);
export const SEQADJ_ORIG = at(E.CTA_SEQ_ADJ_ORIG);
export const SEQADJ_REPLY = at(E.CTA_SEQ_ADJ_REPLY);
export const SYNPROXY_NEST = at(E.CTA_SYNPROXY);

// Bits of the top mask.
export const TUPLES = (1 << E.CTA_TUPLE_ORIG) | (1 << E.CTA_TUPLE_REPLY);
export const STATUS = 1 << E.CTA_STATUS;
export const STATUS_WORD = STAGE_STATUS >>> 2;
const SEQADJ = (1 << E.CTA_SEQ_ADJ_ORIG) | (1 << E.CTA_SEQ_ADJ_REPLY);

/** The SEEN_* bits of a message with these top-level attributes. */
export function seenBits(top: number): number {
  let seen = 0;
  if ((top & STATUS) !== 0) seen |= SEEN_STATUS;
  if ((top & (1 << E.CTA_MARK)) !== 0) seen |= SEEN_MARK;
  if ((top & (1 << E.CTA_PROTOINFO)) !== 0) seen |= SEEN_PROTOINFO;
  if ((top & (1 << E.CTA_HELP)) !== 0) seen |= SEEN_HELPER;
  if ((top & (1 << E.CTA_LABELS)) !== 0) seen |= SEEN_LABELS;
  if ((top & SEQADJ) !== 0) seen |= SEEN_SEQADJ;
  if ((top & (1 << E.CTA_SYNPROXY)) !== 0) seen |= SEEN_SYNPROXY;
  if ((top & (1 << E.CTA_TUPLE_MASTER)) !== 0) seen |= SEEN_MASTER;
  return seen;
}
