/**
 * A backup's kernel still has the flows of its own tenure, and when keepalived moves the addresses their packets come
 * here a moment before the promote does. For most that is harmless. But a flow with a helper that was translated has its
 * sequence numbers adjusted, by what was right then: the line that slips through arrives with its head cut off, and the
 * connection is spoilt before the commit creates its flow anew. So such flows do not stay: a cold backup deletes them
 * as soon as they are another's, and the packet that comes too early is dropped and sent again.
 */
import { KernelBatch, type KernelPort, OP_DELETE, OP_GET } from '../flow/kernel-port.js';
import { keyEqual } from '../flow/merge.js';
import { SEQADJ_BATCH } from '../limits.js';
import type { FlowTable } from '../table/flow-table.js';
import { DEAD, INJECTING, KERNEL, OWNER_UNCLASSIFIED, PENDING, SHADOW } from '../table/slot-bits.js';

export interface HeldHelpedParts {
  readonly kernel: KernelPort;
  readonly table: FlowTable;
  /** EventRules: our own delete is not heard as an event. */
  readonly rules: { gone(slot: number): void };
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
  #at = 0;
  #nextAt = 0;

  constructor(parts: HeldHelpedParts) {
    this.#parts = parts;
  }

  step(nowMs: number): void {
    const { helped } = this.#parts.table;
    if (nowMs < this.#nextAt || helped.length === 0) return;
    this.#nextAt = nowMs + INTERVAL_MS;
    const asked = this.#asked;
    for (let i = 0; i < LOOKS_PER_STEP && i < helped.length && !asked.isFull; i++) {
      if (this.#at >= helped.length) this.#at = 0;
      this.#add(helped.slotAt(this.#at++));
    }
    if (asked.count > 0) this.#delete();
  }

  #add(slot: number): void {
    const { table } = this.#parts;
    if (!table.isUsed(slot) || table.owner(slot) <= OWNER_UNCLASSIFIED) return;
    if ((table.bits(slot) & (KERNEL | UNWANTED)) !== KERNEL) return;
    const at = table.recordAt(slot);
    if (table.helped.has(slot, at)) this.#asked.add(OP_GET, slot, table.memory, at);
  }

  /** By key and id, as the kernel shows it. */
  #delete(): void {
    const { kernel, table, rules } = this.#parts;
    const asked = this.#asked;
    const deletes = this.#deletes;
    kernel.execute(asked);
    for (let i = 0; i < asked.count; i++) {
      const slot = asked.tag[i];
      const found = asked.foundAt[i];
      if (found < 0 || !keyEqual(table.memory, table.recordAt(slot), asked.found, found)) continue;
      deletes.add(OP_DELETE, slot, asked.found, found);
    }
    asked.clear();
    if (deletes.count === 0) return;
    kernel.execute(deletes);
    for (let i = 0; i < deletes.count; i++) if (deletes.errno[i] === 0) rules.gone(deletes.tag[i]);
    deletes.clear();
  }
}
