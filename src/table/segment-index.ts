/**
 * Where the slot of a key is: 4,096 small open-addressing tables, chosen by the top 12 bits of the key hash.
 *
 * Each grows alone (a thousand entries, some microseconds), so there is no stop-the-world growth. They all stand in
 * one arena, in blocks of powers of two with a free list each: the garbage collector sees one array. An entry is
 * slot + 1 with some more hash bits above it as a tag, so a probe hardly ever touches a slot that is not the
 * wanted one. Deletion shifts the entries behind it back: no tombstones, probes never get longer with time.
 */
import { keyEqual } from '../flow/merge.js';
import type { Memory } from '../flow/record.js';
import { SLOT_WORDS, type Slots, WORD_HASH, WORD_RECORD } from './slots.js';

export const SEGMENTS = 4096;
const SEGMENT_SHIFT = 20;
/** Entries of a segment's first table: 4,096 of them take 512 KiB, and the smaller sizes are never thrown away. */
const FIRST_CAPACITY = 32;
const CLASSES = 32;

/** Segment (0..4095) of a key hash, and so its /12 scope. */
export const segmentOf = (hashLo: number): number => hashLo >>> SEGMENT_SHIFT;

/** Slots by key hash. Several slots may stand under one key; seek/next finds each. */
export class SegmentIndex {
  readonly #slots: Slots;
  readonly #memory: Memory;
  /** Blocks that outgrown tables left, by the logarithm of their size; entry 0 of a free block is the next one. */
  readonly #free = new Int32Array(CLASSES);
  #arena: Int32Array;
  /** Where the arena was never used; 0 is no block. */
  #untouched = FIRST_CAPACITY;
  /** Of each segment: where its table starts (0: it has none) and its length minus 1. */
  readonly #starts = new Uint32Array(SEGMENTS);
  readonly #masks = new Uint32Array(SEGMENTS);
  readonly #counts = new Uint32Array(SEGMENTS);
  readonly #slotMask: number;
  readonly #tagMask: number;
  readonly #tagShift: number;
  #start = 0;
  #mask = 0;
  #position = 0;
  #tag = 0;

  constructor(slots: Slots, memory: Memory) {
    this.#slots = slots;
    this.#memory = memory;
    const slotBits = 32 - Math.clz32(slots.capacity);
    this.#slotMask = (1 << slotBits) - 1;
    this.#tagMask = ~this.#slotMask;
    // The tag is the hash below the segment's bits, moved up under the entry's sign bit.
    this.#tagShift = 32 - SEGMENT_SHIFT;
    // All tables at their largest, and the sizes they went through before. Memory is committed as it is used.
    this.#arena = new Int32Array(4 * 2 ** slotBits + SEGMENTS * FIRST_CAPACITY * 2);
  }

  /** Slots in the segment. */
  count(segment: number): number {
    return this.#counts[segment];
  }

  /** Starts a search for a key with this hash; next() gives the matches. There is one search at a time. */
  seek(hashLo: number): void {
    const segment = hashLo >>> SEGMENT_SHIFT;
    this.#start = this.#starts[segment];
    this.#mask = this.#masks[segment];
    this.#position = hashLo & this.#mask;
    this.#tag = (hashLo << this.#tagShift) & this.#tagMask;
  }

