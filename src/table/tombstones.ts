/**
 * Tombstones that a running audit still needs. A dump fills one buffer ahead (PROTOCOL.md, F10), so it can show a
 * flow whose DESTROY was read already: the tombstone says "newer than that row" for two more reads of the dump.
 */
import { OFF_TIMEOUT } from '../flow/record.js';

const FIRST_CAPACITY = 256;
const READS_KEPT = 2;

/** What the list needs of the table. */
export interface TombstoneHolder {
  readonly memory: { readonly u32: Uint32Array };
  recordAt(slot: number): number;
  /** The audit no longer needs the slot. Called only for slots that carry KEPT. */
  letGo(slot: number): void;
  isKept(slot: number): boolean;
}

/** First-in first-out ring of (slot, read number, stamp); doubles when full. */
export class Tombstones {
  readonly #holder: TombstoneHolder;
  #ring = new Uint32Array(FIRST_CAPACITY * 3);
  #first = 0;
  #count = 0;
  #read = 0;
  #stamp = 0;

  constructor(holder: TombstoneHolder) {
    this.#holder = holder;
  }

  get count(): number {
    return this.#count;
  }

  /** Adds a slot, also one that is in already: then only the newer entry counts. */
  add(slot: number): void {
    if (this.#count * 3 === this.#ring.length) this.#grow();
    this.#stamp = (this.#stamp + 1) >>> 0;
    const at = ((this.#first + this.#count) * 3) % this.#ring.length;
    this.#ring[at] = slot;
    this.#ring[at + 1] = this.#read;
    this.#ring[at + 2] = this.#stamp;
    this.#count++;
    // The timeout of a flow that has ended means nothing: it holds the stamp of the newest entry.
    this.#holder.memory.u32[(this.#holder.recordAt(slot) + OFF_TIMEOUT) >>> 2] = this.#stamp;
  }

  /** Call after each read of the dump: lets go of what was added two reads ago. */
  advance(): void {
    this.#read++;
    while (this.#count > 0 && this.#ring[this.#first * 3 + 1] + READS_KEPT <= this.#read) this.#shift();
  }

  /** Lets go of all. */
  clear(): void {
    while (this.#count > 0) this.#shift();
    this.#read = 0;
  }

  #shift(): void {
    const slot = this.#ring[this.#first * 3];
    const stamp = this.#ring[this.#first * 3 + 2];
    this.#first = (this.#first + 1) % (this.#ring.length / 3);
    this.#count--;
    if (!this.#holder.isKept(slot)) return;
    const at = (this.#holder.recordAt(slot) + OFF_TIMEOUT) >>> 2;
    if (this.#holder.memory.u32[at] === stamp) this.#holder.letGo(slot);
  }

  #grow(): void {
    const ring = new Uint32Array(this.#ring.length * 2);
    const tail = this.#ring.subarray(this.#first * 3);
    ring.set(tail);
    ring.set(this.#ring.subarray(0, this.#first * 3), tail.length);
    this.#ring = ring;
    this.#first = 0;
  }
}
