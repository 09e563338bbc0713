import type {
  ExpectationsReport,
  FailoverReport,
  PromoteReport,
  PurgeReport,
  SourceReport,
  VerifyReport,
} from '../control/messages.js';
import { duration, grouped } from './terminal.js';

/** A promote in one sentence. */
export function promoteText(promote: PromoteReport, isEstimate = false): string {
  const { committed, kept, updated, replaced, rejected, rejectedBy, durationMs, sources, endedAtMs } =
    promote;
  const counts = `${grouped(committed)} committed, ${grouped(kept)} kept, ${grouped(updated)} updated, ${grouped(replaced)} replaced`;
  const refused = `${grouped(rejected)} rejected${reasonsText(rejectedBy)}`;
  const took = `${isEstimate ? 'about ' : ''}${duration(durationMs)}`;
  const from = sources.length > 0 ? ` from ${sources.join(', ')}` : '';
  const when = endedAtMs > 0 ? `, ${timeText(endedAtMs)}` : '';
  return `${counts}, ${refused} in ${took}${from}${when}`;
}

/** What else an operator should know of it, a line each; empty when there is nothing. */
export function promoteDetails(promote: PromoteReport): string[] {
  const { expectations, withoutMaster, withoutHelper, sourceDetails, rejectedFlows, rejected } = promote;
  const lines = sourceDetails.map(sourceText);
  if (expectations.total > 0) lines.push(expectationsText(expectations));
  if (withoutMaster > 0) lines.push(`${grouped(withoutMaster)} without their master, which is gone`);
  if (withoutHelper > 0)
    lines.push(`${grouped(withoutHelper)} without their helper, which this kernel lacks`);
  if (promote.flowsPerSecond > 0) {
    const pause = `longest pause of the daemon ${duration(promote.longestPauseMs)}`;
    lines.push(`${grouped(promote.flowsPerSecond)} flows/s, ${pause}`);
  }
  for (const { reason, flow } of rejectedFlows) lines.push(`rejected, ${reason}: ${flow}`);
  const more = rejected - rejectedFlows.length;
  if (rejectedFlows.length > 0 && more > 0) lines.push(`... and ${grouped(more)} more`);
  return lines;
}

function sourceText({ node, term, flows, expectations, proven, alive }: SourceReport): string {
  const expected = expectations > 0 ? ` and ${grouped(expectations)} expectations` : '';
  const was = term > 0 ? `primary in term ${term}` : 'never primary';
  return `${node}: ${grouped(flows)} flows${expected}, ${was}, ${proven ? 'proven' : 'NOT proven'}, ${alive ? 'alive' : 'silent'}`;
}

function expectationsText({ committed, kept, rejected, rejectedBy }: ExpectationsReport): string {
  const counts = `${grouped(committed)} committed, ${grouped(kept)} kept, ${grouped(rejected)} rejected`;
  return `expectations: ${counts}${reasonsText(rejectedBy)}`;
}

const reasonsText = (rejectedBy: Readonly<Record<string, number>>): string => {
  const reasons = Object.entries(rejectedBy).map(([reason, count]) => `${reason} ${grouped(count)}`);
  return reasons.length > 0 ? ` (${reasons.join(', ')})` : '';
};

/** What a purge did, in one line. */
export function purgeText({ purged, skippedBy, durationMs, endedAtMs, isCancelled }: PurgeReport): string {
  const skipped = Object.values(skippedBy).reduce((sum, count) => sum + count, 0);
  const end = isCancelled ? ', then it was cancelled' : '';
  const when = endedAtMs > 0 ? `, ${timeText(endedAtMs)}` : '';
  return `${grouped(purged)} flows purged, ${grouped(skipped)} kept${reasonsText(skippedBy)} in ${duration(durationMs)}${when}${end}`;
}

const timeText = (ms: number): string => `${new Date(ms).toISOString().replace('T', ' ').slice(0, 19)} UTC`;

/** What a promote would do. */
export function drillText({ role, term, promote, reasons }: FailoverReport): string {
  const lines = [`drill, nothing was changed: ${role} now, a promote would take term ${term} and come to`];
  if (promote !== null) lines.push(promoteText(promote, true), ...promoteDetails(promote));
  return `${[...lines, ...reasons.map((reason) => `! ${reason}`)].join('\n')}\n`;
}

/** What a failover or commit did. */
export function failoverText({ role, term, promote, reasons }: FailoverReport): string {
  const lines = [`role ${role}, term ${term}`];
  if (promote !== null) lines.push(promoteText(promote), ...promoteDetails(promote));
  return `${[...lines, ...reasons.map((reason) => `! ${reason}`)].join('\n')}\n`;
}

const VERDICTS: Readonly<Record<number, string>> = { 0: 'equal', 1: 'DIFFERENT', 3: 'not provable' };

/** What verify found, differences first. */
export function verifyText(report: VerifyReport): string {
  const { exitCode, kernelFlows, mirrorFlows, differenceCount, differences, peers, reasons, durationMs } =
    report;
  const local = differenceCount === 0 ? 'equal' : `${grouped(differenceCount)} differences`;
  const lines = [
    `kernel ${grouped(kernelFlows)} flows, mirror ${grouped(mirrorFlows)} flows: ${local}`,
    ...differences.map(({ kind, flow }) => `  ${kind}: ${flow}`),
  ];
  if (differenceCount > differences.length) {
    lines.push(`  ... and ${grouped(differenceCount - differences.length)} more`);
  }
  for (const { node, verdict, sequence, detail } of peers) {
    lines.push(`replica on ${node}: ${verdict} at ${sequence}${detail === '' ? '' : ` (${detail})`}`);
  }
  lines.push(...reasons.map((reason) => `! ${reason}`));
  lines.push(`${VERDICTS[exitCode] ?? 'failed'} (${duration(durationMs)})`);
  return `${lines.join('\n')}\n`;
}
