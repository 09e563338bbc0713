/**
 * Rates of what strangers may cause. Each sender falls into one of several buckets by a byte of its incarnation, so
 * that a flood under one incarnation, or under a few that were captured, leaves the answers of others alone.
 */
const BUCKETS = 64;

export class TokenBuckets {
  readonly #perMs: number;
  readonly #burst: number;
  readonly #tokens: Float64Array;
  readonly #at = new Float64Array(BUCKETS);

  /** Rate and burst of each of the 64 buckets. */
  constructor(perSecond: number, burst: number) {
    this.#perMs = perSecond / 1000;
    this.#burst = burst;
    this.#tokens = new Float64Array(BUCKETS).fill(burst);
  }

  /** Takes a token for the sender whose incarnation begins with `byte`; false if it has none left. */
  take(byte: number, now: number): boolean {
    const i = byte % BUCKETS;
    const earned = (now - this.#at[i]) * this.#perMs;
    this.#tokens[i] = Math.min(this.#burst, this.#tokens[i] + Math.max(0, earned));
    this.#at[i] = now;
    if (this.#tokens[i] < 1) return false;
    this.#tokens[i]--;
    return true;
  }
}
