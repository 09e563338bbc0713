/**
 * A promote: this node becomes primary and takes over what the failed one spoke of (PROTOCOL.md, section 6).
 *
 *     write the state --> create the flows known to be live --> mark the sources' flows --> write the state
 *       --> relabel, ROLE, DECLARE(begun) --> commit --> expectations
 *       --> a source that lives: its late ops too, until it steps back, falls silent, or a second has passed
 *       --> DECLARE(done) --> write the state --> report; a paced audit is due
 *
 * The stream goes on all the while. Promote again after a crash or a stop at any point continues: until "done" a source
 * that lives keeps all its flows, so a new primary that dies in the middle finds them there.
 *
 * An absorb is a promote of a node that is primary already, with one source: a former primary that has stepped back.
 */
import { CHANGE_SLICE_MS, SOURCE_LINGER_MS } from '../limits.js';
import { OWNER_SELF, OWNER_UNCLASSIFIED } from '../table/slot-bits.js';
import { Commit } from './commit.js';
import { logFields } from './commit-report.js';
import { type CommitParts, CommitWork } from './commit-work.js';
import { EarlyFlows } from './early-flows.js';
import { ExpectationCommit } from './expectation-commit.js';
import type { Persist, SourceView, Stage, StreamPort } from './ports.js';
import {
  type PromoteOptions,
  type PromoteReport,
  type SourceReport,
  sourceReport,
} from './promote-report.js';
import { nextTerm } from './roles.js';
import { DONE, GO_ON, runSlice, WAIT } from './slice.js';
import { type InStep, SourceFlows } from './source-flows.js';
import { chooseSources, isRival, theseSources, withoutLiving } from './sources.js';
import type { Unfinished } from './state.js';

/** Slots looked at in one turn of a scan. */
const SLOTS_PER_TURN = 2048;
/** One flow in so many must be in the kernel already for a dump to be worth its time. */
const DUMP_SHARE = 16;

export interface PromoteParts extends CommitParts {
  readonly stream: StreamPort;
  readonly persist: Persist;
  readonly bootId: string;
  /** Hot standby: which flows this kernel has already, as they are to be. */
  readonly hot?: InStep;
}

export type PromotePhase =
  | 'early'
  | 'mark'
  | 'declare'
  | 'commit'
  | 'expectations'
  | 'linger'
  | 'late'
  | 'late-commit'
  | 'late-expectations'
  | 'done'
  | 'stopped';

function choose(views: readonly SourceView[], options: PromoteOptions) {
  const { role, term, wasPrimary, only, resumed = [], isStale = () => false } = options;
  if (only !== undefined) {
    const nodes = views.filter((view) => !isRival(view, term));
    return theseSources(nodes, only);
  }
  const chosen = chooseSources(views, wasPrimary, resumed);
  return role === 'primary' && resumed.length === 0 ? withoutLiving(chosen, isStale) : chosen;
}

/** One promote, in slices. Make it when nothing else of its kind runs; an audit that runs is aborted first. */
export class Promotion {
  phase: PromotePhase = 'early';
  /** Of the tenure that begins, or goes on. It may rise until the peers are told. */
  term: number;
  readonly #parts: PromoteParts;
  readonly #work: CommitWork;
  readonly #options: PromoteOptions;
  readonly #sources: readonly SourceView[];
  /** Up to where each source's stream is taken over. */
  #cuts: number[];
  readonly #reasons: string[];
  readonly #sourceReports: readonly SourceReport[];
  readonly #flows: SourceFlows;
  readonly #early: EarlyFlows;
  readonly #expectations: ExpectationCommit;
  #commit: Commit;
  #at = 0;
  #isWritten = false;
  #startedMs = -1;
  /** When the replicas' flows were in the kernel; the wait for a source that lives comes after. */
  #committedMs = -1;
  #nowMs = 0;
  readonly #turn = (): number => this.#advance();

  constructor(parts: PromoteParts, options: PromoteOptions) {
    this.#parts = parts;
    this.#options = options;
    // After a crash in the middle nobody knows which flows were reached.
    const isTakeover = options.role !== 'primary' || (options.resumed ?? []).length > 0;
    this.#work = new CommitWork(parts, true, isTakeover);
    this.#commit = new Commit(this.#work);
    this.#expectations = new ExpectationCommit(this.#work);
    const views = parts.stream.sources();
    const isAgain = options.role === 'primary';
    const chosen = choose(views, options);
    this.#sources = chosen.sources;
    this.#cuts = chosen.sources.map(({ wholeUpTo }) => wholeUpTo);
    parts.stream.pin(chosen.sources.map(({ owner }) => owner));
    this.#reasons = [...chosen.reasons];
    // Who takes over a tenure has a higher term than it; two that began at the same time may have one.
    const isOutranked = chosen.sources.some(({ primaryTerm }) => primaryTerm >= options.term);
    this.term =
      isAgain && !isOutranked
        ? options.term
        : nextTerm(parts.stream.highestTerm, options.term, options.wallClockMs);
    this.#flows = new SourceFlows(this.#work, chosen.sources, parts.hot);
    this.#early = new EarlyFlows(this.#work, this.#flows.isSource);
    // A primary has the role of its own flows already, and what it heals is not waited for.
    if (isAgain) this.phase = 'mark';
    this.#sourceReports = chosen.sources.map((source) => sourceReport(source, parts.table));
  }

