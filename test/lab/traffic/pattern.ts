/** An endless stream of bytes that both ends know, so that each one that arrives is checked, not only a sum at the end. */

/** A prime: no burst, segment or window is a multiple of it, so a piece that is lost or doubled never fits. */
const PERIOD = 65_521;
const PERIODS = 8;

function makePattern(): Buffer {
  const once = Buffer.alloc(PERIOD);
  let state = 0x2545f491;
  for (let i = 0; i < PERIOD; i++) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    once[i] = state >>> 24;
  }
  return Buffer.concat(Array.from({ length: PERIODS }, () => once));
}

const PATTERN = makePattern();

/** Longest piece that `patternAt` gives. Bytes. */
export const PIECE_MAX_BYTES = PERIOD * (PERIODS - 1);

/** The piece of the stream that begins at a position. The memory is shared: not to be written. */
export function patternAt(position: number, bytes: number): Buffer {
  const from = position % PERIOD;
  return PATTERN.subarray(from, from + bytes);
}

/** Where the first wrong byte of a piece is, or -1 if all are right. */
export function wrongByte(position: number, piece: Buffer): number {
  for (let at = 0; at < piece.length; at += PIECE_MAX_BYTES) {
    const part = piece.subarray(at, at + PIECE_MAX_BYTES);
    const right = patternAt(position + at, part.length);
    if (!part.equals(right)) return position + at + part.findIndex((byte, i) => byte !== right[i]);
  }
  return -1;
}
