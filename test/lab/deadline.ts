/** Waiting for a state with a deadline, instead of sleeping for as long as it hopefully takes. */
import { setTimeout as pause } from 'node:timers/promises';

/** The awaited state did not come in time; the message has what was seen last. */
class DeadlineError extends Error {
  override readonly name = 'DeadlineError';
}

export interface DeadlineOptions {
  /** Milliseconds until it counts as failed. */
  readonly withinMs: number;
  /** Milliseconds between two looks. */
  readonly everyMs?: number;
}

/**
 * Asks until the answer is neither undefined nor false, and resolves with it. A throw counts as "not yet"; after
 * the deadline a DeadlineError says what was awaited and what the last look saw.
 */
export async function eventually<T>(
  what: string,
  { withinMs, everyMs = 50 }: DeadlineOptions,
  look: () => Promise<T | undefined | false> | T | undefined | false,
): Promise<T> {
  const end = performance.now() + withinMs;
  for (;;) {
    let last: unknown;
    try {
      const seen = await look();
      if (seen !== undefined && seen !== false) return seen;
      last = seen;
    } catch (error) {
      last = error;
    }
    if (performance.now() >= end) {
      const detail = last instanceof Error ? `: ${last.message}` : '';
      throw new DeadlineError(`not within ${withinMs} ms: ${what}${detail}`, { cause: last });
    }
    await pause(everyMs);
  }
}
