/** Virtual time: what is to happen, in the order of its time, and of its making among equals. */
interface Entry {
  readonly at: number;
  readonly order: number;
  readonly act: () => void;
}

/** How many promises may wait for each other in a row. */
const REACTIONS_DEEP = 12;

const isBefore = (a: Entry, b: Entry): boolean => a.at < b.at || (a.at === b.at && a.order < b.order);

/** A binary heap of things to do; `now` is the time of the one that is being done. Milliseconds. */
export class Schedule {
  now = 1000;
  /** Counts what was done so far: an order among things of one millisecond. */
  steps = 0;
  readonly #heap: Entry[] = [];
  #order = 0;
  #areReactionsDue = false;
  #failure: unknown;
  #marks = 0;

  /** Does `act` at this time, or now if that has passed. */
  at(time: number, act: () => void): void {
    const heap = this.#heap;
    const entry = { at: Math.max(time, this.now), order: this.#order++, act };
    let i = heap.push(entry) - 1;
    while (i > 0) {
      const parent = (i - 1) >> 1;
      if (!isBefore(entry, heap[parent])) break;
      heap[i] = heap[parent];
      i = parent;
    }
    heap[i] = entry;
  }

  after(ms: number, act: () => void): void {
    this.at(this.now + ms, act);
  }

  /** A number for what happens now, in the order of all that happens. */
  mark(): number {
    return ++this.#marks;
  }

  /** Something that others wait for has been settled: they react before anything else happens. */
  react(): void {
    this.#areReactionsDue = true;
  }

  /** Something has failed where nobody may throw; runTo does. */
  fail(error: unknown): void {
    this.#failure ??= error;
  }

  /** Throws what has failed so far. */
  check(): void {
    if (this.#failure !== undefined) throw this.#failure;
  }

  /** Does all that is due up to `time`; throws what an act throws, or a reaction. */
  async runTo(time: number): Promise<void> {
    while (this.#heap.length > 0 && this.#heap[0].at <= time) {
      const entry = this.#take();
      this.now = entry.at;
      this.steps++;
      entry.act();
      this.check();
      if (this.#areReactionsDue) {
        this.#areReactionsDue = false;
        for (let i = 0; i < REACTIONS_DEEP; i++) await undefined;
        this.check();
      }
    }
    this.now = time;
  }

  #take(): Entry {
    const heap = this.#heap;
    const first = heap[0];
    const last = heap.pop() as Entry;
    if (heap.length === 0) return first;
    let i = 0;
    for (;;) {
      let child = 2 * i + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && isBefore(heap[child + 1], heap[child])) child++;
      if (!isBefore(heap[child], last)) break;
      heap[i] = heap[child];
      i = child;
    }
    heap[i] = last;
    return first;
  }
}
