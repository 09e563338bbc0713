/**
 * What the own stream says of a slot: UPSERT, DELETE or nothing. Image hashes are noted as ops are written, so every
 * MARK is exact at its position, under any load.
 */
import { DEAD, DIRTY, FRESH, OWNER_SELF } from '../table/slot-bits.js';
import type { FrameBuilder } from './frame-builder.js';
import type { Self } from './self.js';

export class SlotWriter {
  readonly #self: Self;
  readonly #frames: FrameBuilder;

  constructor(self: Self, frames: FrameBuilder) {
    this.#self = self;
    this.#frames = frames;
  }

  /** Says the next slot of the dirty queue, if there is one. */
  sayNext(): void {
    const table = this.#self.ports.table;
    const slot = table.nextDirty();
    if (slot < 0) return;
    this.#frames.slots++;
    if (table.owner(slot) !== OWNER_SELF) return;
    if ((table.bits(slot) & DEAD) !== 0) {
      this.#delete(slot);
      table.remove(slot);
    } else if (this.#passes(slot)) this.upsert(slot, false);
    else if (table.hasImage(slot)) {
      // It left the filter: for the receivers it ended. Here it goes on, and may come back.
      this.#delete(slot);
      table.clearImage(slot);
    }
  }

  /** Says a slot as a part of a scope. What ended, or does not pass, is not named: the end of the run deletes it. */
  sayInScope(slot: number): void {
    const table = this.#self.ports.table;
    if ((table.bits(slot) & DEAD) !== 0) table.remove(slot);
    else if (this.#passes(slot)) this.upsert(slot, true);
    else {
      if (table.hasImage(slot)) table.clearImage(slot);
      if ((table.bits(slot) & DIRTY) !== 0) table.clearBits(slot, DIRTY);
    }
  }

  /** Says again what was said, because its idle class changed. The image is the same, so no MARK is due. */
  sayIdle(slot: number): void {
    const table = this.#self.ports.table;
    if (!table.isUsed(slot) || table.owner(slot) !== OWNER_SELF) return;
    if ((table.bits(slot) & (DEAD | DIRTY)) === 0 && table.hasImage(slot)) this.#write(slot, false);
  }

  /** Says the slot's record as it is now; nothing when that was said already, unless `isForced`. */
  upsert(slot: number, isForced: boolean): void {
    const table = this.#self.ports.table;
    const isFresh = (table.bits(slot) & FRESH) !== 0;
    table.currentHash(slot);
    const { lo, hi } = table.hash;
    const isSame = !isFresh && table.imageLo(slot) === lo && table.imageHi(slot) === hi;
    if (isSame && !isForced) return;
    if (!this.#write(slot, isFresh)) return;
    // Saying the same again is no change: a demote asks what changed after the new primary's cut.
    if (!isSame) {
      table.setImage(slot, lo, hi);
      table.setChangedAt(slot, this.#self.stamp, table.changedTime(slot));
    }
    if ((table.bits(slot) & (FRESH | DIRTY)) !== 0) table.clearBits(slot, FRESH | DIRTY);
    this.#frames.isUnmarked = true;
  }

  #write(slot: number, isFresh: boolean): boolean {
    const table = this.#self.ports.table;
    const { ops } = this.#frames;
    this.#frames.open();
    if (ops.upsert(table.memory, table.recordAt(slot), isFresh)) return true;
    this.#frames.next();
    if (ops.upsert(table.memory, table.recordAt(slot), isFresh)) return true;
    this.#self.ports.counters.count('stream.op-oversized');
    return false;
  }

  #delete(slot: number): void {
    const table = this.#self.ports.table;
    if (!table.hasImage(slot)) return;
    const { ops } = this.#frames;
    this.#frames.open();
    if (!ops.delete(table.memory, table.recordAt(slot))) {
      this.#frames.next();
      ops.delete(table.memory, table.recordAt(slot));
    }
    this.#frames.isUnmarked = true;
  }

  #passes(slot: number): boolean {
    const { ports } = this.#self;
    const { table } = ports;
    return ports.passes === undefined || ports.passes(table.memory, table.recordAt(slot), slot);
  }
}
