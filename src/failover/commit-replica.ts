/** `conntwin commit`: brings what peers speak of into this kernel without a change of role. */
import { DEAD, KERNEL, OWNER_UNCLASSIFIED, SHADOW } from '../table/slot-bits.js';
import { Commit } from './commit.js';
import type { CommitReport } from './commit-report.js';
import { type CommitParts, CommitWork, HELD } from './commit-work.js';
import { ExpectationCommit } from './expectation-commit.js';
import { DONE, GO_ON, runSlice } from './slice.js';

const SLOTS_PER_TURN = 2048;

/** Commits every peer's flows, in slices. Their slots stay the peers' and become held. */
export class CommitReplica {
  phase: 'mark' | 'commit' | 'expectations' | 'done' = 'mark';
  readonly #parts: CommitParts;
  readonly #work: CommitWork;
  readonly #commit: Commit;
  readonly #expectations: ExpectationCommit;
  #at = 0;
  #nowMs = 0;
  readonly #turn = (): number => this.#advance();

  constructor(parts: CommitParts) {
    this.#parts = parts;
    this.#work = new CommitWork(parts, false);
    this.#commit = new Commit(this.#work);
    this.#expectations = new ExpectationCommit(this.#work);
  }

  /** What was done so far; final when step() has said true. */
  get report(): CommitReport {
    return this.#work.report;
  }

  /** Works for one slice; true when done. */
  step(nowMs: number): boolean {
    this.#nowMs = nowMs;
    return runSlice(this.#parts.clock, this.#turn);
  }

  /** Stops at a batch. */
  stop(): void {
    this.#commit.stop();
    this.phase = 'done';
  }

  #advance(): number {
    switch (this.phase) {
      case 'mark':
        return this.#mark();
      case 'commit':
        return this.#then(this.#commit.turn(this.#nowMs), 'expectations');
      case 'expectations':
        return this.#then(this.#expectations.turn(this.#nowMs), 'done');
      case 'done':
        return DONE;
    }
  }

  #then(state: number, next: 'expectations' | 'done'): number {
    if (state !== DONE) return state;
    this.phase = next;
    return next === 'done' ? DONE : GO_ON;
  }

  #mark(): number {
    const { table } = this.#parts;
    const end = Math.min(table.slotLimit, this.#at + SLOTS_PER_TURN);
    for (; this.#at < end; this.#at++) {
      const slot = this.#at;
      if (!table.isUsed(slot)) continue;
      const bits = table.bits(slot);
      if ((bits & KERNEL) !== 0) this.#work.mark(slot, HELD);
      if ((bits & (DEAD | SHADOW)) !== 0 || table.owner(slot) <= OWNER_UNCLASSIFIED) continue;
      if (table.hasImage(slot)) this.#work.pend(slot);
    }
    if (this.#at < table.slotLimit) return GO_ON;
    for (const owner of table.expectations.owners()) {
      if (owner > OWNER_UNCLASSIFIED) this.#expectations.add(owner);
    }
    this.phase = 'commit';
    return GO_ON;
  }
}
