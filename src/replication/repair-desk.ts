/**
 * The sender's half of repairs: what receivers have asked for, merged. Several who want a scope get it
 * once.
 */
import { REQUEST_GROUPS, REQUEST_SCOPES, REQUEST_SEGMENTS, type Request } from '../wire/control-messages.js';
import { SEGMENTS, SUMS_WIDTH } from '../wire/ops.js';

export class RepairDesk {
  areGroupsWanted = false;
  /** Groups of whose segments the sums are wanted. */
  groupCount = 0;
  /** Scopes wanted. */
  scopeCount = 0;
  readonly #groups = new Uint8Array(SUMS_WIDTH);
  readonly #scopes = new Uint8Array(SEGMENTS);
  #nextScope = 0;

  get isEmpty(): boolean {
    return !this.areGroupsWanted && this.groupCount === 0 && this.scopeCount === 0;
  }

  add(request: Request): void {
    if (request.kind === REQUEST_GROUPS) this.areGroupsWanted = true;
    else if (request.kind === REQUEST_SEGMENTS) this.groupCount += addBits(request.bitmap, this.#groups);
    else if (request.kind === REQUEST_SCOPES) this.scopeCount += addBits(request.bitmap, this.#scopes);
  }

  /** Every scope, as an operator's resync wants it. */
  addAll(): void {
    this.#scopes.fill(1);
    this.scopeCount = SEGMENTS;
  }

  /** The next group, which is then no longer wanted; -1 when there is none. */
  takeGroup(): number {
    if (this.groupCount === 0) return -1;
    const group = this.#groups.indexOf(1);
    this.#groups[group] = 0;
    this.groupCount--;
    return group;
  }

  /**
   * The next scope, which stays wanted until `scopeSaid`; -1 when there is none. Goes round, so all have a
   * turn.
   */
  peekScope(): number {
    if (this.scopeCount === 0) return -1;
    while (this.#scopes[this.#nextScope] === 0) this.#nextScope = (this.#nextScope + 1) % SEGMENTS;
    return this.#nextScope;
  }

  scopeSaid(segment: number): void {
    if (this.#scopes[segment] === 0) return;
    this.#scopes[segment] = 0;
    this.scopeCount--;
  }

  clear(): void {
    this.areGroupsWanted = false;
    this.#groups.fill(0);
    this.#scopes.fill(0);
    this.groupCount = 0;
    this.scopeCount = 0;
  }
}

/** Sets the flags of a bitmap; returns how many were not set before. */
function addBits(bitmap: Uint8Array, flags: Uint8Array): number {
  let added = 0;
  for (let i = 0; i < flags.length; i++) {
    if ((bitmap[i >>> 3] & (1 << (i & 7))) === 0 || flags[i] !== 0) continue;
    flags[i] = 1;
    added++;
  }
  return added;
}
