/**
 * When to ask for frames that are missing, one per peer. A hole is asked for a few milliseconds after it was seen
 * (what is late mostly comes by itself, and of several receivers one speaks first), then again and again, with longer
 * pauses while nothing comes, as long as the sender lives: a NACK can be lost like any frame.
 *
 *     applied            asked            horizon   sequence
 *     ---|----- retry ------|----- fresh -----|---------|
 */
import {
  NACK_DELAY_MS,
  NACK_JITTER_MS,
  NACK_RETRY_MAX_MS,
  NACK_RETRY_MIN_MS,
  NACK_TAIL_GRACE_MS,
} from '../limits.js';

export class NackAsker {
  /** What `due` says to ask for: all that is missing from `from` to `to`. */
  from = 0;
  to = 0;
  /** Up to here everything missing was asked for, by this node or by another. */
  #asked = 0;
  /** Up to here it is asked for at #freshAt. */
  #horizon = 0;
  #freshAt = Number.POSITIVE_INFINITY;
  /** Only a heartbeat told of the hole: the frames may still be on their way. */
  #isTail = false;
  #retryAt = Number.POSITIVE_INFINITY;
  #interval = NACK_RETRY_MIN_MS;
  #appliedAtLast = 0;
  /** Another's NACK spoke for this node; that happens once between two of its own, or a deaf sender kept it silent. */
  #isSuppressed = false;

  /** A hole is known and will be asked for. */
  get isOpen(): boolean {
    return this.#freshAt < Number.POSITIVE_INFINITY || this.#retryAt < Number.POSITIVE_INFINITY;
  }

  /** The highest sequence whose absence is known. */
  get known(): number {
    return Math.max(this.#asked, this.#horizon);
  }

  /**
   * True if it is time to ask, from `from` to `to`. `newest` is the highest frame that has come, `sequence` the highest
   * one that the sender has told of; `random` in [0, 1).
   */
  due(applied: number, newest: number, sequence: number, now: number, random: number): boolean {
    if (applied >= sequence) {
      this.#rest(sequence);
      return false;
    }
    if (this.#asked > sequence) this.#asked = sequence;
    if (applied >= this.#asked) this.#retryAt = Number.POSITIVE_INFINITY;
    if (applied >= this.#horizon) this.#freshAt = Number.POSITIVE_INFINITY;
    const done = Math.max(applied, this.#asked);
    if (newest > done && (this.#freshAt === Number.POSITIVE_INFINITY || this.#isTail)) {
      this.#plan(newest, Math.min(this.#freshAt, now + NACK_DELAY_MS + random * NACK_JITTER_MS), false);
    } else if (sequence > done && this.#freshAt === Number.POSITIVE_INFINITY) {
      this.#plan(sequence, now + NACK_TAIL_GRACE_MS + random * NACK_JITTER_MS, true);
    }
    const isRetry = now >= this.#retryAt;
    if (!isRetry && now < this.#freshAt) return false;
    this.from = isRetry ? applied + 1 : done + 1;
    if (now >= this.#freshAt) {
      this.#asked = Math.min(sequence, this.known);
      this.#freshAt = Number.POSITIVE_INFINITY;
    }
    this.to = this.#asked;
    this.#planRetry(applied, isRetry, now);
    this.#isSuppressed = false;
    return true;
  }

  /** Another receiver has just asked for all that is missing here: its turn counts as this node's, once. */
  heard(now: number, random: number): void {
    if (!this.isOpen || this.#isSuppressed) return;
    this.#isSuppressed = true;
    this.#asked = this.known;
    this.#freshAt = Number.POSITIVE_INFINITY;
    this.#retryAt = now + this.#interval + random * NACK_JITTER_MS;
  }

  #plan(horizon: number, at: number, isTail: boolean): void {
    this.#horizon = horizon;
    this.#freshAt = at;
    this.#isTail = isTail;
  }

  #planRetry(applied: number, isRetry: boolean, now: number): void {
    const isMoving = applied > this.#appliedAtLast;
    this.#appliedAtLast = applied;
    if (isMoving) this.#interval = NACK_RETRY_MIN_MS;
    else if (isRetry) this.#interval = Math.min(this.#interval * 2, NACK_RETRY_MAX_MS);
    // New holes, of which there is one every few milliseconds under load, must not put off the old ones' turn.
    if (isRetry || this.#retryAt === Number.POSITIVE_INFINITY) this.#retryAt = now + this.#interval;
  }

  #rest(sequence: number): void {
    this.#asked = sequence;
    this.#horizon = sequence;
    this.#freshAt = Number.POSITIVE_INFINITY;
    this.#retryAt = Number.POSITIVE_INFINITY;
    this.#interval = NACK_RETRY_MIN_MS;
    this.#isSuppressed = false;
  }
}
