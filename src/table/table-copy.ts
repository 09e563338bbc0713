/**
 * A copy of a flow table to try something on: what is done to it nobody hears of. It is made in turns while the table
 * lives, so it shows each flow as it was when its turn came. It takes as much memory as what is copied.
 */
import { allocateMemory, copyRecord, MAX_RECORD_BYTES } from '../flow/record.js';
import { FlowTable } from './flow-table.js';
import { SLAB_BYTES_MAX } from './slab.js';
import { KEPT, OWNER_UNCLASSIFIED, USED } from './slot-bits.js';

const SLOTS_PER_TURN = 512;
/** Room for what comes while it is made. */
const SPARE_FLOWS = 65_536;
const SPARE_BYTES = 16 << 20;
const OWNERS = 256;

export class TableCopy {
  readonly copy: FlowTable;
  /** By slot of the copy: the slot that it shows. */
  readonly slotOf: Int32Array;
  /** Flows that there was no room for: the table has grown too much meanwhile. */
  left = 0;
  readonly #table: FlowTable;
  readonly #owners = new Int16Array(OWNERS);
  readonly #record = allocateMemory(MAX_RECORD_BYTES);
  #at = 0;

  /** `seed` is the table's. */
  constructor(table: FlowTable, seed: Uint32Array) {
    this.#table = table;
    const maxFlows = Math.min(table.capacity, table.count + SPARE_FLOWS);
    const maxRecordBytes = Math.min(SLAB_BYTES_MAX, table.recordBytes * 2 + SPARE_BYTES);
    this.copy = new FlowTable({ seed, maxFlows, maxRecordBytes });
    this.slotOf = new Int32Array(maxFlows);
    for (let owner = 0; owner <= OWNER_UNCLASSIFIED; owner++) this.#owners[owner] = owner;
    for (const owner of table.owners.list()) this.ownerOf(owner);
  }

  /** The owner's number in the copy. */
  ownerOf(owner: number): number {
    if (owner <= OWNER_UNCLASSIFIED) return owner;
    const { owners } = this.#table;
    const node = owners.node(owner);
    const incarnation = owners.incarnation(owner);
    if (node === undefined || incarnation === undefined) return OWNER_UNCLASSIFIED;
    this.#owners[owner] ||= this.copy.owners.add(node, incarnation);
    return this.#owners[owner];
  }

  /** Copies some slots; true when all were. Expectations are few, and come last. */
  turn(): boolean {
    const table = this.#table;
    const end = Math.min(table.slotLimit, this.#at + SLOTS_PER_TURN);
    for (; this.#at < end; this.#at++) if (table.isUsed(this.#at)) this.#take(this.#at);
    if (this.#at < table.slotLimit) return false;
    for (const owner of table.expectations.owners()) this.#takeExpectations(owner);
    return true;
  }

  #take(slot: number): void {
    const table = this.#table;
    const { copy } = this;
    copyRecord(table.memory, table.recordAt(slot), this.#record, 0);
    const bits = table.bits(slot) & ~(USED | KEPT);
    const to = copy.insert(this.#record, 0, this.ownerOf(table.owner(slot)), bits);
    if (to < 0) {
      this.left++;
      return;
    }
    copy.setImage(to, table.imageLo(slot), table.imageHi(slot));
    copy.setChangedAt(to, table.changedAt(slot), table.changedTime(slot));
    this.slotOf[to] = slot;
  }

  #takeExpectations(owner: number): void {
    const { expectations } = this.copy;
    for (const { isLive, record, heardS } of this.#table.expectations.list(owner)) {
      if (isLive) expectations.put(this.ownerOf(owner), record, 0, heardS);
    }
  }
}
