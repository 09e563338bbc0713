/**
 * Which control frames of one incarnation were taken already: the last 1,024 counters as bits, in a ring. What is
 * older counts as taken. Only for sealed frames: a forged counter in clear would shut out the true ones.
 */
const WINDOW_COUNTERS = 1024;

export class ReplayWindow {
  readonly #bits = new Uint32Array(WINDOW_COUNTERS / 32);
  #highest: number;

  /** Everything up to and including `counter` counts as taken. */
  constructor(counter: number) {
    this.#highest = counter;
    this.#bits.fill(0xffffffff);
  }

  /** True, once for every counter, if it was not taken before and is not too old to tell. */
  take(counter: number): boolean {
    if (counter > this.#highest) this.#advance(counter);
    else if (this.#highest - counter >= WINDOW_COUNTERS) return false;
    const i = counter % WINDOW_COUNTERS;
    const bit = 1 << (i & 31);
    if ((this.#bits[i >>> 5] & bit) !== 0) return false;
    this.#bits[i >>> 5] |= bit;
    return true;
  }

  #advance(counter: number): void {
    if (counter - this.#highest >= WINDOW_COUNTERS) this.#bits.fill(0);
    else {
      for (let n = this.#highest + 1; n <= counter; n++) {
        const i = n % WINDOW_COUNTERS;
        this.#bits[i >>> 5] &= ~(1 << (i & 31));
      }
    }
    this.#highest = counter;
  }
}
