/**
 * The fixed part of every slot, 40 bytes, as an array of structs: what one lookup reads lies in one cache line.
 *
 *      word 0  record offset in the slab's memory
 *           1  key hash, low lane: the top 12 bits are the segment
 *           2  image hash, low lane      3  high lane (0/0: the stream has said nothing)
 *         4-5  f64 sequence of the last change said
 *           6  time of the last change, seconds
 *           7  dirty queue, the slot before + 1
 *           8  dirty queue, the slot after + 1; of a free slot the next free one + 1
 *           9  u16 bits, u8 raw owner, u8 generation of the last audit that was shown the flow
 *
 * The buffer has room for the largest table at once. Its pages become process memory only when a slot on them is
 * first used, so the size costs address space alone and nothing is ever copied to grow.
 */
import { SHADOW, USED } from './slot-bits.js';

export const SLOT_WORDS = 10;
export const WORD_RECORD = 0;
export const WORD_HASH = 1;
export const WORD_IMAGE_LO = 2;
export const WORD_IMAGE_HI = 3;
export const WORD_TIME = 6;
export const WORD_PREVIOUS = 7;
export const WORD_NEXT = 8;

/** 2,147,483,647 / 40, rounded down to a power of two: slot offsets must stay 31-bit integers. */
export const SLOTS_CAPACITY_MAX = 1 << 25;

/** Slots by number, with a free list threaded through the unused ones. */
export class Slots {
  readonly capacity: number;
  readonly words: Uint32Array;
  /** Every slot number in use is below this. It only rises: freed numbers are used again first. */
  limit = 0;
  used = 0;
  readonly #halves: Uint16Array;
  readonly #bytes: Uint8Array;
  readonly #doubles: Float64Array;
  #free = 0;

  /** Throws a RangeError if the capacity is not within 1..SLOTS_CAPACITY_MAX. */
  constructor(capacity: number) {
    if (!(capacity >= 1 && capacity <= SLOTS_CAPACITY_MAX)) {
      throw new RangeError(`slots: capacity ${capacity}, want 1..${SLOTS_CAPACITY_MAX}`);
    }
    this.capacity = Math.floor(capacity);
    const buffer = new ArrayBuffer(this.capacity * SLOT_WORDS * 4);
    this.words = new Uint32Array(buffer);
    this.#halves = new Uint16Array(buffer);
    this.#bytes = new Uint8Array(buffer);
    this.#doubles = new Float64Array(buffer);
  }

  /** A slot of zeros but for USED; -1 when all are taken. */
  take(): number {
    let slot = this.#free - 1;
    if (slot >= 0) {
      this.#free = this.words[slot * SLOT_WORDS + WORD_NEXT];
      this.words[slot * SLOT_WORDS + WORD_NEXT] = 0;
    } else {
      if (this.limit === this.capacity) return -1;
      slot = this.limit++;
    }
    this.setBits(slot, USED);
    this.used++;
    return slot;
  }

  /** Gives the slot back. */
  give(slot: number): void {
    const base = slot * SLOT_WORDS;
    const words = this.words;
    for (let i = 0; i < SLOT_WORDS; i++) words[base + i] = 0;
    words[base + WORD_NEXT] = this.#free;
    this.#free = slot + 1;
    this.used--;
  }

  isUsed(slot: number): boolean {
    return slot >= 0 && slot < this.limit && (this.bits(slot) & USED) !== 0;
  }

  bits(slot: number): number {
    return this.#halves[slot * 20 + 18];
  }

  setBits(slot: number, bits: number): void {
    this.#halves[slot * 20 + 18] = bits;
  }

  isShadow(slot: number): boolean {
    return (this.#halves[slot * 20 + 18] & SHADOW) !== 0;
  }

  rawOwner(slot: number): number {
    return this.#bytes[slot * 40 + 38];
  }

  setRawOwner(slot: number, raw: number): void {
    this.#bytes[slot * 40 + 38] = raw;
  }

  shown(slot: number): number {
    return this.#bytes[slot * 40 + 39];
  }

  setShown(slot: number, generation: number): void {
    this.#bytes[slot * 40 + 39] = generation;
  }

  sequence(slot: number): number {
    return this.#doubles[slot * 5 + 2];
  }

  setSequence(slot: number, sequence: number): void {
    this.#doubles[slot * 5 + 2] = sequence;
  }
}
