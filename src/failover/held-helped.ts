/**
 * A backup's kernel still has the flows of its own tenure, and when keepalived moves the addresses their packets come
 * here a moment before the promote does. For most that is harmless. But a flow with a helper remembers where the lines of
 * its stream began: the helper takes a command that slips through for the middle of one, and expects nothing of it (an
 * FTP over IPv6 then waits for a data connection that the firewall drops). And one that was translated has its sequence
 * numbers adjusted, by what was right then: the line arrives with its head cut off. Both are spoilt before the commit
 * creates the flow anew. So such flows do not stay: a cold backup deletes them as soon as they are another's, and the
 * packet that comes too early is dropped and sent again. While nobody else is primary packets may go on coming here, and
 * then what is not translated stays: without the flow each of them would begin another life.
 *
 * The kernel is asked for the ct id, then the event queue is read to empty, then the flow is deleted: a life that began
 * here in between is known by then, and stays.
 */
import { KernelBatch, type KernelPort, OP_DELETE, OP_GET } from '../flow/kernel-port.js';
import { keyEqual } from '../flow/merge.js';
import { SEQADJ_BATCH } from '../limits.js';
import type { FlowTable } from '../table/flow-table.js';
import { isTranslated } from '../table/helped-flows.js';
import {
  DEAD,
  INJECTING,
  KERNEL,
  OWNER_SELF,
  OWNER_UNCLASSIFIED,
  PENDING,
  SHADOW,
} from '../table/slot-bits.js';
import { ENOENT } from './errno.js';
import type { Emptied } from './ports.js';

export interface HeldHelpedParts {
  readonly kernel: KernelPort;
  readonly table: FlowTable;
  /** EventRules: our own delete is not heard as an event. */
  readonly rules: { gone(slot: number): void };
  readonly emptied: Emptied;
}

/** Time between two looks at the list. Milliseconds. */
const INTERVAL_MS = 20;
/** Slots looked at in one step. */
const LOOKS_PER_STEP = 1024;
const UNWANTED = DEAD | SHADOW | PENDING | INJECTING;

/** Deletes held flows with a helper, some in each step. Only to be stepped on a backup, and not during a change. */
export class HeldHelped {
  readonly #parts: HeldHelpedParts;
  readonly #asked = new KernelBatch(SEQADJ_BATCH);
  readonly #deletes = new KernelBatch(SEQADJ_BATCH);
  #isAll = false;
  #emptiedBefore = 0;
  #at = 0;
  #nextAt = 0;

  constructor(parts: HeldHelpedParts) {
    this.#parts = parts;
  }

  /** What was asked for waits until the events were read. */
  get isWaiting(): boolean {
    return this.#deletes.count > 0;
  }

  /** When `step` has something to do. */
  dueAt(nowMs: number): number {
    if (this.isWaiting) return nowMs;
    return this.#hasAny ? this.#nextAt : Number.POSITIVE_INFINITY;
  }

  /**
   * `hasPrimary` is asked where there is work: another node is primary and heard, so no packets come here. Only then what
   * is not translated goes, too.
   */
  step(nowMs: number, hasPrimary: () => boolean): void {
    if (this.isWaiting) {
      if (this.#parts.emptied() === this.#emptiedBefore) return;
      this.#isAll = hasPrimary();
      this.#delete();
      return;
    }
    const { helped } = this.#parts.table;
    if (nowMs < this.#nextAt || !this.#hasAny) return;
    this.#nextAt = nowMs + INTERVAL_MS;
    this.#isAll = hasPrimary();
    const asked = this.#asked;
    for (let i = 0; i < LOOKS_PER_STEP && i < helped.length && !asked.isFull; i++) {
      if (this.#at >= helped.length) this.#at = 0;
      this.#add(helped.slotAt(this.#at++));
    }
    if (asked.count > 0) this.#ask();
  }

  /** Forgets what was asked: a change of role has begun. */
  clear(): void {
    this.#deletes.clear();
  }

  /** Replicas have flows with a helper for as long as their owners: only where this kernel holds any is there work. */
  get #hasAny(): boolean {
    const { helped, kernelCount, owners } = this.#parts.table;
    if (helped.length === 0) return false;
    return kernelCount > owners.kernelFlows(OWNER_SELF) + owners.kernelFlows(OWNER_UNCLASSIFIED);
  }

  #add(slot: number): void {
    const { table } = this.#parts;
    if (this.#isHeld(slot)) this.#asked.add(OP_GET, slot, table.memory, table.recordAt(slot));
  }

  #isHeld(slot: number): boolean {
    const { table } = this.#parts;
    if (!table.isUsed(slot) || table.owner(slot) <= OWNER_UNCLASSIFIED) return false;
    if ((table.bits(slot) & (KERNEL | UNWANTED)) !== KERNEL) return false;
    const at = table.recordAt(slot);
    return table.helped.has(slot, at) && (this.#isAll || isTranslated(table.memory, at));
  }

  #ask(): void {
    const { kernel, table, rules, emptied } = this.#parts;
    const asked = this.#asked;
    kernel.execute(asked);
    for (let i = 0; i < asked.count; i++) {
      const slot = asked.tag[i];
      const found = asked.foundAt[i];
      // A dump that was read ahead has shown what was gone by then (F10).
      if (asked.errno[i] === ENOENT) rules.gone(slot);
      if (found < 0 || !keyEqual(table.memory, table.recordAt(slot), asked.found, found)) continue;
      this.#deletes.add(OP_DELETE, slot, asked.found, found);
    }
    asked.clear();
    this.#emptiedBefore = emptied();
  }

  /** By key and id, as the kernel showed it; what became something else meanwhile is left alone. */
  #delete(): void {
    const { kernel, table, rules } = this.#parts;
    const asked = this.#deletes;
    const deletes = this.#asked;
    for (let i = 0; i < asked.count; i++) {
      const slot = asked.tag[i];
      const isSame =
        this.#isHeld(slot) && keyEqual(table.memory, table.recordAt(slot), asked.memory, asked.at[i]);
      if (isSame) deletes.add(OP_DELETE, slot, asked.memory, asked.at[i]);
    }
    asked.clear();
    if (deletes.count > 0) kernel.execute(deletes);
    for (let i = 0; i < deletes.count; i++) if (deletes.errno[i] === 0) rules.gone(deletes.tag[i]);
    deletes.clear();
  }
}
