/**
 * The stage: a flow spread out at fixed places, between ctnetlink's attributes and the packed record. The attribute
 * tables name its places, so one interpreter reads messages into it and another writes messages from it.
 *
 *   three tuples (original, reply, master) of TUPLE_BYTES each:
 *      0 16 source     16 16 destination (IPv4: the first 4 bytes)
 *     32 u16 source port or ICMP id (net)   34 u16 destination port (net), or ICMP type, code
 *     36 u8 protocol                        38 u16 zone of this direction
 *   then single values, then the optional parts of the record, each with its header in front, ready to be copied.
 */
import {
  allocateMemory,
  type Memory,
  PART_COUNTERS_ORIG,
  PART_COUNTERS_REPLY,
  PART_DCCP_HANDSHAKE_SEQ,
  PART_HELPER,
  PART_LABELS,
  PART_SCTP_VTAGS,
  PART_SECCTX,
  PART_SEQADJ_ORIG,
  PART_SEQADJ_REPLY,
  PART_SYNPROXY,
  PART_TIMESTAMP,
  PART_TIMESTAMP_EVENT,
  PART_USE,
} from '../flow/record.js';

export const TUPLE_SRC = 0;
export const TUPLE_DST = 16;
export const TUPLE_L4 = 32;
export const TUPLE_PROTOCOL = 36;
export const TUPLE_ZONE = 38;
const TUPLE_BYTES = 40;

export const STAGE_ORIG = 0;
export const STAGE_REPLY = TUPLE_BYTES;
export const STAGE_MASTER = 2 * TUPLE_BYTES;
export const STAGE_STATUS = 120; // u32
export const STAGE_TIMEOUT = 124; // u32, seconds
export const STAGE_MARK = 128; // u32
export const STAGE_ID = 132; // u32
export const STAGE_ZONE = 136; // u16, zone of both directions
export const STAGE_STATE = 138; // u8
export const STAGE_ROLE = 139; // u8, DCCP
export const STAGE_WSCALE_ORIG = 140; // u8
export const STAGE_WSCALE_REPLY = 141; // u8
export const STAGE_FLAGS_ORIG = 142; // u8 flags, u8 mask
export const STAGE_FLAGS_REPLY = 144;
/** A translation: 16 address from, 16 address to, u16 port from, u16 port to (net order). */
export const NAT_MIN_ADDRESS = 0;
export const NAT_MAX_ADDRESS = 16;
export const NAT_MIN_PORT = 32;
export const NAT_MAX_PORT = 34;
export const STAGE_NAT_SRC = 148;
export const STAGE_NAT_DST = 184;

/** The parts: these are the places of their bytes; the header (u16 type, u16 length) stands in the 4 bytes before. */
export const STAGE_LABELS = 224;
export const STAGE_HELPER = 244;
export const STAGE_SEQADJ_ORIG = 264;
export const STAGE_SEQADJ_REPLY = 280;
export const STAGE_SYNPROXY = 296;
export const STAGE_VTAGS = 312;
export const STAGE_HANDSHAKE_SEQ = 324;
export const STAGE_COUNTERS_ORIG = 336;
export const STAGE_COUNTERS_REPLY = 356;
export const STAGE_TIMESTAMP = 376;
export const STAGE_USE = 396;
export const STAGE_TIMESTAMP_EVENT = 404;
export const STAGE_SECCTX = 416;

/** Longest helper name (a part's limit; the kernel's is 15) and longest security context that is shown. Bytes. */
export const HELPER_NAME_MAX_BYTES = 16;
export const SECCTX_MAX_BYTES = 256;
const STAGE_BYTES = STAGE_SECCTX + SECCTX_MAX_BYTES;

/** A stage with the headers of all parts of fixed length in place. */
export function createStage(): Memory {
  const stage = allocateMemory(STAGE_BYTES);
  const header = (place: number, type: number, length: number): void => {
    stage.u32[(place - 4) >>> 2] = type | (length << 16);
  };
  header(STAGE_LABELS, PART_LABELS, 16);
  header(STAGE_HELPER, PART_HELPER, 0);
  header(STAGE_SEQADJ_ORIG, PART_SEQADJ_ORIG, 12);
  header(STAGE_SEQADJ_REPLY, PART_SEQADJ_REPLY, 12);
  header(STAGE_SYNPROXY, PART_SYNPROXY, 12);
  header(STAGE_VTAGS, PART_SCTP_VTAGS, 8);
  header(STAGE_HANDSHAKE_SEQ, PART_DCCP_HANDSHAKE_SEQ, 8);
  header(STAGE_COUNTERS_ORIG, PART_COUNTERS_ORIG, 16);
  header(STAGE_COUNTERS_REPLY, PART_COUNTERS_REPLY, 16);
  header(STAGE_TIMESTAMP, PART_TIMESTAMP, 16);
  header(STAGE_USE, PART_USE, 4);
  header(STAGE_TIMESTAMP_EVENT, PART_TIMESTAMP_EVENT, 8);
  header(STAGE_SECCTX, PART_SECCTX, 0);
  return stage;
}
