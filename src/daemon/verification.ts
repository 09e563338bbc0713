/** `conntwin verify`: kernel == mirror here, and every replica == its node's mirror, both ways (PROTOCOL.md, section 6). */
import type { Progress, VerifyDifference, VerifyReport } from '../control/messages.js';
import {
  ExpectationAudit,
  type ExpectationAuditReport,
  type ExpectationDifference,
} from '../failover/expectation-audit.js';
import { type Difference, type VerifyReport as LocalReport, Verification } from '../failover/verify.js';
import { expectationFromRecord, formatExpectation } from '../flow/expectation-text.js';
import { flowFromRecord } from '../flow/flow.js';
import { formatConntrack } from '../flow/text.js';
import { DIFFERENCES_SHOWN } from '../limits.js';
import { OWNER_SELF } from '../table/slot-bits.js';
import type { Core } from './core.js';
import { PRIORITY_CHECK } from './jobs.js';
import type { Operations } from './operations.js';

/** How long the verdicts of the peers may take after the kernel was compared. Milliseconds. */
const VERDICTS_MAX_MS = 5000;

interface PeerVerdict {
  readonly node: string;
  readonly verdict: string;
  readonly sequence: number;
  readonly detail: string;
}

/** Compares, waits for the verdicts on a MARK that is not older than the question, and sums up. */
export function verify(
  core: Core,
  operations: Operations,
  watch: (p: Progress) => void,
): Promise<VerifyReport> {
  const startedAt = core.ports.clock();
  const askedAt = core.replicator.sequence;
  let local: Verification | undefined;
  let expectations: ExpectationAudit | undefined;
  let deadline = 0;
  let phase = 'kernel';
  return operations.run(
    {
      name: 'verify',
      priority: PRIORITY_CHECK,
      step: (now) => {
        if (core.state === 'joining') return 'wait';
        local ??= new Verification(core.auditParts);
        if (phase === 'kernel') {
          if (!local.step(now)) return local.phase.startsWith('settle') ? 'wait' : 'more';
          phase = 'expectations';
        }
        expectations ??= new ExpectationAudit(core.expectationAuditParts, 'judge');
        if (phase === 'expectations') {
          if (!expectations.step(now)) return expectations.phase === 'settle' ? 'wait' : 'more';
          phase = 'verdicts';
          deadline = now + VERDICTS_MAX_MS;
        }
        return areProven(core, askedAt) || now >= deadline ? 'done' : 'wait';
      },
      progress: () => ({ phase, done: local?.report.flows ?? 0, total: core.table.kernelCount }),
      result: () =>
        summary(core, local!.report, expectations!.report, askedAt, core.ports.clock() - startedAt),
      stop: () => {
        local?.abort();
        expectations?.abort();
      },
    },
    watch,
  );
}

function areProven(core: Core, askedAt: number): boolean {
  return verdicts(core, askedAt).every(({ verdict }) => verdict === 'proven');
}

function verdicts(core: Core, askedAt: number): PeerVerdict[] {
  const result: PeerVerdict[] = [];
  for (const p of core.replicator.peers()) {
    if (!p.alive) {
      const detail = `not heard for ${Math.round(p.silentMs / 100) / 10} s`;
      result.push({ node: p.node, verdict: 'silent', sequence: p.verdictSequence, detail });
      continue;
    }
    const isFresh = p.verdictSequence >= askedAt;
    const theirs = p.verdict === 'proven' && !isFresh ? 'suspect' : p.verdict;
    result.push({
      node: p.node,
      verdict: theirs === 'proven' ? p.myVerdict : theirs,
      sequence: p.verdictSequence,
      detail: `its replica of this node: ${theirs}; our replica of it: ${p.myVerdict}`,
    });
  }
  return result;
}

function summary(
  core: Core,
  local: LocalReport,
  expected: ExpectationAuditReport,
  askedAt: number,
  durationMs: number,
): VerifyReport {
  const peers = verdicts(core, askedAt);
  const reasons: string[] = [];
  let exitCode = 0;
  if (peers.length === 0) reasons.push('no peer: whether a replica is equal cannot be proven');
  for (const { node, verdict, detail } of peers) {
    if (verdict !== 'proven') reasons.push(`${node}: ${detail}`);
    if (verdict === 'diverged') exitCode = 1;
  }
  if (!local.isProvable || !expected.isProvable) {
    reasons.push('kernel events were lost, or the dump was not whole: verify again');
  }
  if (local.differing > 0) {
    exitCode = 1;
    reasons.unshift(`kernel and mirror differ in ${local.differing} flows`);
  }
  if (expected.differing > 0) {
    exitCode = 1;
    reasons.unshift(`kernel and mirror differ in ${expected.differing} expectations`);
  }
  if (exitCode === 0 && reasons.length > 0) exitCode = 3;
  return {
    exitCode,
    kernelFlows: local.flows,
    mirrorFlows: core.table.countOf(OWNER_SELF),
    differenceCount: local.differing + expected.differing,
    differences: [
      ...local.differences.map(differenceText),
      ...expected.differences.map(expectationDifferenceText),
    ].slice(0, DIFFERENCES_SHOWN),
    peers,
    reasons,
    durationMs: Math.round(durationMs),
  };
}

function expectationDifferenceText({ kernel, table }: ExpectationDifference): VerifyDifference {
  const kind = table === undefined ? 'missing' : kernel === undefined ? 'extra' : 'changed';
  const record = kernel ?? table;
  const text = record === undefined ? '' : formatExpectation(expectationFromRecord(record, 0));
  return { kind, flow: `expected: ${text}` };
}

function differenceText({ kernel, table, fields }: Difference): VerifyDifference {
  const kind = table === undefined ? 'missing' : kernel === undefined ? 'extra' : 'changed';
  const record = kernel ?? table;
  const text = record === undefined ? '' : formatConntrack(flowFromRecord(record, 0));
  return { kind, flow: fields.length > 0 ? `${text} (${fields.join(', ')} differ)` : text };
}
