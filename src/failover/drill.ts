/**
 * A drill: what a promote would do now, without doing it. The promote itself is run, on a copy of the table and on a
 * kernel that only says what the real one would say, so the two cannot come to differ.
 *
 *     read what the kernel has and expects --> copy the table --> promote there --> report
 */
import { CounterMap } from '../flow/counters.js';
import type { KernelPort } from '../flow/kernel-port.js';
import { DUMP_MORE, DUMP_PENDING } from '../flow/kernel-port.js';
import { EventRules } from '../table/event-rules.js';
import type { FlowTable } from '../table/flow-table.js';
import { OWNER_SELF } from '../table/slot-bits.js';
import { TableCopy } from '../table/table-copy.js';
import type { CommitReport } from './commit-report.js';
import type { CommitTimeouts } from './commit-timeouts.js';
import { DrillKernel } from './drill-kernel.js';
import type { Clock, SourceView, StreamPort } from './ports.js';
import { Promotion } from './promote.js';
import type { PromoteOptions, PromoteReport } from './promote-report.js';
import { DONE, GO_ON, runSlice, WAIT } from './slice.js';
import type { InStep } from './source-flows.js';

/** What the parts of a promote take, microseconds; for an estimate (Linux 6.18 on two cores of a virtual machine). */
const COST_US = { flow: 0.3, row: 2, create: 4, question: 6, expectation: 20 };

export interface DrillParts {
  readonly kernel: KernelPort;
  readonly table: FlowTable;
  /** The table's. */
  readonly seed: Uint32Array;
  readonly clock: Clock;
  readonly timeouts: CommitTimeouts;
  readonly stream: Pick<StreamPort, 'sources' | 'highestTerm'>;
  /** As a promote gets it, by slots of the table. */
  readonly hot?: InStep;
}

export type DrillPhase = 'kernel' | 'expectations' | 'copy' | 'promote' | 'done';

/** One drill, in slices. */
export class Drill {
  phase: DrillPhase = 'kernel';
  /** Flows that the kernel has. */
  rows = 0;
  readonly #parts: DrillParts;
  readonly #options: PromoteOptions;
  readonly #copy: TableCopy;
  readonly #kernel: DrillKernel;
  #promotion: Promotion | undefined;
  #isStarted = false;
  #turns = 0;
  #nowMs = 0;
  readonly #turn = (): number => this.#advance();

  constructor(parts: DrillParts, options: PromoteOptions) {
    this.#parts = parts;
    this.#options = options;
    this.#copy = new TableCopy(parts.table, parts.seed);
    this.#kernel = new DrillKernel(parts.kernel, this.#copy.copy);
  }

  /** How far the rehearsed promote is. */
  get progress(): CommitReport | undefined {
    return this.#promotion?.report;
  }

  /** What the promote would report, its duration an estimate; final when step() has said true. */
  get report(): PromoteReport | undefined {
    const report = this.#promotion?.report;
    if (report === undefined) return undefined;
    const { left } = this.#copy;
    const reasons = [...report.reasons];
    if (left > 0) reasons.push(`${left} flows were not looked at: the table has grown too much meanwhile`);
    const exitCode = reasons.length > 0 ? 3 : 0;
    return { ...report, reasons, exitCode, durationMs: estimateMs(report, this.rows) };
  }

  /** Works for one slice; true when done. */
  step(nowMs: number): boolean {
    this.#nowMs = nowMs;
    return runSlice(this.#parts.clock, this.#turn);
  }

  #advance(): number {
    const { kernel } = this.#parts;
    switch (this.phase) {
      case 'kernel':
        if (!this.#isStarted) kernel.dumpStart();
        this.#isStarted = true;
        return this.#read(
          kernel.dumpNext((m, at) => {
            this.rows++;
            this.#kernel.hasFlow(m, at);
          }),
          'expectations',
        );
      case 'expectations':
        if (!this.#isStarted) kernel.expectationDumpStart();
        this.#isStarted = true;
        return this.#read(kernel.expectationDumpNext(this.#kernel.hasExpectation), 'copy');
      case 'copy':
        if (!this.#copy.turn()) return GO_ON;
        this.#promotion = this.#makePromotion();
        this.phase = 'promote';
        return GO_ON;
      case 'promote':
        this.#turns++;
        if (this.#promotion?.step(this.#nowMs) !== true) return GO_ON;
        this.phase = 'done';
        return DONE;
      case 'done':
        return DONE;
    }
  }

  /** An interrupted dump is good enough: what it lacks is looked for in vain, and counted as to be created. */
  #read(state: number, next: DrillPhase): number {
    if (state === DUMP_PENDING) return WAIT;
    if (state === DUMP_MORE) return GO_ON;
    this.#isStarted = false;
    this.phase = next;
    return GO_ON;
  }

  #makePromotion(): Promotion {
    const { clock, timeouts } = this.#parts;
    const table = this.#copy.copy;
    const kernel = this.#kernel;
    const counters = new CounterMap();
    const rules = new EventRules({
      table,
      counters,
      now: () => this.#nowMs,
      isPrimary: () => true,
      get: () => false,
    });
    const emptied = (): number => this.#turns;
    const parts = { kernel, table, rules, counters, clock, emptied, timeouts };
    const persist = (): void => undefined;
    const hot = this.#makeHot();
    const more = { stream: this.#makeStream(), persist, bootId: '', ...(hot ? { hot } : {}) };
    return new Promotion({ ...parts, ...more }, this.#options);
  }

  /** What is in step now; what a source says from now on is not in the copy. */
  #makeHot(): InStep | undefined {
    const { hot } = this.#parts;
    const { slotOf } = this.#copy;
    if (hot === undefined) return undefined;
    return {
      isInStep: (slot) => hot.isInStep(slotOf[slot]),
      hasNewWindows: (slot) => hot.hasNewWindows(slotOf[slot]),
      forEachWaiting: () => undefined,
    };
  }

  /** The sources as they are, and after the word that nobody hears as if they had stepped back: nothing is waited for. */
  #makeStream(): StreamPort {
    const { stream } = this.#parts;
    let isDeclared = false;
    const shown = (source: SourceView): SourceView => ({
      ...source,
      owner: this.#copy.ownerOf(source.owner),
      isAlive: source.isAlive && !isDeclared,
    });
    return {
      sources: () => stream.sources().map(shown),
      highestTerm: stream.highestTerm,
      setRole: () => {
        isDeclared = true;
      },
      take: (owner) => this.#copy.copy.relabel(owner, OWNER_SELF),
      declare: () => {
        isDeclared = true;
      },
      pin: () => undefined,
      unpin: () => undefined,
    };
  }
}

function estimateMs(report: CommitReport, rows: number): number {
  const { total, committed, replaced, updated, expectations } = report;
  const isDumped = rows > total / 16;
  const us =
    total * COST_US.flow +
    (isDumped ? rows * COST_US.row : 0) +
    committed * COST_US.create +
    (replaced + updated) * (COST_US.create + COST_US.question) +
    expectations.total * COST_US.expectation;
  return us / 1000;
}
