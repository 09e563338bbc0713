/**
 * Slots whose change this kernel has not got yet: first in, first out, a slot at most once, whatever lives in it
 * meanwhile. The list is threaded through an array beside the slots, so it can never be longer than the table and
 * allocates nothing. The array is address space until it is used.
 */

/** Stands after the last slot. */
const END = 0xffffffff;

export class HotQueue {
  /** The slot after + 1, or END; 0: not in the queue. */
  readonly #after: Uint32Array;
  /** When each slot came, milliseconds of the clock, modulo 2^32. */
  readonly #since: Uint32Array;
  #first = END;
  #last = END;
  length = 0;

  constructor(capacity: number) {
    this.#after = new Uint32Array(capacity);
    this.#since = new Uint32Array(capacity);
  }

  has(slot: number): boolean {
    return this.#after[slot] !== 0;
  }

  /** Adds the slot at the end; false if it is in already. */
  push(slot: number, nowMs: number): boolean {
    if (this.#after[slot] !== 0) return false;
    this.#since[slot] = nowMs >>> 0;
    this.#append(slot);
    return true;
  }

  /** Puts a slot that was taken back to the end; it has waited since it first came. */
  putBack(slot: number): void {
    if (this.#after[slot] === 0) this.#append(slot);
  }

  /** The slot that has stood here longest; -1: none. */
  peek(): number {
    return this.length === 0 ? -1 : this.#first;
  }

  /** Takes that slot; -1: none. */
  shift(): number {
    const slot = this.peek();
    if (slot < 0) return -1;
    const after = this.#after[slot];
    this.#after[slot] = 0;
    this.length--;
    if (after === END) {
      this.#first = END;
      this.#last = END;
    } else this.#first = after - 1;
    return slot;
  }

  /** Age of the change that came first. Milliseconds. */
  oldestMs(nowMs: number): number {
    return this.length === 0 ? 0 : ((nowMs >>> 0) - this.#since[this.#first]) >>> 0;
  }

  /** Calls `fn` for each slot; it must not change the queue. */
  forEach(fn: (slot: number) => void): void {
    if (this.length === 0) return;
    for (let at = this.#first; ; ) {
      const after = this.#after[at];
      fn(at);
      if (after === END) return;
      at = after - 1;
    }
  }

  clear(): void {
    while (this.shift() >= 0);
  }

  #append(slot: number): void {
    this.#after[slot] = END;
    if (this.length === 0) this.#first = slot;
    else this.#after[this.#last] = slot + 1;
    this.#last = slot;
    this.length++;
  }
}
