/** A lossy cable under load: does the backup have it all, how far is it behind, what does it cost. */
import { setTimeout as pause } from 'node:timers/promises';
import { Churn, generate } from '../lab/background-flows.js';
import { eventually } from '../lab/deadline.js';
import { FirewallPair } from '../lab/firewall-pair.js';
import { Lab } from '../lab/lab.js';
import { type LabDaemon, SYNC_PORT } from '../lab/lab-daemon.js';
import { ConntrackdContender } from './contender-conntrackd.js';
import { percentile } from './figures.js';
import { cpuMicros, type ProcessUsage, processUsage } from './process-usage.js';

export interface LossSizes {
  readonly lossPercent: number;
  /** Half of them creations, half deletions. */
  readonly eventsPerSecond: number;
  readonly seconds: number;
}

export interface LossResult {
  /** MARKs that the backup compared while the load ran, and how many of them proved its replica; percent. */
  readonly marks: number;
  readonly provenShare: number;
  readonly lagP50Ms: number;
  readonly lagP99Ms: number;
  readonly lagMaxMs: number;
  /** Flows of the backup that the active kernel has not, or the other way round, SETTLE_MS after the load. */
  readonly differing: number;
  /** Percent of a core. */
  readonly activeCpu: number;
  readonly backupCpu: number;
}

const SETTLE_MS = 5000;
const SAMPLE_MS = 20;
/** Flows that stand all along, and those of the churn that are alive at a time. */
const STANDING_FLOWS = 20_000;
const ALIVE_FLOWS = 10_000;
const READY_WITHIN_MS = 30_000;
const PERCENT = 100;

interface Contended {
  readonly lab: Lab;
  pids(): readonly [number, number];
  /** Looks once, while the load runs. */
  sample(): Promise<void>;
  replicated(): Promise<number>;
}

async function lose(lab: Lab, percent: number): Promise<void> {
  const ruleset = `table inet bench { chain in { type filter hook input priority -400;
    iifname "sync" udp dport ${SYNC_PORT} numgen random mod 100 < ${percent} counter drop; }
}`;
  for (const fw of ['fw1', 'fw2'] as const) await lab.exec(fw, ['nft', '-f', '-'], { input: ruleset });
}

async function load(
  { lab, pids, sample, replicated }: Contended,
  { lossPercent, eventsPerSecond, seconds }: LossSizes,
  ticks: number,
): Promise<Pick<LossResult, 'differing' | 'activeCpu' | 'backupCpu'>> {
  await generate(lab, 'fw1', 'create', STANDING_FLOWS, { first: 1_000_000 });
  await eventually('the standing flows are there', { withinMs: READY_WITHIN_MS }, async () => {
    return (await replicated()) >= STANDING_FLOWS;
  });
  await lose(lab, lossPercent);
  const usages = (): ProcessUsage[] => pids().map((pid) => processUsage(pid, ticks));
  const before = usages();
  const churn = Churn.start(lab, 'fw1', eventsPerSecond / 2, ALIVE_FLOWS);
  const end = performance.now() + seconds * 1000;
  while (performance.now() < end) {
    await sample();
    await pause(SAMPLE_MS);
  }
  const after = usages();
  await churn.stop();
  await pause(SETTLE_MS);
  const share = (i: number) => (cpuMicros(before[i], after[i]) / (seconds * 1e6)) * PERCENT;
  const differing = Math.abs((await replicated()) - STANDING_FLOWS);
  return { differing, activeCpu: share(0), backupCpu: share(1) };
}

export async function conntrackdLoss(sizes: LossSizes, ticks: number): Promise<LossResult> {
  const lab = await Lab.create({ flows: STANDING_FLOWS * 2 });
  try {
    const contender = new ConntrackdContender(lab);
    await contender.start();
    const result = await load(
      {
        lab,
        pids: () => contender.pids(),
        sample: async () => undefined,
        replicated: () => contender.replicated(),
      },
      sizes,
      ticks,
    );
    await contender.stop();
    const unknown = Number.NaN;
    return {
      ...result,
      marks: unknown,
      provenShare: unknown,
      lagP50Ms: unknown,
      lagP99Ms: unknown,
      lagMaxMs: unknown,
    };
  } finally {
    await lab.close();
  }
}

export async function conntwinLoss(sizes: LossSizes, ticks: number): Promise<LossResult> {
  const pair = await FirewallPair.create({ flows: STANDING_FLOWS * 2 });
  const { lab, fw1, fw2 } = pair;
  try {
    const lags: number[] = [];
    const before = await marks(fw2);
    const result = await load(
      {
        lab,
        pids: () => [fw1.pid ?? 0, fw2.pid ?? 0],
        sample: async () => {
          const peer = (await fw1.status()).peers.find((p) => p.node === 'fw2');
          lags.push(peer?.lagMs ?? Number.POSITIVE_INFINITY);
        },
        replicated: () => pair.replicatedFlows(),
      },
      sizes,
      ticks,
    );
    const sorted = Float64Array.from(lags).sort();
    const [lagP50Ms, lagP99Ms, lagMaxMs] = [0.5, 0.99, 1].map((p) => percentile(sorted, p));
    const [proven, differing] = (await marks(fw2)).map((count, i) => count - before[i]);
    const all = proven + differing;
    return { ...result, marks: all, provenShare: (proven / all) * PERCENT, lagP50Ms, lagP99Ms, lagMaxMs };
  } finally {
    await pair.close();
  }
}

/** MARKs so far: those that proved the replica, and those that differed. */
async function marks(backup: LabDaemon): Promise<readonly [number, number]> {
  const { counters } = await backup.status();
  return [counters['stream.mark-proven'] ?? 0, counters['stream.mark-differs'] ?? 0];
}
