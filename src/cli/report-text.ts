import type { FailoverReport, PromoteReport, VerifyReport } from '../control/messages.js';
import { duration, grouped } from './terminal.js';

/** A promote in one sentence. */
export function promoteText(promote: PromoteReport): string {
  const { committed, kept, updated, replaced, rejected, rejectedBy, durationMs, sources, endedAtMs } =
    promote;
  const counts = `${grouped(committed)} committed, ${grouped(kept)} kept, ${grouped(updated)} updated, ${grouped(replaced)} replaced`;
  const reasons = Object.entries(rejectedBy).map(([reason, count]) => `${reason} ${grouped(count)}`);
  const refused = `${grouped(rejected)} rejected${reasons.length > 0 ? ` (${reasons.join(', ')})` : ''}`;
  const from = sources.length > 0 ? ` from ${sources.join(', ')}` : '';
  const when =
    endedAtMs > 0 ? `, ${new Date(endedAtMs).toISOString().replace('T', ' ').slice(0, 19)} UTC` : '';
  return `${counts}, ${refused} in ${duration(durationMs)}${from}${when}`;
}

/** What a failover or commit did. */
export function failoverText({ role, term, promote, reasons }: FailoverReport): string {
  const lines = [`role ${role}, term ${term}`];
  if (promote !== null) lines.push(promoteText(promote));
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
