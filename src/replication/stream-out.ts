/**
 * The own stream: turns dirty slots, questions of receivers and statements into numbered frames, in this order of
 * precedence: statements, deltas, repairs, MARK, idle classes.
 */
import {
  FLUSH_INTERVAL_MS,
  FLUSH_LEAST_MS,
  IDLE_PER_SECOND,
  IDLE_SLOTS,
  MARK_INTERVAL_MS,
  MARK_QUIET_INTERVAL_MS,
  REFRESH_CYCLE_MS,
  TICK_MS,
  WINDOW_FRAMES,
} from '../limits.js';
import { LEVEL_ROOT } from '../table/digests.js';
import { OWNER_SELF } from '../table/slot-bits.js';
import { bytesEqual, INCARNATION_BYTES } from '../wire/frame.js';
import type { Seed } from '../wire/op-writer.js';
import { SEGMENTS } from '../wire/ops.js';
import { ExpectationsOut } from './expectations-out.js';
import { FrameBuilder } from './frame-builder.js';
import type { FrameRing } from './frame-ring.js';
import { OPEN_TENURE, ROLES, type Role, STAGES, type Stage } from './ports.js';
import type { RepairDesk } from './repair-desk.js';
import { RepairRuns } from './repair-runs.js';
import type { Self } from './self.js';
import { SlotWriter } from './slot-writer.js';
import type { Window } from './window.js';

/** Least time between two MARKs. Milliseconds. */
const MARK_LEAST_MS = 10;
/** What an UPSERT of an IPv4 TCP flow takes, to guess whether a frame would be full. Bytes. */
const TYPICAL_OP_BYTES = 40;
/** Statements (DECLARE, ROLE) that may wait. */
const STATEMENTS_MAX = 64;
/** Idle classes wait until they fill most of a frame. */
const IDLE_SLOTS_LEAST = 32;
/** Scopes of the cycle of mode refresh that one flush adds; a cycle that fell behind by more is not caught up with. */
const REFRESH_SCOPES = 8;

/** Former takeovers that are said again beside the last one. */
const TAKEOVERS_SAID_AGAIN_MAX = 8;

interface Statement {
  kind: 'declare' | 'role' | 'tenure';
  term: number;
  isFormer: boolean;
  seeds: readonly Seed[];
  stage: Stage;
  role: Role;
}

const tenure = (term: number): Statement => ({
  kind: 'tenure',
  term,
  isFormer: false,
  seeds: [],
  stage: 'whole',
  role: 'backup',
});

export class StreamOut {
  /** Receivers wait for their repairs: a commit goes before them. */
  isRepairDeferred = false;
  readonly #self: Self;
  readonly #window: Window;
  readonly #frames: FrameBuilder;
  readonly #slots: SlotWriter;
  readonly #runs: RepairRuns;
  readonly #expectations: ExpectationsOut;
  readonly #statements: Statement[] = [];
  /** What this node took over as a primary, said again to who asks for a repair: it may have missed it. */
  #takeovers: readonly Statement[] = [];
  /** How many of them were said again already in answer to the question that stands. */
  #saidAgain = 0;
  #lastMarkAt = Number.NEGATIVE_INFINITY;
  #idleTokens = 0;
  #idleAt = 0;
  #refreshAt = Number.NEGATIVE_INFINITY;
  #refreshSegment = 0;

  constructor(self: Self, ring: FrameRing, window: Window) {
    this.#self = self;
    this.#window = window;
    this.#frames = new FrameBuilder(self, ring, window);
    this.#slots = new SlotWriter(self, this.#frames);
    this.#expectations = new ExpectationsOut(self, this.#frames);
    this.#runs = new RepairRuns(self, this.#frames, this.#slots, this.#expectations);
  }

  /** Last frame sent. */
  get sequence(): number {
    return this.#frames.sequence;
  }

  get desk(): RepairDesk {
    return this.#runs.desk;
  }

  declare(seeds: readonly Seed[], isFormer: boolean, term: number, stage: Stage): void {
    const statement: Statement = { kind: 'declare', term, isFormer, seeds, stage, role: 'backup' };
    this.#state(statement);
    if (seeds.length > 0 && stage !== 'asked') this.#noteTakeover(statement);
    this.#self.isMarkSoon = true;
  }

