/** What a comparison has done so far, and what it came to. */
import { Coverage } from './coverage.js';

const SHOWN_MAX = 10;

export class Tally {
  readonly coverage = new Coverage();
  lines = 0;
  differing = 0;
  /** Lines by which Debian's program ended by a signal: nothing to compare with. */
  private readonly crashes: string[] = [];
  /** Lines during which somebody resized the kernel's hash table: neither program sees all flows then. */
  resized = 0;
  private readonly quirks = new Map<string, number>();
  private readonly max: number;
  private readonly isVerbose: boolean;

  constructor(max: number, isVerbose: boolean) {
    this.max = max;
    this.isVerbose = isVerbose;
  }

  get hasRoom(): boolean {
    return this.lines < this.max;
  }

  quirk(what: string): void {
    this.quirks.set(what, (this.quirks.get(what) ?? 0) + 1);
  }

  crash(words: readonly string[]): void {
    this.crashes.push(words.join(' '));
  }

  difference(seed: number, words: readonly string[], text: string): void {
    if (++this.differing <= SHOWN_MAX)
      process.stdout.write(`seed ${seed}: conntrack ${words.join(' ')}\n${text}\n`);
  }

  *report(): Generator<string> {
    if (this.isVerbose) yield* this.coverage.report();
    if (this.isVerbose) for (const line of this.crashes) yield `Debian's program crashed: ${line}`;
    for (const [what, times] of this.quirks) yield `Debian's 1.4.7, ${times} times: ${what}`;
  }

  summary(): string {
    const aside = [
      `Debian's program crashed ${this.crashes.length} times`,
      `${this.resized} lines left aside: the hash table was resized meanwhile`,
    ];
    return `${this.lines} command lines, ${this.differing} differ; ${aside.join('; ')}`;
  }
}
