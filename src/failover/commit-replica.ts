/** `conntwin commit`: brings what peers speak of into this kernel without a change of role. */
import { DEAD, KERNEL, OWNER_UNCLASSIFIED, SHADOW } from '../table/slot-bits.js';
import { Commit } from './commit.js';
import type { CommitReport } from './commit-report.js';
import { type CommitParts, CommitWork, HELD } from './commit-work.js';
import { DONE, GO_ON, runSlice } from './slice.js';

const SLOTS_PER_TURN = 2048;

/** Commits every peer's flows, in slices. Their slots stay the peers' and become held. */
export class CommitReplica {
  phase: 'mark' | 'commit' | 'done' = 'mark';
  readonly #parts: CommitParts;
  readonly #work: CommitWork;
  readonly #commit: Commit;
  #at = 0;
  #nowMs = 0;
  readonly #turn = (): number => this.#advance();

  constructor(parts: CommitParts) {
    this.#parts = parts;
    this.#work = new CommitWork(parts, false);
    this.#commit = new Commit(this.#work);
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
    if (this.phase === 'mark') return this.#mark();
    const state = this.phase === 'commit' ? this.#commit.turn(this.#nowMs) : DONE;
    if (state === DONE) this.phase = 'done';
    return state;
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
    if (this.#at === table.slotLimit) this.phase = 'commit';
    return GO_ON;
  }
}
