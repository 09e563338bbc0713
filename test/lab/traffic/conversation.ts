/** One end of one connection, as the program that holds it watches it. */
import type { Kind } from './kinds.js';

/** How a conversation was lost; the first reason stays. */
export interface Loss {
  readonly kind: string;
  readonly number: number;
  readonly what: string;
}

/**
 * Either end may lose the connection; one of the two judges whether it still talks. `talked` is for exchanges that are
 * whole and right: nothing here asks again in a way that would hide a lost connection.
 */
export abstract class Conversation {
  /** Why it is lost, or undefined while it lives. */
  loss: string | undefined;
  /** It has talked once, so both firewalls and both ends know it. */
  isMade = false;
  /** The longest time between two exchanges, milliseconds. */
  longestMs = 0;
  /** Errors no longer count: the test is over and the other end may have gone. */
  isEnding = false;
  #lastMs = Number.NaN;
  /** When the last exchange that was answered had begun. */
  #begunMs = Number.NEGATIVE_INFINITY;

  constructor(
    readonly kind: Kind,
    readonly number: number,
    /** This end tells whether the connection talks. The other one only tells errors. */
    readonly isJudge: boolean,
  ) {}

  /** Does what is due. Called every few milliseconds. */
  tick(_now: number): void {}

  /** A round begins. What waits for one (what was announced before a failover, and is used after it) goes on now. */
  begin(_now: number): void {}

  /** Says all that is left to say; from here on a silent kind talks as well. */
  finish(_now: number): void {}

  /** What it waits for, for who wants to know why it is silent. */
  get waitsFor(): string {
    return '';
  }

  /** True if an exchange that began at `since` or later was answered. */
  hasTalkedSince(since: number): boolean {
    return this.#begunMs >= since;
  }

  /** Milliseconds since it last talked. */
  silence(now: number): number {
    return Number.isNaN(this.#lastMs) ? 0 : now - this.#lastMs;
  }

  /** An exchange was answered. `sinceMs`: when the silence before began, if that was not with the last exchange. */
  protected talked(begunMs: number, now: number, sinceMs = this.#lastMs): void {
    // Before it was made it had nothing to be silent about.
    if (this.isMade) this.longestMs = Math.max(this.longestMs, now - sinceMs);
    this.isMade = true;
    this.#lastMs = now;
    this.#begunMs = begunMs;
  }

  protected lose(what: string): void {
    if (!this.isEnding) this.loss ??= what;
  }
}
