/** Numbers of audits: a slot remembers in one byte which audit was last shown its flow. */
import type { FlowTable } from '../table/flow-table.js';

const GENERATION_MAX = 255;
/** Slots whose byte is cleared in one turn, some 10 ns each. */
const SLOTS_PER_TURN = 4096;

/** Gives each audit of a table a number that no slot still carries. One audit or verification runs at a time. */
export class AuditGenerations {
  readonly #table: FlowTable;
  #last = 0;
  #cleared = -1;

  constructor(table: FlowTable) {
    this.#table = table;
  }

  /** True when `begin` may be called; after 255 audits the slots' bytes are cleared first, a part at each call. */
  prepare(): boolean {
    if (this.#last < GENERATION_MAX) return true;
    const table = this.#table;
    if (this.#cleared < 0) this.#cleared = 0;
    const end = Math.min(table.slotLimit, this.#cleared + SLOTS_PER_TURN);
    for (let slot = this.#cleared; slot < end; slot++) if (table.isUsed(slot)) table.setShown(slot, 0);
    this.#cleared = end;
    if (end < table.slotLimit) return false;
    this.#last = 0;
    this.#cleared = -1;
    return true;
  }

  /** Starts an audit: from now on events mark the slots they touch. Returns its number. */
  begin(): number {
    this.#last++;
    this.#table.auditGeneration = this.#last;
    return this.#last;
  }

  /** Ends it: tombstones that were kept for it go. */
  end(): void {
    this.#table.auditGeneration = 0;
  }
}
