/**
 * Verification: does the table show what the kernel has? It changes nothing, and works under load: a difference
 * counts only if no event touched the flow since it began, and the kernel, asked again, still shows it.
 *
 *     dump --> suspicions (rows without slot, other, or slots without row) --> queue read to empty
 *       --> those that stand: GET --> queue read to empty --> those that stand: differences
 */
import type { Counters } from '../flow/counters.js';
import {
  DUMP_INTERRUPTED,
  DUMP_MORE,
  DUMP_PENDING,
  KernelBatch,
  type KernelPort,
  OP_GET,
} from '../flow/kernel-port.js';
import { durableEqual, keepProtoinfo, keyEqual } from '../flow/merge.js';
import { allocateMemory, copyRecord, lengthOf, MAX_RECORD_BYTES, type Memory } from '../flow/record.js';
import { DIFFERENCES_SHOWN, INJECT_BATCH, SUSPICIONS_MAX } from '../limits.js';
import type { FlowTable } from '../table/flow-table.js';
import { DEAD, KERNEL, OWNER_UNCLASSIFIED, PENDING, SHADOW } from '../table/slot-bits.js';
import type { AuditGenerations } from './audit-generations.js';
import { type FieldName, fieldsThatDiffer } from './fields.js';
import type { Clock, Emptied } from './ports.js';
import type { SeqadjPoll } from './seqadj-poll.js';
import { DONE, GO_ON, runSlice, WAIT } from './slice.js';

const SLOTS_PER_TURN = 1024;

export interface VerifyParts {
  readonly kernel: KernelPort;
  readonly table: FlowTable;
  readonly generations: AuditGenerations;
  readonly counters: Counters;
  readonly clock: Clock;
  readonly emptied: Emptied;
  readonly ignore?: (m: Memory, at: number) => boolean;
  readonly seqadj?: SeqadjPoll;
}

/** A flow that kernel and table show differently; a record is absent where that side has no flow. */
export interface Difference {
  readonly kernel: Memory | undefined;
  readonly table: Memory | undefined;
  /** What differs; empty when one side has no flow. */
  readonly fields: readonly FieldName[];
}

export interface VerifyReport {
  /** Flows compared. */
  flows: number;
  differing: number;
  /** The first of them. */
  differences: Difference[];
  /** Events were lost, or the hash table was resized, or the dump broke off: nothing is proven. */
  isProvable: boolean;
}

type Phase = 'prepare' | 'dump' | 'sweep' | 'settle' | 'ask' | 'settle-again' | 'done';

/** One verification, in slices. */
export class Verification {
  phase: Phase = 'prepare';
  readonly report: VerifyReport = { flows: 0, differing: 0, differences: [], isProvable: true };
  readonly #parts: VerifyParts;
  readonly #batch = new KernelBatch(INJECT_BATCH);
  readonly #suspects = allocateMemory(SUSPICIONS_MAX * MAX_RECORD_BYTES);
  #suspectCount = 0;
  #askAt = 0;
  #generation = 0;
  #lostBefore = 0;
  #bucketsBefore = 0;
  #emptiedBefore = 0;
  #sweepAt = 0;
  #isDumped = false;
  readonly #onRow = (m: Memory, at: number): void => this.#row(m, at);
  readonly #turn = (): number => this.#advance();

  constructor(parts: VerifyParts) {
    this.#parts = parts;
  }

