/** Leaves out of a record what an event did not carry. */
import {
  SEEN_HELPER,
  SEEN_LABELS,
  SEEN_MASTER,
  SEEN_PROTOINFO,
  SEEN_SEQADJ,
  SEEN_SYNPROXY,
} from '../../src/flow/kernel-port.js';
import {
  addressBytes,
  lengthOf,
  type Memory,
  OFF_LENGTH,
  offParts,
  PART_DCCP_HANDSHAKE_SEQ,
  PART_HELPER,
  PART_LABELS,
  PART_MASTER,
  PART_SCTP_VTAGS,
  PART_SEQADJ_ORIG,
  PART_SEQADJ_REPLY,
  PART_SYNPROXY,
} from '../../src/flow/record.js';

const SEEN_OF = new Map([
  [PART_LABELS, SEEN_LABELS],
  [PART_HELPER, SEEN_HELPER],
  [PART_MASTER, SEEN_MASTER],
  [PART_SEQADJ_ORIG, SEEN_SEQADJ],
  [PART_SEQADJ_REPLY, SEEN_SEQADJ],
  [PART_SYNPROXY, SEEN_SYNPROXY],
  [PART_SCTP_VTAGS, SEEN_PROTOINFO],
  [PART_DCCP_HANDSHAKE_SEQ, SEEN_PROTOINFO],
]);

/** Removes the parts that `isKept` refuses, in place, and returns the record's new length. */
export function filterParts(m: Memory, at: number, isKept: (type: number) => boolean): number {
  const end = at + lengthOf(m, at);
  let from = at + offParts(addressBytes(m, at));
  let to = from;
  while (from + 4 <= end) {
    const bytes = 4 + ((m.u16[(from >>> 1) + 1] + 3) & ~3);
    if (isKept(m.u16[from >>> 1])) {
      m.u8.copyWithin(to, from, from + bytes);
      to += bytes;
    }
    from += bytes;
  }
  m.u16[(at + OFF_LENGTH) >>> 1] = to - at;
  return to - at;
}

/** Removes the parts that `seen` does not name. */
export function cutParts(m: Memory, at: number, seen: number): number {
  return filterParts(m, at, (type) => ((SEEN_OF.get(type) ?? 0) & seen) !== 0);
}
