/**
 * Held flows of which the next event may tell what is not so. A held flow ended by itself while its delete was on the
 * way, and the create behind it made the next life of it: the DESTROY of the one before is still to be read, and nothing
 * in it tells the two apart (F1). So when the queue was read to empty the kernel is asked which of them it has.
 */
import { KernelBatch, type KernelPort, OP_GET } from '../flow/kernel-port.js';
import { keyEqual } from '../flow/merge.js';
import { copyId } from '../flow/record.js';
import { INJECT_BATCH } from '../limits.js';
import type { FlowTable } from '../table/flow-table.js';
import { DEAD, KERNEL, SHADOW } from '../table/slot-bits.js';
import { CommitQueue } from './commit-queue.js';
import type { Emptied } from './ports.js';

export interface DoubtsParts {
  readonly kernel: KernelPort;
  readonly table: FlowTable;
  readonly emptied: Emptied;
}

export class HotDoubts {
  readonly #parts: DoubtsParts;
  readonly #slots = new CommitQueue();
  readonly #questions = new KernelBatch(INJECT_BATCH);
  #emptiedBefore = 0;

  constructor(parts: DoubtsParts) {
    this.#parts = parts;
  }

  get isEmpty(): boolean {
    return this.#slots.length === 0;
  }

  /** The slot's flow was just created, and the one before it had ended by itself. */
  add(slot: number): void {
    this.#slots.push(slot, 0);
    this.#emptiedBefore = this.#parts.emptied();
  }

  clear(): void {
    while (this.#slots.shift());
  }

  /** Asks about those that were added before the last drain; they are `source`'s, or of no interest any more. */
  turn(source: number): void {
    if (this.isEmpty || this.#parts.emptied() === this.#emptiedBefore) return;
    const { table, kernel } = this.#parts;
    const batch = this.#questions;
    while (!batch.isFull && this.#slots.shift()) {
      const { slot } = this.#slots;
      if (!table.isUsed(slot) || table.owner(slot) !== source || this.#isHidden(slot)) continue;
      batch.add(OP_GET, slot, table.memory, table.recordAt(slot));
    }
    if (batch.count > 0) kernel.execute(batch);
    for (let i = 0; i < batch.count; i++) {
      const found = batch.foundAt[i];
      const at = table.recordAt(batch.tag[i]);
      if (found < 0 || !keyEqual(batch.found, found, table.memory, at)) continue;
      copyId(batch.found, found, table.memory, at);
      table.clearBits(batch.tag[i], SHADOW);
      table.setBits(batch.tag[i], KERNEL);
    }
    batch.clear();
  }

  /** Another flow has the key. A life that came and went before the create has left a tombstone at most. */
  #isHidden(slot: number): boolean {
    const { table } = this.#parts;
    const bits = table.bits(slot);
    if ((bits & (DEAD | SHADOW)) !== SHADOW) return (bits & DEAD) !== 0;
    const visible = table.find(table.memory, table.recordAt(slot));
    return visible >= 0 && (table.bits(visible) & DEAD) === 0;
  }
}
