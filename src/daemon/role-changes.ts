/**
 * Promote and demote on a running core, and what follows from them by itself: a promote that a crash cut short goes on,
 * and a former primary that stepped back is absorbed. Each is a job; each gives a report.
 */
import type { FailoverReport, PromoteReport } from '../control/messages.js';
import { Demotion } from '../failover/demote.js';
import { type HealStep, Heals } from '../failover/heal.js';
import type { Role } from '../failover/ports.js';
import { Promotion } from '../failover/promote.js';
import type { PromoteOptions } from '../failover/promote-report.js';
import { nextTerm } from '../failover/roles.js';
import { incarnationText, type PersistedState } from '../failover/state.js';
import { SEQADJ_LAP_MAX_MS } from '../limits.js';
import { commitProgress, promoteReport } from './commit-reports.js';
import type { Core } from './core.js';
import { type JobState, PRIORITY_CHANGE } from './jobs.js';
import { runSteps, type Steps, type Watch } from './steps.js';
import { Unfinished } from './unfinished.js';

const PROMOTE = 'promote';
const ABSORB = 'absorb';
const DEMOTE = 'demote';
/** Time between two looks at what is owed to peers. Milliseconds. */
const LOOK_MS = 50;

/** A promote or absorb that runs or waits, and who watches it. */
interface Running {
  work: Promotion | undefined;
  /** A demote came before it had begun. */
  isStopped: boolean;
  readonly result: Promise<FailoverReport>;
  readonly watches: Watch[];
}

type Sources = Pick<PromoteOptions, 'only' | 'resumed'>;

export class RoleChanges {
  lastPromote: PromoteReport | undefined;
  lastAbsorb: PromoteReport | undefined;
  readonly unfinished: Unfinished;
  readonly #core: Core;
  readonly #heals = new Heals();
  readonly #runs = new Set<Running>();
  #nextLook = Number.NEGATIVE_INFINITY;
  /** The state file says that this node's last tenure is still to be taken over. */
  #isTenureWritten: boolean;

  constructor(core: Core) {
    this.#core = core;
    this.unfinished = new Unfinished(core);
    this.#isTenureWritten = core.options.restored?.openTenure !== undefined;
  }

