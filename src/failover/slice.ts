/** Long work in short slices, so that the event loop is never held. */
import { SLICE_BUDGET_MS } from '../limits.js';
import type { Clock } from './ports.js';

/** Did something, and there is more to do at once. */
export const GO_ON = 0;
/** Nothing to do until something outside has happened, or time has passed. */
export const WAIT = 1;
/** All is done. */
export const DONE = 2;

/** Takes turns until the budget of a slice is used, or there is nothing to do. True when all is done. */
export function runSlice(clock: Clock, turn: () => number, budgetMs: number = SLICE_BUDGET_MS): boolean {
  const end = clock() + budgetMs;
  for (;;) {
    const state = turn();
    if (state !== GO_ON) return state === DONE;
    if (clock() >= end) return false;
  }
}
