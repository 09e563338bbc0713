import { describe, expect, it } from 'vitest';
import { KeyedHash, seedFromText } from '../../../src/flow/hash.js';

/** HalfSipHash-1-3 as its paper has it, slow and plain: over words, with a 32-bit or a 64-bit result. */
function halfSipHash(k0: number, k1: number, words: number[], isWide: boolean): number[] {
  const rotate = (x: number, by: number) => ((x << by) | (x >>> (32 - by))) >>> 0;
  const v = [k0, k1, (0x6c796765 ^ k0) >>> 0, (0x74656462 ^ k1) >>> 0];
  if (isWide) v[1] ^= 0xee;
  const round = () => {
    v[0] = (v[0] + v[1]) >>> 0;
    v[1] = (rotate(v[1], 5) ^ v[0]) >>> 0;
    v[0] = rotate(v[0], 16);
    v[2] = (v[2] + v[3]) >>> 0;
    v[3] = (rotate(v[3], 8) ^ v[2]) >>> 0;
    v[0] = (v[0] + v[3]) >>> 0;
    v[3] = (rotate(v[3], 7) ^ v[0]) >>> 0;
    v[2] = (v[2] + v[1]) >>> 0;
    v[1] = (rotate(v[1], 13) ^ v[2]) >>> 0;
    v[2] = rotate(v[2], 16);
  };
  for (const word of [...words, (words.length * 4 * 2 ** 24) % 2 ** 32]) {
    v[3] = (v[3] ^ word) >>> 0;
    round();
    v[0] = (v[0] ^ word) >>> 0;
  }
  v[2] = (v[2] ^ (isWide ? 0xee : 0xff)) >>> 0;
  const result: number[] = [];
  for (let lane = 0; lane < (isWide ? 2 : 1); lane++) {
    if (lane === 1) v[1] = (v[1] ^ 0xdd) >>> 0;
    for (let i = 0; i < 3; i++) round();
    result.push((v[1] ^ v[3]) >>> 0);
  }
  return result;
}

const COUNTING = [0x03020100, 0x07060504, 0x0b0a0908, 0x0f0e0d0c];

describe('KeyedHash', () => {
  it('is measured against a reference that gives the vectors of Linux lib/test_siphash.c', () => {
    const ofLength = (words: number) =>
      halfSipHash(0x03020100, 0x07060504, COUNTING.slice(0, words), false)[0];
    expect([0, 1, 2, 3, 4].map(ofLength)).toEqual([
      0x5814c896, 0x7e059ea6, 0x577999b1, 0x6b28096c, 0x8b31d501,
    ]);
  });

  it('is HalfSipHash-1-3 with 64 bits for a seed that repeats a HalfSipHash key', () => {
    const hash = new KeyedHash(Uint32Array.of(0x03020100, 0x87060504, 0x03020100, 0x87060504));
    const words = Uint32Array.from({ length: 90 }, (_, i) => (i * 0x9e3779b1) >>> 0);
    for (let length = 0; length <= 90; length++) {
      hash.words(words, 0, length);
      const want = halfSipHash(0x03020100, 0x87060504, [...words.subarray(0, length)], true);
      expect([hash.lo >>> 0, hash.hi >>> 0]).toEqual(want);
    }
  });

  it('hashes only the words it was given, wherever they stand', () => {
    const hash = new KeyedHash(Uint32Array.of(1, 2, 3, 4));
    hash.words(Uint32Array.of(9, 5, 6, 7, 9), 1, 4);
    const first = [hash.lo, hash.hi];
    hash.words(Uint32Array.of(5, 6, 7), 0, 3);
    expect([hash.lo, hash.hi]).toEqual(first);
  });

  it('tells apart inputs that differ only in trailing zero words', () => {
    const hash = new KeyedHash(Uint32Array.of(1, 2, 3, 4));
    const seen = new Set<string>();
    for (let length = 0; length < 40; length++) {
      hash.words(new Uint32Array(40), 0, length);
      seen.add(`${hash.lo}/${hash.hi}`);
    }
    expect(seen.size).toBe(40);
  });

  it('changes with every word of the seed', () => {
    const seen = new Set<number>();
    for (let i = 0; i <= 4; i++) {
      const seed = Uint32Array.of(1, 2, 3, 4);
      if (i < 4) seed[i] ^= 0x100;
      const hash = new KeyedHash(seed);
      hash.words(Uint32Array.of(1, 2, 3), 0, 3);
      seen.add(hash.lo);
    }
    expect(seen.size).toBe(5);
  });

  it('refuses a seed of another size', () => {
    expect(() => new KeyedHash(new Uint32Array(2))).toThrow(RangeError);
  });
});

describe('seedFromText', () => {
  it('gives one seed for one text and another for every other text', () => {
    expect(seedFromText('edge')).toEqual(seedFromText('edge'));
    const seeds = ['', '\0', 'edge', 'edgf', 'edge\0', 'Edge'].map((text) => seedFromText(text).join());
    expect(new Set(seeds).size).toBe(seeds.length);
  });

  it('has not changed: nodes of two versions must agree on it', () => {
    expect(seedFromText('edge')).toHaveLength(4);
    expect([...seedFromText('edge')]).toMatchInlineSnapshot(`
      [
        3454867809,
        384266228,
        3783806553,
        1087219048,
      ]
    `);
  });
});
