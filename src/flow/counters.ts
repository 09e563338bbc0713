/** Counts things by reason ("frame.truncated"); the daemon shows and exports them. */
export interface Counters {
  count(reason: string, n?: number): void;
}

/** Counters kept in a map: the daemon's own, and what tests read. */
export class CounterMap implements Counters {
  readonly values = new Map<string, number>();

  count(reason: string, n = 1): void {
    this.values.set(reason, (this.values.get(reason) ?? 0) + n);
  }

  get(reason: string): number {
    return this.values.get(reason) ?? 0;
  }
}
