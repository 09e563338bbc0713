/**
 * After a promote of a hot standby: held flows had minutes, whatever their state would get. A live flow has had a packet
 * since, and with it the kernel's own timeout. Those whose deadline still stands where this node put it, far beyond what
 * a commit would have given, are given that now, at leisure: nothing waits for it but room in the table.
 */
import { KernelBatch, OP_GET, OP_RETIME } from '../flow/kernel-port.js';
import { keyEqual } from '../flow/merge.js';
import { HAS_TIMEOUT, OFF_HAS, OFF_TIMEOUT } from '../flow/record.js';
import { INJECT_BATCH } from '../limits.js';
import { DEAD, KERNEL, OWNER_SELF, PENDING, SHADOW } from '../table/slot-bits.js';
import type { CommitParts } from './commit-work.js';
import type { HeldTimes } from './held-times.js';
import { DONE, GO_ON, runSlice } from './slice.js';

/** Slots looked at in one turn. */
const SLOTS_PER_TURN = 2048;

export class RealTimeouts {
  /** Flows that were given the timeout of their state. */
  shortened = 0;
  readonly #parts: CommitParts;
  readonly #times: HeldTimes;
  readonly #questions = new KernelBatch(INJECT_BATCH);
  readonly #actions = new KernelBatch(INJECT_BATCH);
  #at = 0;
  #nowS = 0;
  readonly #turn = (): number => this.#advance();

  constructor(parts: CommitParts, times: HeldTimes) {
    this.#parts = parts;
    this.#times = times;
  }

  /** Works for one slice; true when every slot was looked at. */
  step(nowMs: number): boolean {
    this.#nowS = (nowMs / 1000) >>> 0;
    return runSlice(this.#parts.clock, this.#turn);
  }

  #advance(): number {
    const { table, kernel } = this.#parts;
    const batch = this.#questions;
    const end = Math.min(table.slotLimit, this.#at + SLOTS_PER_TURN);
    while (this.#at < end && !batch.isFull) {
      const slot = this.#at++;
      if (this.#isTooLong(slot)) batch.add(OP_GET, slot, table.memory, table.recordAt(slot));
    }
    if (batch.count > 0) kernel.execute(batch);
    for (let i = 0; i < batch.count; i++) this.#answer(i);
    batch.clear();
    if (this.#actions.count > 0) kernel.execute(this.#actions);
    for (let i = 0; i < this.#actions.count; i++) if (this.#actions.errno[i] === 0) this.shortened++;
    this.#actions.clear();
    if (this.#at < table.slotLimit) return GO_ON;
    // From here on a timer is the kernel's own.
    this.#times.forgetAll(table.slotLimit);
    return DONE;
  }

  /** An own flow that still has more than twice what a commit would have given, as far as it is known here. */
  #isTooLong(slot: number): boolean {
    const { table, timeouts } = this.#parts;
    const left = this.#times.left(slot, this.#nowS);
    if (left === 0 || !table.isUsed(slot) || table.owner(slot) !== OWNER_SELF) return false;
    if ((table.bits(slot) & (KERNEL | DEAD | PENDING | SHADOW)) !== KERNEL) return false;
    return left > 2 * timeouts.of(table.memory, table.recordAt(slot));
  }

  #answer(i: number): void {
    const { table, timeouts } = this.#parts;
    const { found, foundAt, tag, memory, at } = this.#questions;
    const slot = tag[i];
    const row = foundAt[i];
    if (row < 0 || !keyEqual(found, row, memory, at[i])) return;
    const left = found.u32[(row + OFF_TIMEOUT) >>> 2];
    if (!this.#times.isGiven(slot, this.#nowS, left)) return;
    // A packet may come between answer and request: state, status, mark and labels are the kernel's own business.
    const to = this.#actions.add(OP_RETIME, slot, found, row);
    const m = this.#actions.memory;
    m.u32[(to + OFF_TIMEOUT) >>> 2] = timeouts.of(table.memory, table.recordAt(slot));
    m.u8[to + OFF_HAS] |= HAS_TIMEOUT;
  }
}
