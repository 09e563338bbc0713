/**
 * Hot standby: brings this backup's kernel in step with what the primary says, slot by slot. What is to be done follows
 * from the slot as it is when its turn comes, so any number of changes before that cost one request.
 *
 * | the slot of the primary's flow           | request                                     |
 * |------------------------------------------|---------------------------------------------|
 * | image, not in the kernel                 | create; a child waits for its master        |
 * | image, in the kernel, same life          | update                                      |
 * | image, in the kernel, FRESH, or TCP      | delete by key and id, create                |
 * |   that was here before                   |                                             |
 * | no image, in the kernel, FRESH           | delete by key and id; SWEPT: only if proven |
 * | TOUCHED, SHADOW, another owner's         | nothing                                     |
 *
 * What the kernel does not take at once goes through a commit's conflicts, with the commit's judge. To be called only
 * when the event queue was just read to empty: what this kernel did by itself is known then.
 */
import { IPPROTO_TCP, IPS_EXPECTED } from '../flow/conntrack-enums.js';
import { KernelBatch, OP_CREATE, OP_UPDATE } from '../flow/kernel-port.js';
import { writeMasterKey } from '../flow/master.js';
import {
  addressBytes,
  allocateMemory,
  copyRecord,
  findPart,
  HAS_ID,
  MAX_RECORD_BYTES,
  type Memory,
  OFF_HAS,
  OFF_ID,
  OFF_PROTOCOL,
  OFF_TIMEOUT,
  offStatus,
  PART_MASTER,
} from '../flow/record.js';
import { HELD_RENEW_S, HELD_TIMEOUT_S, INJECT_BATCH, KERNEL_FULL_PAUSE_MS } from '../limits.js';
import {
  DEAD,
  FRESH,
  INJECTING,
  KERNEL,
  PENDING,
  REJECTED,
  SHADOW,
  SWEPT,
  TOUCHED,
} from '../table/slot-bits.js';
import { CommitConflicts } from './commit-conflicts.js';

import { CommitQueue, STAGE_GET } from './commit-queue.js';
import { type CommitParts, CommitWork, fixTimeout, stripMaster } from './commit-work.js';
import { ENOENT, ENOMEM, ENOSPC } from './errno.js';
import type { HeldTimes } from './held-times.js';
import { HotDoubts } from './hot-doubts.js';
import { type EndingsOwner, HotEndings } from './hot-endings.js';
import type { HotQueue } from './hot-queue.js';
import { GO_ON, WAIT } from './slice.js';

/** Slots that the injector leaves alone, whatever their owner says. */
const LEFT_ALONE = DEAD | SHADOW | PENDING | TOUCHED;

/** Slots looked at in one turn. */
const SLOTS_PER_TURN = 1024;
/** Instead of a master's slot. */
const NONE = -1;
const UNKNOWN_MASTER = -2;
/** What a child's master lets it do. */
const MASTER_SETTLED = 0;
const MASTER_COMES = 1;
const MASTER_OPEN = 2;

/** What was written so far, since the daemon started. */
export interface HotCounts {
  created: number;
  updated: number;
  deleted: number;
  /** A life gave way to the next one of its tuple. */
  replaced: number;
  /** Times that the kernel had no room. */
  full: number;
}

export class HotInjector implements EndingsOwner {
  /** Whose replica the kernel follows; -1: nobody's. */
  source = -1;
  /** The replica is proven: what a repair did not name has ended. */
  isProven = false;
  /** No kernel event was lost since the last clean audit: KERNEL bits can be believed. */
  isTrusted = false;
  /** Until then nothing is created. */
  fullUntilMs = 0;
  readonly counts: HotCounts = { created: 0, updated: 0, deleted: 0, replaced: 0, full: 0 };
  readonly work: CommitWork;
  readonly #parts: CommitParts;
  readonly #queue: HotQueue;
  readonly #times: HeldTimes;
  readonly #conflicts: CommitConflicts;
  readonly #endings: HotEndings;
  readonly #batch = new KernelBatch(INJECT_BATCH);
  /** Flows that are created after the next drain. */
  readonly #later = new CommitQueue();
  readonly #doubts: HotDoubts;
  readonly #masterKey = allocateMemory(MAX_RECORD_BYTES);
  #emptiedBefore = 0;
  #nowMs = 0;
  /** No conflict is on its way. */
  #isSettled = true;

