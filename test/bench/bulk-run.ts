/** A full bulk to a peer that has nothing: time, and bytes on the link in both directions. */
import { readFileSync } from 'node:fs';
import { ControlClient } from '../../src/control/client.js';
import { generate } from '../lab/background-flows.js';
import { eventually } from '../lab/deadline.js';
import { FirewallPair } from '../lab/firewall-pair.js';
import { Lab } from '../lab/lab.js';
import type { LabDaemon } from '../lab/lab-daemon.js';
import { ConntrackdContender } from './contender-conntrackd.js';
import { linkBytes } from './link-bytes.js';

export interface BulkResult {
  /** The shortest of the rounds: from the request until the backup has all (conntwin: and that is proven). */
  readonly bulkMs: number;
  /** Conntwin: a backup that starts anew, from the proof of its peer's identity to a proven replica. */
  readonly restartMs?: number;
  readonly bulkBytes: number;
}

const BULK_WITHIN_MS = 60_000;

/** Conntrackd's `-n` on a backup that was started anew. */
export async function conntrackdBulk(
  flows: number,
  rounds: number,
  onStep: (text: string) => void,
): Promise<BulkResult> {
  const lab = await Lab.create({ flows });
  try {
    const contender = new ConntrackdContender(lab);
    await contender.start();
    onStep(`conntrackd: ${flows} flows`);
    await generate(lab, 'fw1', 'create', flows);
    await eventually('conntrackd has the flows of its kernel', { withinMs: BULK_WITHIN_MS }, async () => {
      return (await contender.mirrored()) >= flows;
    });
    const results: BulkResult[] = [];
    for (let round = 1; round <= rounds; round++) {
      onStep(`conntrackd: bulk ${round}`);
      await contender.restartBackup();
      const before = await linkBytes(lab);
      const bulkMs = await contender.bulk(flows);
      results.push({ bulkMs, bulkBytes: (await linkBytes(lab)) - before });
    }
    await contender.stop();
    return shortest(results);
  } finally {
    await lab.close();
  }
}

/** A backup that forgets its replica (`flush external` asks for it at once), and one that is started anew. */
export async function conntwinBulk(
  flows: number,
  rounds: number,
  onStep: (text: string) => void,
): Promise<BulkResult> {
  const pair = await FirewallPair.create({ flows });
  const { lab, fw2 } = pair;
  try {
    onStep(`conntwin: ${flows} flows`);
    await generate(lab, 'fw1', 'create', flows);
    await pair.verified(BULK_WITHIN_MS);
    const results: BulkResult[] = [];
    for (let round = 1; round <= rounds; round++) {
      onStep(`conntwin: bulk ${round}`);
      const before = await linkBytes(lab);
      const bulkMs = await flushedBulk(fw2, flows);
      results.push({ bulkMs, bulkBytes: (await linkBytes(lab)) - before });
    }
    onStep('conntwin: restart');
    return { ...shortest(results), restartMs: await restartedBulk(fw2) };
  } finally {
    await pair.close();
  }
}

async function flushedBulk(backup: LabDaemon, flows: number): Promise<number> {
  const client = await ControlClient.connect(backup.socket);
  try {
    const start = performance.now();
    await client.flush('external');
    await eventually('the replica is proven', { withinMs: BULK_WITHIN_MS, everyMs: 10 }, async () => {
      const replica = await backup.replicaOf('fw1');
      return replica?.inSync === true && replica.flows >= flows;
    });
    return performance.now() - start;
  } finally {
    client.close();
  }
}

async function restartedBulk(backup: LabDaemon): Promise<number> {
  await backup.kill();
  const logged = readFileSync(backup.logFile).length;
  await backup.start();
  return eventually('the replica is proven', { withinMs: BULK_WITHIN_MS }, () => {
    return bulkTime(readFileSync(backup.logFile).subarray(logged).toString());
  });
}

const shortest = (results: readonly BulkResult[]): BulkResult =>
  results.reduce((best, each) => (each.bulkMs < best.bulkMs ? each : best));

/** Between the log lines that say who the peer is and that its replica is equal; undefined while one is missing. */
function bulkTime(log: string): number | undefined {
  const times = ['peer: proven', 'peer: in-sync'].map((message) => {
    const line = log.split('\n').find((each) => each.includes(`"${message}"`));
    return line === undefined ? undefined : Date.parse((JSON.parse(line) as { time: string }).time);
  });
  const [proven, inSync] = times;
  return proven === undefined || inSync === undefined ? undefined : inSync - proven;
}
