/** Flows in order: the first N of however many there are, in memory for N; or all of them. */
import type { FlowOrder } from './flow-order.js';
import { allocateMemory, copyRecord, lengthOf, MAX_RECORD_BYTES, type Memory } from './record.js';
import type { About } from './where/fields.js';

const SLAB_BYTES = 1 << 20;
const FLOWS_PER_PIECE = 500;

/** Takes a flow; the record is valid during the call only. */
export type FlowTaker = (m: Memory, at: number, about: About) => void;

export class FlowSorter {
  readonly #order: FlowOrder;
  readonly #limit: number;
  readonly #slabs: Memory[] = [];
  #free = SLAB_BYTES;
  /** By number of the kept flow: its place, its key, when it came, whose it is. */
  readonly #place: number[] = [];
  readonly #key: number[] = [];
  readonly #came: number[] = [];
  readonly #owner: number[] = [];
  readonly #node: string[] = [];
  /** Where there is a limit: a heap of those numbers, with the flow that would come last on top. */
  readonly #heap: number[] = [];
  #arrivals = 0;

  /** `limit`: how many are wanted; Infinity for all. */
  constructor(order: FlowOrder, limit: number) {
    this.#order = order;
    this.#limit = limit;
  }

  take(m: Memory, at: number, about: About): void {
    const key = this.#order.key(m, at, about);
    const count = this.#place.length;
    if (count < this.#limit) {
      const isHeap = this.#limit !== Number.POSITIVE_INFINITY;
      this.#place.push(this.#allocate(isHeap ? MAX_RECORD_BYTES : lengthOf(m, at)));
      this.#keep(count, key, m, at, about);
      if (isHeap) this.#rise(this.#heap.push(count) - 1);
      return;
    }
    const last = this.#heap[0];
    const place = this.#place[last];
    // Of equals the one that came first stays.
    if (this.#order.compare(key, m, at, this.#key[last], this.#memory(place), place % SLAB_BYTES) >= 0)
      return;
    this.#keep(last, key, m, at, about);
    this.#sink();
  }

  /** Hands the flows over in order; after some hundred `between` is waited for, so that no more of their text piles up. */
  async each(take: FlowTaker, between: () => Promise<void>, now: number): Promise<void> {
    const numbers = Uint32Array.from(this.#place.keys()).sort((a, b) => this.#compare(a, b));
    const about: About = { owner: 0, node: '', now };
    for (let n = 0; n < numbers.length; n++) {
      const i = numbers[n];
      about.owner = this.#owner[i];
      about.node = this.#node[i];
      take(this.#memory(this.#place[i]), this.#place[i] % SLAB_BYTES, about);
      if ((n + 1) % FLOWS_PER_PIECE === 0) await between();
    }
  }

  #memory(place: number): Memory {
    return this.#slabs[Math.floor(place / SLAB_BYTES)];
  }

  #allocate(bytes: number): number {
    if (this.#free + bytes > SLAB_BYTES) {
      this.#slabs.push(allocateMemory(SLAB_BYTES));
      this.#free = 0;
    }
    const place = (this.#slabs.length - 1) * SLAB_BYTES + this.#free;
    this.#free += bytes;
    return place;
  }

  #keep(i: number, key: number, m: Memory, at: number, about: About): void {
    const place = this.#place[i];
    copyRecord(m, at, this.#memory(place), place % SLAB_BYTES);
    this.#key[i] = key;
    this.#came[i] = this.#arrivals++;
    this.#owner[i] = about.owner;
    this.#node[i] = about.node;
  }

  #compare(a: number, b: number): number {
    const [p, q] = [this.#place[a], this.#place[b]];
    const by = this.#order.compare(
      this.#key[a],
      this.#memory(p),
      p % SLAB_BYTES,
      this.#key[b],
      this.#memory(q),
      q % SLAB_BYTES,
    );
    return by === 0 ? this.#came[a] - this.#came[b] : by;
  }

  #rise(at: number): void {
    const heap = this.#heap;
    while (at > 0) {
      const above = (at - 1) >> 1;
      if (this.#compare(heap[at], heap[above]) <= 0) return;
      [heap[at], heap[above]] = [heap[above], heap[at]];
      at = above;
    }
  }

  #sink(): void {
    const heap = this.#heap;
    for (let at = 0; ; ) {
      let next = 2 * at + 1;
      if (next >= heap.length) return;
      if (next + 1 < heap.length && this.#compare(heap[next + 1], heap[next]) > 0) next++;
      if (this.#compare(heap[next], heap[at]) <= 0) return;
      [heap[at], heap[next]] = [heap[next], heap[at]];
      at = next;
    }
  }
}
