/** The control service's backend: what the API asks, on a running core. */
import type { BatchSink, ControlBackend, ProgressSink } from '../control/backend.js';
import { ControlError } from '../control/backend.js';
import type {
  ExpectationsRequest,
  FailoverReport,
  FlowsRequest,
  FlowTableName,
  FlushReport,
  LogLevel,
  PurgeReport,
  ReadyReport,
  ReloadReport,
  ResyncKind,
  ResyncReport,
  Role,
  StatusReport,
  VerifyReport,
} from '../control/messages.js';
import type { CounterMap } from '../flow/counters.js';
import { ConfigError } from './config.js';
import type { Core } from './core.js';
import { listExpectations } from './expectation-listing.js';
import { listFlows } from './flow-listing.js';
import { BusyError } from './jobs.js';
import type { Operations } from './operations.js';
import { PurgeRefusedError, purgeReport } from './purger.js';
import { InterruptedError } from './steps.js';
import { verify } from './verification.js';

export interface BackendParts {
  readonly core: Core;
  readonly operations: Operations;
  readonly counters: CounterMap;
  readonly status: () => StatusReport;
  readonly setLogLevel: (level: LogLevel) => void;
  readonly reload: () => ReloadReport;
  readonly ready: (isChecked: boolean) => Promise<ReadyReport>;
  /** Gives the core a turn: work was added. */
  readonly wake: () => void;
}

export class DaemonBackend implements ControlBackend {
  readonly #parts: BackendParts;

  constructor(parts: BackendParts) {
    this.#parts = parts;
  }

  status(): StatusReport {
    return this.#parts.status();
  }

  /** Who reads the log later must see what nobody but an operator did. */
  #asked(call: string): void {
    this.#parts.core.ports.log('info', 'asked by the control socket', { call });
  }

  failover(role: Role, progress: ProgressSink): Promise<FailoverReport> {
    const { operations } = this.#parts;
    this.#asked(`failover ${role}`);
    return this.#work(() =>
      role === 'primary' ? operations.promote(progress) : operations.demote(role, progress),
    );
  }

  commit(progress: ProgressSink): Promise<FailoverReport> {
    this.#asked('commit');
    return this.#work(() => this.#parts.operations.commit(progress));
  }

  purge(progress: ProgressSink): Promise<PurgeReport> {
    this.#asked('purge');
    return this.#work(async () => purgeReport(await this.#parts.core.standby.purger.purge(progress)));
  }

  drill(progress: ProgressSink): Promise<FailoverReport> {
    return this.#work(() => this.#parts.operations.drill(progress));
  }

  verify(progress: ProgressSink): Promise<VerifyReport> {
    return this.#work(() => verify(this.#parts.core, this.#parts.operations, progress));
  }

  flush(table: FlowTableName): Promise<FlushReport> {
    this.#asked(`flush ${table}`);
    return this.#work(() => this.#parts.operations.flush(table));
  }

  async resync(kind: ResyncKind): Promise<ResyncReport> {
    const { core } = this.#parts;
    this.#asked(`resync ${kind}`);
    if (kind === 'kernel') {
      await this.#work(() => new Promise<void>((done) => core.audit('repair', 'asked', done)));
      return { message: 'the kernel was read again', exitCode: 0 };
    }
    const peers = core.replicator.peers().filter((p) => p.alive);
    if (peers.length === 0) return { message: 'no peer is heard', exitCode: 3 };
    if (kind === 'send') core.replicator.resendAll();
    else for (const { node } of peers) core.replicator.requestRepair(node);
    this.#parts.wake();
    const names = peers.map(({ node }) => node).join(', ');
    return {
      message: kind === 'send' ? `sending all flows to ${names}` : `asked ${names} for all flows`,
      exitCode: 0,
    };
  }

  async flows(request: FlowsRequest, onBatch: BatchSink, signal: AbortSignal): Promise<{ count: number }> {
    const { core, counters } = this.#parts;
    return { count: await listFlows(core, counters, request, onBatch, signal) };
  }

  expectations(request: ExpectationsRequest, onBatch: BatchSink, signal: AbortSignal): Promise<void> {
    const { core, counters } = this.#parts;
    return listExpectations(core, counters, request, onBatch, signal);
  }

  countFlows(request: FlowsRequest, signal: AbortSignal): Promise<number> {
    const { core, counters } = this.#parts;
    return listFlows(core, counters, request, () => {}, signal);
  }

  setLogLevel(level: LogLevel): void {
    this.#parts.setLogLevel(level);
  }

  ready(isChecked: boolean): Promise<ReadyReport> {
    return this.#parts.ready(isChecked);
  }

  async reload(): Promise<ReloadReport> {
    try {
      return this.#parts.reload();
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
      throw new ControlError('invalid', error.message, { cause: error });
    }
  }

  /** Starts work and lets the core take its first turn; its refusals become answers. */
  async #work<Result>(start: () => Promise<Result>): Promise<Result> {
    try {
      const result = start();
      this.#parts.wake();
      return await result;
    } catch (error) {
      if (REFUSALS.some((refusal) => error instanceof refusal)) {
        throw new ControlError('refused', (error as Error).message, { cause: error });
      }
      throw error;
    }
  }
}

/** What a core answers with when it does not do what was asked. */
const REFUSALS = [BusyError, InterruptedError, PurgeRefusedError];
