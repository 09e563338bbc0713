/**
 * The audit: the table against its own kernel, beside the live events (PROTOCOL.md, section 5).
 *
 *     queue read to empty --> dump --> rows beat what is older, events beat rows --> queue read to empty --> GET what was not shown
 *       --> only ENOENT removes --> clean? done. An event was lost meanwhile, or the dump was not whole? again.
 *
 * An event marks the slot it touches as shown (EventRules), so a row that is older than the event changes nothing.
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
import type { Log } from '../flow/log.js';
import { keyEqual } from '../flow/merge.js';
import { type Memory, OFF_IDLE } from '../flow/record.js';
import { AUDIT_PAUSE_MAX_MS, AUDIT_PAUSE_MIN_MS, INJECT_BATCH } from '../limits.js';
import type { FlowTable } from '../table/flow-table.js';
import type { IdleClasses } from '../table/idle-classes.js';
import { DEAD, KERNEL, OWNER_SELF, OWNER_UNCLASSIFIED, PENDING, SHADOW } from '../table/slot-bits.js';
import type { AuditGenerations } from './audit-generations.js';
import { ENOENT } from './errno.js';
import {
  type IsGiven,
  KernelTruth,
  type Passes,
  ROW_ADDED,
  ROW_EQUAL,
  ROW_HELD,
  ROW_REFUSED,
  ROW_REPAIRED,
} from './kernel-truth.js';
import type { Clock, Emptied } from './ports.js';
import type { SeqadjPoll } from './seqadj-poll.js';
import { DONE, GO_ON, runSlice, WAIT } from './slice.js';

/** Slots looked at in one turn of the sweep. */
const SLOTS_PER_TURN = 1024;

/** first: flows without slot become unclassified. repair: they become own. */
export type AuditMode = 'first' | 'repair';

/** What an audit works on. */
export interface AuditParts {
  readonly kernel: KernelPort;
  readonly table: FlowTable;
  readonly generations: AuditGenerations;
  readonly counters: Counters;
  readonly clock: Clock;
  readonly emptied: Emptied;
  readonly isPrimary: () => boolean;
  /** EventRules: what a DESTROY does to a slot. */
  readonly rules: { gone(slot: number): void; leave(slot: number): void };
  /** True for flows that never enter the table (filters). */
  readonly ignore?: (m: Memory, at: number) => boolean;
  /** True for records of which the stream speaks (the filter on what changes). */
  readonly passes?: Passes;
  /** Takes note of how idle the flows are. */
  readonly idle?: IdleClasses;
  /** Sees to what changes without an event. */
  readonly seqadj?: SeqadjPoll;
  /** A held flow was shown by this row, as its record says or otherwise. */
  readonly onHeld?: (slot: number, m: Memory, at: number, isEqual: boolean) => void;
  readonly isGiven?: IsGiven;
  readonly log?: Log;
}

type Phase = 'prepare' | 'drain' | 'dump' | 'settle' | 'sweep' | 'pause' | 'done';

/** How far an audit is, and what it did; read it at any time. */
export interface AuditProgress {
  phase: Phase;
  attempts: number;
  rows: number;
  added: number;
  repaired: number;
  removed: number;
  /** Flows that are no longer replicated: this machine's addresses have changed. */
  left: number;
  /** Events that got lost while it ran, over all attempts. */
  lost: number;
}

/** One audit, in slices; it goes on until an attempt was clean. */
export class Audit {
  readonly mode: AuditMode;
  readonly progress: AuditProgress = {
    phase: 'prepare',
    attempts: 0,
    rows: 0,
    added: 0,
    repaired: 0,
    removed: 0,
    left: 0,
    lost: 0,
  };
  /** A dump was whole once: the table has every flow that was there all along (mirrorReady needs this). */
  isWhole = false;
  /** Its last attempt was: no event was lost, no row missed. */
  isClean = false;
  readonly #parts: AuditParts;
  readonly #truth: KernelTruth;
  readonly #batch = new KernelBatch(INJECT_BATCH);
  #generation = 0;
  #lostBefore = 0;
  #bucketsBefore = 0;
  #emptiedBefore = 0;
  #sweepAt = 0;
  #pauseMs = AUDIT_PAUSE_MIN_MS;
  #pauseUntil = 0;
  #isAttemptWhole = false;
  #nowMs = 0;
  readonly #onRow = (m: Memory, at: number): void => this.#row(m, at);
  readonly #turn = (): number => this.#advance();

