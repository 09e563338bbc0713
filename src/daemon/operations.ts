/** What an operator, or keepalived, asks of a core: role changes, commit, flush. Each is a job; each gives a report. */
import type { FailoverReport, FlushReport, Progress, PromoteReport } from '../control/messages.js';
import { CommitReplica } from '../failover/commit-replica.js';
import { type CommitReport, doneOf } from '../failover/commit-report.js';
import { Demotion } from '../failover/demote.js';
import { FlushKernel, FlushSlots } from '../failover/flush.js';
import { type PromoteReport as Outcome, Promotion } from '../failover/promote.js';
import { OWNER_SELF } from '../table/slot-bits.js';
import type { Core } from './core.js';
import { type Job, type JobState, PRIORITY_CHANGE } from './jobs.js';

const PROMOTE = 'promote';
const DEMOTE = 'demote';
/** Time between two looks at a job's progress. Milliseconds. */
const WATCH_INTERVAL_MS = 50;
export type Watch = (progress: Progress) => void;

/** Work was ended by other work that goes before it; ask again. */
export class InterruptedError extends Error {
  override readonly name = 'InterruptedError';
}

interface Steps<Result> {
  readonly name: string;
  readonly priority: number;
  step(now: number): JobState;
  progress(): Progress;
  result(): Result;
  stop?(): void;
}

/** A promote that runs or waits, and who watches it. */
interface Running {
  work: Promotion | undefined;
  readonly result: Promise<FailoverReport>;
  readonly watches: Watch[];
}

export class Operations {
  lastPromote: PromoteReport | undefined;
  readonly #core: Core;
  #promotion: Running | undefined;
  #resumed = false;

  constructor(core: Core) {
    this.#core = core;
  }

  /** Runs the steps as a job. Rejects with InterruptedError when other work ends it, or with what a step throws. */
  run<Result>(steps: Steps<Result>, watch?: Watch): Promise<Result> {
    let watchAt = Number.NEGATIVE_INFINITY;
    return new Promise((resolve, reject) => {
      const job: Job = {
        name: steps.name,
        priority: steps.priority,
        step: (now) => {
          let state: JobState;
          try {
            state = steps.step(now);
          } catch (error) {
            reject(error);
            return 'done';
          }
          // A slice a millisecond would build a report for nobody.
          if (watch !== undefined && now >= watchAt) {
            watchAt = now + WATCH_INTERVAL_MS;
            watch(steps.progress());
          }
          if (state === 'done') resolve(steps.result());
          return state;
        },
        abort: () => {
          steps.stop?.();
          reject(new InterruptedError(`${steps.name} was ended by other work, call it again`));
        },
        progress: () => steps.progress(),
      };
      this.#core.jobs.add(job);
    });
  }

