/**
 * A purge: what a former primary, or a commit, left in this backup's kernel goes, carefully (PROTOCOL.md, section 6).
 *
 *     every candidate is asked for: when would it end? --> some seconds --> asked again: whose timer has moved has
 *       packets here --> event queue read to empty --> the others are deleted, by key and id
 *
 * Cold: candidates are all held flows. Hot: those that the primary does not speak of. A purge that is stopped, or cut
 * short by a crash, leaves what it did not reach as it was.
 */
import { KernelBatch, type KernelPort, OP_DELETE, OP_GET } from '../flow/kernel-port.js';
import { keyEqual } from '../flow/merge.js';
import { HAS_ID, type Memory, OFF_HAS, OFF_ID, OFF_TIMEOUT } from '../flow/record.js';
import { INJECT_BATCH } from '../limits.js';
import type { FlowTable } from '../table/flow-table.js';
import { DEAD, KERNEL, OWNER_UNCLASSIFIED, PENDING, SHADOW, TOUCHED } from '../table/slot-bits.js';
import { ENOENT, UNKNOWN } from './errno.js';
import type { Clock, Emptied } from './ports.js';
import { DONE, GO_ON, runSlice, WAIT } from './slice.js';

/** Slots looked at in one turn. */
const SLOTS_PER_TURN = 2048;
/** Timers are told in whole seconds: a deadline that moved by less has not moved. Milliseconds. */
const TOLERANCE_MS = 1100;
/** Deadlines are kept in tenths of seconds. Milliseconds. */
const UNIT_MS = 100;

export interface PurgeParts {
  readonly kernel: KernelPort;
  readonly table: FlowTable;
  /** EventRules: what a DESTROY does to a slot. */
  readonly rules: { gone(slot: number): void };
  readonly clock: Clock;
  readonly emptied: Emptied;
  /** True for flows that end on this machine. */
  isLocal(m: Memory, at: number): boolean;
}

/** Why a held flow stays. */
export type PurgeSkip =
  /** It ends on this machine, and is no other's. */
  | 'local'
  /** The kernel changed it here: its packets pass, or someone works on it. */
  | 'touched'
  /** Its timer was set again between the two looks: its packets pass here. */
  | 'refreshed'
  /** It came after the first look. */
  | 'new'
  /** It had ended, or another life had come. */
  | 'ended'
  /** The kernel did not answer, or refused. */
  | 'refused';

export interface PurgeReport {
  /** Held flows that were looked at. */
  total: number;
  purged: number;
  skipped: Partial<Record<PurgeSkip, number>>;
}

export class Purge {
  phase: 'look' | 'wait' | 'delete' | 'done' | 'stopped' = 'look';
  readonly report: PurgeReport = { total: 0, purged: 0, skipped: {} };
  readonly #parts: PurgeParts;
  /** Owner of the live primary; in hot standby what it speaks of stays. */
  readonly #primary: number;
  readonly #isHot: boolean;
  readonly #waitMs: number;
  readonly #deadlines: Uint32Array;
  /** Ids that the first look found. */
  readonly #lives: Uint32Array;
  readonly #questions = new KernelBatch(INJECT_BATCH);
  readonly #actions = new KernelBatch(INJECT_BATCH);
  readonly #ids = new Uint32Array(INJECT_BATCH);
  /** Questions of the second look that are answered and wait for the queue to be empty. */
  #answered = 0;
  #emptiedBefore = 0;
  #at = 0;
  #nowMs = 0;
  #waitUntil = 0;
  readonly #turn = (): number => this.#advance();

  /** `waitMs`: the time between the two looks. */
  constructor(parts: PurgeParts, primary: number, isHot: boolean, waitMs: number) {
    this.#parts = parts;
    this.#primary = primary;
    this.#isHot = isHot;
    this.#waitMs = waitMs;
    this.#deadlines = new Uint32Array(parts.table.capacity);
    this.#lives = new Uint32Array(parts.table.capacity);
  }

  /** Until then nothing is to be done, between the two looks; else -Infinity. Milliseconds. */
  get restsUntil(): number {
    return this.phase === 'wait' ? this.#waitUntil : Number.NEGATIVE_INFINITY;
  }

