/**
 * The receiver's half of a repair, one per peer: which question is open, and what it still waits for.
 *
 *     idle -> groups -> segments -> scopes -> waiting (for the next MARK) -> idle when proven
 *
 * Answers come in the peer's stream, so each is compared at its exact position. A question without any
 * progress is asked again. A scope that still differs after REPAIRS_MAX whole, gapless answers is diverged
 * and never asked again: asking more would only load the link.
 */
import { REPAIRS_MAX } from '../limits.js';
import { REQUEST_GROUPS, REQUEST_SCOPES, REQUEST_SEGMENTS } from '../wire/control-messages.js';
import { SEGMENTS, SUMS_WIDTH } from '../wire/ops.js';

/** Time without any answer after which a question is put again. Milliseconds. */
const RETRY_MS = 250;
/** Least time between two questions. Milliseconds. */
const ASK_INTERVAL_MS = 20;

export type RepairPhase = 'idle' | 'groups' | 'segments' | 'scopes' | 'waiting';

export class RepairAsker {
  phase: RepairPhase = 'idle';
  /** Scopes that were given up. */
  diverged = 0;
  /** Scopes that are still awaited. */
  scopesWanted = 0;
  lastProgress = 0;
  #lastAsked = Number.NEGATIVE_INFINITY;
  #isDue = false;
  readonly #groups = new Uint8Array(SUMS_WIDTH / 8);
  readonly #scopes = new Uint8Array(SEGMENTS / 8);
  readonly #failures = new Uint8Array(SEGMENTS);

  /** A difference is known, not where: starts with the sums of the groups, unless a repair is under way. */
  start(now: number): void {
    if (this.phase !== 'idle' && this.phase !== 'waiting') return;
    this.#enter('groups', now);
  }

  /** Every scope is wanted: a newcomer without anything, or an operator's request. */
  startAll(now: number): void {
    this.forgetFailures();
    this.#scopes.fill(0xff);
    this.scopesWanted = SEGMENTS;
    this.#enter('scopes', now);
  }

  /** The replica was proven. */
  finish(): void {
    this.phase = 'idle';
    this.#isDue = false;
    this.scopesWanted = 0;
    this.#scopes.fill(0);
    this.#groups.fill(0);
    if (this.diverged > 0) this.forgetFailures();
    else this.#failures.fill(0);
  }

  forgetFailures(): void {
    this.#failures.fill(0);
    this.diverged = 0;
  }

  wantGroup(group: number): void {
    this.#groups[group >>> 3] |= 1 << (group & 7);
  }

  isGroupWanted(group: number): boolean {
    return (this.#groups[group >>> 3] & (1 << (group & 7))) !== 0;
  }

  /** False if the scope was given up. */
  wantScope(segment: number): boolean {
    if (this.#failures[segment] >= REPAIRS_MAX) return false;
    const bit = 1 << (segment & 7);
    if ((this.#scopes[segment >>> 3] & bit) === 0) this.scopesWanted++;
    this.#scopes[segment >>> 3] |= bit;
    return true;
  }

  /** The sums of the groups were compared. */
  groupsDone(now: number): void {
    if (this.phase !== 'groups') return;
    if (this.#groups.some((b) => b !== 0)) this.#enter('segments', now);
    else if (this.scopesWanted > 0) this.#enter('scopes', now);
    else this.#enter('waiting', now);
  }

  /** The sums of one group's segments were compared. */
  groupDone(group: number, now: number): void {
    this.#groups[group >>> 3] &= ~(1 << (group & 7));
    this.lastProgress = now;
    if (this.phase !== 'segments' || this.#groups.some((b) => b !== 0)) return;
    this.#enter(this.scopesWanted > 0 ? 'scopes' : 'waiting', now);
  }

  /** A scope came whole. Returns true if it is given up now. */
  scopeDone(segment: number, isEqual: boolean, now: number): boolean {
    this.lastProgress = now;
    const bit = 1 << (segment & 7);
    if ((this.#scopes[segment >>> 3] & bit) !== 0) {
      this.#scopes[segment >>> 3] &= ~bit;
      this.scopesWanted--;
    }
    if (this.phase === 'scopes' && this.scopesWanted === 0) this.#enter('waiting', now);
    if (isEqual) {
      if (this.#failures[segment] >= REPAIRS_MAX) this.diverged--;
      this.#failures[segment] = 0;
      return false;
    }
    if (this.#failures[segment] >= REPAIRS_MAX) return false;
    if (++this.#failures[segment] < REPAIRS_MAX) return false;
    this.diverged++;
    return true;
  }

  /** The REQUEST_* kind to send now, or 0; the bitmap goes with it. */
  due(now: number): number {
    if (this.phase === 'idle' || this.phase === 'waiting') return 0;
    const isStalled = now - Math.max(this.lastProgress, this.#lastAsked) >= RETRY_MS;
    if (!this.#isDue && !isStalled) return 0;
    if (now - this.#lastAsked < ASK_INTERVAL_MS) return 0;
    this.#isDue = false;
    this.#lastAsked = now;
    if (this.phase === 'groups') return REQUEST_GROUPS;
    return this.phase === 'segments' ? REQUEST_SEGMENTS : REQUEST_SCOPES;
  }

  /** The bitmap of the question that is open. */
  bitmap(): Uint8Array {
    if (this.phase === 'segments') return this.#groups;
    return this.phase === 'scopes' ? this.#scopes : new Uint8Array(0);
  }

  #enter(phase: RepairPhase, now: number): void {
    this.phase = phase;
    this.lastProgress = now;
    this.#isDue = phase !== 'waiting';
  }
}
