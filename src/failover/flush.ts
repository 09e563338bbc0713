/** Flushes: emptying the mirror, the replicas or the kernel table, in slices. */
import { KernelBatch, type KernelPort, OP_DELETE } from '../flow/kernel-port.js';
import { INJECT_BATCH } from '../limits.js';
import type { FlowTable } from '../table/flow-table.js';
import { DEAD, DIRTY, KERNEL, SHADOW } from '../table/slot-bits.js';
import { ENOENT } from './errno.js';
import type { Clock } from './ports.js';
import { DONE, GO_ON, runSlice } from './slice.js';

const SLOTS_PER_TURN = 1024;

export interface FlushParts {
  readonly table: FlowTable;
  readonly kernel: KernelPort;
  readonly rules: { gone(slot: number): void };
  readonly clock: Clock;
}

/** Forgets the flows of the owners that are `chosen`; what the stream has said of own ones is taken back. */
export class FlushSlots {
  flows = 0;
  readonly #parts: FlushParts;
  readonly #chosen: (owner: number) => boolean;
  #at = 0;
  readonly #turn = (): number => this.#advance();

  constructor(parts: FlushParts, chosen: (owner: number) => boolean) {
    this.#parts = parts;
    this.#chosen = chosen;
  }

  /** Works for one slice; true when done. */
  step(_nowMs: number): boolean {
    return runSlice(this.#parts.clock, this.#turn);
  }

  #advance(): number {
    const { table } = this.#parts;
    const end = Math.min(table.slotLimit, this.#at + SLOTS_PER_TURN);
    for (; this.#at < end; this.#at++) this.#forget(this.#at);
    return this.#at < table.slotLimit ? GO_ON : DONE;
  }

  #forget(slot: number): void {
    const { table } = this.#parts;
    if (!table.isUsed(slot) || (table.bits(slot) & DEAD) !== 0) return;
    const owner = table.owner(slot);
    if (!this.#chosen(owner)) return;
    this.flows++;
    if (owner !== 0 || !table.hasImage(slot)) {
      table.remove(slot);
      return;
    }
    table.clearBits(slot, KERNEL);
    table.setBits(slot, DEAD | DIRTY);
  }
}

/** Deletes the kernel's flows, by key and id, batch by batch; the table follows each answer. */
export class FlushKernel {
  flows = 0;
  readonly #parts: FlushParts;
  readonly #batch = new KernelBatch(INJECT_BATCH);
  #at = 0;
  readonly #turn = (): number => this.#advance();

  constructor(parts: FlushParts) {
    this.#parts = parts;
  }

  /** Works for one slice; true when done. */
  step(_nowMs: number): boolean {
    return runSlice(this.#parts.clock, this.#turn);
  }

  #advance(): number {
    const { table, kernel, rules } = this.#parts;
    const batch = this.#batch;
    batch.clear();
    const end = Math.min(table.slotLimit, this.#at + SLOTS_PER_TURN);
    while (this.#at < end && !batch.isFull) {
      const slot = this.#at++;
      if (!table.isUsed(slot) || (table.bits(slot) & (KERNEL | DEAD | SHADOW)) !== KERNEL) continue;
      batch.add(OP_DELETE, slot, table.memory, table.recordAt(slot));
    }
    if (batch.count > 0) kernel.execute(batch);
    for (let i = 0; i < batch.count; i++) {
      if (batch.errno[i] !== 0 && batch.errno[i] !== ENOENT) continue;
      rules.gone(batch.tag[i]);
      this.flows++;
    }
    return this.#at < table.slotLimit ? GO_ON : DONE;
  }
}
