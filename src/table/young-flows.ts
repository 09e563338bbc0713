/**
 * Flows that are too young to be told (`replicate.min_age`): a list by birth, threaded through arrays beside the slots.
 * A slot stands in it once, however many flows live and die in it meanwhile, so the list can never be longer than the
 * table; a flow that dies young costs nothing more. The arrays are address space until `min_age` is used.
 */
import type { FlowTable } from './flow-table.js';
import { AGED, FRESH, YOUNG } from './slot-bits.js';

/** Entries looked at in one step, some 20 ns each. */
const STEP_ENTRIES = 1024;

export class YoungFlows {
  readonly #table: FlowTable;
  readonly #minAgeMs: number;
  readonly #born: Uint32Array;
  /** Neighbours in the list as slot + 1; 0: none. */
  readonly #before: Uint32Array;
  readonly #after: Uint32Array;
  #first = 0;
  #last = 0;
  /** Slots in the list. */
  count = 0;

  constructor(table: FlowTable, minAgeMs: number) {
    this.#table = table;
    this.#minAgeMs = minAgeMs;
    this.#born = new Uint32Array(table.capacity);
    this.#before = new Uint32Array(table.capacity);
    this.#after = new Uint32Array(table.capacity);
  }

  /** True if the own flow of this slot is old enough; otherwise it is queued again when it is. */
  admits(slot: number, nowMs: number): boolean {
    const table = this.#table;
    const bits = table.bits(slot);
    if ((bits & AGED) !== 0) return true;
    if ((bits & YOUNG) !== 0) return false;
    // It was told before, by this node or by the one that was primary.
    if ((bits & FRESH) === 0 && table.hasImage(slot)) return true;
    // The stream was parked, or the flow older than this daemon.
    if (nowMs - table.changedTime(slot) * 1000 >= this.#minAgeMs + 1000) return true;
    this.#append(slot, nowMs >>> 0);
    table.setBits(slot, YOUNG);
    return false;
  }

  /** Queues the flows that have come of age; true if there are more than one step takes. */
  step(nowMs: number): boolean {
    const now = nowMs >>> 0;
    for (let i = 0; i < STEP_ENTRIES; i++) {
      const slot = this.#first - 1;
      if (slot < 0 || (now - this.#born[slot]) >>> 0 < this.#minAgeMs) return false;
      this.#remove(slot);
      const table = this.#table;
      // The flow that it was written down for may have ended, and the slot be another's.
      if (!table.isUsed(slot) || (table.bits(slot) & YOUNG) === 0) continue;
      table.clearBits(slot, YOUNG);
      table.setBits(slot, AGED);
      table.markDirty(slot);
    }
    return true;
  }

  /** Puts the slot at the end of the list, wherever it stood. */
  #append(slot: number, now: number): void {
    if (this.#first === slot + 1 || this.#before[slot] !== 0) this.#remove(slot);
    this.#born[slot] = now;
    this.#before[slot] = this.#last;
    this.#after[slot] = 0;
    if (this.#last === 0) this.#first = slot + 1;
    else this.#after[this.#last - 1] = slot + 1;
    this.#last = slot + 1;
    this.count++;
  }

  #remove(slot: number): void {
    const before = this.#before[slot];
    const after = this.#after[slot];
    if (before === 0) this.#first = after;
    else this.#after[before - 1] = after;
    if (after === 0) this.#last = before;
    else this.#before[after - 1] = before;
    this.#before[slot] = 0;
    this.#after[slot] = 0;
    this.count--;
  }
}
