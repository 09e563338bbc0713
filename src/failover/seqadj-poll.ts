/**
 * Sequence adjustment changes without an event (FACTS section 5), and a control connection that is taken over without it
 * is corrupted. So the own flows that may have one are asked for: all of them about every second, and one at once
 * when its helper announces or gets a connection, which is when it rewrites what it reads.
 */
import type { Counters } from '../flow/counters.js';
import { KernelBatch, type KernelPort, OP_GET } from '../flow/kernel-port.js';
import { isNewLife, keyEqual, partEqual, withSeqadjOf } from '../flow/merge.js';
import {
  allocateMemory,
  HAS_ID,
  MAX_RECORD_BYTES,
  type Memory,
  OFF_HAS,
  OFF_ID,
  PART_SEQADJ_ORIG,
  PART_SEQADJ_REPLY,
} from '../flow/record.js';
import {
  SEQADJ_BATCH,
  SEQADJ_HURRY_DELAY_MS,
  SEQADJ_HURRY_MAX,
  SEQADJ_INTERVAL_MS,
  SEQADJ_POLLS_PER_LAP,
  TICK_MS,
} from '../limits.js';
import type { FlowTable } from '../table/flow-table.js';
import { isTranslated } from '../table/helped-flows.js';
import { DEAD, INJECTING, KERNEL, OWNER_SELF, PENDING, SHADOW } from '../table/slot-bits.js';

export interface SeqadjPollParts {
  readonly kernel: KernelPort;
  readonly table: FlowTable;
  readonly counters: Counters;
}

/** Slots looked at in one step; those of peers are passed over. */
const LOOKS_PER_STEP = 1024;
const WANTED = KERNEL;
const UNWANTED = DEAD | SHADOW | PENDING | INJECTING;

export class SeqadjPoll {
  readonly #parts: SeqadjPollParts;
  readonly #batch = new KernelBatch(SEQADJ_BATCH);
  readonly #merged = allocateMemory(MAX_RECORD_BYTES);
  readonly #hurried = new Int32Array(SEQADJ_HURRY_MAX);
  #hurriedCount = 0;
  #hurryAt = 0;
  /** Slots of the list that this lap has still to look at, and how many of them it may ask for. */
  #left = 0;
  #allowance = 0;
  #nextLapAt = 0;

  constructor(parts: SeqadjPollParts) {
    this.#parts = parts;
  }

