/** What an operator, or keepalived, asks of a core: role changes, commit, flush. Each is a job; each gives a report. */
import type { FailoverReport, FlushReport, PromoteReport } from '../control/messages.js';
import { CommitReplica } from '../failover/commit-replica.js';
import { type CommitReport, logFields } from '../failover/commit-report.js';
import { FlushKernel, FlushSlots } from '../failover/flush.js';
import { sourceReport } from '../failover/promote-report.js';
import { OWNER_SELF } from '../table/slot-bits.js';
import { commitProgress, promoteReport } from './commit-reports.js';
import type { Core } from './core.js';
import { drill } from './drill.js';
import { PRIORITY_CHANGE } from './jobs.js';
import { runSteps, type Steps, type Watch } from './steps.js';

export class Operations {
  readonly #core: Core;

  constructor(core: Core) {
    this.#core = core;
  }

  get lastPromote(): PromoteReport | undefined {
    return this.#core.roles.lastPromote;
  }

  /** Runs the steps as a job. Rejects with InterruptedError when other work ends it, or with what a step throws. */
  run<Result>(steps: Steps<Result>, watch?: Watch): Promise<Result> {
    return runSteps(this.#core.jobs, steps, watch);
  }

  /** Makes this node primary and commits what the old primary's replica holds. A second call joins the first. */
  promote(watch: Watch): Promise<FailoverReport> {
    return this.#core.roles.promote(watch);
  }

  /** Hands over: the stream says all it has, then the role. */
  demote(role: 'backup' | 'fault', watch: Watch): Promise<FailoverReport> {
    return this.#core.roles.demote(role, watch);
  }

  /** What a promote would do now; nothing is changed. */
  drill(watch: Watch): Promise<FailoverReport> {
    return drill(this.#core, watch);
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
          if (work === undefined) {
            core.timeouts.refresh();
            core.longestChangeMs = 0;
            work = new CommitReplica(core.commitParts);
          }
          if (!work.step(now)) return 'more';
          core.auditSoon();
          core.standby.purger.leaveAlone();
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
    const sources = core.stream.sources().filter(({ owner }) => core.table.countOf(owner) > 0);
    const reasons = sources
      .filter(({ isProven }) => !isProven)
      .map(({ node }) => `the replica of ${node} is not proven`);
    if (report.total === 0) reasons.push('no peer has flows to commit');
    core.ports.log('info', 'commit: done', logFields(report));
    return {
      role: core.role,
      term: core.replicator.term,
      promote: promoteReport(report, {
        durationMs,
        longestPauseMs: core.longestChangeMs,
        endedAtMs: core.ports.wallClock(),
        sources: sources.map((source) => sourceReport(source, core.table)),
      }),
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
