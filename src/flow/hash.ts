/**
 * The keyed hash of keys and images: HalfSipHash-1-3 with a 64-bit result, over 32-bit words.
 *
 * A peer who could choose colliding tuples could fill one segment or hide a difference from a digest; the
 * seed prevents that. Words in, words out: no byte access, no BigInt, nothing allocated.
 */

const INIT_2 = 0x6c796765;
const INIT_3 = 0x74656462;

/**
 * HalfSipHash-1-3 with a four-word seed; the result of the last call stands in `lo` and `hi`: both int32, which no
 * call and no field has to box, as it would half of all uint32.
 */
export class KeyedHash {
  lo = 0;
  hi = 0;
  readonly #seed0: number;
  readonly #seed1: number;
  readonly #seed2: number;
  readonly #seed3: number;

  /** Throws a RangeError unless `seed` has exactly four words. */
  constructor(seed: Uint32Array) {
    if (seed.length !== 4) throw new RangeError(`hash seed: ${seed.length} words, want 4`);
    this.#seed0 = seed[0] | 0;
    this.#seed1 = (seed[1] ^ 0xee) | 0; // HalfSipHash marks its 64-bit variant so.
    this.#seed2 = (seed[2] ^ INIT_2) | 0;
    this.#seed3 = (seed[3] ^ INIT_3) | 0;
  }

  /** Hashes the words `from` up to, not including, `to`. */
  words(u32: Uint32Array, from: number, to: number): void {
    // "| 0" tells the compiler that these are int32, or it adds them as doubles and takes four times as long.
    let v0 = this.#seed0 | 0;
    let v1 = this.#seed1 | 0;
    let v2 = this.#seed2 | 0;
    let v3 = this.#seed3 | 0;
    for (let i = from; i < to; i++) {
      const word = u32[i] | 0;
      v3 ^= word;
      v0 = (v0 + v1) | 0;
      v1 = ((v1 << 5) | (v1 >>> 27)) ^ v0;
      v0 = (v0 << 16) | (v0 >>> 16);
      v2 = (v2 + v3) | 0;
      v3 = ((v3 << 8) | (v3 >>> 24)) ^ v2;
      v0 = (v0 + v3) | 0;
      v3 = ((v3 << 7) | (v3 >>> 25)) ^ v0;
      v2 = (v2 + v1) | 0;
      v1 = ((v1 << 13) | (v1 >>> 19)) ^ v2;
      v2 = (v2 << 16) | (v2 >>> 16);
      v0 ^= word;
    }
    // Round -1 takes in the length (in bytes, top byte), 0..2 give the low lane, 3..5 the high one.
    const last = (to - from) << 26;
    v3 ^= last;
    for (let round = -1; round < 6; round++) {
      v0 = (v0 + v1) | 0;
      v1 = ((v1 << 5) | (v1 >>> 27)) ^ v0;
      v0 = (v0 << 16) | (v0 >>> 16);
      v2 = (v2 + v3) | 0;
      v3 = ((v3 << 8) | (v3 >>> 24)) ^ v2;
      v0 = (v0 + v3) | 0;
      v3 = ((v3 << 7) | (v3 >>> 25)) ^ v0;
      v2 = (v2 + v1) | 0;
      v1 = ((v1 << 13) | (v1 >>> 19)) ^ v2;
      v2 = (v2 << 16) | (v2 >>> 16);
      if (round === -1) {
        v0 ^= last;
        v2 ^= 0xee;
      } else if (round === 2) {
        this.lo = v1 ^ v3;
        v1 ^= 0xdd;
      }
    }
    this.hi = v1 ^ v3;
  }
}

/**
 * A four-word seed made from a text: the same text gives the same seed on every node. Not a secret by
 * itself.
 */
export function seedFromText(text: string): Uint32Array {
  const bytes = new TextEncoder().encode(text);
  const words = new Uint32Array(((bytes.length + 3) >>> 2) + 1);
  words[0] = bytes.length;
  for (let i = 0; i < bytes.length; i++) words[1 + (i >>> 2)] |= bytes[i] << ((i & 3) * 8);
  const first = new KeyedHash(Uint32Array.of(1, 2, 3, 4));
  const second = new KeyedHash(Uint32Array.of(5, 6, 7, 8));
  first.words(words, 0, words.length);
  second.words(words, 0, words.length);
  return Uint32Array.of(first.lo, first.hi, second.lo, second.hi);
}
