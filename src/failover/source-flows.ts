/**
 * The flows of a promote's sources: which of them are to be committed, and what becomes of those that this node has as
 * well. Nothing here writes to the kernel.
 */
import { durableEqual, immutableEqual, joinRecords } from '../flow/merge.js';
import { allocateMemory, MAX_RECORD_BYTES } from '../flow/record.js';
import type { FlowTable } from '../table/flow-table.js';
import {
  DEAD,
  DIRTY,
  FRESH,
  KERNEL,
  OWNER_SELF,
  OWNER_UNCLASSIFIED,
  PENDING,
  SHADOW,
  TOUCHED,
} from '../table/slot-bits.js';
import { CommitOrder } from './commit-order.js';
import { countRejected } from './commit-report.js';
import { type CommitWork, HELD, NEW_WINDOWS } from './commit-work.js';
import { isLive } from './judge.js';
import type { SourceView } from './ports.js';

const OWNERS = 256;

/** What hot standby knows of the kernel: flows that need only another label. */
export interface InStep {
  /** This kernel has the flow as the slot's record says. */
  isInStep(slot: number): boolean;
  /** It is no TCP flow from this node's last tenure, whose windows are of the past. */
  hasNewWindows(slot: number): boolean;
  /** Calls `fn` for each slot of which that is no longer so, because its owner has spoken since. */
  forEachWaiting(fn: (slot: number) => void): void;
}

/** Looks at slots one by one: before the relabel (`mark`), and once more after it (`markLate`). */
export class SourceFlows {
  readonly #table: FlowTable;
  readonly #work: CommitWork;
  readonly #hot: InStep | undefined;
  /** Flows of the sources that the kernel has and that are to be judged. */
  held = 0;
  /** By number of an owner: 1 for a source. */
  readonly isSource = new Uint8Array(OWNERS);
  readonly #takenAt = new Float64Array(OWNERS);
  readonly #joined = allocateMemory(MAX_RECORD_BYTES);
  /** A promote was stopped before it had committed all that is own already. */
  hasLeftOver = false;
  /** Flows to be committed that this kernel does not have, as it seemed at first. */
  toCreate = 0;
  /** The sources' slots are own by now. */
  #isLate = false;
  #order: CommitOrder | undefined;
  #nowS = 0;
  /** Flows may be pending that the order lacks, or has twice. */
  #isOrderOpen = false;

  constructor(work: CommitWork, sources: readonly SourceView[], hot: InStep | undefined) {
    this.#hot = hot;
    this.#table = work.parts.table;
    this.#work = work;
    this.#table.owners.origins.unshare();
    for (const { owner, takenAt } of sources) {
      this.isSource[owner] = 1;
      this.#takenAt[owner] = takenAt;
    }
  }

  /**
   * What `mark` found, as a commit wants it: so the slots need not be walked through once more. Undefined where the
   * commit has to look for itself: two slots of one key may have become one.
   */
  get order(): CommitOrder | undefined {
    return this.#isOrderOpen || this.#table.shadowCount > 0 ? undefined : this.#order;
  }

  /** Notes what the kernel has, and which flows are to come. */
  mark(slot: number): void {
    if (this.#work.isEarly(slot)) return;
    const table = this.#table;
    const bits = table.bits(slot);
    const owner = table.owner(slot);
    if ((bits & KERNEL) !== 0) this.#work.mark(slot, HELD);
    if ((bits & DEAD) !== 0) return;
    if (this.isSource[owner] === 1) this.#take(slot, bits);
    // Left over from a promote that was stopped.
    else if (owner === OWNER_SELF && (bits & SHADOW) === 0 && (bits & (KERNEL | PENDING)) !== KERNEL) {
      this.#pend(slot);
      this.hasLeftOver = true;
    }
  }

  /** What a source said after the relabel; and what the scan missed or an orphan is now own, and must be said. */
  markLate(slot: number): void {
    this.#isLate = true;
    const table = this.#table;
    const bits = table.bits(slot);
    if ((bits & DEAD) !== 0) return;
    const owner = table.owner(slot);
    if (this.isSource[owner] === 1) {
      if ((bits & SHADOW) !== 0) this.#resolve(slot);
      else if (table.hasImage(slot)) this.#takeLate(slot);
    } else if (owner === OWNER_SELF && (bits & (SHADOW | PENDING)) === (SHADOW | PENDING)) {
      // Somebody spoke of it after `mark` had passed, and hid it before it was own: it was not committed.
      table.clearBits(slot, SHADOW);
      this.#work.pend(slot);
    } else if (owner === OWNER_SELF && (bits & (SHADOW | PENDING)) === 0) {
      if ((bits & KERNEL) === 0) this.#work.pend(slot);
      else if (!table.hasImage(slot)) {
        // It ended there, and this kernel has had it on: what the record says is not what the kernel has.
        table.setBits(slot, TOUCHED);
        table.markDirty(slot);
      }
    }
  }

  /** It becomes own one by one: our own stream has said nothing of it yet. */
  #takeLate(slot: number): void {
    const table = this.#table;
    table.clearImage(slot);
    table.setOwner(slot, OWNER_SELF);
    table.markDirty(slot);
    this.#work.pend(slot);
  }