  /** Makes this node primary and commits what the old primary's replica holds. A second call joins the first. */
  promote(watch: Watch): Promise<FailoverReport> {
    const running = this.#promotion;
    if (running !== undefined) {
      running.watches.push(watch);
      return running.result;
    }
    const watches = [watch];
    const promotion: Running = {
      work: undefined,
      watches,
      result: this.run(this.#promoteSteps(), (p) => {
        for (const each of watches) each(p);
      }).finally(() => {
        this.#promotion = undefined;
      }),
    };
    this.#promotion = promotion;
    return promotion.result;
  }

  #promoteSteps(): Steps<FailoverReport> {
    const core = this.#core;
    const { restored, bootId } = core.options;
    let work: Promotion | undefined;
    const begin = (): Promotion => {
      const resumed = this.#resumed ? [] : (restored?.sources ?? []);
      this.#resumed = true;
      const { replicator } = core;
      return new Promotion(
        {
          ...core.commitParts,
          stream: core.stream,
          persist: (state) => core.ports.persist(state),
          bootId,
        },
        {
          role: core.role,
          term: replicator.term,
          wasPrimary: replicator.highestTerm > 0,
          wallClockMs: core.ports.wallClock(),
          resumed,
        },
      );
    };
    return {
      name: PROMOTE,
      priority: PRIORITY_CHANGE,
      step: (now) => {
        // Whose flows the kernel has must be known first; a start waits two seconds for its peers at most.
        if (core.state === 'joining') return 'wait';
        if (work === undefined) {
          work = begin();
          if (this.#promotion) this.#promotion.work = work;
        }
        if (!work.step(now)) return work.phase === 'linger' ? 'wait' : 'more';
        core.auditSoon();
        this.lastPromote = promoteReport(work.report, work.report, core.ports.wallClock());
        return 'done';
      },
      progress: () =>
        work ? commitProgress(work.phase, work.report) : { phase: 'joining', done: 0, total: 0 },
      result: () => {
        const report = work!.report;
        return {
          role: core.role,
          term: core.replicator.term,
          promote: this.lastPromote ?? null,
          exitCode: work!.phase === 'stopped' ? 3 : report.exitCode,
          reasons: [...report.reasons, ...(work!.phase === 'stopped' ? ['stopped by a change of role'] : [])],
        };
      },
      stop: () => work?.stop(),
    };
  }

  /** Goes on with a promote that a crash of the daemon cut short. */
  resume(): void {
    const { restored } = this.#core.options;
    if (restored?.role !== 'primary' || restored.sources.length === 0) return;
    this.#core.ports.log('warn', 'a promote was cut short by the end of the daemon, going on with it');
    this.promote(() => {}).catch((error: unknown) =>
      this.#core.ports.log('error', 'the promote did not end', { reason: String(error) }),
    );
  }

  /** Hands over: the stream says all it has, then the role. */
  demote(role: 'backup' | 'fault', watch: Watch): Promise<FailoverReport> {
    const core = this.#core;
    this.#promotion?.work?.stop();
    const demotion = new Demotion(
      {
        table: core.table,
        stream: core.stream,
        persist: (state) => core.ports.persist(state),
        bootId: core.options.bootId,
      },
      role,
      core.replicator.term,
      undefined,
    );
    return this.run(
      {
        name: DEMOTE,
        priority: PRIORITY_CHANGE,
        step: (now) => (demotion.step(now) ? 'done' : 'wait'),
        progress: () => ({ phase: demotion.phase, done: 0, total: core.table.dirtyCount }),
        result: () => ({
          role: core.role,
          term: core.replicator.term,
          promote: null,
          exitCode: 0,
          reasons: demotion.isCutShort ? ['the stream could not say everything within a second'] : [],
        }),
      },
      watch,
    );
  }

  /** Puts the replicas into this kernel; the role and the flows' owners stay. */
  commit(watch: Watch): Promise<FailoverReport> {
    const core = this.#core;
    const startedAt = core.ports.clock();
    let work: CommitReplica | undefined;
    return this.run(
      {
        name: 'commit',
        priority: PRIORITY_CHANGE,
        step: (now) => {
          if (core.state === 'joining') return 'wait';
          work ??= new CommitReplica(core.commitParts);
          if (!work.step(now)) return 'more';
          core.auditSoon();
          return 'done';
        },
        progress: () =>
          work ? commitProgress(work.phase, work.report) : { phase: 'joining', done: 0, total: 0 },
        result: () => this.#commitResult(work!.report, core.ports.clock() - startedAt),
        stop: () => work?.stop(),
      },
      watch,
    );
  }

  #commitResult(report: CommitReport, durationMs: number): FailoverReport {
    const core = this.#core;
    const peers = core.replicator.peers();
    const sources = peers.filter((p) => core.table.countOf(p.owner) > 0);
    const reasons = sources
      .filter((p) => p.myVerdict !== 'proven')
      .map((p) => `the replica of ${p.node} is not proven`);
    if (report.total === 0) reasons.push('no peer has flows to commit');
    return {
      role: core.role,
      term: core.replicator.term,
      promote: promoteReport(
        report,
        { durationMs, sources: sources.map(({ node }) => ({ node })) },
        core.ports.wallClock(),
      ),
      exitCode: reasons.length > 0 ? 3 : 0,
      reasons,
    };
  }

  /** Empties a view of the table, or the kernel. */
  async flush(which: 'internal' | 'external' | 'kernel'): Promise<FlushReport> {
    const core = this.#core;
    const parts = {
      table: core.table,
      kernel: core.ports.kernel,
      rules: core.rules,
      clock: () => core.ports.clock(),
    };
    const work =
      which === 'kernel'
        ? new FlushKernel(parts)
        : new FlushSlots(parts, (owner) => (which === 'internal') === (owner === OWNER_SELF));
    const flows = await this.run({
      name: `flush ${which}`,
      priority: PRIORITY_CHANGE,
      step: (now) => (work.step(now) ? 'done' : 'more'),
      progress: () => ({ phase: 'flush', done: work.flows, total: 0 }),
      result: () => work.flows,
    });
    return { flows, message: this.#flushed(which) };
  }

  #flushed(which: 'internal' | 'external' | 'kernel'): string {
    const core = this.#core;
    if (which === 'internal') {
      core.auditSoon();
      return 'the mirror is empty, an audit fills it again from the kernel';
    }
    if (which === 'kernel') return 'the kernel table is empty';
    for (const { node } of core.replicator.peers()) core.replicator.requestRepair(node);
    return 'the replicas are empty, live peers were asked for theirs';
  }
}

function commitProgress(phase: string, report: CommitReport): Progress {
  return { phase, done: doneOf(report), total: report.total };
}

function promoteReport(
  report: CommitReport,
  { durationMs, sources }: { durationMs: number; sources: readonly { node: string }[] } | Outcome,
  endedAtMs: number,
): PromoteReport {
  const rejectedBy: Record<string, number> = { ...report.rejected };
  return {
    committed: report.committed,
    kept: report.kept,
    updated: report.updated,
    replaced: report.replaced,
    rejected: Object.values(rejectedBy).reduce((sum, n) => sum + n, 0),
    rejectedBy,
    durationMs: Math.round(durationMs * 10) / 10,
    sources: sources.map(({ node }) => node),
    endedAtMs,
  };
}
