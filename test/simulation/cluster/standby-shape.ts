/** What a seed's nodes are as backups: cold or hot each, and when they purge. */
import { Random } from '../random.js';

/** Apart from the rest of the seed: a seed without all this is what it was. */
const SALT = 0x407;
const PURGE_SHARE = 0.4;
/** Shorter than a run, so that several purges come in each. Milliseconds. */
const PURGE_AFTER_MS = [800, 1500, 3000];
/** Longer than any run. Milliseconds. */
const NEVER_MS = 600_000;
/** Kinds of faults that a seed with a hot node, or with purges, has beside all others. */
const KINDS_MAX = 3;
/** One flow in so many ends on the machine itself, in seeds with purges. */
const LOCAL_EVERY = 16;

export interface StandbyShape {
  /** By the number of the machine. */
  readonly hot: readonly boolean[];
  readonly purgeAfterMs: number;
  readonly isPurging: boolean;
  /** Kinds of STANDBY_FAULTS. */
  readonly faults: readonly string[];
}

/** The source port of its original tuple makes a flow one that ends on the machine. */
export const isLocalPort = (port: number): boolean => port % LOCAL_EVERY === 3;

/** Decides it; `kinds` are the faults to choose from. */
export function standbyShape(seed: number, nodes: number, kinds: readonly string[]): StandbyShape {
  const random = new Random(seed ^ SALT);
  const roll = random.next();
  // All cold, all hot, or as an operator who tries it out.
  const hot = Array.from({ length: nodes }, () => roll > 0.6 && (roll < 0.85 || random.chance(0.5)));
  const isPurging = random.chance(PURGE_SHARE);
  const faults: string[] = [];
  if (isPurging || hot.includes(true)) {
    const left = [...kinds];
    for (let n = random.below(KINDS_MAX + 1); n > 0; n--)
      faults.push(...left.splice(random.below(left.length), 1));
  }
  const purgeAfterMs = isPurging ? PURGE_AFTER_MS[random.below(PURGE_AFTER_MS.length)] : NEVER_MS;
  return { hot, purgeAfterMs, isPurging, faults };
}
