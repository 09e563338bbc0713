/**
 * A demote: this node hands over (PROTOCOL.md, section 6). A running commit stops at a batch, the stream says all it
 * has to say, then ROLE(backup). The flows stay this node's until the new primary's DECLARE names it.
 */
import { DEMOTE_FLUSH_MS } from '../limits.js';
import type { FlowTable } from '../table/flow-table.js';
import type { Persist, Role, StreamPort } from './ports.js';

export interface DemoteParts {
  readonly table: FlowTable;
  readonly stream: StreamPort;
  readonly persist: Persist;
  readonly bootId: string;
  /** The term of this node's last tenure while nobody has taken it over; else 0. */
  openTenure(): number;
}

/** One demote to backup or fault, in steps; the stream must be flushed by its owner meanwhile. */
export class Demotion {
  phase: 'stop' | 'flush' | 'done' = 'stop';
  readonly #parts: DemoteParts;
  readonly #role: Role;
  readonly #term: number;
  readonly #running: { stop(): void } | undefined;
  #deadline = 0;
  /** The stream had more to say than a second allows; what is left is said later, as a backup's. */
  isCutShort = false;

  constructor(
    parts: DemoteParts,
    role: 'backup' | 'fault',
    term: number,
    running: { stop(): void } | undefined,
  ) {
    this.#parts = parts;
    this.#role = role;
    this.#term = term;
    this.#running = running;
  }

  /** True when the role has changed. Throws what `persist` throws; the role has changed by then. */
  step(nowMs: number): boolean {
    const { table, stream, persist, bootId } = this.#parts;
    if (this.phase === 'stop') {
      this.#running?.stop();
      this.#deadline = nowMs + DEMOTE_FLUSH_MS;
      this.phase = 'flush';
    }
    if (this.phase === 'flush') {
      const isLate = nowMs >= this.#deadline;
      if (table.dirtyCount > 0 && !isLate) return false;
      this.isCutShort = table.dirtyCount > 0;
      this.phase = 'done';
      stream.setRole(this.#role, this.#term);
      const openTenure = this.#parts.openTenure();
      const left = openTenure > 0 ? { openTenure } : {};
      persist({ role: this.#role, term: this.#term, bootId, sources: [], ...left });
    }
    return true;
  }
}