  /** Works for one slice; true when done (or stopped). */
  step(nowMs: number): boolean {
    this.#nowMs = nowMs;
    return runSlice(this.#parts.clock, this.#turn);
  }

  /** A promote, or whatever else makes this node no proper backup, ends it between two batches. */
  stop(): void {
    if (this.phase !== 'done') this.phase = 'stopped';
  }

  #advance(): number {
    switch (this.phase) {
      case 'look':
        return this.#look();
      case 'wait':
        if (this.#nowMs < this.#waitUntil) return WAIT;
        this.phase = 'delete';
        return GO_ON;
      case 'delete':
        return this.#lookAgain();
      case 'done':
      case 'stopped':
        return DONE;
    }
  }

  /** A flow that this kernel holds for others. */
  #isCandidate(slot: number): boolean {
    const { table } = this.#parts;
    if (!table.isUsed(slot) || (table.bits(slot) & (KERNEL | DEAD | SHADOW | PENDING)) !== KERNEL)
      return false;
    const owner = table.owner(slot);
    if (owner <= OWNER_UNCLASSIFIED) return false;
    return !(this.#isHot && owner === this.#primary && table.hasImage(slot));
  }

  #look(): number {
    this.#collect(() => true);
    if (this.#questions.count > 0) {
      this.#ask((slot, ends, id) => {
        this.#deadlines[slot] = ends;
        this.#lives[slot] = id;
      });
    }
    this.#questions.clear();
    if (this.#at < this.#parts.table.slotLimit) return GO_ON;
    this.#at = 0;
    this.#waitUntil = this.#nowMs + this.#waitMs;
    this.phase = 'wait';
    return WAIT;
  }

  #lookAgain(): number {
    if (this.#answered > 0) {
      // A life that began here since the answer is known when its event was read.
      if (this.#parts.emptied() === this.#emptiedBefore) return WAIT;
      this.#delete();
      return GO_ON;
    }
    this.#collect((slot) => this.#mayGo(slot));
    if (this.#questions.count > 0) this.#askAgain();
    if (this.#answered > 0) return WAIT;
    this.#questions.clear();
    if (this.#at < this.#parts.table.slotLimit) return GO_ON;
    this.phase = 'done';
    return DONE;
  }

  /** Questions about the next candidates that are `wanted`. */
  #collect(wanted: (slot: number) => boolean): void {
    const { table } = this.#parts;
    const end = Math.min(table.slotLimit, this.#at + SLOTS_PER_TURN);
    while (this.#at < end && !this.#questions.isFull) {
      const slot = this.#at++;
      if (!this.#isCandidate(slot) || !wanted(slot)) continue;
      this.#questions.add(OP_GET, slot, table.memory, table.recordAt(slot));
    }
  }

  /** What is known without a question keeps the flow, or not. */
  #mayGo(slot: number): boolean {
    const { table } = this.#parts;
    this.report.total++;
    if ((table.bits(slot) & TOUCHED) !== 0) this.#skip('touched');
    else if (this.#parts.isLocal(table.memory, table.recordAt(slot))) this.#skip('local');
    else if (this.#deadlines[slot] === 0) this.#skip('new');
    else return true;
    return false;
  }

  /** Asks the kernel, and tells of each flow that it has when it would end. */
  #ask(found: (slot: number, ends: number, id: number, i: number) => void): void {
    const batch = this.#questions;
    this.#parts.kernel.execute(batch);
    const now = this.#parts.clock();
    for (let i = 0; i < batch.count; i++) {
      const at = batch.foundAt[i];
      if (at < 0 || !keyEqual(batch.found, at, batch.memory, batch.at[i])) continue;
      const leftMs = batch.found.u32[(at + OFF_TIMEOUT) >>> 2] * 1000;
      const ends = Math.max(1, Math.floor((now + leftMs) / UNIT_MS));
      found(batch.tag[i], ends, batch.found.u32[(at + OFF_ID) >>> 2], i);
    }
  }

  #askAgain(): void {
    const batch = this.#questions;
    this.#ids.fill(0);
    this.#ask((slot, ends, id, i) => {
      const isMoved = Math.abs(ends - this.#deadlines[slot]) * UNIT_MS > TOLERANCE_MS;
      // Another life is not told by its time: the owner may have spoken of the flow since, and taken TOUCHED away.
      if (isMoved || id !== this.#lives[slot]) {
        this.#skip(isMoved ? 'refreshed' : 'new');
        batch.errno[i] = UNKNOWN;
        return;
      }
      this.#ids[i] = id;
      this.#answered++;
    });
    for (let i = 0; i < batch.count; i++) {
      if (batch.foundAt[i] < 0) this.#skip(batch.errno[i] === ENOENT ? 'ended' : 'refused');
    }
    this.#emptiedBefore = this.#parts.emptied();
  }

  #delete(): void {
    const { kernel, table, rules } = this.#parts;
    const batch = this.#actions;
    const questions = this.#questions;
    for (let i = 0; i < questions.count; i++) {
      if (this.#ids[i] === 0) continue;
      const slot = questions.tag[i];
      const isSame =
        this.#isCandidate(slot) &&
        keyEqual(table.memory, table.recordAt(slot), questions.memory, questions.at[i]);
      if (!isSame) this.#skip('ended');
      else if ((table.bits(slot) & TOUCHED) !== 0) this.#skip('touched');
      else {
        const to = batch.add(OP_DELETE, slot, questions.memory, questions.at[i]);
        batch.memory.u8[to + OFF_HAS] |= HAS_ID;
        batch.memory.u32[(to + OFF_ID) >>> 2] = this.#ids[i];
      }
    }
    this.#answered = 0;
    questions.clear();
    if (batch.count > 0) kernel.execute(batch);
    for (let i = 0; i < batch.count; i++) {
      const errno = batch.errno[i];
      if (errno === 0) this.report.purged++;
      else this.#skip(errno === ENOENT ? 'ended' : 'refused');
      if (errno === 0 || errno === ENOENT) rules.gone(batch.tag[i]);
    }
    batch.clear();
  }

  #skip(why: PurgeSkip): void {
    this.report.skipped[why] = (this.report.skipped[why] ?? 0) + 1;
  }
}