  constructor(parts: CommitParts, queue: HotQueue, times: HeldTimes) {
    this.#queue = queue;
    this.#times = times;
    // A flow that was judged and left as it is has at least half of the timeout that it would be given.
    const onSettled = (slot: number): void =>
      times.note(slot, this.#seconds, Math.max(HELD_RENEW_S, HELD_TIMEOUT_S >>> 1));
    this.#parts = { ...parts, minTimeoutS: HELD_TIMEOUT_S, isSparing: true, onSettled };
    this.work = new CommitWork(this.#parts, false);
    this.#conflicts = new CommitConflicts(this.work);
    this.#endings = new HotEndings(this.#parts, this);
    this.#doubts = new HotDoubts(parts);
  }

  /** Something was begun that waits for the event queue to be read. */
  get isWaiting(): boolean {
    const isLater = this.#later.length > 0 || !this.#doubts.isEmpty;
    return isLater || this.work.settling.length > 0 || !this.#endings.isEmpty;
  }

  /** Does a little: GO_ON, or WAIT when nothing can be done before the next drain. */
  turn(nowMs: number): number {
    this.#nowMs = nowMs;
    const { work } = this;
    if (work.settle(false)) return GO_ON;
    if (this.#later.length > 0 && this.#parts.emptied() !== this.#emptiedBefore) {
      while (this.#later.shift()) this.#queue.push(this.#later.slot, nowMs);
    }
    this.#doubts.turn(this.source);
    if (work.queue.length > 0) {
      this.#conflicts.turn();
      this.#noRoomInConflicts();
      return GO_ON;
    }
    if (this.#endings.turn()) return GO_ON;
    return this.#inject();
  }

  /** Lets go of everything; what was begun is left as it is, and PENDING tells a promote to look into it. */
  stop(): void {
    this.#endings.clear();
    this.work.clear();
    while (this.#later.shift());
    this.#doubts.clear();
  }

  // --- what the endings ask ------------------------------------------------------------------------------

  isEnding(slot: number): boolean {
    const { table } = this.#parts;
    if (!this.isTrusted || !this.#isMine(slot)) return false;
    const bits = table.bits(slot);
    if ((bits & (KERNEL | FRESH)) !== (KERNEL | FRESH)) return false;
    return table.hasImage(slot) || (bits & SWEPT) === 0 || this.isProven;
  }

  hasNext(slot: number): boolean {
    const { table } = this.#parts;
    return table.hasImage(slot) && !this.#isFull && this.#masterState(slot) === MASTER_SETTLED;
  }

  /** The kernel does not have the flow (any more). What its owner has of it waits for the next drain. */
  gone(slot: number): void {
    const { table, rules } = this.#parts;
    this.#times.forget(slot);
    table.clearBits(slot, FRESH | SWEPT);
    this.counts.deleted++;
    if (table.hasImage(slot)) this.#createLater(slot);
    else rules.gone(slot);
  }

  addCreate(batch: KernelBatch, slot: number): void {
    const { table } = this.#parts;
    const m = table.memory;
    const to = batch.add(OP_CREATE, slot, m, table.recordAt(slot));
    fixTimeout(batch.memory, to);
    this.work.setTimeout(batch.memory, to);
    if (this.#hasLostMaster(slot)) stripMaster(batch.memory, to);
  }

  afterCreate(batch: KernelBatch, i: number): void {
    const slot = batch.tag[i];
    if (batch.errno[i] !== 0) {
      this.#notCreated(batch, i);
      return;
    }
    const { table } = this.#parts;
    const at = table.recordAt(slot);
    // The new life's id is the kernel's secret; the old one's would hide its DESTROY.
    table.memory.u8[at + OFF_HAS] &= ~HAS_ID;
    table.memory.u32[(at + OFF_ID) >>> 2] = 0;
    if ((table.bits(slot) & FRESH) !== 0) this.counts.replaced++;
    else this.counts.created++;
    this.#written(slot, batch, i);
  }

  confuses(slot: number): void {
    this.#doubts.add(slot);
  }

  // --- inside --------------------------------------------------------------------------------------------

  get #seconds(): number {
    return (this.#nowMs / 1000) >>> 0;
  }

  get #isFull(): boolean {
    return this.#nowMs < this.fullUntilMs;
  }

  #isMine(slot: number): boolean {
    const { table } = this.#parts;
    if (!table.isUsed(slot) || table.owner(slot) !== this.source) return false;
    return (table.bits(slot) & (LEFT_ALONE & ~PENDING)) === 0;
  }

  /** Takes the next slots of the queue, and sends what they lead to. */
  #inject(): number {
    const batch = this.#batch;
    const queue = this.#queue;
    this.#isSettled = this.work.isIdle;
    let hasTaken = false;
    for (let left = Math.min(queue.length, SLOTS_PER_TURN); left > 0 && !batch.isFull; left--) {
      const slot = queue.peek();
      // An ending that finds no room now keeps its place.
      if (this.#endings.isFull && this.isEnding(slot)) break;
      queue.shift();
      if (this.#take(slot)) hasTaken = true;
      else queue.putBack(slot);
    }
    if (batch.count === 0) return hasTaken ? GO_ON : WAIT;
    this.#parts.kernel.execute(batch);
    for (let i = 0; i < batch.count; i++) {
      if (batch.verb[i] === OP_CREATE) this.afterCreate(batch, i);
      else this.#afterUpdate(batch, i);
    }
    batch.clear();
    return GO_ON;
  }

  /** Adds what the slot needs; false if it has to wait. */
  #take(slot: number): boolean {
    const { table } = this.#parts;
    if (!table.isUsed(slot) || table.owner(slot) !== this.source) return true;
    if ((table.bits(slot) & (PENDING | DEAD | SHADOW)) === PENDING) {
      // A conflict of an older record is on its way.
      if (!this.#isSettled) return false;
      this.#takeOver(slot);
    }
    const bits = table.bits(slot);
    if ((bits & LEFT_ALONE) !== 0) return true;
    const hasImage = table.hasImage(slot);
    if ((bits & KERNEL) === 0) {
      // What finds no room now is found again by the walk.
      if (!hasImage || this.#isFull) return true;
      const master = this.#masterState(slot);
      if (master === MASTER_COMES) return false;
      if (master === MASTER_SETTLED) this.addCreate(this.#batch, slot);
    } else if ((bits & FRESH) !== 0 || (hasImage && this.hasOldWindows(slot))) return this.#end(slot);
    else if (hasImage) this.#addUpdate(slot);
    return true;
  }

  /**
   * It waits, and for no conflict of this injector: a slot of its key did, and gave way to it when they got one owner, or
   * a promote was stopped. What the kernel has of it is asked for.
   */
  #takeOver(slot: number): void {
    const { table } = this.#parts;
    if ((table.bits(slot) & KERNEL) === 0 || !table.hasImage(slot)) {
      table.clearBits(slot, PENDING | INJECTING);
      return;
    }
    this.work.pendAgain(slot);
    this.work.enqueue(slot, STAGE_GET);
  }

  /** False if it has to wait. */
  #end(slot: number): boolean {
    if (this.#endings.isFull) return false;
    this.#parts.table.setBits(slot, FRESH);
    if (this.isEnding(slot)) this.#endings.add(slot);
    return true;
  }

  /**
   * A TCP flow that was here before this node followed: packets passed it here and then elsewhere, so its windows are of
   * the past, and every acknowledgement of what passed elsewhere would be invalid. No update sets windows, a create does.
   */
  hasOldWindows(slot: number): boolean {
    // The record is far away in memory, and this is asked of each flow of a promote.
    if (this.#times.sinceWrite(slot, this.#seconds) !== Number.POSITIVE_INFINITY) return false;
    const { table } = this.#parts;
    return table.memory.u8[table.recordAt(slot) + OFF_PROTOCOL] === IPPROTO_TCP;
  }

  /** Writes what this kernel is to have of the flow to `out`. */
  writeWanted(slot: number, out: Memory): void {
    const { table } = this.#parts;
    copyRecord(table.memory, table.recordAt(slot), out, 0);
    if (this.#hasLostMaster(slot)) stripMaster(out, 0);
  }

  #addUpdate(slot: number): void {
    const { table } = this.#parts;
    const to = this.#batch.add(OP_UPDATE, slot, table.memory, table.recordAt(slot));
    this.work.setTimeout(this.#batch.memory, to);
  }

  #afterUpdate(batch: KernelBatch, i: number): void {
    const slot = batch.tag[i];
    if (batch.errno[i] === 0) {
      this.counts.updated++;
      this.#written(slot, batch, i);
    } else if (batch.errno[i] === ENOENT) {
      this.#times.forget(slot);
      this.#createLater(slot);
    } else {
      this.work.pendAgain(slot);
      this.work.enqueue(slot, STAGE_GET);
    }
  }

  /** It has ended unseen, and its DESTROY comes with the next drain: the new one must not be taken for it. */
  #createLater(slot: number): void {
    const { table, emptied } = this.#parts;
    table.clearBits(slot, KERNEL);
    if (table.auditGeneration !== 0) table.setShown(slot, table.auditGeneration);
    this.#later.push(slot, 0);
    this.#emptiedBefore = emptied();
  }

  #notCreated(batch: KernelBatch, i: number): void {
    const slot = batch.tag[i];
    const errno = batch.errno[i];
    this.#times.tried(slot, this.#seconds);
    if (errno === ENOMEM || errno === ENOSPC) {
      this.noRoom();
      return;
    }
    this.work.pendAgain(slot);
    this.#conflicts.afterCreate(batch, i);
  }

  /** The kernel's table is full: nothing is created for a while, which would only push others out. */
  noRoom(): void {
    if (!this.#isFull) this.counts.full++;
    this.fullUntilMs = this.#nowMs + KERNEL_FULL_PAUSE_MS;
  }

  #noRoomInConflicts(): void {
    const { late } = this.work;
    while (late.shift()) {
      this.#parts.table.clearBits(late.slot, PENDING);
      this.noRoom();
    }
  }

  #written(slot: number, batch: KernelBatch, i: number): void {
    const { table } = this.#parts;
    table.clearBits(slot, FRESH | SWEPT | REJECTED);
    table.setBits(slot, KERNEL);
    // A running audit need not be told of it.
    if (table.auditGeneration !== 0) table.setShown(slot, table.auditGeneration);
    this.#times.note(slot, this.#seconds, batch.memory.u32[(batch.at[i] + OFF_TIMEOUT) >>> 2]);
  }

  /** Whether a child may be created now, is put off until its master is there, or until its owner has said all. */
  #masterState(slot: number): number {
    const master = this.#masterOf(slot);
    if (master === NONE) return MASTER_SETTLED;
    // The walk finds it again when the replica is proven, and by then the master is known, or gone.
    if (master === UNKNOWN_MASTER) return this.isProven ? MASTER_SETTLED : MASTER_OPEN;
    const isInKernel = (this.#parts.table.bits(master) & KERNEL) !== 0;
    return !isInKernel && this.#isComing(master) ? MASTER_COMES : MASTER_SETTLED;
  }

  /** It is about to be created: it stands in the queue, in this very batch, or in a conflict. */
  #isComing(master: number): boolean {
    if (this.#queue.has(master) || (this.#parts.table.bits(master) & PENDING) !== 0) return true;
    const { count, tag } = this.#batch;
    for (let i = 0; i < count; i++) if (tag[i] === master) return true;
    return false;
  }

  /** A child whose master this kernel does not have. */
  #hasLostMaster(slot: number): boolean {
    const master = this.#masterOf(slot);
    if (master === NONE) return false;
    return master === UNKNOWN_MASTER || (this.#parts.table.bits(master) & KERNEL) === 0;
  }

  /** Slot of the flow's master; UNKNOWN_MASTER if the table does not have it; NONE if the flow has none. */
  #masterOf(slot: number): number {
    const { table } = this.#parts;
    const m = table.memory;
    const at = table.recordAt(slot);
    if ((m.u32[(at + offStatus(addressBytes(m, at))) >>> 2] & IPS_EXPECTED) === 0) return NONE;
    const part = findPart(m, at, PART_MASTER);
    if (part < 0) return UNKNOWN_MASTER;
    writeMasterKey(m, at, part, this.#masterKey);
    const master = table.find(this.#masterKey, 0);
    return master >= 0 && (table.bits(master) & DEAD) === 0 ? master : UNKNOWN_MASTER;
  }
}
