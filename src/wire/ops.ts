/**
 * Numbers of the ops in a stream and of the control messages. Append-only: a number is never used for
 * anything else, and a reader skips (and counts) the ones it does not know.
 */

// Ops of the stream. The low four bits of an op's first element; UPSERT has flags above them.
export const WIRE_UPSERT = 1; // [op | flags, timeout or nil, idle, bin fixed, (part type, bin part)*]
export const WIRE_DELETE = 2; // [op, bin key]
export const WIRE_SCOPE_BEGIN = 3; // [op, bits, prefix]
export const WIRE_SCOPE_END = 4; // [op, bits, prefix, count, lo, hi]
export const WIRE_SUMS = 5; // [op, level, index, bin of 64 x (u32 count, u32 lo, u32 hi); level 3: 64 x (u8 count, u8 hi, u32 lo)]
export const WIRE_MARK = 6; // [op, count, lo, hi, expectation count, lo, hi]
export const WIRE_DECLARE = 7; // [op, term, isFormer, [[node, bin incarnation, cut], ...], stage unless 0]
export const WIRE_ROLE = 8; // [op, role, term]
export const WIRE_EXPECT_UPSERT = 9; // [op, bin expectation]
export const WIRE_EXPECT_DELETE = 10; // [op, bin expectation key]

/** UPSERT: another life began; the receiver deletes and creates, it never updates in place. */
export const UPSERT_FRESH = 16;
/** UPSERT: the reply tuple is the plain inverse of the original and is left out. */
export const UPSERT_INVERSE = 32;
export const OP_MASK = 15;

// Control messages, the first element of a control payload. HELLO, WELCOME and HEARTBEAT are frozen.
export const CONTROL_HELLO = 1;
export const CONTROL_WELCOME = 2;
// 3 is reserved.
export const CONTROL_HEARTBEAT = 4;
export const CONTROL_ACK = 5;
export const CONTROL_REQUEST = 6;
export const CONTROL_NACK = 7;
export const CONTROL_GONE = 8;
export const CONTROL_SETTINGS = 9;

/** Groups in level 1 of the sums, and segments in one group: one SUMS op carries this many triples. */
export const SUMS_WIDTH = 64;
/** Bytes of one SUMS op's triples. */
export const SUMS_BYTES = SUMS_WIDTH * 12;
/**
 * Bytes of the sums of fine scopes, 6 each: count (255: that or more), the low byte of the sum's hi lane, its lo lane.
 * They only say where to look: what they cannot tell apart the sum of the segment does, and then all of it is sent.
 */
export const FINE_SUMS_BYTES = SUMS_WIDTH * 6;
export const FINE_COUNT_MAX = 255;
/** Segments of a table, by the top 12 bits of the key hash. */
export const SEGMENTS = 4096;
/** Bits of the key hash that name a segment, and those that name one of its 64 fine scopes. */
export const SEGMENT_BITS = 12;
export const FINE_BITS = 18;
/** Level of the SUMS op that carries a segment's fine scopes; below it stand groups and segments. */
export const LEVEL_FINE = 3;
