/**
 * When this node purges its kernel: after `purge_after` of unbroken time as a backup with a live, proven primary, and
 * when an operator asks. What runs is cancelled by whatever breaks that, a promote above all.
 */
import type { PurgeReport as Report } from '../control/messages.js';
import { Purge, type PurgeReport } from '../failover/purge.js';
import { PURGE_LOOK_MS, PURGE_REST_SHARE, PURGE_SUSPECT_MS } from '../limits.js';
import type { Core } from './core.js';
import { PRIORITY_CHANGE } from './jobs.js';
import { InterruptedError, type Watch } from './steps.js';

/** Time between two looks at whose backup this node is, and between two reports of progress. Milliseconds. */
const WATCH_INTERVAL_MS = 50;

/** What `conntwin purge`, the log and the status say of a purge. */
export interface PurgeOutcome extends PurgeReport {
  readonly isByHand: boolean;
  durationMs: number;
  endedAtMs: number;
  /** It was cancelled; what it did not reach is as it was. */
  isCancelled: boolean;
}

interface Run {
  readonly work: Purge;
  readonly isByHand: boolean;
  readonly startedAt: number;
  readonly watch: Watch;
  watchAt: number;
  resolve(outcome: PurgeOutcome): void;
  reject(error: Error): void;
}

/** A purge as the API tells it. */
export function purgeReport({ skipped, durationMs, ...outcome }: PurgeOutcome): Report {
  return { ...outcome, durationMs: Math.round(durationMs), skippedBy: { ...skipped } };
}

/** A purge that cannot be: the message says why. */
export class PurgeRefusedError extends Error {
  override readonly name = 'PurgeRefusedError';
}

export class Purger {
  last: PurgeOutcome | undefined;
  /** Purged flows since the daemon started. */
  purged = 0;
  readonly #core: Core;
  readonly #afterMs: number;
  /** Since when this node is a backup of that primary without a break; -1: it is not. */
  #since = -1;
  #primary = '';
  #unprovenSince = -1;
  /** When the next purge by itself begins. */
  #dueAt = 0;
  #run: Run | undefined;
  #restsUntil = 0;
  #watchedAt = Number.NEGATIVE_INFINITY;

  /** `afterMs` 0: never by itself. */
  constructor(core: Core, afterMs: number) {
    this.#core = core;
    this.#afterMs = afterMs;
  }

  get isRunning(): boolean {
    return this.#run !== undefined;
  }

  /** Flows that were put into this kernel by hand stay until this node's role or primary changes. */
  leaveAlone(): void {
    this.#dueAt = Number.POSITIVE_INFINITY;
  }

  /** When it has something to do: it rests for seconds between its two looks. */
  get dueAt(): number {
    return this.#run === undefined ? Number.POSITIVE_INFINITY : this.#run.work.restsUntil;
  }