  /** What is said again to who may have missed it: all that was taken over in this tenure, each by its last cut and term. */
  #noteTakeover(statement: Statement): void {
    const { seeds, stage } = statement;
    const isAgain = (s: Seed) =>
      seeds.some((seed) => bytesEqual(seed.incarnation, 0, s.incarnation, 0, INCARNATION_BYTES));
    const others = this.#takeovers.flatMap((before) => {
      const left = before.seeds.filter((s) => !isAgain(s));
      return left.length === 0 ? [] : [{ ...before, seeds: left }];
    });
    // Who missed the beginning has still to move what it holds.
    const again: Statement = { ...statement, stage: stage === 'done' ? 'whole' : stage };
    this.#takeovers = [...others.slice(-TAKEOVERS_SAID_AGAIN_MAX), again];
    this.#saidAgain = 0;
  }

  stateRole(role: Role, term: number): void {
    this.#state({ kind: 'role', term, isFormer: false, seeds: [], stage: 'whole', role });
    if (role !== 'primary') this.#takeovers = [];
  }

  /** Says what there is to say, for about a millisecond. True if there is more. */
  flush(now: number): boolean {
    const { table } = this.#self.ports;
    if (!this.#self.isMirrorReady || this.#window.isParked) return false;
    if (this.#self.mode === 'refresh') this.#goRound(now);
    if (this.#isWorthWaiting(now)) return true;
    const frames = this.#frames;
    const { desk } = this;
    frames.begin(now);
    this.#stateTenure();
    if (frames.room > 0) this.#sayStatements(false);
    this.#expectations.sayEnded();
    while (table.dirtyCount > 0 && frames.mayGoOn(1)) this.#slots.sayNext();
    this.#expectations.sayNew();
    if (!this.#isChanged) this.#sayStatements(true);
    if (!this.isRepairDeferred && !desk.isEmpty) this.#answer();
    this.#markIfDue();
    const isBusy = this.#isChanged || this.#statements.length > 0 || !desk.isEmpty;
    if (!isBusy) this.#sayIdle();
    frames.send();
    return this.#isChanged || this.#statements.length > 0 || !(desk.isEmpty || this.isRepairDeferred);
  }

  /** When `flush` has something to say. */
  dueAt(now: number): number {
    if (!this.#self.isMirrorReady || this.#window.isParked) return Number.POSITIVE_INFINITY;
    if (this.#isChanged || this.#statements.length > 0 || this.#self.isTenureSoon) return now;
    if (!this.isRepairDeferred && !this.desk.isEmpty) return now;
    const markAt = this.#lastMarkAt + this.#markInterval();
    return this.#self.mode === 'refresh' ? Math.min(markAt, now + TICK_MS) : markAt;
  }

  /**
   * Who comes now has heard only that this node is no primary, and would take over none of its flows. And who came while
   * it was primary has missed that another one took them over before.
   */
  #stateTenure(): void {
    const { isTenureSoon, openTenure, role } = this.#self;
    this.#self.isTenureSoon = false;
    if (isTenureSoon && role !== 'primary') this.#state(tenure(openTenure));
  }

  /** Where nothing is sent again, who missed it would never hear of a tenure that others wait to be taken over. */
  #repeatTenure(): void {
    const { mode, role, openTenure, isTenureOver } = this.#self;
    const isTold = openTenure > 0 || isTenureOver;
    if (mode !== 'reliable' && role !== 'primary' && isTold) this.#say(tenure(openTenure));
  }

  /** Flows or expectations have changed since they were said. */
  get #isChanged(): boolean {
    const { table } = this.#self.ports;
    return table.dirtyCount > 0 || table.expectations.dirtyCount > 0;
  }

  /** Under load a frame waits for more ops, but not for long. */
  #isWorthWaiting(now: number): boolean {
    if (this.#statements.length > 0 || this.#self.isTenureSoon || !this.desk.isEmpty) return false;
    const waiting = this.#self.ports.table.dirtyCount * TYPICAL_OP_BYTES;
    const { frameBytes, lastFrameAt } = this.#frames;
    if (waiting === 0 || waiting >= frameBytes) return false;
    const sinceMs = now - lastFrameAt;
    if (sinceMs >= FLUSH_INTERVAL_MS || sinceMs < 0) return false;
    return sinceMs < FLUSH_LEAST_MS || (waiting / sinceMs) * FLUSH_INTERVAL_MS >= frameBytes / 2;
  }

  #state(statement: Statement): void {
    if (this.#statements.length >= STATEMENTS_MAX) this.#statements.shift();
    this.#statements.push(statement);
  }

  /**
   * A role that gives up being primary is said after all that was to be said before it; the rest goes
   * first.
   */
  #sayStatements(isQueueEmpty: boolean): void {
    while (this.#statements.length > 0) {
      const s = this.#statements[0];
      if (s.kind === 'role' && s.role !== 'primary' && !isQueueEmpty) return;
      this.#say(s);
      if (s.kind === 'role') this.#self.statedRole = s.role;
      this.#statements.shift();
      this.#frames.isUnmarked = true;
    }
  }

  #say(s: Statement): void {
    this.#frames.open();
    if (this.#write(s)) return;
    this.#frames.next();
    if (!this.#write(s)) this.#self.ports.counters.count('stream.op-oversized');
  }

  #write(s: Statement): boolean {
    const { ops } = this.#frames;
    if (s.kind === 'declare') return ops.declare(s.term, s.isFormer, s.seeds, STAGES.indexOf(s.stage));
    return ops.role(s.kind === 'tenure' ? OPEN_TENURE : ROLES.indexOf(s.role), s.term);
  }

  /** What was taken over goes before the sums, a frame after the other as the window has room. */
  #answer(): void {
    const { desk } = this;
    while (desk.areGroupsWanted && this.#saidAgain < this.#takeovers.length) {
      if (this.#frames.room <= 0) return;
      this.#say(this.#takeovers[this.#saidAgain++]);
    }
    this.#runs.answer();
    if (!desk.areGroupsWanted) this.#saidAgain = 0;
  }

  #markIfDue(): void {
    const { now } = this.#frames;
    if (now - this.#lastMarkAt < this.#markInterval() || this.#frames.room <= 0) return;
    const { digests, expectations } = this.#self.ports.table;
    digests.sum(OWNER_SELF, LEVEL_ROOT, 0);
    expectations.sum(OWNER_SELF);
    const { ops } = this.#frames;
    this.#repeatTenure();
    this.#frames.open();
    if (!ops.mark(digests, expectations)) {
      this.#frames.next();
      ops.mark(digests, expectations);
    }
    this.#lastMarkAt = now;
    this.#frames.isUnmarked = false;
    this.#self.isMarkSoon = false;
  }

  /** How long after the last MARK the next one is due, as things are. */
  #markInterval(): number {
    if (this.#isChanged) return MARK_INTERVAL_MS;
    if (this.#self.isMarkSoon) return MARK_LEAST_MS;
    return this.#frames.isUnmarked ? MARK_QUIET_INTERVAL_MS : MARK_INTERVAL_MS;
  }

  /** Nobody waits for an idle class: it is told when there is nothing else, slowly, and never by filling the window. */
  #sayIdle(): void {
    const { ports } = this.#self;
    if (ports.nextIdle === undefined || this.#frames.room < WINDOW_FRAMES / 16) return;
    const { now } = this.#frames;
    const earned = (Math.max(0, now - this.#idleAt) * IDLE_PER_SECOND) / 1000;
    this.#idleTokens = Math.min(IDLE_SLOTS, this.#idleTokens + earned);
    this.#idleAt = now;
    if (this.#idleTokens < IDLE_SLOTS_LEAST) return;
    for (; this.#idleTokens >= 1; this.#idleTokens--) {
      const slot = ports.nextIdle();
      if (slot < 0) return;
      this.#slots.sayIdle(slot);
    }
  }

  /** Mode refresh: adds the scopes whose turn in the cycle has come. */
  #goRound(now: number): void {
    const interval = REFRESH_CYCLE_MS / SEGMENTS;
    if (now - this.#refreshAt > REFRESH_SCOPES * interval) this.#refreshAt = now - REFRESH_SCOPES * interval;
    while (now - this.#refreshAt >= interval) {
      this.#refreshAt += interval;
      this.desk.addScope(this.#refreshSegment);
      this.#refreshSegment = (this.#refreshSegment + 1) % SEGMENTS;
      if (this.#refreshSegment === 0) this.desk.areExpectationsWanted = true;
    }
  }
}
