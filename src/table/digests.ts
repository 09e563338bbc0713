/**
 * Per owner: how many flows its stream has spoken of, and the sum of their image hashes, for every segment, for
 * 64 groups of 64 segments, and for all. Kept as images change, so asking costs nothing (PROTOCOL.md, section 2).
 *
 * Sums are modular, two lanes of 32 bits, not XOR: with XOR a record that stands twice would cancel itself out.
 */
import { SEGMENTS } from './segment-index.js';

/** Level 0 is all, 1 the groups, 2 the segments. */
export const LEVEL_ROOT = 0;
export const LEVEL_GROUP = 1;
export const LEVEL_SEGMENT = 2;
/** How many sums a level has. */
export const LEVEL_SIZES: readonly number[] = [1, 64, SEGMENTS];

const GROUP_SHIFT = 6;
const FIRST: readonly number[] = [0, 1, 65];
const SUMS = 65 + SEGMENTS;

/** Sums of image hashes, owner by owner. The answer of sum() stands in count, lo and hi. */
export class Digests {
  count = 0;
  lo = 0;
  hi = 0;
  readonly #sums: (Uint32Array | undefined)[] = [];

  /** Fills count, lo and hi (uint32 each) with the owner's sum at this level and index. */
  sum(owner: number, level: number, index: number): void {
    const sums = this.#sums[owner];
    const at = (FIRST[level] + index) * 3;
    this.count = sums === undefined ? 0 : sums[at];
    this.lo = sums === undefined ? 0 : sums[at + 1];
    this.hi = sums === undefined ? 0 : sums[at + 2];
  }

  add(owner: number, segment: number, lo: number, hi: number): void {
    this.#change(owner, segment, 1, lo, hi);
  }

  subtract(owner: number, segment: number, lo: number, hi: number): void {
    this.#change(owner, segment, -1, -lo | 0, -hi | 0);
  }

  /** What `from` has is added to what `to` has; `from` has nothing then. */
  move(from: number, to: number): void {
    const source = this.#sums[from];
    if (source === undefined) return;
    this.#sums[from] = undefined;
    const target = this.#sums[to];
    if (target === undefined) {
      this.#sums[to] = source;
      return;
    }
    for (let i = 0; i < target.length; i++) target[i] += source[i];
  }

  #change(owner: number, segment: number, count: number, lo: number, hi: number): void {
    let sums = this.#sums[owner];
    if (sums === undefined) {
      sums = new Uint32Array(SUMS * 3);
      this.#sums[owner] = sums;
    }
    // Stores into a Uint32Array are modulo 2^32: that is the sum's arithmetic.
    const segmentAt = (65 + segment) * 3;
    sums[segmentAt] += count;
    sums[segmentAt + 1] += lo;
    sums[segmentAt + 2] += hi;
    const groupAt = (1 + (segment >>> GROUP_SHIFT)) * 3;
    sums[groupAt] += count;
    sums[groupAt + 1] += lo;
    sums[groupAt + 2] += hi;
    sums[0] += count;
    sums[1] += lo;
    sums[2] += hi;
  }
}