  /** Works for one slice; true when the report is final. */
  step(_nowMs: number): boolean {
    return runSlice(this.#parts.clock, this.#turn);
  }

  /** Gives up; the report is not to be used. */
  abort(): void {
    if (this.phase === 'done') return;
    if (this.#generation !== 0) this.#parts.generations.end();
    this.report.isProvable = false;
    this.phase = 'done';
  }

  #advance(): number {
    switch (this.phase) {
      case 'prepare':
        return this.#start();
      case 'dump':
        return this.#dump();
      case 'sweep':
        return this.#sweep();
      case 'settle':
        return this.#settle('ask');
      case 'ask':
        return this.#ask();
      case 'settle-again':
        return this.#settle('ask');
      case 'done':
        return DONE;
    }
  }

  #start(): number {
    const { kernel, generations } = this.#parts;
    if (!generations.prepare()) return GO_ON;
    this.#lostBefore = kernel.eventsLost();
    this.#bucketsBefore = kernel.buckets();
    this.#generation = generations.begin();
    kernel.dumpStart();
    this.phase = 'dump';
    return GO_ON;
  }

  #dump(): number {
    // A datagram holds some 135 rows: stop while there is room for them all.
    if (this.#suspectCount > SUSPICIONS_MAX / 2) return this.#settleSoon();
    const state = this.#parts.kernel.dumpNext(this.#onRow);
    if (state === DUMP_PENDING) return WAIT;
    this.#parts.table.auditRead();
    if (state === DUMP_MORE) return GO_ON;
    if (state === DUMP_INTERRUPTED) this.report.isProvable = false;
    this.#isDumped = true;
    return this.#settleSoon();
  }

