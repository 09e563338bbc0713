/**
 * The receiver's half of a repair, one per peer: which question is open, and what it still waits for.
 *
 *     idle -> groups -> segments -> fine -> scopes -> waiting (for the next MARK) -> idle when proven
 *
 * Answers come in the peer's stream, so each is compared at its exact position. A question without any
 * progress is asked again. A scope, of either size, that still differs after REPAIRS_MAX whole, gapless answers is
 * diverged and never asked again: asking more would only load the link.
 */
import { FINE_WANTED_MAX, REPAIRS_MAX } from '../limits.js';
import {
  FINE_LISTED_MAX,
  REQUEST_FINE_SCOPES,
  REQUEST_FINE_SUMS,
  REQUEST_GROUPS,
  REQUEST_SCOPES,
  REQUEST_SEGMENTS,
} from '../wire/control-messages.js';
import { SEGMENTS, SUMS_WIDTH } from '../wire/ops.js';
import { segmentOfFine } from './repair-desk.js';

/** Time without any answer after which a question is put again. Milliseconds. */
const RETRY_MS = 250;
/** Least time between two questions of one kind. Milliseconds. */
const ASK_INTERVAL_MS = 20;

export type RepairPhase = 'idle' | 'groups' | 'segments' | 'fine' | 'scopes' | 'waiting';

/** Numbers that are wanted, as the bitmap that a REQUEST carries. */
class Bitmap {
  count = 0;
  readonly bytes: Uint8Array;

  constructor(size: number) {
    this.bytes = new Uint8Array(size / 8);
  }

  has(n: number): boolean {
    return (this.bytes[n >>> 3] & (1 << (n & 7))) !== 0;
  }

  add(n: number): void {
    if (this.has(n)) return;
    this.bytes[n >>> 3] |= 1 << (n & 7);
    this.count++;
  }

  delete(n: number): void {
    if (!this.has(n)) return;
    this.bytes[n >>> 3] &= ~(1 << (n & 7));
    this.count--;
  }

  fill(isWanted: boolean): void {
    this.bytes.fill(isWanted ? 0xff : 0);
    this.count = isWanted ? this.bytes.length * 8 : 0;
  }
}

export class RepairAsker {
  phase: RepairPhase = 'idle';
  /** Scopes that were given up, of both sizes. */
  diverged = 0;
  lastProgress = 0;
  #lastAsked = Number.NEGATIVE_INFINITY;
  #isDue = false;
  readonly #groups = new Bitmap(SUMS_WIDTH);
  readonly #fineSums = new Bitmap(SEGMENTS);
  readonly #scopes = new Bitmap(SEGMENTS);
  readonly #fines = new Set<number>();
  /** Fine scopes that this round has not asked for yet. */
  #unasked: number[] = [];
  #bitmap: Uint8Array = new Uint8Array(0);
  readonly #failures = new Uint8Array(SEGMENTS);
  /** Fine scopes that failed, as often as it says. */
  readonly #fineFailures = new Map<number, number>();

  /** Scopes that are still awaited, of both sizes. */
  get scopesWanted(): number {
    return this.#scopes.count + this.#fines.size;
  }

  /** A question is open, or will be. */
  get isOpen(): boolean {
    return this.phase !== 'idle' && this.phase !== 'waiting';
  }

  /** A difference is known, not where: starts with the sums of the groups, unless a repair is under way. */
  start(now: number): void {
    if (this.isOpen) return;
    this.#enter('groups', now);
  }

  /** Every scope is wanted: an operator's request. */
  startAll(now: number): void {
    this.forgetFailures();
    this.#scopes.fill(true);
    this.#fines.clear();
    this.#enter('scopes', now);
  }