  /** What was done so far; final when step() has said true. */
  get report(): PromoteReport {
    const { report } = this.#work;
    const withoutRoom = report.rejected['kernel-full'] ?? 0;
    const reasons =
      withoutRoom === 0
        ? this.#reasons
        : [
            ...this.#reasons,
            `this kernel's table is full, flows without room: ${withoutRoom}; raise nf_conntrack_max`,
          ];
    return {
      ...report,
      term: this.term,
      sources: this.#sourceReports,
      durationMs: (this.#committedMs < 0 ? this.#nowMs : this.#committedMs) - Math.max(0, this.#startedMs),
      exitCode: reasons.length > 0 ? 3 : 0,
      reasons,
      needsAudit: true,
    };
  }

  /** What the sources had when it began is in the kernel; it may still wait for what they say late. */
  get isCommitted(): boolean {
    return this.#committedMs >= 0;
  }

  /** What a primary takes over from one that stepped back is no change of role. */
  get #name(): string {
    const { role, only, resumed } = this.#options;
    return role === 'primary' && only !== undefined && resumed === undefined ? 'absorb' : 'promote';
  }

  /** Up to where the stream of a source (its owner number) was taken over; -1: it is none. */
  cutOf(owner: number): number {
    const at = this.#sources.findIndex((source) => source.owner === owner);
    return at < 0 ? -1 : this.#cuts[at];
  }

  /** A source kept flows of this node's former run: that run's promote is made up for. */
  get hasLent(): boolean {
    return this.#sources.some(({ lends }) => lends);
  }

  /** Works for one slice; true when done (or stopped). */
  step(nowMs: number): boolean {
    if (this.#startedMs < 0) this.#startedMs = nowMs;
    this.#nowMs = nowMs;
    return runSlice(this.#parts.clock, this.#turn, CHANGE_SLICE_MS);
  }

  /** A demote stops it at a batch; what was not reached keeps PENDING, and a later promote goes on with it. */
  stop(): void {
    if (this.phase === 'done') return;
    this.#commit.stop();
    this.#parts.stream.unpin();
    this.phase = 'stopped';
  }

  #advance(): number {
    switch (this.phase) {
      case 'early':
        return this.#createEarly();
      case 'mark':
        return this.#scan((slot) => this.#flows.mark(slot), 'declare');
      case 'declare':
        return this.#declare();
      case 'commit':
        return this.#runCommit(() => this.#go('expectations'));
      case 'expectations':
        return this.#runExpectations(() => this.#startLinger());
      case 'linger':
        return this.#linger();
      case 'late':
        return this.#scan((slot) => this.#flows.markLate(slot), 'late-commit');
      case 'late-commit':
        return this.#runCommit(() => this.#go('late-expectations'));
      case 'late-expectations':
        return this.#runExpectations(() => this.#finish());
      case 'done':
      case 'stopped':
        return DONE;
    }
  }

  #runCommit(then: () => number): number {
    const state = this.#commit.turn(this.#nowMs);
    return state === DONE ? then() : state;
  }