  /** The helper of this slot's flow has announced or got a connection: it is asked for soon, after it rewrote the line. */
  hurry(slot: number, nowMs: number): void {
    if (this.#hurriedCount === SEQADJ_HURRY_MAX) {
      this.#parts.counters.count('seqadj.not-hurried'); // the lap finds it
      return;
    }
    if (this.#hurriedCount === 0) this.#hurryAt = nowMs + SEQADJ_HURRY_DELAY_MS;
    this.#hurried[this.#hurriedCount++] = slot;
  }

  /** Begins a lap over all flows at once: before this node hands over. */
  startLap(): void {
    this.#left = this.#parts.table.helped.length;
    this.#allowance = this.#left;
  }

  /** Every flow was asked for since the lap began. */
  get isLapDone(): boolean {
    return this.#left === 0;
  }

  /** When `step` has something to do. */
  dueAt(nowMs: number): number {
    if (this.#left > 0 && this.#allowance > 0) return nowMs + TICK_MS;
    const lapAt = this.#parts.table.helped.length > 0 ? this.#nextLapAt : Number.POSITIVE_INFINITY;
    return this.#hurriedCount > 0 ? Math.min(this.#hurryAt, lapAt) : lapAt;
  }

  /** Asks for some flows if that is due: one batch at most. */
  step(nowMs: number): void {
    const { helped } = this.#parts.table;
    if (this.#hurriedCount > 0 && nowMs >= this.#hurryAt) this.#askHurried();
    if (nowMs >= this.#nextLapAt) {
      this.#nextLapAt = nowMs + SEQADJ_INTERVAL_MS;
      // A lap that is not over goes on: where there are more flows than it may ask for they take turns.
      if (this.#left === 0) this.#left = helped.length;
      this.#allowance = Math.max(this.#allowance, SEQADJ_POLLS_PER_LAP);
    }
    if (this.#left > 0 && this.#allowance > 0) this.#askNext();
  }

  /**
   * The kernel has just shown the slot's flow as in the record at `at`: takes its sequence adjustment over if that is
   * other. False if the flow is not one whose adjustment is to be asked for, or the record shows another life.
   */
  take(slot: number, m: Memory, at: number): boolean {
    const { table, counters } = this.#parts;
    const own = table.recordAt(slot);
    if (!this.#isOurs(slot) || !table.helped.has(slot, own) || !isTranslated(table.memory, own)) return false;
    if (!keyEqual(table.memory, own, m, at) || isNewLife(table.memory, own, m, at)) return false;
    if (haveOtherIds(table.memory, own, m, at)) return false;
    const isSame =
      partEqual(table.memory, own, m, at, PART_SEQADJ_ORIG) &&
      partEqual(table.memory, own, m, at, PART_SEQADJ_REPLY);
    if (isSame) return true;
    withSeqadjOf(table.memory, own, m, at, this.#merged, 0);
    if (!table.setRecord(slot, this.#merged, 0)) {
      counters.count('table.full');
      return false;
    }
    counters.count('seqadj.changed');
    table.markDirty(slot);
    // A row of a running audit may be older than this.
    if (table.auditGeneration !== 0) table.setShown(slot, table.auditGeneration);
    return true;
  }

  #isOurs(slot: number): boolean {
    const { table } = this.#parts;
    if (!table.isUsed(slot) || table.owner(slot) !== OWNER_SELF) return false;
    return (table.bits(slot) & (WANTED | UNWANTED)) === WANTED;
  }

  #askHurried(): void {
    for (let i = 0; i < this.#hurriedCount; i++) this.#add(this.#hurried[i]);
    this.#hurriedCount = 0;
    this.#ask();
  }

  #askNext(): void {
    const { helped } = this.#parts.table;
    for (let i = 0; i < LOOKS_PER_STEP && this.#left > 0 && this.#allowance > 0; i++) {
      if (this.#batch.isFull) break;
      this.#left--;
      const slot = helped.next();
      if (slot >= 0 && this.#add(slot)) this.#allowance--;
    }
    this.#ask();
  }

  /** Adds the question about a slot, unless it is a peer's, or has left the list; true if it is one. */
  #add(slot: number): boolean {
    const { table } = this.#parts;
    const isUsed = table.isUsed(slot);
    if (!isUsed || !table.helped.has(slot, table.recordAt(slot))) {
      table.helped.leave(slot);
      return false;
    }
    if (!this.#isOurs(slot) || this.#batch.isFull) return false;
    if (!isTranslated(table.memory, table.recordAt(slot))) return false;
    this.#batch.add(OP_GET, slot, table.memory, table.recordAt(slot));
    return true;
  }

  #ask(): void {
    const batch = this.#batch;
    if (batch.count === 0) return;
    this.#parts.kernel.execute(batch);
    for (let i = 0; i < batch.count; i++) {
      // ENOENT: its DESTROY is on the way.
      if (batch.foundAt[i] >= 0) this.take(batch.tag[i], batch.found, batch.foundAt[i]);
    }
    batch.clear();
  }
}

function haveOtherIds(a: Memory, aAt: number, b: Memory, bAt: number): boolean {
  if ((a.u8[aAt + OFF_HAS] & b.u8[bAt + OFF_HAS] & HAS_ID) === 0) return false;
  return a.u32[(aAt + OFF_ID) >>> 2] !== b.u32[(bAt + OFF_ID) >>> 2];
}
