/**
 * Answers receivers: sums first, then scopes. A scope is one contiguous run of ops, made in one turn from current
 * records, between SCOPE_BEGIN and SCOPE_END; what the run does not name the receivers delete.
 */
import { LEVEL_GROUP, LEVEL_SEGMENT, LEVEL_SIZES } from '../table/digests.js';
import { FineSums } from '../table/fine-sums.js';
import { OWNER_SELF } from '../table/slot-bits.js';
import { FINE_BITS, SEGMENT_BITS, SUMS_WIDTH } from '../wire/ops.js';
import type { ExpectationsOut } from './expectations-out.js';
import type { FrameBuilder } from './frame-builder.js';
import { RepairDesk, segmentOfFine } from './repair-desk.js';
import type { Self } from './self.js';
import type { SlotWriter } from './slot-writer.js';

/** What an UPSERT of an IPv4 TCP flow takes, to guess how many frames a run has. Bytes. */
const TYPICAL_OP_BYTES = 40;
/** Deltas go first, but half as much again is for repairs even when the dirty queue never gets empty. */
const REPAIR_SHARE = 1.5;

export class RepairRuns {
  readonly desk = new RepairDesk();
  readonly #self: Self;
  readonly #frames: FrameBuilder;
  readonly #slots: SlotWriter;
  readonly #expectations: ExpectationsOut;
  readonly #sums = new Uint32Array(SUMS_WIDTH * 3);
  readonly #fine = new FineSums();

  constructor(self: Self, frames: FrameBuilder, slots: SlotWriter, expectations: ExpectationsOut) {
    this.#self = self;
    this.#frames = frames;
    this.#slots = slots;
    this.#expectations = expectations;
  }

  /** Answers as much as this flush has room for. */
  answer(): void {
    const { desk } = this;
    const frames = this.#frames;
    const hadRuns = desk.hasRuns;
    if (desk.areGroupsWanted && frames.mayGoOn(REPAIR_SHARE)) {
      desk.areGroupsWanted = false;
      this.#saySums(LEVEL_GROUP, 0);
    }
    while (desk.groups.count > 0 && frames.mayGoOn(REPAIR_SHARE)) {
      this.#saySums(LEVEL_SEGMENT, desk.groups.take());
    }
    while (desk.fineSums.count > 0 && frames.mayGoOn(REPAIR_SHARE)) this.#sayFineSums(desk.fineSums.take());
    while (desk.fines.size > 0 && frames.mayGoOn(REPAIR_SHARE)) this.#sayFine(desk.takeFine());
    if (desk.areExpectationsWanted && this.#expectations.answer(REPAIR_SHARE)) {
      desk.areExpectationsWanted = false;
    }
    while (desk.scopes.count > 0 && frames.mayGoOn(REPAIR_SHARE)) {
      const segment = desk.scopes.peek();
      const bytes = this.#self.ports.table.segmentSize(segment) * TYPICAL_OP_BYTES;
      if (!frames.hasRoomFor(Math.ceil(bytes / frames.frameBytes) + 1)) return;
      desk.scopes.delete(segment);
      this.#sayScope(segment);
    }
    if (hadRuns && !desk.hasRuns) this.#self.isMarkSoon = true;
  }

  #saySums(level: number, index: number): void {
    const { digests } = this.#self.ports.table;
    const first = level === LEVEL_SEGMENT ? index * SUMS_WIDTH : 0;
    const count = Math.min(SUMS_WIDTH, LEVEL_SIZES[level]);
    for (let i = 0; i < count; i++) {
      digests.sum(OWNER_SELF, level, first + i);
      this.#sums[i * 3] = digests.count;
      this.#sums[i * 3 + 1] = digests.lo;
      this.#sums[i * 3 + 2] = digests.hi;
    }
    this.#writeSums(level, index, this.#sums);
  }

  #sayFineSums(segment: number): void {
    const { table } = this.#self.ports;
    this.#fine.read(table, OWNER_SELF, segment);
    this.#frames.slots += this.#fine.slots >>> 2;
    const frames = this.#frames;
    frames.open();
    if (!frames.ops.fineSums(segment, this.#fine.sums)) {
      frames.next();
      frames.ops.fineSums(segment, this.#fine.sums);
    }
    frames.slots += SUMS_WIDTH / 4;
  }

  #writeSums(level: number, index: number, sums: Uint32Array): void {
    const frames = this.#frames;
    frames.open();
    if (!frames.ops.sums(level, index, sums)) {
      frames.next();
      frames.ops.sums(level, index, sums);
    }
    // Two answers of this size do not fit a frame of 1,500 bytes: they count as much work as their frame.
    frames.slots += SUMS_WIDTH / 2;
  }

  #sayScope(segment: number): void {
    const { table } = this.#self.ports;
    this.#begin(SEGMENT_BITS, segment);
    this.#fine.readSlots(table, segment);
    for (let i = 0; i < this.#fine.slots; i++) {
      const slot = this.#fine.list[i];
      if (table.isUsed(slot) && table.owner(slot) === OWNER_SELF) this.#slots.sayInScope(slot);
    }
    table.digests.sum(OWNER_SELF, LEVEL_SEGMENT, segment);
    const { count, lo, hi } = table.digests;
    this.#end(SEGMENT_BITS, segment, count, lo, hi);
  }

  #sayFine(fine: number): void {
    const { table } = this.#self.ports;
    this.#begin(FINE_BITS, fine);
    this.#fine.readSlots(table, segmentOfFine(fine));
    let count = 0;
    this.#sums.fill(0, 0, 2);
    for (let i = 0; i < this.#fine.slots; i++) {
      const slot = this.#fine.list[i];
      if (!table.isUsed(slot) || table.fineAt(slot) !== fine || table.owner(slot) !== OWNER_SELF) continue;
      this.#slots.sayInScope(slot);
      if (!table.isUsed(slot) || !table.hasImage(slot)) continue;
      count++;
      this.#sums[0] += table.imageLo(slot);
      this.#sums[1] += table.imageHi(slot);
    }
    this.#frames.slots -= Math.floor(this.#fine.slots * 0.75);
    this.#end(FINE_BITS, fine, count, this.#sums[0], this.#sums[1]);
  }

  #begin(bits: number, prefix: number): void {
    const frames = this.#frames;
    frames.open();
    if (frames.ops.scopeBegin(bits, prefix)) return;
    frames.next();
    frames.ops.scopeBegin(bits, prefix);
  }

  #end(bits: number, prefix: number, count: number, lo: number, hi: number): void {
    const frames = this.#frames;
    if (!frames.ops.scopeEnd(bits, prefix, count, lo, hi)) {
      frames.next();
      frames.ops.scopeEnd(bits, prefix, count, lo, hi);
    }
    frames.slots += this.#fine.slots + 1;
    frames.isUnmarked = true;
  }
}
