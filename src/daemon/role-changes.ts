/** Promote and demote on a running core. Each is a job; each gives a report. */
import type { FailoverReport, PromoteReport } from '../control/messages.js';
import { Demotion } from '../failover/demote.js';
import type { Role } from '../failover/ports.js';
import { Promotion } from '../failover/promote.js';
import { SEQADJ_LAP_MAX_MS } from '../limits.js';
import { commitProgress, promoteReport } from './commit-reports.js';
import type { Core } from './core.js';
import { PRIORITY_CHANGE } from './jobs.js';
import { runSteps, type Steps, type Watch } from './steps.js';

const PROMOTE = 'promote';
const DEMOTE = 'demote';

/** A promote that runs or waits, and who watches it. */
interface Running {
  work: Promotion | undefined;
  readonly result: Promise<FailoverReport>;
  readonly watches: Watch[];
}

export class RoleChanges {
  lastPromote: PromoteReport | undefined;
  readonly #core: Core;
  #promotion: Running | undefined;
  #resumed = false;

  constructor(core: Core) {
    this.#core = core;
  }

  /** Takes a role, and nobody watches. */
  change(role: Role): Promise<FailoverReport> {
    return role === 'primary' ? this.promote(() => {}) : this.demote(role, () => {});
  }

  /** Makes this node primary and commits what the old primary's replica holds. A second call joins the first. */
  promote(watch: Watch): Promise<FailoverReport> {
    const running = this.#promotion;
    if (running !== undefined) {
      running.watches.push(watch);
      return running.result;
    }
    const watches = [watch];
    this.#raiseGate();
    const promotion: Running = {
      work: undefined,
      watches,
      result: runSteps(this.#core.jobs, this.#promoteSteps(), (p) => {
        for (const each of watches) each(p);
      }).finally(() => {
        this.#core.ports.gate?.lower();
        this.#promotion = undefined;
      }),
    };
    this.#promotion = promotion;
    return promotion.result;
  }

  /** Before the first packet comes, as far as that depends on us. A primary that is promoted again has its flows. */
  #raiseGate(): void {
    const { ports, options, role } = this.#core;
    const isCutShort = !this.#resumed && (options.restored?.sources.length ?? 0) > 0;
    if (role !== 'primary' || isCutShort) ports.gate?.raise();
  }

  #promoteSteps(): Steps<FailoverReport> {
    const core = this.#core;
    const { restored, bootId } = core.options;
    let work: Promotion | undefined;
    const begin = (): Promotion => {
      const resumed = this.#resumed ? [] : (restored?.sources ?? []);
      this.#resumed = true;
      const { replicator } = core;
      core.timeouts.refresh();
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
          core.longestChangeMs = 0;
          work = begin();
          if (this.#promotion) this.#promotion.work = work;
        }
        const isDone = work.step(now);
        // What comes after the commit only waits for more.
        if (work.isCommitted) core.ports.gate?.lower();
        if (!isDone) return work.phase === 'linger' ? 'wait' : 'more';
        core.auditSoon();
        this.lastPromote = promoteReport(work.report, {
          ...work.report,
          longestPauseMs: core.longestChangeMs,
          endedAtMs: core.ports.wallClock(),
        });
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
    let lapEndsAt = 0;
    return runSteps(
      core.jobs,
      {
        name: DEMOTE,
        priority: PRIORITY_CHANGE,
        step: (now) => {
          // What has changed without an event goes with the rest.
          if (lapEndsAt === 0) core.seqadj.startLap();
          lapEndsAt ||= now + SEQADJ_LAP_MAX_MS;
          if (!core.seqadj.isLapDone && now < lapEndsAt) return 'wait';
          return demotion.step(now) ? 'done' : 'wait';
        },
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
}
