/**
 * What one end has asked. An answer counts however late it comes: where the other end always takes longer than this one
 * waits before it asks again, each answer would be to the question before, and a flow that lives would seem silent for
 * good.
 */

/** After this a question is taken as lost on the way, and the next one is asked. */
const ANSWER_WITHIN_MS = 300;
/** Questions that may still be answered: those of twenty seconds. */
const OPEN_MAX = 64;

export class Questions {
  #last = 0;
  #lastMs = Number.NEGATIVE_INFINITY;
  /** When each that waits was asked, the oldest first. */
  readonly #askedMs = new Map<number, number>();

  /** Numbers go from 1 to `max`, and begin again. */
  constructor(private readonly max: number) {}

  /** The last one may still be answered in time. */
  isWaiting(now: number): boolean {
    return this.#askedMs.has(this.#last) && now - this.#lastMs < ANSWER_WITHIN_MS;
  }

  /** The number of a new one. */
  ask(now: number): number {
    this.#last = (this.#last % this.max) + 1;
    this.#lastMs = now;
    this.#askedMs.set(this.#last, now);
    if (this.#askedMs.size > OPEN_MAX) this.#forgetUpTo(this.#askedMs.keys().next().value);
    return this.#last;
  }

  /** When the one was asked that is answered; undefined: it waited no more. Those before it do not either, then. */
  answered(number: number): number | undefined {
    const askedMs = this.#askedMs.get(number);
    if (askedMs !== undefined) this.#forgetUpTo(number);
    return askedMs;
  }

  /** What waits, for who wants to know why it is silent. */
  toString(): string {
    return `the answer to question ${this.#last}, ${this.#askedMs.size} wait`;
  }

  #forgetUpTo(number: number | undefined): void {
    for (const one of this.#askedMs.keys()) {
      this.#askedMs.delete(one);
      if (one === number) return;
    }
  }
}
