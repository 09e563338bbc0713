/**
 * What a kernel's expectation does to the table. An expectation belongs to whom its master belongs: on a backup that
 * holds a primary's flows in its kernel the expectations of these flows are not its own. One whose master is not in
 * the table (filtered, or in a zone, which the kernel does not tell) is of no use to anybody: without its master no
 * kernel takes it.
 */
import type { Counters } from '../flow/counters.js';
import {
  cloneExpectation,
  expectationHelper,
  expectationKey,
  isInactive,
  writeMasterKey,
} from '../flow/expectation.js';
import { EVENT_DESTROY } from '../flow/kernel-port.js';
import { keyEqual } from '../flow/merge.js';
import { allocateMemory, findPart, type Memory, PART_HELPER } from '../flow/record.js';
import { EXPECTATIONS_MAX, EXPECTATIONS_WAIT_MS, EXPECTATIONS_WAITING_MAX } from '../limits.js';
import type { FlowTable } from './flow-table.js';
import { DEAD, OWNER_SELF, OWNER_UNCLASSIFIED } from './slot-bits.js';

/** Which expectations are replicated: those of every helper, of none, or of these. */
export type ExpectationChoice = 'all' | 'none' | readonly string[];

export interface ExpectationRulesOptions {
  readonly table: FlowTable;
  readonly counters: Counters;
  isPrimary(): boolean;
  readonly choice?: ExpectationChoice;
  /** Milliseconds of a clock that never goes back. */
  now(): number;
  /** The helper of this slot's flow has announced a connection, or it has come. */
  onHelperAtWork?(slot: number): void;
  /** The kernel has an own one that is not granted yet. No event tells when it is: somebody has to look. */
  onInactive?(): void;
}

export class ExpectationRules {
  /** Keys that events told about since the running audit began. */
  readonly touched = new Set<string>();
  #isAudited = false;
  #generation = 0;
  readonly #options: ExpectationRulesOptions;
  readonly #choice: ExpectationChoice;
  readonly #flow = allocateMemory(64);
  /** Announced by the first packet of a flow that the table does not know yet; the oldest first. */
  #waiting: Memory[] = [];
  #waitEndsAt = 0;

  constructor(options: ExpectationRulesOptions) {
    this.#options = options;
    this.#choice = options.choice ?? 'all';
  }

  /** A kernel event: EVENT_NEW or EVENT_DESTROY. */
  event(kind: number, m: Memory, at: number): void {
    const { expectations } = this.#options.table;
    if (this.#isAudited && this.touched.size < EXPECTATIONS_MAX) this.touched.add(expectationKey(m, at));
    this.#tellOfMaster(m, at);
    if (kind !== EVENT_DESTROY) {
      this.take(m, at);
      this.#wait(m, at);
      return;
    }
    const known = expectations.find(OWNER_SELF, m, at);
    if (known !== undefined) expectations.end(known);
    else if (this.#waiting.length > 0) this.#forget(expectationKey(m, at));
  }

  /** The flow at `at` is new: what its first packet has announced is taken now. */
  masterCame(m: Memory, at: number): void {
    if (this.#waiting.length === 0) return;
    if (this.#options.now() >= this.#waitEndsAt) {
      this.#waiting = [];
      return;
    }
    this.#waiting = this.#waiting.filter((record) => {
      writeMasterKey(record, 0, this.#flow);
      if (!keyEqual(this.#flow, 0, m, at)) return true;
      this.take(record, 0);
      return false;
    });
  }

  #forget(key: string): void {
    this.#waiting = this.#waiting.filter((record) => expectationKey(record, 0) !== key);
  }

  /** Keeps an expectation for a moment whose master is not known, or known from another life. */
  #wait(m: Memory, at: number): void {
    if (this.#choice === 'none' || this.isOurs(m, at)) return;
    if (this.#waiting.length === EXPECTATIONS_WAITING_MAX) this.#waiting.shift();
    this.#waiting.push(cloneExpectation(m, at));
    this.#waitEndsAt = this.#options.now() + EXPECTATIONS_WAIT_MS;
  }

  #tellOfMaster(m: Memory, at: number): void {
    const { table, onHelperAtWork } = this.#options;
    if (onHelperAtWork === undefined) return;
    writeMasterKey(m, at, this.#flow);
    const slot = table.find(this.#flow, 0);
    if (slot >= 0) onHelperAtWork(slot);
  }

  /** From now on `touched` says what events told about. Returns the number of the audit. */
  beginAudit(): number {
    this.touched.clear();
    this.#isAudited = true;
    return ++this.#generation;
  }

  endAudit(): void {
    this.touched.clear();
    this.#isAudited = false;
  }

  /** The kernel has this expectation. */
  take(m: Memory, at: number): void {
    const { table, counters } = this.#options;
    if (!this.isOurs(m, at)) {
      const known = table.expectations.find(OWNER_SELF, m, at);
      if (known !== undefined) table.expectations.end(known);
      return;
    }
    if (table.expectations.put(OWNER_SELF, m, at) === undefined) counters.count('expectation.full');
    this.showed(m, at);
  }

  /** The kernel shows an own expectation as the table has it. */
  showed(m: Memory, at: number): void {
    if (isInactive(m, at)) this.#options.onInactive?.();
  }

  /** True if this node's stream is to speak of an expectation of its kernel. */
  isOurs(m: Memory, at: number): boolean {
    if (this.#choice === 'none') return false;
    const { table } = this.#options;
    writeMasterKey(m, at, this.#flow);
    const slot = table.find(this.#flow, 0);
    if (slot < 0 || (table.bits(slot) & DEAD) !== 0) return false;
    if (table.owner(slot) > OWNER_UNCLASSIFIED && !this.#options.isPrimary()) return false;
    return this.#choice === 'all' || this.#choice.includes(this.#helper(m, at, slot));
  }

  /** The kernel names the master's helper; where it does not, the master itself may have one. */
  #helper(m: Memory, at: number, slot: number): string {
    const name = expectationHelper(m, at);
    if (name !== '') return name;
    const { memory } = this.#options.table;
    const part = findPart(memory, this.#options.table.recordAt(slot), PART_HELPER);
    if (part < 0) return '';
    const bytes = memory.u16[(part >>> 1) + 1];
    return String.fromCharCode(...memory.u8.subarray(part + 4, part + 4 + bytes));
  }
}
