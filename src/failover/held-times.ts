/**
 * When this node last wrote each held flow to its kernel, and when the kernel would end it if no packet came. Whoever
 * finds the deadline where it was put knows that nobody but this node has touched the timer. Arrays beside the slots,
 * address space until they are used.
 */
import { HELD_TIMEOUT_S } from '../limits.js';

/** How far a deadline that nobody moved may seem to have moved: the kernel tells whole seconds. Seconds. */
const TOLERANCE_S = 3;
/**
 * The same where an audit's row tells it: the row was read one pause of the audit ago, some seconds on a busy machine. No
 * packet moves a held deadline by so little: it puts the kernel's own timeout there. Seconds.
 */
const ROW_TOLERANCE_S = 30;

export class HeldTimes {
  /** Seconds of the clock + 1; 0: never written. */
  readonly #written: Uint32Array;
  /** Seconds of the clock + 1; 0: not known. */
  readonly #ends: Uint32Array;

  constructor(capacity: number) {
    this.#written = new Uint32Array(capacity);
    this.#ends = new Uint32Array(capacity);
  }

  /** The kernel has just taken the flow with this timeout. Seconds. */
  note(slot: number, nowS: number, timeoutS: number): void {
    this.#written[slot] = nowS + 1;
    this.#ends[slot] = nowS + 1 + timeoutS;
  }

  /** A write was tried, and the kernel did not take it. What the kernel has instead is judged, and noted when it is held. */
  tried(slot: number, nowS: number): void {
    this.#written[slot] = nowS + 1;
    this.#ends[slot] = 0;
  }

  /** An audit's row shows that the kernel has this much left. Seconds. */
  seen(slot: number, nowS: number, leftS: number): void {
    const ends = nowS + 1 + leftS;
    if (Math.abs(ends - this.#ends[slot]) > ROW_TOLERANCE_S) this.#ends[slot] = ends;
  }

  /** Another flow has the slot, or another node the flow. */
  forget(slot: number): void {
    this.#written[slot] = 0;
    this.#ends[slot] = 0;
  }

  forgetAll(limit: number): void {
    this.#written.fill(0, 0, limit);
    this.#ends.fill(0, 0, limit);
  }

  /** Since the last write, seconds; infinite if there was none. */
  sinceWrite(slot: number, nowS: number): number {
    const written = this.#written[slot];
    return written === 0 ? Number.POSITIVE_INFINITY : nowS + 1 - written;
  }

  /** What is left until the kernel ends the flow; 0 if that is not known. Seconds. */
  left(slot: number, nowS: number): number {
    return Math.max(0, this.#ends[slot] - nowS - 1);
  }

  /**
   * The kernel was found to have `leftS` left, and that is what this node gave the flow: at least what is known, and not
   * more than held flows are given. It says nothing of the flow.
   */
  isGiven(slot: number, nowS: number, leftS: number): boolean {
    const left = this.left(slot, nowS);
    if (left === 0 || leftS < left - TOLERANCE_S) return false;
    return leftS <= Math.max(left, HELD_TIMEOUT_S) + TOLERANCE_S;
  }
}
