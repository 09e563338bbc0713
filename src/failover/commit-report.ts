/** What a commit did, flow by flow counted. */

import { allocateMemory, copyRecord, lengthOf, type Memory } from '../flow/record.js';
import { REJECTED_SHOWN } from '../limits.js';

/** Why a flow of the replica is not in this kernel after a commit; a closed list. */
export const REJECT_REASONS = [
  /** No room in the kernel's table, also not at the end (ENOMEM, ENOSPC). */
  'kernel-full',
  /** Another life of the tuple, seen both ways and born here meanwhile, lives on. */
  'live-here',
  /** A live flow of this kernel holds the reply tuple. */
  'reply-taken',
  /** Three tries, and each time the kernel had another flow there again. */
  'conflict',
  /** The kernel takes no such flow (EINVAL, ERANGE and others). */
  'refused',
  /** The kernel's answers got lost three times. */
  'unanswered',
] as const;
export type RejectReason = (typeof REJECT_REASONS)[number];

/** Why an expectation of the replica is not in this kernel after a commit; a closed list. */
export const EXPECTATION_REJECT_REASONS = [
  /** Its master is not in this kernel. */
  'no-master',
  /** Its master has no helper here: this kernel does not have it. */
  'no-helper',
  /** nf_conntrack_expect_max, or no memory. */
  'kernel-full',
  /** The kernel takes no such expectation (EINVAL, EBUSY and others). */
  'refused',
  /** The kernel's answers got lost three times. */
  'unanswered',
] as const;
export type ExpectationRejectReason = (typeof EXPECTATION_REJECT_REASONS)[number];

/** What became of the expectations. */
export interface ExpectationCounts {
  total: number;
  committed: number;
  /** The kernel expected the flow already. */
  kept: number;
  rejected: Partial<Record<ExpectationRejectReason, number>>;
}

/** Counts that grow while the commit runs. */
export interface CommitReport {
  /** Flows to look at, known once the list is made. */
  total: number;
  committed: number;
  kept: number;
  updated: number;
  replaced: number;
  rejected: Partial<Record<RejectReason, number>>;
  /** Created without their master, which is gone. */
  withoutMaster: number;
  /** Created without their helper, which this kernel does not have. */
  withoutHelper: number;
  expectations: ExpectationCounts;
  /** The first of the rejected ones, as the replica had them. */
  rejectedFlows: RejectedFlow[];
}

export interface RejectedFlow {
  readonly reason: RejectReason;
  /** A copy of the record, at 0. */
  readonly record: Memory;
}

export function newCommitReport(): CommitReport {
  return {
    total: 0,
    committed: 0,
    kept: 0,
    updated: 0,
    replaced: 0,
    rejected: {},
    withoutMaster: 0,
    withoutHelper: 0,
    expectations: { total: 0, committed: 0, kept: 0, rejected: {} },
    rejectedFlows: [],
  };
}

/** Counts a flow that is not in this kernel; `m` has its record at `at`. */
export function countRejected(report: CommitReport, reason: RejectReason, m: Memory, at: number): void {
  report.rejected[reason] = (report.rejected[reason] ?? 0) + 1;
  if (report.rejectedFlows.length === REJECTED_SHOWN) return;
  const record = allocateMemory(lengthOf(m, at));
  copyRecord(m, at, record, 0);
  report.rejectedFlows.push({ reason, record });
}

/** Flows that were dealt with so far. */
export function doneOf(report: CommitReport): number {
  let done = report.committed + report.kept + report.updated + report.replaced;
  for (const count of Object.values(report.rejected)) done += count;
  return done;
}

/** The counts as the fields of a log line; what is 0 is left out, but for what was committed. */
export function logFields(report: CommitReport): Record<string, unknown> {
  const { total, committed, kept, updated, replaced, rejected, withoutMaster, withoutHelper } = report;
  const { expectations } = report;
  const counts = { kept, updated, replaced, withoutMaster, withoutHelper };
  const fields: Record<string, unknown> = { total, committed };
  for (const [name, count] of Object.entries(counts)) if (count > 0) fields[name] = count;
  if (Object.keys(rejected).length > 0) fields.rejected = rejected;
  if (expectations.total > 0) fields.expectations = expectations;
  return fields;
}