  #pend(slot: number): void {
    if ((this.#table.bits(slot) & KERNEL) === 0) this.toCreate++;
    else this.held++;
    this.#work.pend(slot);
    if (this.#hot?.hasNewWindows(slot)) this.#work.mark(slot, NEW_WINDOWS);
    if (!this.#isLate) this.#list(slot);
  }

  #list(slot: number): void {
    if (this.#order === undefined) {
      this.#order = new CommitOrder(this.#table, this.#table.slotLimit);
      this.#nowS = (this.#work.parts.clock() / 1000) >>> 0;
    }
    if (!this.#order.add(slot, this.#nowS)) this.#isOrderOpen = true;
  }

  /** A source's flow. One without image has ended there: it only waits here for its purge, and is not committed. */
  #take(slot: number, bits: number): void {
    if (!this.#table.hasImage(slot)) {
      // An event of it may come before `markLate` does: it must not be merged onto what its owner said last (seed 301).
      if ((bits & (KERNEL | SHADOW)) === KERNEL) this.#table.setBits(slot, TOUCHED);
      return;
    }
    if ((bits & SHADOW) !== 0) this.#resolve(slot);
    else if (this.#hot?.isInStep(slot)) this.#count(1);
    else this.#pend(slot);
  }

  /** Flows that need only another label are kept, without a look at the kernel. */
  #count(by: number): void {
    this.#work.report.total += by;
    this.#work.report.kept += by;
  }

  /** Right before the relabel: what a source that lives has said since `mark` looked is to be judged after all. */
  markChanged(): void {
    this.#hot?.forEachWaiting((slot) => {
      const table = this.#table;
      const bits = table.bits(slot);
      const isOpen = table.isUsed(slot) && (bits & (DEAD | SHADOW | PENDING)) === 0;
      if (!isOpen || this.isSource[table.owner(slot)] !== 1 || !table.hasImage(slot)) return;
      // It was in step when the scan passed.
      if ((bits & KERNEL) !== 0) this.#count(-1);
      this.#pend(slot);
    });
  }

  /** A source's record of a key of which another slot is the visible one. */
  #resolve(shadow: number): void {
    this.#isOrderOpen = true;
    const table = this.#table;
    const m = table.memory;
    const visible = table.find(m, table.recordAt(shadow));
    const owner = visible < 0 ? OWNER_SELF : table.owner(visible);
    if (visible < 0) return;
    if (this.isSource[owner] === 1) {
      // Of two sources the higher term is the visible one. Where it says that the flow has ended, that stands.
      if (!table.hasImage(visible)) table.remove(shadow);
      return;
    }
    if (owner > OWNER_UNCLASSIFIED) {
      table.clearBits(shadow, SHADOW);
      if (this.#isLate) this.#takeLate(shadow);
      else this.#pend(shadow);
      return;
    }
    this.#joinInto(visible, shadow);
    table.remove(shadow);
  }

  /**
   * An own flow, which the kernel has, and what a source said of it: one life that went on apart, or two. Before the
   * relabel our word is the newer one, for an event made the flow own, unless that was the takeover of this very
   * source, which has changed it since; after the relabel the source's is, for it still lives.
   */
  #joinInto(own: number, other: number): void {
    const table = this.#table;
    const m = table.memory;
    const at = table.recordAt(own);
    const otherAt = table.recordAt(other);
    const isLate = this.#isLate;
    const report = this.#work.report;
    const isDead = (table.bits(own) & DEAD) !== 0;
    if (isDead ? isLate : durableEqual(m, at, m, otherAt)) {
      // Late, it was counted when it was committed.
      if (isLate) return;
      // Should the source ask for its flows back, this is one of them.
      if (!isDead) table.shareWith(own, table.owner(other));
      if (this.#work.needsNewWindows(own)) {
        this.#pend(own);
        this.#work.mark(own, HELD);
      } else {
        report.total++;
        report.kept++;
      }
      return;
    }
    if (isDead) {
      // Ours ended; what the source has is another life, or went on there.
      table.setRecord(own, m, otherAt);
      table.clearBits(own, DEAD);
      table.setBits(own, FRESH);
      this.#pend(own);
      table.markDirty(own);
      return;
    }
    if (immutableEqual(m, at, m, otherAt)) {
      const isOld = isLate || this.#isOld(own, other);
      const [newer, older] = isOld ? [otherAt, at] : [at, otherAt];
      joinRecords(m, newer, m, older, this.#joined, 0);
      table.setRecord(own, this.#joined, 0);
      // What the kernel has is older than the source's word: it is not joined once more.
      if (!isOld) table.setBits(own, TOUCHED);
    } else if (!isLate && isLive(m, at)) {
      report.total++;
      countRejected(report, 'live-here', m, otherAt);
      return;
    } else {
      table.setRecord(own, m, otherAt);
      table.setBits(own, FRESH);
    }
    this.#work.pend(own);
    this.#work.mark(own, HELD);
    table.markDirty(own);
  }

  /** Nothing has changed the own flow since it was taken over from the source that speaks of it now. */
  #isOld(own: number, other: number): boolean {
    const table = this.#table;
    const isUnchanged = table.changedAt(own) <= this.#takenAt[table.owner(other)];
    return isUnchanged && (table.bits(own) & DIRTY) === 0;
  }
}
