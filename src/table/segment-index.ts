/**
 * Where the slot of a key is: 4,096 small open-addressing tables, chosen by the top 12 bits of the key hash.
 *
 * Each grows alone (a thousand entries, some microseconds), so there is no stop-the-world growth. An entry is
 * slot + 1 with some more hash bits above it as a tag, so a probe hardly ever touches a slot that is not the
 * wanted one. Deletion shifts the entries behind it back: no tombstones, probes never get longer with time.
 */
import { keyEqual } from '../flow/merge.js';
import type { Memory } from '../flow/record.js';
import { SLOT_WORDS, type Slots, WORD_HASH, WORD_RECORD } from './slots.js';

export const SEGMENTS = 4096;
const SEGMENT_SHIFT = 20;
const FIRST_CAPACITY = 16;

/** Segment (0..4095) of a key hash, and so its /12 scope. */
export const segmentOf = (hashLo: number): number => hashLo >>> SEGMENT_SHIFT;

/** Slots by key hash. Several slots may stand under one key; seek/next finds each. */
export class SegmentIndex {
  readonly #slots: Slots;
  readonly #memory: Memory;
  readonly #tables: Int32Array[] = [];
  readonly #counts = new Uint32Array(SEGMENTS);
  readonly #slotMask: number;
  readonly #tagMask: number;
  readonly #tagShift: number;
  #table: Int32Array;
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
    const none = new Int32Array(1);
    for (let i = 0; i < SEGMENTS; i++) this.#tables.push(none);
    this.#table = none;
  }

  /** Slots in the segment. */
  count(segment: number): number {
    return this.#counts[segment];
  }

  /** Starts a search for a key with this hash; next() gives the matches. There is one search at a time. */
  seek(hashLo: number): void {
    const table = this.#tables[hashLo >>> SEGMENT_SHIFT];
    this.#table = table;
    this.#position = hashLo & (table.length - 1);
    this.#tag = (hashLo << this.#tagShift) & this.#tagMask;
  }

  /** The next slot whose record has the key of the record at `at`, or -1. */
  next(m: Memory, at: number): number {
    const table = this.#table;
    const mask = table.length - 1;
    const words = this.#slots.words;
    let position = this.#position;
    for (let entry = table[position]; entry !== 0; entry = table[position]) {
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
    const hashLo = this.#slots.words[slot * SLOT_WORDS + WORD_HASH];
    const segment = hashLo >>> SEGMENT_SHIFT;
    const count = ++this.#counts[segment];
    let table = this.#tables[segment];
    // At most 3/4 full, so there is always an empty entry to stop at.
    if (count * 4 > table.length * 3) table = this.#grow(segment);
    this.#place(table, slot, hashLo);
  }

  /** Takes the slot out; it must be in. */
  delete(slot: number): void {
    const words = this.#slots.words;
    const hashLo = words[slot * SLOT_WORDS + WORD_HASH];
    const segment = hashLo >>> SEGMENT_SHIFT;
    const table = this.#tables[segment];
    const mask = table.length - 1;
    let hole = hashLo & mask;
    while ((table[hole] & this.#slotMask) !== slot + 1) {
      if (table[hole] === 0) throw new Error(`segment index: slot ${slot} is not in segment ${segment}`);
      hole = (hole + 1) & mask;
    }
    this.#counts[segment]--;
    let scan = hole;
    for (;;) {
      scan = (scan + 1) & mask;
      const entry = table[scan];
      if (entry === 0) break;
      const home = words[((entry & this.#slotMask) - 1) * SLOT_WORDS + WORD_HASH] & mask;
      // An entry may move back into the hole unless its home lies behind the hole.
      if (((scan - home) & mask) < ((scan - hole) & mask)) continue;
      table[hole] = entry;
      hole = scan;
    }
    table[hole] = 0;
  }

  /** Copies the slots of the segment to `out`, as many as fit; returns how many there are. */
  list(segment: number, out: Int32Array): number {
    const table = this.#tables[segment];
    let n = 0;
    for (let i = 0; i < table.length; i++) {
      if (table[i] === 0) continue;
      if (n < out.length) out[n] = (table[i] & this.#slotMask) - 1;
      n++;
    }
    return n;
  }

  #grow(segment: number): Int32Array {
    const old = this.#tables[segment];
    const table = new Int32Array(Math.max(FIRST_CAPACITY, old.length * 2));
    this.#tables[segment] = table;
    const words = this.#slots.words;
    for (let i = 0; i < old.length; i++) {
      if (old[i] === 0) continue;
      const slot = (old[i] & this.#slotMask) - 1;
      this.#place(table, slot, words[slot * SLOT_WORDS + WORD_HASH]);
    }
    return table;
  }

  #place(table: Int32Array, slot: number, hashLo: number): void {
    const mask = table.length - 1;
    let position = hashLo & mask;
    while (table[position] !== 0) position = (position + 1) & mask;
    table[position] = (slot + 1) | ((hashLo << this.#tagShift) & this.#tagMask);
  }
}