  /** Purges now. Rejects with PurgeRefusedError, or InterruptedError when it is cancelled. */
  purge(watch: Watch): Promise<PurgeOutcome> {
    const why = this.#whyNot();
    if (why !== undefined) return Promise.reject(new PurgeRefusedError(why));
    if (this.#run !== undefined) {
      return Promise.reject(new PurgeRefusedError('a purge runs already, wait for it'));
    }
    return new Promise((resolve, reject) => this.#start(true, PURGE_LOOK_MS, watch, resolve, reject));
  }

  /** To be called when the event queue was read to empty: works for one slice, and then rests. */
  step(now: number): void {
    const run = this.#run;
    if (run === undefined || now < this.#restsUntil || this.#unprovenSince >= 0) return;
    const beganAt = this.#core.ports.clock();
    const isDone = run.work.step(now);
    this.#restsUntil = now + (this.#core.ports.clock() - beganAt) * PURGE_REST_SHARE;
    if (isDone) this.#end(run, false);
    else if (now >= run.watchAt) {
      run.watchAt = now + WATCH_INTERVAL_MS;
      run.watch({ phase: run.work.phase, done: run.work.report.total, total: 0 });
    }
  }

  /** Ends what runs: a role changes. */
  cancel(): void {
    const run = this.#run;
    if (run === undefined) return;
    run.work.stop();
    this.#end(run, true);
  }

  /** Why this node may not purge now; undefined: it may. */
  #whyNot(): string | undefined {
    const core = this.#core;
    if (core.state !== 'ready') return 'the node is joining, try again in a moment';
    if (core.role !== 'backup') return `only a backup purges, this node is ${core.role}`;
    const job = core.jobs.current;
    if (job !== undefined && job.priority >= PRIORITY_CHANGE) return `${job.name} runs, try again`;
    const primary = core.standby.livePrimary();
    if (primary === undefined) return 'no live primary is heard: the flows here may be the last ones';
    if (!primary.isProven) return `the replica of ${primary.node} is not proven`;
    return undefined;
  }

  /** To be called some times a second: follows whether the time runs, and starts a purge when it has passed. */
  watch(now: number): void {
    if (now - this.#watchedAt < WATCH_INTERVAL_MS) return;
    this.#watchedAt = now;
    const core = this.#core;
    const primary = core.role === 'backup' && core.state === 'ready' ? core.standby.livePrimary() : undefined;
    if (primary?.isProven) this.#unprovenSince = -1;
    else if (this.#unprovenSince < 0) this.#unprovenSince = now;
    // A replica that is being repaired is no break, one that stays unproven is.
    const isBroken = this.#unprovenSince >= 0 && now - this.#unprovenSince >= PURGE_SUSPECT_MS;
    if (primary === undefined || isBroken) {
      this.#since = -1;
      this.cancel();
      return;
    }
    if (this.#since < 0 || primary.node !== this.#primary) {
      this.cancel();
      this.#since = now;
      this.#primary = primary.node;
      const look = Math.min(this.#afterMs, PURGE_LOOK_MS);
      this.#dueAt = this.#afterMs === 0 ? Number.POSITIVE_INFINITY : now + this.#afterMs - look;
    }
    if (now < this.#dueAt || this.#run !== undefined || this.#whyNot() !== undefined) return;
    this.#dueAt = now + Math.max(this.#afterMs, PURGE_LOOK_MS);
    if (this.#isAnyHeld()) this.#start(false, Math.min(this.#afterMs, PURGE_LOOK_MS));
  }

  /** In cold standby the counts tell whether there is anything to purge; in hot only a look does. */
  #isAnyHeld(): boolean {
    const { owners } = this.#core.table;
    return (
      this.#core.standby.hot !== undefined || owners.list().some((owner) => owners.kernelFlows(owner) > 0)
    );
  }

  #start(
    isByHand: boolean,
    waitMs: number,
    watch: Watch = () => {},
    resolve: Run['resolve'] = () => {},
    reject: Run['reject'] = () => {},
  ): void {
    const core = this.#core;
    const { kernel, table, rules, clock, emptied } = core.commitParts;
    const isLocal = core.options.isLocal ?? (() => false);
    const primary = core.standby.livePrimary()?.owner ?? -1;
    const isHot = core.standby.hot !== undefined;
    const work = new Purge({ kernel, table, rules, clock, emptied, isLocal }, primary, isHot, waitMs);
    this.#run = { work, isByHand, startedAt: core.ports.clock(), watch, watchAt: 0, resolve, reject };
  }

  #end(run: Run, isCancelled: boolean): void {
    const { ports } = this.#core;
    const { total, purged, skipped } = run.work.report;
    this.#run = undefined;
    this.purged += purged;
    const outcome: PurgeOutcome = {
      total,
      purged,
      skipped,
      isByHand: run.isByHand,
      durationMs: ports.clock() - run.startedAt,
      endedAtMs: ports.wallClock(),
      isCancelled,
    };
    const isWorthALine = run.isByHand || isCancelled || purged > 0;
    // A hot standby looks often, and mostly finds nothing.
    if (total > 0 || run.isByHand || isCancelled) this.last = outcome;
    if (isWorthALine)
      ports.log('info', isCancelled ? 'purge: cancelled' : 'purge: done', { total, purged, ...skipped });
    if (isCancelled)
      run.reject(
        new InterruptedError('the purge was cancelled: this node is no backup of a proven primary now'),
      );
    else run.resolve(outcome);
  }
}
