/**
 * The sender's half of repairs: what receivers have asked for, merged. Several who want a scope get it once.
 */
import { FINE_WANTED_MAX } from '../limits.js';
import {
  REQUEST_EXPECTATIONS,
  REQUEST_FINE_SCOPES,
  REQUEST_FINE_SUMS,
  REQUEST_GROUPS,
  REQUEST_SCOPES,
  REQUEST_SEGMENTS,
  type Request,
} from '../wire/control-messages.js';
import { FINE_BITS, SEGMENT_BITS, SEGMENTS, SUMS_WIDTH } from '../wire/ops.js';

/** Numbers below a limit that are wanted, each once; taken in turn, going round, so that all have one. */
class Wanted {
  count = 0;
  readonly #flags: Uint8Array;
  #next = 0;

  constructor(size: number) {
    this.#flags = new Uint8Array(size);
  }

  add(n: number): void {
    this.count += 1 - this.#flags[n];
    this.#flags[n] = 1;
  }

  addBits(bitmap: Uint8Array): void {
    for (let n = 0; n < this.#flags.length; n++) if ((bitmap[n >>> 3] & (1 << (n & 7))) !== 0) this.add(n);
  }

  addAll(): void {
    this.#flags.fill(1);
    this.count = this.#flags.length;
  }

  has(n: number): boolean {
    return this.#flags[n] !== 0;
  }

  delete(n: number): void {
    this.count -= this.#flags[n];
    this.#flags[n] = 0;
  }

  /** The next one, which stays wanted; -1 when there is none. */
  peek(): number {
    if (this.count === 0) return -1;
    while (this.#flags[this.#next] === 0) this.#next = (this.#next + 1) % this.#flags.length;
    return this.#next;
  }

  take(): number {
    const n = this.peek();
    if (n >= 0) this.delete(n);
    return n;
  }

  clear(): void {
    this.#flags.fill(0);
    this.count = 0;
  }
}

export class RepairDesk {
  areGroupsWanted = false;
  /** All expectations are. */
  areExpectationsWanted = false;
  /** Groups of whose segments the sums are wanted, and segments of whose fine scopes they are. */
  readonly groups = new Wanted(SUMS_WIDTH);
  readonly fineSums = new Wanted(SEGMENTS);
  /** Segments wanted whole. */
  readonly scopes = new Wanted(SEGMENTS);
  /** Fine scopes wanted, by their 18 bits; never one of a segment that is wanted whole. */
  readonly fines = new Set<number>();

  get isEmpty(): boolean {
    if (this.areGroupsWanted || this.areExpectationsWanted || this.hasRuns) return false;
    return this.groups.count === 0 && this.fineSums.count === 0;
  }

  /** Scopes are wanted, of one size or the other. */
  get hasRuns(): boolean {
    return this.scopes.count > 0 || this.fines.size > 0;
  }

  add(request: Request): void {
    const { kind, bitmap } = request;
    if (kind === REQUEST_GROUPS) this.areGroupsWanted = true;
    else if (kind === REQUEST_EXPECTATIONS) this.areExpectationsWanted = true;
    else if (kind === REQUEST_SEGMENTS) this.groups.addBits(bitmap);
    else if (kind === REQUEST_FINE_SUMS) this.fineSums.addBits(bitmap);
    else if (kind === REQUEST_SCOPES) {
      this.scopes.addBits(bitmap);
      for (const fine of this.fines) if (this.scopes.has(segmentOfFine(fine))) this.fines.delete(fine);
    } else if (kind === REQUEST_FINE_SCOPES) this.#addFines(bitmap);
  }

  /** Every scope, as an operator's resync wants it. */
  addAll(): void {
    this.areExpectationsWanted = true;
    this.scopes.addAll();
    this.fines.clear();
  }

  /** One whole segment. */
  addScope(segment: number): void {
    this.scopes.add(segment);
  }

  /** The next fine scope, which is then no longer wanted; -1 when there is none. */
  takeFine(): number {
    for (const fine of this.fines) {
      this.fines.delete(fine);
      return fine;
    }
    return -1;
  }

  clear(): void {
    this.areExpectationsWanted = false;
    this.areGroupsWanted = false;
    this.groups.clear();
    this.fineSums.clear();
    this.scopes.clear();
    this.fines.clear();
  }

  #addFines(list: Uint8Array): void {
    for (let at = 0; at < list.length; at += 4) {
      const fine = (list[at] * 256 + list[at + 1]) * 65536 + list[at + 2] * 256 + list[at + 3];
      if (fine >= 1 << FINE_BITS || this.scopes.has(segmentOfFine(fine))) continue;
      if (this.fines.size < FINE_WANTED_MAX) this.fines.add(fine);
      else this.scopes.add(segmentOfFine(fine));
    }
  }
}

/** The segment that a fine scope is a part of. */
export const segmentOfFine = (fine: number): number => fine >>> (FINE_BITS - SEGMENT_BITS);
