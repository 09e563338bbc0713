/** The gate as a promote sees it: raised and lowered at once, whatever the ruleset's lock makes it wait for. */
import { performance } from 'node:perf_hooks';
import type { SystemError } from '../../native/system-error.js';
import type { GateReport } from '../control/messages.js';
import type { GatePort } from '../failover/ports.js';
import { AddressBlocks } from '../flow/address-blocks.js';
import type { Counters } from '../flow/counters.js';
import type { Log } from '../flow/log.js';
import { GateTable } from '../kernel/gate-table.js';
import { GATE_MAX_MS } from '../limits.js';
import { type Config, ConfigError } from './config.js';

/** The table in the kernel; `done` comes later, and no second change before it. */
interface GateControl {
  raise(done: (problem: SystemError | undefined) => void): void;
  remove(done: (problem: SystemError | undefined) => void): void;
  dropped(): number;
  close(): void;
}

interface GateParts {
  readonly table: GateControl;
  readonly counters: Counters;
  readonly log: Log;
  /** Monotonic milliseconds. */
  readonly clock: () => number;
}

/** Brings the kernel to what was asked for last. */
export class Gate implements GatePort {
  readonly #parts: GateParts;
  #isWanted = false;
  #isUp = false;
  #isChanging = false;
  #isClosed = false;
  #limit: NodeJS.Timeout | undefined;
  #raisedAt = 0;
  #raisedTimes = 0;
  #dropped = 0;
  #lastMs = 0;
  #problem = '';

  constructor(parts: GateParts) {
    this.#parts = parts;
  }

  raise(): void {
    if (this.#isWanted) return;
    this.#isWanted = true;
    this.#raisedAt = this.#parts.clock();
    this.#limit = setTimeout(() => this.#expire(), GATE_MAX_MS);
    this.#limit.unref();
    this.#follow();
  }

  lower(): void {
    if (!this.#isWanted) return;
    this.#isWanted = false;
    clearTimeout(this.#limit);
    this.#follow();
  }

  /** For `conntwin status`. */
  get report(): GateReport {
    return {
      state: this.#isUp ? 'raised' : this.#problem === '' ? 'ready' : 'failed',
      raised: this.#raisedTimes,
      dropped: this.#dropped,
      lastDurationMs: Math.round(this.#lastMs),
      problem: this.#problem,
    };
  }

  /** A table that is still there vanishes with its socket. */
  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#limit);
    this.#parts.table.close();
  }

  #expire(): void {
    this.#parts.counters.count('gate.expired');
    this.#parts.log('warn', 'the gate opens before the commit is through, new connections pass', {
      afterMs: GATE_MAX_MS,
    });
    this.lower();
  }

  /** One change at a time: what was asked for meanwhile is looked at when it is done. */
  #follow(): void {
    if (this.#isChanging || this.#isClosed || this.#isWanted === this.#isUp) return;
    const { table } = this.#parts;
    this.#isChanging = true;
    if (this.#isWanted) {
      table.raise((problem) => this.#raised(problem));
    } else {
      const dropped = table.dropped();
      table.remove((problem) => this.#removed(problem, dropped));
    }
  }

  #raised(problem: SystemError | undefined): void {
    const { counters, log, clock } = this.#parts;
    this.#isChanging = false;
    if (problem === undefined) {
      this.#isUp = true;
      this.#problem = '';
      this.#raisedTimes++;
      counters.count('gate.raised');
      log('info', 'gate: raised', { tookMs: Math.round((clock() - this.#raisedAt) * 10) / 10 });
    } else {
      this.#fail('the gate could not be raised, the commit goes on without it', problem);
      this.#isWanted = false;
      clearTimeout(this.#limit);
    }
    this.#follow();
  }

  #removed(problem: SystemError | undefined, dropped: number): void {
    const { counters, log, clock } = this.#parts;
    this.#isChanging = false;
    this.#isUp = false;
    this.#lastMs = clock() - this.#raisedAt;
    this.#dropped = dropped;
    counters.count('gate.dropped', dropped);
    // The kernel lets everything pass after GATE_MAX_MS, so that a table which stays does no harm.
    if (problem === undefined) log('info', 'gate: lowered', { afterMs: Math.round(this.#lastMs), dropped });
    else this.#fail('the table of the gate could not be removed', problem);
    this.#follow();
  }

  #fail(text: string, problem: SystemError): void {
    this.#problem = problem.message;
    this.#parts.counters.count('gate.failed');
    this.#parts.log('error', text, { reason: problem.message });
  }
}

/** What `status` says where no gate is configured. */
export const NO_GATE: GateReport = { state: 'none', raised: 0, dropped: 0, lastDurationMs: 0, problem: '' };

/** The gate of a configuration, tried on the kernel; undefined where there is none. Throws ConfigError. */
export function openGate(config: Config, counters: Counters, log: Log): Gate | undefined {
  const { gate } = config.failover;
  if (gate === undefined) return undefined;
  const options = {
    ...gate,
    interfaces: [...new Set([...config.links.map((link) => link.interface), ...gate.interfaces])],
    sources: new AddressBlocks(gate.sources).blocks,
  };
  try {
    const table = new GateTable(options, GATE_MAX_MS);
    return new Gate({ table, counters, log, clock: () => performance.now() });
  } catch (cause) {
    const text = (cause as Error).message;
    throw new ConfigError(config.file, [{ line: 0, path: 'failover.gate', text }], { cause });
  }
}
