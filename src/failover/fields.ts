/** Names of what differs between two records of one key, for people who read a verification's report. */
import {
  addressBytes,
  findPart,
  type Memory,
  offMark,
  offProtoBits,
  offReplyL4,
  offReplySrc,
  offState,
  offStatus,
  offTcpFlags,
  offWscale,
  PART_HELPER,
  PART_LABELS,
  PART_MASTER,
  PART_SCTP_VTAGS,
  PART_SEQADJ_ORIG,
  PART_SEQADJ_REPLY,
  PART_SHOWN,
  PART_SYNPROXY,
} from '../flow/record.js';

/** A durable field. */
export type FieldName =
  | 'reply'
  | 'status'
  | 'mark'
  | 'state'
  | 'window scale'
  | 'TCP flags'
  | 'labels'
  | 'helper'
  | 'master'
  | 'seqadj'
  | 'synproxy'
  | 'vtags'
  | 'other';

const PART_NAMES = new Map<number, FieldName>([
  [PART_LABELS, 'labels'],
  [PART_HELPER, 'helper'],
  [PART_MASTER, 'master'],
  [PART_SEQADJ_ORIG, 'seqadj'],
  [PART_SEQADJ_REPLY, 'seqadj'],
  [PART_SYNPROXY, 'synproxy'],
  [PART_SCTP_VTAGS, 'vtags'],
]);

/** The fields in which the two records differ. */
export function fieldsThatDiffer(a: Memory, aAt: number, b: Memory, bAt: number): FieldName[] {
  const addr = addressBytes(a, aAt);
  const fields = new Set<FieldName>();
  const isOther = (from: number, bytes: number): boolean => {
    for (let i = from; i < from + bytes; i++) if (a.u8[aAt + i] !== b.u8[bAt + i]) return true;
    return false;
  };
  if (isOther(offReplySrc(addr), offReplyL4(addr) + 4 - offReplySrc(addr))) fields.add('reply');
  if (isOther(offStatus(addr), 4)) fields.add('status');
  if (isOther(offMark(addr), 4)) fields.add('mark');
  if (isOther(offState(addr), 1) || isOther(offProtoBits(addr), 1)) fields.add('state');
  if (isOther(offWscale(addr), 1)) fields.add('window scale');
  if (isOther(offTcpFlags(addr), 1)) fields.add('TCP flags');
  for (let type = 1; type < PART_SHOWN; type++) {
    if (!isPartEqual(a, aAt, b, bAt, type)) fields.add(PART_NAMES.get(type) ?? 'other');
  }
  return [...fields];
}

function isPartEqual(a: Memory, aAt: number, b: Memory, bAt: number, type: number): boolean {
  const p = findPart(a, aAt, type);
  const q = findPart(b, bAt, type);
  if (p < 0 || q < 0) return p === q;
  const bytes = a.u16[(p >>> 1) + 1];
  if (bytes !== b.u16[(q >>> 1) + 1]) return false;
  for (let i = 4; i < 4 + bytes; i++) if (a.u8[p + i] !== b.u8[q + i]) return false;
  return true;
}