  /** Before the suspects are looked at (and before the sweep looks for slots not shown) events must be read. */
  #settleSoon(): number {
    this.#emptiedBefore = this.#parts.emptied();
    this.#askAt = 0;
    this.phase = 'settle';
    return WAIT;
  }

  #settle(next: Phase): number {
    if (this.#parts.emptied() === this.#emptiedBefore) return WAIT;
    if (this.phase === 'settle-again') this.#judge();
    this.phase = next;
    return GO_ON;
  }

  #row(m: Memory, at: number): void {
    const { table, ignore } = this.#parts;
    if (ignore?.(m, at)) return;
    this.report.flows++;
    const slot = table.find(m, at);
    if (slot >= 0 && table.shown(slot) === this.#generation) return;
    if (this.#isAsTable(slot, m, at)) table.setShown(slot, this.#generation);
    else this.#suspect(m, at);
  }

  /** True if the slot shows the kernel's flow as it is. Held flows need not be equal: their owner speaks of them. */
  #isAsTable(slot: number, m: Memory, at: number): boolean {
    const { table } = this.#parts;
    if (slot < 0 || (table.bits(slot) & (KERNEL | DEAD)) !== KERNEL) return false;
    if (table.owner(slot) > OWNER_UNCLASSIFIED || (table.bits(slot) & PENDING) !== 0) return true;
    keepProtoinfo(table.memory, table.recordAt(slot), m, at);
    return durableEqual(table.memory, table.recordAt(slot), m, at);
  }

  #suspect(m: Memory, at: number): void {
    if (this.#suspectCount === SUSPICIONS_MAX) {
      this.report.isProvable = false;
      return;
    }
    copyRecord(m, at, this.#suspects, this.#suspectCount++ * MAX_RECORD_BYTES);
  }

  /** Slots that say KERNEL and were not in the dump. */
  #sweep(): number {
    const { table } = this.#parts;
    const end = Math.min(table.slotLimit, this.#sweepAt + SLOTS_PER_TURN);
    for (; this.#sweepAt < end && this.#suspectCount < SUSPICIONS_MAX; this.#sweepAt++) {
      const slot = this.#sweepAt;
      if (!table.isUsed(slot) || table.shown(slot) === this.#generation) continue;
      if ((table.bits(slot) & (KERNEL | DEAD | SHADOW | PENDING)) !== KERNEL) continue;
      this.#suspect(table.memory, table.recordAt(slot));
    }
    if (this.#sweepAt < table.slotLimit && this.#suspectCount < SUSPICIONS_MAX) return GO_ON;
    return this.#suspectCount > 0 ? this.#settleSoon() : this.#finish();
  }

  /** Asks the kernel about the next suspects on which no event has shed light. */
  #ask(): number {
    const batch = this.#batch;
    batch.clear();
    while (this.#askAt < this.#suspectCount && !batch.isFull) {
      const at = this.#askAt++ * MAX_RECORD_BYTES;
      if (!this.#isTouched(this.#suspects, at)) batch.add(OP_GET, 0, this.#suspects, at);
    }
    if (batch.count > 0) {
      this.#parts.kernel.execute(batch);
      this.#emptiedBefore = this.#parts.emptied();
      this.phase = 'settle-again';
      return WAIT;
    }
    this.#suspectCount = 0;
    if (!this.#isDumped) this.phase = 'dump';
    else if (this.#sweepAt < this.#parts.table.slotLimit) this.phase = 'sweep';
    else return this.#finish();
    return GO_ON;
  }

  /** True if an event has told of the flow since the verification began. */
  #isTouched(m: Memory, at: number): boolean {
    const slot = this.#parts.table.find(m, at);
    return slot >= 0 && this.#parts.table.shown(slot) === this.#generation;
  }

  /** All events that are older than the kernel's answers were read: what differs now, differs. */
  #judge(): void {
    const batch = this.#batch;
    const { table, counters } = this.#parts;
    for (let i = 0; i < batch.count; i++) {
      const m = batch.memory;
      const at = batch.at[i];
      if (this.#isTouched(m, at)) continue;
      const slot = table.find(m, at);
      const found = batch.foundAt[i];
      const isFound = found >= 0 && keyEqual(batch.found, found, m, at);
      if (!isFound && batch.errno[i] < 0) {
        counters.count('verify.get-failed');
        this.report.isProvable = false;
      } else if (isFound) {
        if (this.#isAsTable(slot, batch.found, found) || this.#isMoment(slot, batch.found, found))
          table.setShown(slot, this.#generation);
        else this.#differ(batch.found, found, slot);
      } else if (slot >= 0 && (table.bits(slot) & (KERNEL | DEAD | PENDING)) === KERNEL) {
        this.#differ(undefined, 0, slot);
      }
    }
  }

  /**
   * Only the sequence adjustment differs, of a flow that is asked for it: it changed since the last time, and no event
   * will ever tell. The poll takes what the kernel has just shown, as it would within the second.
   */
  #isMoment(slot: number, m: Memory, at: number): boolean {
    const { seqadj, counters } = this.#parts;
    if (slot < 0 || !seqadj?.take(slot, m, at) || !this.#isAsTable(slot, m, at)) return false;
    counters.count('verify.seqadj');
    return true;
  }

  #differ(kernel: Memory | undefined, at: number, slot: number): void {
    const { table } = this.#parts;
    this.report.differing++;
    const hasSlot = slot >= 0 && (table.bits(slot) & (KERNEL | DEAD)) === KERNEL;
    // Counted once, although the sweep would meet it again.
    if (hasSlot) table.setShown(slot, this.#generation);
    if (this.report.differences.length === DIFFERENCES_SHOWN) return;
    const ours = hasSlot ? cloneRecord(table.memory, table.recordAt(slot)) : undefined;
    const theirs = kernel === undefined ? undefined : cloneRecord(kernel, at);
    const fields = ours === undefined || theirs === undefined ? [] : fieldsThatDiffer(ours, 0, theirs, 0);
    this.report.differences.push({ kernel: theirs, table: ours, fields });
  }

  #finish(): number {
    const { kernel, generations } = this.#parts;
    generations.end();
    this.#generation = 0;
    if (kernel.eventsLost() !== this.#lostBefore || kernel.buckets() !== this.#bucketsBefore) {
      this.report.isProvable = false;
    }
    this.phase = 'done';
    return DONE;
  }
}

function cloneRecord(m: Memory, at: number): Memory {
  const copy = allocateMemory(lengthOf(m, at));
  copyRecord(m, at, copy, 0);
  return copy;
}
