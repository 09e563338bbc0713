/** Random numbers that are the same for the same seed, so that what a test did can be done again. */
import { randomBytes } from 'node:crypto';

/** A whole number from 0 to `below` - 1. */
export type Random = (below: number) => number;

/** The numbers of a seed (mulberry32). */
export function randomFrom(seed: number): Random {
  let state = seed >>> 0;
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) % below;
  };
}

/** The seed in CONNTWIN_SEED, or one that nobody had before. */
export function chooseSeed(): number {
  return Number(process.env.CONNTWIN_SEED ?? randomBytes(4).readUInt32LE());
}
