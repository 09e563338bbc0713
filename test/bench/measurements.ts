/** What the rounds brought, and the rounds themselves: every part by every side, in turn. */
import { type Figure, type Outcome, outcomeOf, type Side } from './figure.js';
import type { Part, Say, Sizes } from './part.js';

export interface RoundOptions {
  readonly parts: readonly Part[];
  readonly sizes: Sizes;
  /** Of a part. */
  rounds(part: Part): number;
  isWanted(side: Side): boolean;
  readonly say: Say;
}

export class Measurements {
  private readonly values = new Map<string, Partial<Record<Side, number[]>>>();
  /** What went wrong in a round, which then counts for nothing. */
  readonly problems: string[] = [];

  add(side: Side, values: Readonly<Record<string, number>>): void {
    for (const [id, value] of Object.entries(values)) {
      const sides = this.values.get(id) ?? {};
      sides[side] = [...(sides[side] ?? []), value];
      this.values.set(id, sides);
    }
  }

  /** In the order of the figures, without those that nobody told. */
  outcomes(figures: readonly Figure[]): Outcome[] {
    return figures
      .filter(({ id }) => this.values.has(id))
      .map((figure) => outcomeOf(figure, this.values.get(figure.id)!));
  }

  /** Every single value, by figure and side. */
  raw(): Record<string, Partial<Record<Side, readonly number[]>>> {
    return Object.fromEntries(this.values);
  }
}

/** Runs everything: the sides of a part right after one another, in the other order every second round. */
export async function measureRounds(options: RoundOptions): Promise<Measurements> {
  const { parts, sizes, rounds, say } = options;
  const measurements = new Measurements();
  const most = Math.max(...parts.map(rounds));
  for (let round = 1; round <= most; round++) {
    for (const part of parts.filter((each) => round <= rounds(each))) {
      const sides = part.sides.filter((side) => options.isWanted(side));
      for (const side of round % 2 === 1 ? sides : sides.toReversed()) {
        const name = `${part.name}, ${side}, round ${round} of ${rounds(part)}`;
        try {
          measurements.add(side, await part.measure(side, sizes, (text) => say(`${name}: ${text}`)));
        } catch (error) {
          measurements.problems.push(`${name}: ${(error as Error).message}`);
          say(measurements.problems.at(-1)!);
        }
      }
    }
  }
  return measurements;
}
