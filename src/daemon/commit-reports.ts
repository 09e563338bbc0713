/** Reports of role changes and commits, as the control API shows them. */
import type {
  ExpectationsReport,
  FailoverReport,
  Progress,
  PromoteReport,
  Role,
} from '../control/messages.js';
import { type CommitReport, doneOf, type ExpectationCounts } from '../failover/commit-report.js';
import type { PromoteReport as Outcome, SourceReport } from '../failover/promote-report.js';
import { flowFromRecord } from '../flow/flow.js';
import { formatConntrack } from '../flow/text.js';

/** How far a commit is. */
export function commitProgress(phase: string, report: CommitReport): Progress {
  return { phase, done: doneOf(report), total: report.total };
}

/** What is known of the work besides its counts. Milliseconds. */
export interface CommitCircumstances {
  readonly durationMs: number;
  readonly longestPauseMs: number;
  readonly endedAtMs: number;
  readonly sources: readonly SourceReport[];
}

/** What a promote, or a commit, did. */
export function promoteReport(report: CommitReport, about: CommitCircumstances): PromoteReport {
  const { total, committed, kept, updated, replaced, withoutMaster, withoutHelper } = report;
  const { durationMs, longestPauseMs, endedAtMs, sources } = about;
  return {
    total,
    committed,
    kept,
    updated,
    replaced,
    rejected: sumOf(report.rejected),
    rejectedBy: { ...report.rejected },
    rejectedFlows: report.rejectedFlows.map(({ reason, record }) => ({
      reason,
      flow: formatConntrack(flowFromRecord(record, 0)),
    })),
    withoutMaster,
    withoutHelper,
    expectations: expectationsReport(report.expectations),
    durationMs: tenths(durationMs),
    flowsPerSecond: durationMs > 0 ? Math.round((doneOf(report) * 1000) / durationMs) : 0,
    longestPauseMs: tenths(longestPauseMs),
    sources: sources.map(({ node }) => node),
    sourceDetails: sources.map(({ isProven, isAlive, ...rest }) => ({
      ...rest,
      proven: isProven,
      alive: isAlive,
    })),
    endedAtMs,
  };
}

/** What a promote would do: its duration is an estimate, and there is no rate and no pause to tell. */
export function drillReport(role: Role, report: Outcome, endedAtMs: number): FailoverReport {
  const { term, exitCode, reasons } = report;
  const promote = promoteReport(report, { ...report, longestPauseMs: 0, endedAtMs });
  return { role, term, promote: { ...promote, flowsPerSecond: 0 }, exitCode, reasons: [...reasons] };
}

function expectationsReport({ total, committed, kept, rejected }: ExpectationCounts): ExpectationsReport {
  return { total, committed, kept, rejected: sumOf(rejected), rejectedBy: { ...rejected } };
}

const tenths = (ms: number): number => Math.round(ms * 10) / 10;

function sumOf(counts: Readonly<Record<string, number>>): number {
  return Object.values(counts).reduce((sum, n) => sum + n, 0);
}
