/** Reports of role changes and commits, as the control API shows them. */
import type { Progress, PromoteReport } from '../control/messages.js';
import { type CommitReport, doneOf } from '../failover/commit-report.js';
import type { PromoteReport as Outcome } from '../failover/promote-report.js';

/** How far a commit is. */
export function commitProgress(phase: string, report: CommitReport): Progress {
  return { phase, done: doneOf(report), total: report.total };
}

/** What a promote, or a commit, did. */
export function promoteReport(
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
