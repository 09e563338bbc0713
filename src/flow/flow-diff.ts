/** Two listings of flows, compared by key: one is kept off the heap, the other passes by. */
import { KeyedHash } from './hash.js';
import {
  addressBytes,
  allocateMemory,
  keyBytes,
  lengthOf,
  type Memory,
  OFF_KEY,
  OFF_LENGTH,
  offParts,
  PART_SHOWN,
} from './record.js';

const SLAB_BYTES = 1 << 20;
const SLAB_WORDS = SLAB_BYTES >>> 2;

/** Words of the record that are durable: what is only shown stands behind them. */
function durableWords(m: Memory, at: number): number {
  const end = at + lengthOf(m, at);
  let p = at + offParts(addressBytes(m, at));
  while (p + 4 <= end && m.u16[p >>> 1] < PART_SHOWN) p += 4 + ((m.u16[(p >>> 1) + 1] + 3) & ~3);
  return (p - at) >>> 2;
}

/** Words of the key, which begins at OFF_KEY. */
const keyWords = (m: Memory, at: number): number => keyBytes(addressBytes(m, at)) >>> 2;

export type DiffVerdict = 'equal' | 'changed' | 'unknown';

export class FlowDiff {
  count = 0;
  readonly #hash: KeyedHash;
  readonly #slabs: Memory[] = [];
  #freeWords = SLAB_WORDS;
  /** Place of each kept record in words, plus one; 0: none. Open addressing. */
  #index = new Uint32Array(1 << 12);
  readonly #isMet: boolean[] = [];
  /** Numbers of the kept records beside their places. */
  #number = new Uint32Array(1 << 12);

  /** `seed`: four words that nobody can foresee, so that nobody makes keys that fall together. */
  constructor(seed: Uint32Array) {
    this.#hash = new KeyedHash(seed);
  }

  /** Keeps a flow of the first listing; a second one of the same key counts as told twice. */
  keep(m: Memory, at: number): void {
    const slot = this.#find(m, at);
    if (this.#index[slot] !== 0) return;
    const words = durableWords(m, at);
    if (this.#freeWords + words > SLAB_WORDS) {
      this.#slabs.push(allocateMemory(SLAB_BYTES));
      this.#freeWords = 0;
    }
    const slab = this.#slabs[this.#slabs.length - 1];
    const to = this.#freeWords;
    slab.u32.set(m.u32.subarray(at >>> 2, (at >>> 2) + words), to);
    slab.u16[((to << 2) + OFF_LENGTH) >>> 1] = words << 2;
    this.#freeWords += words;
    this.#index[slot] = (this.#slabs.length - 1) * SLAB_WORDS + to + 1;
    this.#number[slot] = this.count++;
    this.#isMet.push(false);
    if (2 * this.count > this.#index.length) this.#grow();
  }

  /** What a flow of the second listing is to the first. */
  meet(m: Memory, at: number): DiffVerdict {
    const slot = this.#find(m, at);
    if (this.#index[slot] === 0) return 'unknown';
    this.#isMet[this.#number[slot]] = true;
    const words = durableWords(m, at);
    const { memory, at: kept } = this.#place(this.#index[slot]);
    if (durableWords(memory, kept) !== words) return 'changed';
    for (let i = OFF_KEY >>> 2; i < words; i++) {
      if (memory.u32[(kept >>> 2) + i] !== m.u32[(at >>> 2) + i]) return 'changed';
    }
    return 'equal';
  }

  /** Flows of the first listing that the second did not have. */
  unmet(take: (m: Memory, at: number) => void): void {
    for (let slot = 0; slot < this.#index.length; slot++) {
      if (this.#index[slot] === 0 || this.#isMet[this.#number[slot]]) continue;
      const { memory, at } = this.#place(this.#index[slot]);
      take(memory, at);
    }
  }

  #place(stored: number): { memory: Memory; at: number } {
    const word = stored - 1;
    return { memory: this.#slabs[Math.floor(word / SLAB_WORDS)], at: (word % SLAB_WORDS) << 2 };
  }

  /** The slot that has the record's key, or the empty one where it would stand. */
  #find(m: Memory, at: number): number {
    const from = (at + OFF_KEY) >>> 2;
    const words = keyWords(m, at);
    this.#hash.words(m.u32, from, from + words);
    const mask = this.#index.length - 1;
    for (let slot = this.#hash.lo & mask; ; slot = (slot + 1) & mask) {
      const stored = this.#index[slot];
      if (stored === 0) return slot;
      const { memory, at: kept } = this.#place(stored);
      if (keyWords(memory, kept) !== words) continue;
      const other = (kept + OFF_KEY) >>> 2;
      let i = 0;
      while (i < words && memory.u32[other + i] === m.u32[from + i]) i++;
      if (i === words) return slot;
    }
  }

  #grow(): void {
    const [index, number] = [this.#index, this.#number];
    this.#index = new Uint32Array(2 * index.length);
    this.#number = new Uint32Array(2 * index.length);
    for (let slot = 0; slot < index.length; slot++) {
      if (index[slot] === 0) continue;
      const { memory, at } = this.#place(index[slot]);
      const to = this.#find(memory, at);
      this.#index[to] = index[slot];
      this.#number[to] = number[slot];
    }
  }
}
