/**
 * Sums below the segments, computed when somebody asks: of the 64 fine scopes of one segment, named by six further bits
 * of the key hash. Kept sums would cost memory in every table for a question that is rarely put.
 */
import type { FlowTable } from './flow-table.js';

const WIDTH = 64;

export class FineSums {
  /** Triples (count, lo, hi), modular as in digests.ts. */
  readonly sums = new Uint32Array(WIDTH * 3);
  /** The slots of the segment that was read last, `slots` of them, whoever owns them. */
  list = new Int32Array(1024);
  slots = 0;

  /** Lists the slots of a segment. */
  readSlots(table: FlowTable, segment: number): void {
    this.slots = table.segmentSize(segment);
    if (this.list.length < this.slots) this.list = new Int32Array(this.slots * 2);
    table.segmentSlots(segment, this.list);
  }

  /** Sums an owner's images in the fine scopes of a segment. */
  read(table: FlowTable, owner: number, segment: number): void {
    const { sums } = this;
    sums.fill(0);
    this.readSlots(table, segment);
    for (let i = 0; i < this.slots; i++) {
      const slot = this.list[i];
      if (table.owner(slot) !== owner || !table.hasImage(slot)) continue;
      const at = (table.fineAt(slot) % WIDTH) * 3;
      sums[at]++;
      sums[at + 1] += table.imageLo(slot);
      sums[at + 2] += table.imageHi(slot);
    }
  }
}