  /** The next slot whose record has the key of the record at `at`, or -1. */
  next(m: Memory, at: number): number {
    const arena = this.#arena;
    const start = this.#start;
    const mask = this.#mask;
    const words = this.#slots.words;
    let position = this.#position;
    for (let entry = arena[start + position]; entry !== 0; entry = arena[start + position]) {
      position = (position + 1) & mask;
      if ((entry & this.#tagMask) !== this.#tag) continue;
      const slot = (entry & this.#slotMask) - 1;
      if (!keyEqual(m, at, this.#memory, words[slot * SLOT_WORDS + WORD_RECORD])) continue;
      this.#position = position;
      return slot;
    }
    this.#position = position;
    return -1;
  }

  /** Adds the slot under the hash that stands in it. */
  add(slot: number): void {
    // int32, as all hashes that are passed on: half of all uint32 would be boxed.
    const hashLo = this.#slots.words[slot * SLOT_WORDS + WORD_HASH] | 0;
    const segment = hashLo >>> SEGMENT_SHIFT;
    const count = ++this.#counts[segment];
    // At most 3/4 full, so there is always an empty entry to stop at.
    if (count * 4 > (this.#masks[segment] + 1) * 3) this.#grow(segment);
    this.#place(this.#starts[segment], this.#masks[segment], slot, hashLo);
  }

  /** Takes the slot out; it must be in. */
  delete(slot: number): void {
    const words = this.#slots.words;
    const hashLo = words[slot * SLOT_WORDS + WORD_HASH];
    const segment = hashLo >>> SEGMENT_SHIFT;
    const arena = this.#arena;
    const start = this.#starts[segment];
    const mask = this.#masks[segment];
    let hole = hashLo & mask;
    while ((arena[start + hole] & this.#slotMask) !== slot + 1) {
      if (arena[start + hole] === 0)
        throw new Error(`segment index: slot ${slot} is not in segment ${segment}`);
      hole = (hole + 1) & mask;
    }
    this.#counts[segment]--;
    let scan = hole;
    for (;;) {
      scan = (scan + 1) & mask;
      const entry = arena[start + scan];
      if (entry === 0) break;
      const home = words[((entry & this.#slotMask) - 1) * SLOT_WORDS + WORD_HASH] & mask;
      // An entry may move back into the hole unless its home lies behind the hole.
      if (((scan - home) & mask) < ((scan - hole) & mask)) continue;
      arena[start + hole] = entry;
      hole = scan;
    }
    arena[start + hole] = 0;
  }

  /** Copies the slots of the segment to `out`, as many as fit; returns how many there are. */
  list(segment: number, out: Int32Array): number {
    const start = this.#starts[segment];
    if (start === 0) return 0;
    const end = start + this.#masks[segment] + 1;
    let n = 0;
    for (let i = start; i < end; i++) {
      const entry = this.#arena[i];
      if (entry === 0) continue;
      if (n < out.length) out[n] = (entry & this.#slotMask) - 1;
      n++;
    }
    return n;
  }

  #grow(segment: number): void {
    const old = this.#starts[segment];
    const oldSize = old === 0 ? 0 : this.#masks[segment] + 1;
    const size = Math.max(FIRST_CAPACITY, oldSize * 2);
    const start = this.#take(size);
    this.#starts[segment] = start;
    this.#masks[segment] = size - 1;
    const arena = this.#arena;
    const words = this.#slots.words;
    for (let i = old; i < old + oldSize; i++) {
      if (arena[i] === 0) continue;
      const slot = (arena[i] & this.#slotMask) - 1;
      this.#place(start, size - 1, slot, words[slot * SLOT_WORDS + WORD_HASH]);
    }
    if (old !== 0) this.#give(old, oldSize);
  }

  /** A block of zeros. */
  #take(size: number): number {
    const list = Math.clz32(size);
    const free = this.#free[list];
    if (free !== 0) {
      this.#free[list] = this.#arena[free];
      this.#arena[free] = 0;
      return free;
    }
    const start = this.#untouched;
    if (start + size > this.#arena.length) {
      // Only keys that were chosen to crowd few segments come here.
      const larger = new Int32Array(this.#arena.length * 2);
      larger.set(this.#arena);
      this.#arena = larger;
    }
    this.#untouched += size;
    return start;
  }

  #give(start: number, size: number): void {
    const list = Math.clz32(size);
    this.#arena.fill(0, start, start + size);
    this.#arena[start] = this.#free[list];
    this.#free[list] = start;
  }

  #place(start: number, mask: number, slot: number, hashLo: number): void {
    const arena = this.#arena;
    let position = hashLo & mask;
    while (arena[start + position] !== 0) position = (position + 1) & mask;
    arena[start + position] = (slot + 1) | ((hashLo << this.#tagShift) & this.#tagMask);
  }
}
