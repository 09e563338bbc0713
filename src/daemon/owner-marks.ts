/** Whose the flows of a listing are, for who asked for it. */
import { OWNER_HELD, OWNER_NONE, OWNER_OWN, OWNER_REPLICA, ownerMark } from '../flow/owner-mark.js';
import type { Memory } from '../flow/record.js';
import type { FlowTable } from '../table/flow-table.js';
import { DEAD, KERNEL, OWNER_SELF, OWNER_UNCLASSIFIED } from '../table/slot-bits.js';

/** Marks of one listing (src/flow/owner-mark.ts). */
export class OwnerMarks {
  /** Peers by their number in a mark. */
  readonly nodes: string[] = [];
  readonly #table: FlowTable;

  constructor(table: FlowTable) {
    this.#table = table;
  }

  /** Of the slot's flow. */
  ofSlot(slot: number): number {
    const isHeld = (this.#table.bits(slot) & KERNEL) !== 0;
    return this.of(this.#table.owner(slot), isHeld ? OWNER_HELD : OWNER_REPLICA);
  }

  /** Of a flow that the kernel has, by its key. What the table has not heard of, or filters out, is nobody's. */
  ofKernelFlow(m: Memory, at: number): number {
    const slot = this.#table.find(m, at);
    if (slot < 0 || (this.#table.bits(slot) & DEAD) !== 0) return OWNER_NONE;
    return this.of(this.#table.owner(slot), OWNER_HELD);
  }

  /** Of what this owner has; `peers` is OWNER_HELD or OWNER_REPLICA, if that is a peer. */
  of(owner: number, peers: number): number {
    if (owner === OWNER_SELF) return OWNER_OWN;
    if (owner === OWNER_UNCLASSIFIED) return OWNER_NONE;
    const node = this.#table.owners.node(owner) ?? '?';
    const known = this.nodes.indexOf(node);
    return ownerMark(peers, known < 0 ? this.nodes.push(node) - 1 : known);
  }
}
