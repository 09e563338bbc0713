/**
 * What the table does when this node's kernel is seen to have a flow, or not to have it, other than by an event:
 * a dump row, an answered GET. The caller has made sure that no event is newer.
 */
import type { Counters } from '../flow/counters.js';
import { durableEqual, isNewLife, keepProtoinfo } from '../flow/merge.js';
import { copyId, HAS_TIMEOUT, lengthOf, type Memory, OFF_HAS, OFF_ID, OFF_TIMEOUT } from '../flow/record.js';
import type { FlowTable } from '../table/flow-table.js';
import { DEAD, FRESH, KERNEL, OWNER_SELF, OWNER_UNCLASSIFIED, TOUCHED } from '../table/slot-bits.js';

/** What became of a row. */
export const ROW_EQUAL = 0;
export const ROW_ADDED = 1;
export const ROW_REPAIRED = 2;
/** The kernel has a flow that a peer speaks of; the peer's record stays. */
export const ROW_HELD = 3;
/** The table is full. */
export const ROW_REFUSED = 4;

/** True if the stream may speak of a flow that looks like this (the filter on state, status and mark). */
export type Passes = (m: Memory, at: number) => boolean;

/** True if the kernel's flow has this much left because hot standby gave it so: no timeout of its own. Seconds. */
export type IsGiven = (slot: number, leftS: number) => boolean;

/** Brings the table in line with its own kernel. */
export class KernelTruth {
  readonly #table: FlowTable;
  readonly #counters: Counters;
  readonly #isPrimary: () => boolean;
  readonly #passes: Passes | undefined;
  readonly #isGiven: IsGiven | undefined;

  constructor(
    table: FlowTable,
    counters: Counters,
    isPrimary: () => boolean,
    passes?: Passes,
    isGiven?: IsGiven,
  ) {
    this.#isGiven = isGiven;
    this.#table = table;
    this.#counters = counters;
    this.#isPrimary = isPrimary;
    this.#passes = passes;
  }

  /** The kernel has this flow, and no slot is known for it: it becomes `owner`'s. Returns the slot, or -1. */
  add(m: Memory, at: number, owner: number, timeS: number): number {
    const table = this.#table;
    const slot = table.insert(m, at, owner, KERNEL);
    if (slot < 0) {
      this.#counters.count('audit.table-full');
      return -1;
    }
    table.setChangedTime(slot, timeS);
    if (owner === OWNER_SELF) table.markDirty(slot);
    else this.#imageIsRecord(slot);
    return slot;
  }

  /** The kernel has the flow of this slot, and shows it so. */
  confirm(slot: number, m: Memory, at: number, timeS: number): number {
    const table = this.#table;
    const owner = table.owner(slot);
    if (owner !== OWNER_SELF && owner !== OWNER_UNCLASSIFIED) return this.#confirmHeld(slot, m, at, timeS);
    const old = table.recordAt(slot);
    if (owner === OWNER_SELF) table.clearBits(slot, TOUCHED);
    keepProtoinfo(table.memory, old, m, at);
    const isDead = (table.bits(slot) & DEAD) !== 0;
    if (!isDead && durableEqual(table.memory, old, m, at)) {
      copyVolatile(m, at, table.memory, old, this.#isGiven?.(slot, m.u32[(at + OFF_TIMEOUT) >>> 2]));
      table.setBits(slot, KERNEL);
      return ROW_EQUAL;
    }
    const fresh = isDead || isNewLife(table.memory, old, m, at) ? FRESH : 0;
    if (!table.setRecord(slot, m, at)) {
      this.#counters.count('audit.table-full');
      return ROW_REFUSED;
    }
    if (isDead) table.clearBits(slot, DEAD);
    table.setBits(slot, KERNEL | fresh);
    table.setChangedTime(slot, timeS);
    if (owner === OWNER_SELF) table.markDirty(slot);
    else this.#imageIsRecord(slot);
    return ROW_REPAIRED;
  }

  /** A backup's kernel may show a held flow as it was at the last takeover; a primary's word counts. */
  #confirmHeld(slot: number, m: Memory, at: number, timeS: number): number {
    const table = this.#table;
    const isEqual = durableEqual(table.memory, table.recordAt(slot), m, at);
    if (isEqual || !this.#isPrimary()) {
      // The life that the kernel shows now, or its DESTROY would be taken for another one's.
      copyId(m, at, table.memory, table.recordAt(slot));
      table.setBits(slot, KERNEL);
      return isEqual ? ROW_EQUAL : ROW_HELD;
    }
    const own = table.insert(m, at, OWNER_SELF, KERNEL | FRESH);
    if (own < 0) return ROW_REFUSED;
    table.setChangedTime(own, timeS);
    table.markDirty(own);
    return ROW_ADDED;
  }

  /** Unclassified: what the former incarnation of this node may have said, so that peers can start from it. */
  #imageIsRecord(slot: number): void {
    const table = this.#table;
    if (this.#passes && !this.#passes(table.memory, table.recordAt(slot))) {
      table.clearImage(slot);
      return;
    }
    table.currentHash(slot);
    table.setImage(slot, table.hash.lo, table.hash.hi);
  }
}

/**
 * Copies what this kernel alone knows (timeout, id) between two records of one durable content; the idle class stays.
 * So does the timeout where the kernel only has the one that it was given, or peers would take that for the flow's.
 */
export function copyVolatile(from: Memory, fromAt: number, to: Memory, toAt: number, isGiven = false): void {
  if (lengthOf(from, fromAt) !== lengthOf(to, toAt)) throw new RangeError('records differ in length');
  const kept = isGiven ? HAS_TIMEOUT : 0;
  to.u8[toAt + OFF_HAS] = (from.u8[fromAt + OFF_HAS] & ~kept) | (to.u8[toAt + OFF_HAS] & kept);
  if (!isGiven) to.u32[(toAt + OFF_TIMEOUT) >>> 2] = from.u32[(fromAt + OFF_TIMEOUT) >>> 2];
  to.u32[(toAt + OFF_ID) >>> 2] = from.u32[(fromAt + OFF_ID) >>> 2];
}