  /** To be called when a peer has been proven, however busy this node is. */
  peerProven(): void {
    this.#nextLook = Number.NEGATIVE_INFINITY;
    if (this.#core.role === 'primary') this.#heals.settle(this.#core.stream.sources());
  }

  /** What is owed and can be done now is begun. To be called often, once the node is ready. */
  step(now: number): void {
    if (now < this.#nextLook || !this.#core.jobs.isIdle) return;
    this.#nextLook = now + LOOK_MS;
    if (this.#core.role !== 'primary') {
      this.#heals.clear();
      this.unfinished.clear();
      this.#endTenure();
      return;
    }
    const views = this.#core.stream.sources();
    const resumed = this.unfinished.ready(now, views);
    if (resumed.length > 0) this.#start(PROMOTE, { only: resumed, resumed: this.unfinished.sources });
    else if (!this.unfinished.isAwaited(views)) {
      const step = this.#heals.next(now, views);
      if (step !== undefined) this.#heal(step);
    }
  }

  /** What a restart would take for open has been taken over. */
  #endTenure(): void {
    const { options, replicator, role } = this.#core;
    if (!this.#isTenureWritten || replicator.openTenure > 0) return;
    this.#isTenureWritten = false;
    this.#persist({ role, term: replicator.term, bootId: options.bootId, sources: [] });
  }

  /** A full disk must not keep a node from a role: it is said, and returned, why the state is not written. */
  #persist(state: PersistedState): string | undefined {
    const { ports } = this.#core;
    try {
      ports.persist(state);
      return undefined;
    } catch (error) {
      const { message } = error as Error;
      ports.log('error', 'the state could not be written', { role: state.role, reason: message });
      return message;
    }
  }

  /** Takes a role, and nobody watches. */
  change(role: Role): Promise<FailoverReport> {
    return role === 'primary' ? this.promote(() => {}) : this.demote(role, () => {});
  }

  /** Makes this node primary and commits what the old primary's replica holds. A second call joins the first. */
  promote(watch: Watch): Promise<FailoverReport> {
    // What this node has begun by itself has its own sources: an operator's promote comes after it.
    const running = [...this.#runs].find((run) => run.watches.length > 0 && !run.isStopped);
    if (running === undefined) return this.#run(PROMOTE, {}, watch).result;
    running.watches.push(watch);
    return running.result;
  }

  /** Hands over: the stream says all it has, then the role. A backup that is told to be one stays as it is. */
  demote(role: 'backup' | 'fault', watch: Watch): Promise<FailoverReport> {
    const core = this.#core;
    let lapEndsAt = 0;
    const reasons =
      this.#runs.size === 0 ? [] : ['a promote that ran was stopped, promote again to go on with it'];
    for (const run of this.#runs) {
      run.isStopped = true;
      if (run.work === undefined) continue;
      run.work.stop();
      // Its last flows count as in the kernel though older events of them may wait to be read.
      core.auditSoon();
    }
    let demotion: Demotion | undefined;
    let notWritten: string | undefined;
    const was = core.role;
    const begin = () =>
      new Demotion(
        {
          table: core.table,
          stream: core.stream,
          persist: (state) => {
            this.#isTenureWritten = state.openTenure !== undefined;
            notWritten = this.#persist(state);
          },
          bootId: core.options.bootId,
          openTenure: () => core.replicator.openTenure,
        },
        role,
        core.replicator.term,
        undefined,
      );
    return runSteps(
      core.jobs,
      {
        name: DEMOTE,
        priority: PRIORITY_CHANGE,
        step: (now) => {
          if (core.role === role) return 'done';
          // What has changed without an event goes with the rest.
          if (lapEndsAt === 0) core.seqadj.startLap();
          lapEndsAt ||= now + SEQADJ_LAP_MAX_MS;
          if (!core.seqadj.isLapDone && now < lapEndsAt) return 'wait';
          demotion ??= begin();
          if (!demotion.step(now)) return 'wait';
          core.ports.log('info', 'demote: done', { role, was, term: core.replicator.term });
          return 'done';
        },
        progress: () => ({ phase: demotion?.phase ?? 'waiting', done: 0, total: core.table.dirtyCount }),
        result: () => {
          const isCutShort = demotion?.isCutShort === true;
          if (isCutShort) reasons.push('the stream could not say everything within a second');
          if (notWritten !== undefined) {
            reasons.push(`a restart of the daemon would take the role from before again: ${notWritten}`);
          }
          const exitCode = isCutShort || notWritten !== undefined ? 3 : 0;
          return { role: core.role, term: core.replicator.term, promote: null, exitCode, reasons };
        },
      },
      watch,
    );
  }

  #heal({ kind, source, cut }: HealStep): void {
    const core = this.#core;
    const { node, incarnation } = source;
    if (kind === 'absorb') {
      this.#start(ABSORB, { only: [node] });
      return;
    }
    const { replicator, ports } = core;
    if (kind === 'again') {
      ports.log('info', 'a former primary is told once more that it was taken over', { peer: node, cut });
      core.stream.declare([{ node, incarnation, cutSequence: cut }], replicator.term, 'done');
      return;
    }
    // The word of a lower term would not be heard, and a takeover has a higher one than what it takes over.
    if (source.primaryTerm >= replicator.term) {
      const term = nextTerm(replicator.highestTerm, replicator.term, ports.wallClock());
      this.#persistTerm(term);
      core.stream.setRole('primary', term);
    }
    ports.log('info', 'a former primary is asked for what it has changed', { peer: node, cut });
    core.stream.declare([{ node, incarnation, cutSequence: cut }], replicator.term, 'asked');
  }

  #persistTerm(term: number): void {
    const { bootId } = this.#core.options;
    this.#persist({ role: 'primary', term, bootId, ...this.unfinished.without([]) });
  }

