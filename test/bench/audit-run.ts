/** What the background audit takes of a core while nothing happens, at a full table. */
import { setTimeout as pause } from 'node:timers/promises';
import { generate } from '../lab/background-flows.js';
import { eventually } from '../lab/deadline.js';
import { Lab } from '../lab/lab.js';
import { LabDaemon } from '../lab/lab-daemon.js';
import { scheduledMicros } from './process-usage.js';

export interface AuditCost {
  /** Percent of a core of an idle daemon without the background audit, and with it. */
  readonly idleCpu: number;
  readonly auditCpu: number;
}

const READY_WITHIN_MS = 60_000;
/** The audits of the start and of the change of role are over by then. */
const SETTLE_MS = 20_000;
const PERCENT = 100;

async function idleShare(flows: number, seconds: number, interval: string): Promise<number> {
  const lab = await Lab.create({ flows });
  try {
    const daemon = new LabDaemon(lab, 'fw1', { kernel: { audit_interval: interval } });
    await generate(lab, 'fw1', 'create', flows);
    await daemon.start();
    await daemon.failover('primary');
    await eventually('the first audit is done', { withinMs: READY_WITHIN_MS }, async () => {
      return (await daemon.status()).mirror.flows >= flows;
    });
    await pause(SETTLE_MS);
    const pid = daemon.pid ?? 0;
    const before = scheduledMicros(pid);
    await pause(seconds * 1000);
    const share = ((scheduledMicros(pid) - before) / (seconds * 1e6)) * PERCENT;
    await daemon.stop();
    return share;
  } finally {
    await lab.close();
  }
}

/** An idle daemon with a background audit that never comes, and with one that never ends. */
export async function measureAudit(
  flows: number,
  seconds: number,
  say: (text: string) => void,
): Promise<AuditCost> {
  say(`conntwin: ${flows} flows, no background audit`);
  const idleCpu = await idleShare(flows, seconds, '24h');
  say(`conntwin: ${flows} flows, background audit`);
  const auditCpu = await idleShare(flows, seconds, '1s');
  return { idleCpu, auditCpu };
}
