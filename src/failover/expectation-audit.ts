/**
 * The audit of expectations: the own ones against the kernel's, beside the live events, as audit.ts does it for flows.
 *
 *     dump --> queue read to empty --> its rows --> what neither dump nor event showed is not in the kernel
 *
 * Every attempt reads all, some in each turn: what an event tells of meanwhile is left alone. To judge (verify) a
 * difference has to be found twice, with no event about it in between. To repair (audit) one look is enough; an attempt
 * in which events were lost is not the last.
 */
import type { Counters } from '../flow/counters.js';
import {
  cloneExpectation,
  EXP_OFF_TIMEOUT,
  expectationKey,
  expectationsEqual,
  isGranted,
} from '../flow/expectation.js';
import { DUMP_INTERRUPTED, DUMP_MORE, type KernelPort } from '../flow/kernel-port.js';
import type { Memory } from '../flow/record.js';
import { AUDIT_PAUSE_MAX_MS, AUDIT_PAUSE_MIN_MS, DIFFERENCES_SHOWN, EXPECTATIONS_MAX } from '../limits.js';
import type { ExpectationRules } from '../table/expectation-rules.js';
import type { ExpectationEntry } from '../table/expectation-table.js';
import type { FlowTable } from '../table/flow-table.js';
import { OWNER_SELF } from '../table/slot-bits.js';
import type { Clock, Emptied } from './ports.js';
import { DONE, GO_ON, runSlice, WAIT } from './slice.js';

/** Expectations looked at in one turn; the clock of a slice is read between two turns. */
const PER_TURN = 64;

export interface ExpectationAuditParts {
  readonly kernel: KernelPort;
  readonly table: FlowTable;
  readonly rules: ExpectationRules;
  readonly counters: Counters;
  readonly clock: Clock;
  readonly emptied: Emptied;
}

/** An expectation that kernel and table show differently; absent where that side has none. */
export interface ExpectationDifference {
  readonly kernel: Memory | undefined;
  readonly table: Memory | undefined;
}

/** What an audit of expectations found, or put right. */
export interface ExpectationAuditReport {
  /** Expectations of the kernel that are ours. */
  expectations: number;
  differing: number;
  differences: ExpectationDifference[];
  /** Events were lost, or the dump broke off: nothing is proven. */
  isProvable: boolean;
}

export class ExpectationAudit {
  phase: 'dump' | 'settle' | 'rows' | 'missing' | 'pause' | 'done' = 'dump';
  readonly report: ExpectationAuditReport = {
    expectations: 0,
    differing: 0,
    differences: [],
    isProvable: true,
  };
  readonly #parts: ExpectationAuditParts;
  readonly #isJudge: boolean;
  /** The kernel's, by key. */
  readonly #rows = new Map<string, Memory>();
  #rowsLeft: Iterator<[string, Memory]> | undefined;
  #ownLeft: Iterator<ExpectationEntry> | undefined;
  /** What a judge finds, by key. */
  readonly #found = new Map<string, ExpectationDifference>();
  /** Keys that differed at the first look of a judge. */
  #suspects: Set<string> | undefined;
  #generation = 0;
  #isStarted = false;
  #isWhole = true;
  #lostBefore = 0;
  #emptiedBefore = 0;
  #pauseMs = AUDIT_PAUSE_MIN_MS;
  #pauseUntil = 0;
  #nowMs = 0;
  readonly #turn = (): number => this.#advance();
  readonly #onRow = (m: Memory, at: number): void => this.#row(m, at);

  constructor(parts: ExpectationAuditParts, mode: 'repair' | 'judge') {
    this.#parts = parts;
    this.#isJudge = mode === 'judge';
  }

  /** Works for one slice; true when it is done. */
  step(nowMs: number): boolean {
    this.#nowMs = nowMs;
    return runSlice(this.#parts.clock, this.#turn);
  }

  /** Gives up; the report is not to be used. */
  abort(): void {
    if (this.phase === 'done') return;
    this.report.isProvable = false;
    this.#end();
  }

  #advance(): number {
    switch (this.phase) {
      case 'dump':
        return this.#dump();
      case 'settle':
        if (this.#parts.emptied() === this.#emptiedBefore) return WAIT;
        return this.#beginComparing();
      case 'rows':
        return this.#compareRows();
      case 'missing':
        return this.#findMissing();
      case 'pause':
        if (this.#nowMs < this.#pauseUntil) return WAIT;
        this.phase = 'dump';
        return GO_ON;
      case 'done':
        return DONE;
    }
  }

  #dump(): number {
    const { kernel, rules } = this.#parts;
    if (!this.#isStarted) {
      this.#isStarted = true;
      this.#isWhole = true;
      this.#rows.clear();
      this.#lostBefore = kernel.eventsLost();
      this.#generation = rules.beginAudit();
      kernel.expectationDumpStart();
    }
    const state = kernel.expectationDumpNext(this.#onRow);
    if (state === DUMP_MORE) return GO_ON;
    if (state === DUMP_INTERRUPTED) this.#isWhole = false;
    this.#emptiedBefore = this.#parts.emptied();
    this.phase = 'settle';
    return WAIT;
  }

  #row(m: Memory, at: number): void {
    if (this.#rows.size < EXPECTATIONS_MAX) this.#rows.set(expectationKey(m, at), cloneExpectation(m, at));
    else this.#isWhole = false;
  }

  /** The dump is whole, and no event was lost since it began. */
  get #isClean(): boolean {
    return this.#isWhole && this.#parts.kernel.eventsLost() === this.#lostBefore;
  }

  /** All events that are older than the dump's end were read. */
  #beginComparing(): number {
    this.#isStarted = false;
    if (!this.#isClean) return this.#again();
    this.report.expectations = 0;
    this.report.differing = 0;
    this.#found.clear();
    this.#rowsLeft = this.#rows.entries();
    this.phase = 'rows';
    return GO_ON;
  }

  #compareRows(): number {
    for (let i = 0; i < PER_TURN; i++) {
      const next = this.#rowsLeft?.next();
      if (next === undefined || next.done) {
        this.#rowsLeft = undefined;
        this.#ownLeft = this.#parts.table.expectations.each(OWNER_SELF);
        this.phase = 'missing';
        return GO_ON;
      }
      this.#compareRow(...next.value);
    }
    return GO_ON;
  }