  /** Starts work that nobody waits for. */
  #start(name: string, sources: Sources): void {
    this.#run(name, sources).result.catch((error: unknown) =>
      this.#core.ports.log('error', `the ${name} did not end`, { reason: String(error) }),
    );
  }

  #run(name: string, sources: Sources, watch?: Watch): Running {
    const watches = watch === undefined ? [] : [watch];
    const steps = this.#steps(name, sources, () => running);
    if (name === PROMOTE) this.#raiseGate(sources);
    const running: Running = {
      work: undefined,
      isStopped: false,
      watches,
      result: runSteps(this.#core.jobs, steps, (p) => {
        for (const each of watches) each(p);
      }).finally(() => {
        if (name === PROMOTE) this.#core.ports.gate?.lower();
        this.#runs.delete(running);
      }),
    };
    this.#runs.add(running);
    return running;
  }

  /** Before the first packet comes, as far as that depends on us. A primary that is promoted again has its flows. */
  #raiseGate({ only }: Sources): void {
    const { ports, role } = this.#core;
    if (role !== 'primary' || only !== undefined) ports.gate?.raise();
  }

  #steps(name: string, sources: Sources, running: () => Running): Steps<FailoverReport> {
    const core = this.#core;
    return {
      name,
      priority: PRIORITY_CHANGE,
      step: (now) => {
        const run = running();
        if (run.isStopped) return 'done';
        // Whose flows the kernel has must be known first; a start waits two seconds for its peers at most.
        if (core.state === 'joining') return 'wait';
        if (run.work === undefined) {
          core.longestChangeMs = 0;
          run.work = this.#begin(sources);
        }
        const state = this.#stepOf(run.work, now);
        if (state === 'done') this.#end(name, run.work, now);
        return state;
      },
      progress: () => {
        const { work } = running();
        return work ? commitProgress(work.phase, work.report) : { phase: 'joining', done: 0, total: 0 };
      },
      result: () => this.#result(running()),
      stop: () => running().work?.stop(),
    };
  }

  #stepOf(work: Promotion, now: number): JobState {
    try {
      const isDone = work.step(now);
      // What comes after the commit only waits for more.
      if (work.isCommitted) this.#core.ports.gate?.lower();
      if (isDone) return 'done';
    } catch (error) {
      this.#core.stream.unpin();
      throw error;
    }
    return work.phase === 'linger' ? 'wait' : 'more';
  }

  #begin(sources: Sources): Promotion {
    const core = this.#core;
    const { replicator } = core;
    core.timeouts.refresh();
    return new Promotion(
      {
        ...core.commitParts,
        stream: core.stream,
        persist: (state) => core.ports.persist(state),
        bootId: core.options.bootId,
        ...(core.standby.hot ? { hot: core.standby.hot } : {}),
      },
      {
        role: core.role,
        term: replicator.term,
        wasPrimary: replicator.highestTerm > 0,
        wallClockMs: core.ports.wallClock(),
        leaves: (nodes) => this.unfinished.without(nodes),
        isStale: (source) => this.#heals.isStale(source),
        ...sources,
      },
    );
  }

  #end(name: string, work: Promotion, now: number): void {
    const core = this.#core;
    const { report } = work;
    const isDone = work.phase === 'done';
    core.auditSoon();
    const shown = promoteReport(report, {
      ...report,
      longestPauseMs: core.longestChangeMs,
      endedAtMs: core.ports.wallClock(),
    });
    if (name === ABSORB) this.lastAbsorb = shown;
    else this.lastPromote = shown;
    if (!isDone) return;
    if (work.hasLent) this.unfinished.clear();
    else this.unfinished.done(report.sources.map(({ node }) => node));
    for (const view of core.stream.sources()) {
      const incarnation = incarnationText(view.incarnation);
      if (!report.sources.some((source) => source.incarnation === incarnation)) continue;
      // One that was promoted since has an open tenure: what began in it is asked for like any other former primary's.
      if (view.primaryTerm <= work.term) this.#heals.taken(view, now, work.cutOf(view.owner));
    }
  }

  #result({ work, isStopped }: Running): FailoverReport {
    const core = this.#core;
    const hasEnded = work?.phase === 'done' && !isStopped;
    const reasons = [
      ...(work?.report.reasons ?? []),
      ...this.unfinished.reasons(),
      ...(hasEnded ? [] : ['stopped by a change of role']),
    ];
    return {
      role: core.role,
      term: core.replicator.term,
      promote: (work && this.lastPromote) ?? null,
      exitCode: reasons.length > 0 ? 3 : 0,
      reasons,
    };
  }
}
