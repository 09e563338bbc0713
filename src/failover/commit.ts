/**
 * A commit: brings the flows that carry PENDING into this node's kernel.
 *
 *     dump --> equal ones are kept --> the others sorted --> created in batches --> what was refused is judged
 *       --> what found no room is tried once more
 *
 * Nothing here knows why the flows are to be committed: a promote makes them own first, `conntwin commit` does not.
 */
import { DUMP_MORE, DUMP_PENDING, KernelBatch, OP_CREATE, OP_DELETE } from '../flow/kernel-port.js';
import { durableEqual, immutableEqual } from '../flow/merge.js';
import { copyId, HAS_ID, type Memory, OFF_HAS } from '../flow/record.js';
import { BULK_MIN_FLOWS, COMMIT_SETTLE_MS, INJECT_BATCH } from '../limits.js';
import { KERNEL, TOUCHED } from '../table/slot-bits.js';
import { CommitConflicts } from './commit-conflicts.js';
import { CommitOrder } from './commit-order.js';
import { STAGE_CREATE, STAGE_GET } from './commit-queue.js';
import { type CommitWork, HELD, OUTCOME_KEPT } from './commit-work.js';
import { ENOENT } from './errno.js';
import { DONE, GO_ON, WAIT } from './slice.js';

/** Slots looked at in one turn of a scan. */
const SLOTS_PER_TURN = 2048;

export type CommitPhase = 'dump' | 'order' | 'sort' | 'create' | 'retry' | 'done';

const hasId = (m: Memory, at: number): boolean => (m.u8[at + OFF_HAS] & HAS_ID) !== 0;

/** One pass over the PENDING flows. The caller gives it turns, and none between them may hold it up. */
export class Commit {
  phase: CommitPhase;
  readonly #work: CommitWork;
  readonly #conflicts: CommitConflicts;
  readonly #batch = new KernelBatch(INJECT_BATCH);
  readonly #given: CommitOrder | undefined;
  #order: CommitOrder | undefined;
  #at = 0;
  #isStarted = false;
  #isBulk = false;
  #settleUntil = 0;
  readonly #onRow = (m: Memory, at: number): void => this.#row(m, at);

  /**
   * `hasDump` false leaves out the dump: for a few flows EEXIST tells as much. `order`: all flows that carry PENDING,
   * where somebody has listed them already.
   */
  constructor(work: CommitWork, hasDump = true, order?: CommitOrder) {
    this.#work = work;
    this.#conflicts = new CommitConflicts(work);
    this.phase = hasDump ? 'dump' : 'order';
    this.#given = order;
    work.isListed = false;
  }

