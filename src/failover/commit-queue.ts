/** Flows that a commit has to look at again: a ring of (slot, stage) that doubles when full. */

/** Create it. */
export const STAGE_CREATE = 0;
/** Ask for it by key: nothing there means create. */
export const STAGE_GET = 1;
/** The kernel said EEXIST: ask by key; nothing there means that another flow holds the reply tuple (F6). */
export const STAGE_GET_EXISTS = 2;
/** Ask who holds the reply tuple. */
export const STAGE_GET_REPLY = 3;
/** An update failed half way: what the kernel has now is what it is. */
export const STAGE_ACCEPT = 4;

const STAGE_BITS = 3;

export class CommitQueue {
  #ring = new Uint32Array(256);
  #first = 0;
  length = 0;
  slot = 0;
  stage = 0;

  push(slot: number, stage: number): void {
    if (this.length === this.#ring.length) this.#grow();
    // A slot number has 25 bits (slots.ts), a stage three.
    this.#ring[(this.#first + this.length++) & (this.#ring.length - 1)] = (slot << STAGE_BITS) | stage;
  }

  /** Takes the oldest entry into `slot` and `stage`; false when there is none. */
  shift(): boolean {
    if (this.length === 0) return false;
    const word = this.#ring[this.#first];
    this.#first = (this.#first + 1) & (this.#ring.length - 1);
    this.length--;
    this.slot = word >>> STAGE_BITS;
    this.stage = word & ((1 << STAGE_BITS) - 1);
    return true;
  }

  #grow(): void {
    const ring = new Uint32Array(this.#ring.length * 2);
    for (let i = 0; i < this.length; i++) {
      ring[i] = this.#ring[(this.#first + i) & (this.#ring.length - 1)];
    }
    this.#ring = ring;
    this.#first = 0;
  }
}