  /** Masters first: an expectation without its master is none. */
  #runExpectations(then: () => number): number {
    const state = this.#expectations.turn(this.#nowMs);
    return state === DONE ? then() : state;
  }

  #go(phase: PromotePhase): number {
    this.phase = phase;
    return GO_ON;
  }

  #startLinger(): number {
    this.#committedMs = this.#nowMs;
    this.phase = 'linger';
    return GO_ON;
  }

  #scan(look: (slot: number) => void, next: PromotePhase): number {
    const { table } = this.#parts;
    const end = Math.min(table.slotLimit, this.#at + SLOTS_PER_TURN);
    for (; this.#at < end; this.#at++) if (table.isUsed(this.#at)) look(this.#at);
    if (this.#at < table.slotLimit) return GO_ON;
    this.#at = 0;
    this.phase = next;
    return GO_ON;
  }

  /** The state first, then the kernel; the role and the word to the peers need all slots to be marked. */
  #createEarly(): number {
    const { table } = this.#parts;
    if (!this.#isWritten && this.#sources.length > 0 && table.live.length > 0) {
      this.#isWritten = true;
      this.#writeSources({});
    }
    return this.#early.turn() === DONE ? this.#go('mark') : GO_ON;
  }

  /** Another node may have become primary since this promote began, and been heard: a tenure outranks what it takes over. */
  #outrank(isNew: boolean): void {
    const { stream } = this.#parts;
    const isSource = ({ owner }: SourceView) => this.#sources.some((source) => source.owner === owner);
    const isOutranked = isNew
      ? stream.highestTerm >= this.term
      : stream.sources().some((view) => isSource(view) && view.primaryTerm >= this.term);
    if (isOutranked) this.term = nextTerm(stream.highestTerm, this.term, this.#options.wallClockMs);
  }

  /** From here on this node is primary: state first, then the word to the peers, then the kernel. */
  #declare(): number {
    const { table, stream } = this.#parts;
    const isNew = this.#options.role !== 'primary';
    if (!isNew && this.#sources.length === 0 && this.#work.report.total === 0) return this.#end();
    this.#outrank(isNew);
    this.#flows.markChanged();
    this.#writeSources({ toCreate: this.#flows.toCreate, kernelFlows: table.kernelCount });
    this.#placeCuts();
    table.relabel(OWNER_UNCLASSIFIED, OWNER_SELF);
    if (this.#flows.hasLeftOver) this.#expectations.add(OWNER_SELF);
    for (const { owner } of this.#sources) this.#expectations.add(owner);
    for (const { owner } of this.#sources) stream.take(owner);
    this.#early.lookAgain();
    if (isNew || this.term !== this.#options.term) stream.setRole('primary', this.term);
    this.#say('begun');
    this.#work.parts.log?.('info', `${this.#name}: takes over`, {
      term: this.term,
      flows: this.#work.report.total,
      sources: this.#sourceReports.map(({ node }) => node),
    });
    this.#commit = new Commit(this.#work, this.#isDumpWorthwhile(), this.#flows.order);
    this.phase = 'commit';
    return GO_ON;
  }

  /**
   * A dump finds at once what the kernel has already; walking an empty table of a million buckets for it takes 50 ms and
   * more. Where the kernel has next to nothing, EEXIST tells as much. And where nearly all is in step, a few questions do.
   */
  #isDumpWorthwhile(): boolean {
    const { table, hot } = this.#parts;
    if (hot !== undefined) return this.#flows.held > table.kernelCount / 2;
    return table.kernelCount - this.#early.length > this.#work.report.total / DUMP_SHARE;
  }

  /** What is left of another promote, that was cut short, after this one. */
  get #left(): Unfinished {
    return this.#options.leaves?.(this.#sources.map(({ node }) => node)) ?? { sources: [] };
  }

  #placeCuts(): void {
    const views = this.#parts.stream.sources();
    this.#cuts = this.#sources.map(
      ({ owner }, i) => views.find((view) => view.owner === owner)?.wholeUpTo ?? this.#cuts[i],
    );
  }

  #say(stage: Stage): void {
    if (this.#sources.length === 0) return;
    const seeds = this.#sources.map(({ node, incarnation }, i) => ({
      node,
      incarnation,
      cutSequence: this.#cuts[i],
    }));
    this.#parts.stream.declare(seeds, this.term, stage);
  }

  /** While a source still lives and calls itself primary, what it says is committed too. */
  #linger(): number {
    if (this.#nowMs - this.#startedMs < SOURCE_LINGER_MS && this.#hasSpeakingSource()) return WAIT;
    this.#commit = new Commit(this.#work, false);
    // What a source says from here on it keeps, and says again.
    this.#placeCuts();
    for (const { owner } of this.#sources) this.#expectations.takeLate(owner);
    this.phase = 'late';
    return GO_ON;
  }

  #hasSpeakingSource(): boolean {
    const views = this.#parts.stream.sources();
    return this.#sources.some((source) => {
      const now = views.find((view) => view.owner === source.owner);
      return now?.isAlive === true && now.role === 'primary';
    });
  }

  #finish(): number {
    const { log } = this.#parts;
    // Said first: after a crash in between the flows are taken over once more, which changes nothing.
    this.#say('done');
    this.#write(this.hasLent ? { sources: [] } : this.#left);
    const { durationMs, sources, reasons } = this.report;
    log?.(reasons.length > 0 ? 'warn' : 'info', `${this.#name}: done`, {
      term: this.term,
      ...logFields(this.#work.report),
      durationMs: Math.round(durationMs),
      sources: sources.map(({ node }) => node),
      ...(reasons.length > 0 ? { reasons } : {}),
    });
    return this.#end();
  }

  /** Whose flows are being taken over, so that a crash from here on is followed by another try. */
  #writeSources(counts: Pick<Unfinished, 'toCreate' | 'kernelFlows'>): void {
    const taken = this.#sourceReports.map(({ node, incarnation }) => ({ node, incarnation }));
    this.#write({ sources: [...taken, ...this.#left.sources], ...counts });
  }

  /** A full disk must not keep a node from taking over: it only forgets its role if it crashes. */
  #write(unfinished: Unfinished): void {
    const { persist, bootId, counters, log } = this.#parts;
    try {
      persist({ role: 'primary', term: this.term, bootId, ...unfinished });
    } catch (error) {
      counters.count('promote.state-not-written');
      const { message } = error as Error;
      log?.('error', 'the state could not be written', { role: 'primary', reason: message });
      const reason = `a crash would forget the role: ${message}`;
      if (!this.#reasons.includes(reason)) this.#reasons.push(reason);
    }
  }

  #end(): number {
    if (this.#committedMs < 0) this.#committedMs = this.#nowMs;
    this.#parts.stream.unpin();
    this.phase = 'done';
    return DONE;
  }
}
