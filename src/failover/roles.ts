/** Terms order the tenures of primaries: each promote takes a higher one than any that was ever seen. */
import type { Role } from './ports.js';

/** Highest term there can be: a term travels as a double. */
export const TERM_MAX = Number.MAX_SAFE_INTEGER - 1;

/**
 * The term of a new tenure: above every term seen and the persisted one. The wall clock (ms) only seeds it, so that
 * a node that lost its state does not start below a tenure nobody alive remembers.
 */
export function nextTerm(highestSeen: number, persisted: number, wallClockMs: number): number {
  const seed = Number.isFinite(wallClockMs) ? Math.max(0, Math.floor(wallClockMs)) : 0;
  const known = Math.max(isTerm(highestSeen) ? highestSeen : 0, isTerm(persisted) ? persisted : 0);
  return Math.min(TERM_MAX, Math.max(known, Math.min(seed, TERM_MAX - 1)) + 1);
}

/** True for a whole number that can be a term; 0 is "never primary". */
export const isTerm = (term: number): boolean => Number.isSafeInteger(term) && term >= 0;

export const isRole = (text: unknown): text is Role =>
  text === 'primary' || text === 'backup' || text === 'fault';

/** True if tenure (term, node) wins over the other: the higher term, then the greater node name. */
export function outranks(term: number, node: string, otherTerm: number, otherNode: string): boolean {
  return term !== otherTerm ? term > otherTerm : node > otherNode;
}