  /** Does a little; GO_ON or DONE. */
  turn(nowMs: number): number {
    // Not only at the end: a flow that waits here does not follow its events.
    if (this.#work.settle(false)) return GO_ON;
    switch (this.phase) {
      case 'dump':
        return this.#dump();
      case 'order':
        return this.#list(nowMs);
      case 'sort':
        if (this.#order?.sortStep()) this.#startCreating();
        return GO_ON;
      case 'create':
        return this.#create();
      case 'retry':
        return this.#retry(nowMs);
      case 'done':
        return DONE;
    }
  }

  /** Stops between two batches; flows that were not reached keep PENDING. */
  stop(): void {
    while (this.#work.settle(true));
    this.#setBulk(false);
    this.phase = 'done';
  }

  #dump(): number {
    const { kernel } = this.#work.parts;
    if (!this.#isStarted) {
      this.#isStarted = true;
      kernel.dumpStart();
      return GO_ON;
    }
    if (this.#work.queue.length > 0) {
      this.#conflicts.turn();
      return GO_ON;
    }
    const state = kernel.dumpNext(this.#onRow);
    if (state === DUMP_PENDING) return WAIT;
    // An interrupted dump only means more EEXIST later.
    if (state !== DUMP_MORE) this.phase = 'order';
    return GO_ON;
  }

  /** The kernel has this flow. Equal ones, which a returning node has by the thousand, are settled at once. */
  #row(m: Memory, at: number): void {
    const work = this.#work;
    const { table } = work.parts;
    const slot = table.find(m, at);
    if (slot < 0 || !work.isPending(slot) || work.isTaken(slot)) return;
    const own = table.recordAt(slot);
    const isQuiet = (table.bits(slot) & TOUCHED) === 0 && work.has(slot, HELD);
    // Its turn comes by the list, live ones first. Until then the slot knows which life it was.
    if (isQuiet && work.hasOldWindows(slot) && immutableEqual(table.memory, own, m, at)) {
      copyId(m, at, table.memory, own);
      return;
    }
    const isSettled =
      isQuiet &&
      durableEqual(table.memory, own, m, at) &&
      this.#conflicts.isLongEnough(table.memory, own, m, at);
    if (!isSettled) {
      // The row may be old (F10): the kernel is asked before anything is decided.
      work.enqueue(slot, STAGE_GET);
      return;
    }
    work.takeVolatile(slot, m, at);
    work.inKernel(slot, OUTCOME_KEPT);
  }

  #list(nowMs: number): number {
    const work = this.#work;
    if (this.#given !== undefined) {
      this.#order = this.#given;
      return this.#listed();
    }
    const { table } = work.parts;
    this.#order ??= new CommitOrder(table, table.slotLimit);
    const nowS = (nowMs / 1000) >>> 0;
    const end = Math.min(table.slotLimit, this.#at + SLOTS_PER_TURN);
    for (; this.#at < end; this.#at++) {
      const slot = this.#at;
      if (!work.isPending(slot) || work.isTaken(slot)) continue;
      // Slots that were added since the list was made room for are few: the queue takes them.
      if (!this.#order.add(slot, nowS)) work.enqueue(slot, STAGE_CREATE);
    }
    return this.#at < table.slotLimit ? GO_ON : this.#listed();
  }

  #listed(): number {
    this.#work.isListed = true;
    this.phase = 'sort';
    return GO_ON;
  }

  #startCreating(): void {
    const length = this.#order?.length ?? 0;
    this.#at = 0;
    this.#setBulk(length >= BULK_MIN_FLOWS);
    this.phase = 'create';
  }

  #setBulk(isBulk: boolean): void {
    if (isBulk === this.#isBulk) return;
    this.#isBulk = isBulk;
    this.#work.parts.kernel.setBulk(isBulk);
  }

  #create(): number {
    const work = this.#work;
    // Conflicts first: they are flows that come before the rest of the list.
    if (work.queue.length > 0) {
      this.#conflicts.turn();
      return GO_ON;
    }
    const { table } = work.parts;
    const order = this.#order;
    const batch = this.#batch;
    while (order !== undefined && this.#at < order.length && !batch.isFull) {
      const slot = order.slotAt(this.#at++);
      if (!work.isPending(slot) || work.isTaken(slot)) continue;
      const isTouched = (table.bits(slot) & (KERNEL | TOUCHED)) === (KERNEL | TOUCHED);
      // Events may have brought the kernel the flow meanwhile.
      if (isTouched) work.enqueue(slot, STAGE_GET);
      else if (!work.hasOldWindows(slot) || !hasId(table.memory, table.recordAt(slot)))
        work.addCreate(batch, slot);
      else if (batch.count + 2 > batch.capacity) {
        this.#at--;
        break;
      } else {
        work.replaced(slot);
        batch.add(OP_DELETE, slot, table.memory, table.recordAt(slot));
        work.addCreate(batch, slot);
      }
    }
    if (batch.count > 0) {
      work.parts.kernel.execute(batch);
      for (let i = 0; i < batch.count; i++) {
        if (batch.verb[i] === OP_CREATE) this.#conflicts.afterCreate(batch, i);
        // It had expired, or was another life: then the create finds that.
        else if (batch.errno[i] === ENOENT) work.replacedNothing(batch.tag[i]);
      }
      batch.clear();
    } else if (work.queue.length === 0) this.phase = 'retry';
    return GO_ON;
  }

  /** What found no room is tried once more (by now corpses may have been collected); then all has to settle. */
  #retry(nowMs: number): number {
    const work = this.#work;
    while (work.late.shift()) work.enqueue(work.late.slot, STAGE_CREATE);
    if (work.queue.length > 0) {
      this.#conflicts.turn();
      return GO_ON;
    }
    if (work.settling.length > 0) {
      if (this.#settleUntil === 0) this.#settleUntil = nowMs + COMMIT_SETTLE_MS;
      if (nowMs < this.#settleUntil) return WAIT;
      work.settle(true);
      return GO_ON;
    }
    this.#setBulk(false);
    this.phase = 'done';
    return DONE;
  }
}