  #compareRow(key: string, row: Memory): void {
    const { rules, table, counters } = this.#parts;
    const entry = table.expectations.find(OWNER_SELF, row, 0);
    const ours = entry?.isLive ? entry.record : undefined;
    const isOurs = rules.isOurs(row, 0);
    if (isOurs) this.report.expectations++;
    // An event told of it since the dump began, and is the newer word.
    if (rules.touched.has(key)) return;
    if (entry !== undefined) entry.shown = this.#generation;
    // A registration was accepted: the kernel tells nobody, and its time is another from then on.
    if (isOurs && ours !== undefined && isGranted(ours, 0, row, 0)) {
      counters.count('expectation.granted');
      rules.take(row, 0);
      return;
    }
    const isAsTable = isOurs ? ours !== undefined && expectationsEqual(ours, 0, row, 0) : ours === undefined;
    if (!isAsTable) this.#differs(key, isOurs ? row : undefined, ours);
    // What is left of it, for a peer that is told of it later.
    else if (ours !== undefined) {
      ours.u16[EXP_OFF_TIMEOUT >>> 1] = row.u16[EXP_OFF_TIMEOUT >>> 1];
      rules.showed(row, 0);
    }
  }

  #findMissing(): number {
    const { rules } = this.#parts;
    for (let i = 0; i < PER_TURN; i++) {
      const next = this.#ownLeft?.next();
      if (next === undefined || next.done) return this.#compared();
      const { key, isLive, shown, record } = next.value;
      if (!isLive || shown === this.#generation || rules.touched.has(key)) continue;
      this.#differs(key, undefined, record);
    }
    return GO_ON;
  }

  /** A judge only notes it. */
  #differs(key: string, kernel: Memory | undefined, ours: Memory | undefined): void {
    if (this.#isJudge) {
      this.#found.set(key, { kernel, table: ours });
      return;
    }
    const { table, rules, counters } = this.#parts;
    counters.count('audit.expectation');
    this.report.differing++;
    const known = kernel ?? ours;
    if (known === undefined) return;
    if (kernel !== undefined) rules.take(kernel, 0);
    const entry = table.expectations.find(OWNER_SELF, known, 0);
    if (entry === undefined) return;
    if (kernel === undefined) table.expectations.end(entry);
    // It was made just now, and is not missing.
    else entry.shown = this.#generation;
  }

  #compared(): number {
    this.#ownLeft = undefined;
    if (!this.#isClean) return this.#again();
    return this.#isJudge ? this.#judge() : this.#end();
  }

  #judge(): number {
    const { rules } = this.#parts;
    // Told of after it was looked at.
    for (const key of rules.touched) this.#found.delete(key);
    const before = this.#suspects;
    if (this.#found.size > 0 && before === undefined) {
      this.#suspects = new Set(this.#found.keys());
      rules.endAudit();
      this.phase = 'dump';
      return GO_ON;
    }
    for (const [key, difference] of this.#found) {
      if (!before?.has(key)) continue;
      this.report.differing++;
      if (this.report.differences.length < DIFFERENCES_SHOWN) this.report.differences.push(difference);
    }
    return this.#end();
  }

  #again(): number {
    this.#parts.rules.endAudit();
    if (this.#isJudge) {
      this.report.isProvable = false;
      return this.#end();
    }
    this.#parts.counters.count('audit.expectations-unclean');
    this.#pauseUntil = this.#nowMs + this.#pauseMs;
    this.#pauseMs = Math.min(AUDIT_PAUSE_MAX_MS, this.#pauseMs * 2);
    this.phase = 'pause';
    return WAIT;
  }

  #end(): number {
    this.#parts.rules.endAudit();
    this.#rows.clear();
    this.#found.clear();
    this.phase = 'done';
    return DONE;
  }
}