  constructor(parts: AuditParts, mode: AuditMode) {
    this.#parts = parts;
    this.mode = mode;
    const { table, counters, isPrimary, passes, isGiven } = parts;
    this.#truth = new KernelTruth(table, counters, isPrimary, passes, isGiven);
  }

  /** Works for one slice; true when the audit is done, which means: was clean. */
  step(nowMs: number): boolean {
    this.#nowMs = nowMs;
    return runSlice(this.#parts.clock, this.#turn);
  }

  /** Gives up: a promote runs its own dump. */
  abort(): void {
    if (this.progress.phase === 'done') return;
    if (this.#generation !== 0) this.#parts.generations.end();
    this.#generation = 0;
    this.progress.phase = 'done';
  }

  #advance(): number {
    switch (this.progress.phase) {
      case 'prepare':
        return this.#start();
      case 'drain':
        return this.#begin();
      case 'dump':
        return this.#dump();
      case 'settle':
        return this.#settle();
      case 'sweep':
        return this.#sweep();
      case 'pause':
        if (this.#nowMs < this.#pauseUntil) return WAIT;
        this.progress.phase = 'prepare';
        return GO_ON;
      case 'done':
        return DONE;
    }
  }

  #start(): number {
    if (!this.#parts.generations.prepare()) return GO_ON;
    this.#emptiedBefore = this.#parts.emptied();
    this.progress.phase = 'drain';
    return WAIT;
  }

  /** Events in the queue are older than any row: read after one, they would put back what it showed (after a loss for good). */
  #begin(): number {
    const { kernel, generations, emptied } = this.#parts;
    if (emptied() === this.#emptiedBefore) return WAIT;
    this.progress.attempts++;
    this.progress.rows = 0;
    this.#lostBefore = kernel.eventsLost();
    this.#bucketsBefore = kernel.buckets();
    this.#generation = generations.begin();
    this.#isAttemptWhole = true;
    kernel.dumpStart();
    this.progress.phase = 'dump';
    return GO_ON;
  }

  #dump(): number {
    const state = this.#parts.kernel.dumpNext(this.#onRow);
    if (state === DUMP_PENDING) return WAIT;
    this.#parts.table.auditRead();
    if (state === DUMP_MORE) return GO_ON;
    if (state === DUMP_INTERRUPTED) this.#isAttemptWhole = false;
    this.#ask();
    this.#emptiedBefore = this.#parts.emptied();
    this.progress.phase = 'settle';
    return WAIT;
  }

  /** A row of the dump. */
  #row(m: Memory, at: number): void {
    this.progress.rows++;
    const { table, ignore } = this.#parts;
    const slot = table.find(m, at);
    if (ignore?.(m, at)) {
      this.#ignored(slot);
      return;
    }
    if (slot >= 0 && table.shown(slot) === this.#generation) return; // an event was newer, or shown twice
    // A tombstone from before the audit: the row may be older than the DESTROY (F10), or another life. Ask.
    if (slot >= 0 && this.#hasEnded(slot)) this.#queue(slot, m, at);
    else this.#take(slot, m, at);
  }

  /** Own, and a tombstone; a peer may have spoken of the key since, and hidden it. */
  #hasEnded(slot: number): boolean {
    const { table } = this.#parts;
    if ((table.bits(slot) & DEAD) !== 0) return true;
    if (table.owner(slot) <= OWNER_UNCLASSIFIED || (table.bits(slot) & KERNEL) !== 0) return false;
    const own = table.findOwned(OWNER_SELF, table.memory, table.recordAt(slot));
    return own >= 0 && (table.bits(own) & DEAD) !== 0;
  }

  /** The kernel has a flow that is not replicated, or no longer is. */
  #ignored(slot: number): void {
    const { table, rules } = this.#parts;
    if (slot < 0 || (table.bits(slot) & (DEAD | PENDING)) !== 0) return;
    if (table.owner(slot) > OWNER_UNCLASSIFIED) {
      // A peer speaks of it all the same; what it says stays, and that our kernel has the flow is true.
      table.setBits(slot, KERNEL);
      table.setShown(slot, this.#generation);
      return;
    }
    rules.leave(slot);
    this.progress.left++;
  }

  /** The kernel has the flow, and nothing newer is known. */
  #take(slot: number, m: Memory, at: number): void {
    const { table, idle } = this.#parts;
    const timeS = (this.#nowMs / 1000) >>> 0;
    if (slot >= 0 && (table.bits(slot) & PENDING) !== 0) return; // a promote has judged, or will
    if (slot < 0) {
      slot = this.#truth.add(m, at, this.mode === 'first' ? OWNER_UNCLASSIFIED : OWNER_SELF, timeS);
      if (slot < 0) return;
      this.progress.added++;
    } else {
      const idleClass = table.memory.u8[table.recordAt(slot) + OFF_IDLE];
      const outcome = this.#truth.confirm(slot, m, at, timeS);
      if (outcome !== ROW_ADDED && outcome !== ROW_REFUSED) idle?.judge(slot, idleClass, m, at, timeS);
      if (table.owner(slot) > OWNER_UNCLASSIFIED && (outcome === ROW_HELD || outcome === ROW_EQUAL)) {
        this.#parts.onHeld?.(slot, m, at, outcome === ROW_EQUAL);
      }
      if (outcome === ROW_ADDED) slot = table.find(m, at);
      if (outcome === ROW_ADDED) this.progress.added++;
      if (outcome === ROW_REPAIRED) this.progress.repaired++;
    }
    table.setShown(slot, this.#generation);
  }

  /** Waits until the events that are older than the dump's end were read. */
  #settle(): number {
    if (this.#parts.emptied() === this.#emptiedBefore) return WAIT;
    // A resize hides flows from the dump (F12): nothing was not shown.
    if (this.#parts.kernel.buckets() !== this.#bucketsBefore) this.#isAttemptWhole = false;
    if (!this.#isAttemptWhole) return this.#finish();
    this.isWhole = true;
    this.#sweepAt = 0;
    this.progress.phase = 'sweep';
    return GO_ON;
  }

  #sweep(): number {
    const { table } = this.#parts;
    const end = Math.min(table.slotLimit, this.#sweepAt + SLOTS_PER_TURN);
    while (this.#sweepAt < end && !this.#batch.isFull) {
      const slot = this.#sweepAt++;
      if (!table.isUsed(slot) || table.shown(slot) === this.#generation) continue;
      if ((table.bits(slot) & (KERNEL | DEAD | SHADOW | PENDING)) !== KERNEL) continue;
      this.#batch.add(OP_GET, slot, table.memory, table.recordAt(slot));
    }
    if (this.#batch.isFull) this.#ask();
    if (this.#sweepAt < table.slotLimit) return GO_ON;
    this.#ask();
    return this.#finish();
  }

  #queue(slot: number, m: Memory, at: number): void {
    if (this.#batch.isFull) this.#ask();
    this.#batch.add(OP_GET, slot, m, at);
  }

  /** Asks the kernel about what the dump left open. */
  #ask(): void {
    const batch = this.#batch;
    if (batch.count === 0) return;
    this.#parts.kernel.execute(batch);
    for (let i = 0; i < batch.count; i++) this.#answer(i);
    batch.clear();
  }

  #answer(i: number): void {
    const { table, counters, ignore } = this.#parts;
    const batch = this.#batch;
    // The slot number may mean another flow by now: rows before this answer can have removed and inserted.
    const slot = table.find(batch.memory, batch.at[i]);
    if (slot >= 0 && table.shown(slot) === this.#generation) return;
    const found = batch.foundAt[i];
    // A GET also finds a flow whose reply tuple this is: that is not the flow asked for.
    if (found >= 0 && keyEqual(batch.found, found, batch.memory, batch.at[i])) {
      if (ignore?.(batch.found, found)) this.#ignored(slot);
      else this.#take(slot, batch.found, found);
    } else if (batch.errno[i] === ENOENT || found >= 0) {
      if (slot < 0 || (table.bits(slot) & (KERNEL | DEAD)) !== KERNEL) return;
      this.#parts.rules.gone(slot);
      this.progress.removed++;
    } else {
      counters.count('audit.get-failed');
      this.#isAttemptWhole = false;
    }
  }

  /** Ends an attempt: done if it was clean, else again after a pause that grows. */
  #finish(): number {
    const { kernel, generations, counters, log } = this.#parts;
    generations.end();
    this.#generation = 0;
    const lost = kernel.eventsLost() - this.#lostBefore;
    this.progress.lost += lost;
    if (lost === 0 && this.#isAttemptWhole) {
      this.progress.phase = 'done';
      this.isClean = true;
      counters.count('audit.clean');
      return DONE;
    }
    counters.count(lost > 0 ? 'audit.events-lost' : 'audit.not-whole');
    log?.('info', 'audit was not clean, again after a pause', { lost, pauseMs: this.#pauseMs });
    this.#pauseUntil = this.#nowMs + this.#pauseMs;
    this.#pauseMs = Math.min(AUDIT_PAUSE_MAX_MS, this.#pauseMs * 2);
    this.progress.phase = 'pause';
    return WAIT;
  }
}