  /** The replica was proven. */
  finish(): void {
    if (this.phase === 'idle' && this.diverged === 0) return;
    this.phase = 'idle';
    this.#isDue = false;
    for (const wanted of [this.#groups, this.#fineSums, this.#scopes]) wanted.fill(false);
    this.#fines.clear();
    this.#unasked = [];
    this.forgetFailures();
  }

  forgetFailures(): void {
    this.#failures.fill(0);
    this.#fineFailures.clear();
    this.diverged = 0;
  }

  wantGroup(group: number): void {
    this.#groups.add(group);
  }

  isGroupWanted(group: number): boolean {
    return this.#groups.has(group);
  }

  /** The sums of a segment's fine scopes; false if the segment was given up. */
  wantFineSums(segment: number): boolean {
    if (this.#failures[segment] >= REPAIRS_MAX) return false;
    this.#fineSums.add(segment);
    return true;
  }

  areFineSumsWanted(segment: number): boolean {
    return this.#fineSums.has(segment);
  }

  /** A whole segment; false if it was given up. */
  wantScope(segment: number): boolean {
    if (this.#failures[segment] >= REPAIRS_MAX) return false;
    this.#scopes.add(segment);
    return true;
  }

  /** A fine scope, or its whole segment when too many are wanted; false if it was given up. */
  wantFine(fine: number): boolean {
    const segment = segmentOfFine(fine);
    if ((this.#fineFailures.get(fine) ?? 0) >= REPAIRS_MAX) return false;
    if (this.#scopes.has(segment)) return true;
    if (this.#fines.size >= FINE_WANTED_MAX) return this.wantScope(segment);
    this.#fines.add(fine);
    return true;
  }

  /** The sums of the groups were compared. */
  groupsDone(now: number): void {
    if (this.phase === 'groups') this.#enterNext(now);
  }

  /** The sums of one group's segments were compared. */
  groupDone(group: number, now: number): void {
    this.#groups.delete(group);
    this.lastProgress = now;
    if (this.phase === 'segments' && this.#groups.count === 0) this.#enterNext(now);
  }

  /** The sums of one segment's fine scopes were compared. */
  fineSumsDone(segment: number, now: number): void {
    this.#fineSums.delete(segment);
    this.lastProgress = now;
    if (this.phase === 'fine' && this.#fineSums.count === 0) this.#enterNext(now);
  }

  /** A segment came whole. Returns true if it is given up now. */
  scopeDone(segment: number, isEqual: boolean, now: number): boolean {
    this.#scopes.delete(segment);
    for (const fine of this.#fines) if (segmentOfFine(fine) === segment) this.#fines.delete(fine);
    this.#progress(now);
    if (isEqual) {
      if (this.#failures[segment] >= REPAIRS_MAX) this.diverged--;
      this.#failures[segment] = 0;
      for (const fine of this.#fineFailures.keys()) if (segmentOfFine(fine) === segment) this.#forgive(fine);
      return false;
    }
    return this.#fail(segment);
  }

  /** A fine scope came whole. Returns true if it is given up now. */
  fineDone(fine: number, isEqual: boolean, now: number): boolean {
    this.#fines.delete(fine);
    this.#progress(now);
    if (isEqual) {
      this.#forgive(fine);
      return false;
    }
    const failures = this.#fineFailures.get(fine) ?? 0;
    if (failures >= REPAIRS_MAX) return false;
    if (failures === 0 && this.#fineFailures.size >= FINE_WANTED_MAX) return this.#fail(segmentOfFine(fine));
    this.#fineFailures.set(fine, failures + 1);
    if (failures + 1 < REPAIRS_MAX) return false;
    this.diverged++;
    return true;
  }

  /** The REQUEST_* kind to send now, or 0; the bitmap goes with it. To be asked until it says 0. */
  due(now: number): number {
    if (!this.isOpen) return 0;
    const isStalled = now - Math.max(this.lastProgress, this.#lastAsked) >= RETRY_MS;
    if (isStalled && this.phase === 'scopes') this.#unasked = [...this.#fines];
    if (this.#isDue || isStalled) {
      if (now - this.#lastAsked < ASK_INTERVAL_MS) return 0;
      this.#isDue = false;
      this.#lastAsked = now;
      if (this.phase === 'groups') return this.#ask(REQUEST_GROUPS, new Uint8Array(0));
      if (this.phase === 'segments') return this.#ask(REQUEST_SEGMENTS, this.#groups.bytes);
      if (this.phase === 'fine') return this.#ask(REQUEST_FINE_SUMS, this.#fineSums.bytes);
      if (this.#scopes.count > 0) return this.#ask(REQUEST_SCOPES, this.#scopes.bytes);
    }
    if (this.phase !== 'scopes' || this.#unasked.length === 0) return 0;
    this.#lastAsked = now;
    return this.#ask(REQUEST_FINE_SCOPES, encodeFines(this.#unasked.splice(0, FINE_LISTED_MAX)));
  }

  /** What goes with the question that is due. */
  bitmap(): Uint8Array {
    return this.#bitmap;
  }

  #ask(kind: number, bitmap: Uint8Array): number {
    this.#bitmap = bitmap;
    return kind;
  }

  #fail(segment: number): boolean {
    if (this.#failures[segment] >= REPAIRS_MAX) return false;
    if (++this.#failures[segment] < REPAIRS_MAX) return false;
    this.diverged++;
    return true;
  }

  #forgive(fine: number): void {
    if ((this.#fineFailures.get(fine) ?? 0) >= REPAIRS_MAX) this.diverged--;
    this.#fineFailures.delete(fine);
  }

  #progress(now: number): void {
    this.lastProgress = now;
    if (this.phase === 'scopes' && this.scopesWanted === 0) this.#enter('waiting', now);
  }

  #enterNext(now: number): void {
    if (this.#groups.count > 0) this.#enter('segments', now);
    else if (this.#fineSums.count > 0) this.#enter('fine', now);
    else this.#enter(this.scopesWanted > 0 ? 'scopes' : 'waiting', now);
  }

  #enter(phase: RepairPhase, now: number): void {
    this.phase = phase;
    this.lastProgress = now;
    this.#isDue = phase !== 'waiting';
    if (phase === 'scopes') this.#unasked = [...this.#fines];
  }
}

/** Fine scopes as a REQUEST lists them. */
function encodeFines(fines: readonly number[]): Uint8Array {
  const list = new Uint8Array(fines.length * 4);
  fines.forEach((fine, i) => {
    list.set([fine >>> 24, fine >>> 16, fine >>> 8, fine], i * 4);
  });
  return list;
}
