/**
 * `npm run bench:hot`: what a hot backup costs, both sides in one run: CPU of the backup's daemon for each flow that comes
 * and goes, conntwin also cold, so that the kernel's part can be told; how far the kernel is behind; and a promote.
 */
import { setTimeout as pause } from 'node:timers/promises';
import { Command } from 'commander';
import { Churn, generate } from '../lab/background-flows.js';
import { tryRun } from '../lab/command.js';
import { eventually } from '../lab/deadline.js';
import { flowsThatFit } from '../lab/kernel-limits.js';
import { Lab } from '../lab/lab.js';
import { LabDaemon } from '../lab/lab-daemon.js';
import type { Contender } from './contender.js';
import { ConntrackdContender } from './contender-conntrackd.js';
import { ConntwinContender } from './contender-conntwin.js';
import { figure, line, percentile } from './figures.js';
import { clockTicks, cpuMicros, processUsage } from './process-usage.js';

const ALIVE = 5000;
const WARM_UP_MS = 3000;
const LOOK_MS = 20;

const CONTENDERS: Record<string, (lab: Lab) => Contender> = {
  'conntrackd, hot': (lab) => new ConntrackdContender(lab, { isHot: true }),
  'conntwin, hot': (lab) => new ConntwinContender(lab, { failover: { standby: 'hot' } }),
  'conntwin, cold': (lab) => new ConntwinContender(lab),
};

/** Microseconds of the backup's CPU for each flow that is created and deleted on the active node. */
async function churnCost(make: (lab: Lab) => Contender, perSecond: number, seconds: number): Promise<number> {
  const lab = await Lab.create({ flows: 200_000 });
  try {
    const contender = make(lab);
    await contender.start();
    const [, backup] = contender.pids();
    const churn = Churn.start(lab, 'fw1', perSecond, ALIVE);
    await pause(WARM_UP_MS);
    const ticks = clockTicks();
    const since = performance.now();
    const before = processUsage(backup, ticks);
    await pause(seconds * 1000);
    const micros = cpuMicros(before, processUsage(backup, ticks));
    const took = (performance.now() - since) / 1000;
    return micros / (took * Math.min(perSecond, (await churn.stop()).perSecond));
  } finally {
    await lab.close();
  }
}

interface HotFigures {
  readonly lags: Float64Array;
  readonly promoteMs: number;
  readonly kept: number;
  readonly report: string;
}

/** Samples of hotLag under churn, and a promote with `flows` held. */
async function hotFigures(flows: number, perSecond: number, seconds: number): Promise<HotFigures> {
  const lab = await Lab.create({ flows: flows + 100_000 });
  try {
    const failover = { standby: 'hot' };
    const [fw1, fw2] = (['fw1', 'fw2'] as const).map((fw) => new LabDaemon(lab, fw, { failover }));
    await Promise.all([fw1.start(), fw2.start()]);
    await fw1.failover('primary');
    await generate(lab, 'fw1', 'create', flows, { first: 50_000_000 });
    await eventually('all flows are held', { withinMs: 120_000 }, async () => {
      const { standby } = await fw2.status();
      return standby.held >= flows && standby.waiting === 0;
    });
    const churn = Churn.start(lab, 'fw1', perSecond, ALIVE);
    await pause(WARM_UP_MS);
    const lags: number[] = [];
    for (const end = performance.now() + seconds * 1000; performance.now() < end; await pause(LOOK_MS)) {
      lags.push((await fw2.status()).standby.lagMs);
    }
    await churn.stop();
    await fw1.kill();
    const { promote } = await fw2.failover('primary');
    const { durationMs = Number.NaN, kept = 0, committed, updated, replaced, longestPauseMs } = promote ?? {};
    const report = JSON.stringify({ committed, updated, replaced, longestPauseMs });
    return { lags: Float64Array.from(lags).sort(), promoteMs: durationMs, kept, report };
  } finally {
    await lab.close();
  }
}

async function main(): Promise<void> {
  const options = new Command('npm run bench:hot --')
    .option('--flows <n>', 'flows held at the promote', '100000')
    .option('--rate <n>', 'flows that come and go in a second', '10000')
    .option('--seconds <n>', 'time measured', '8')
    .parse()
    .opts<{ flows: string; rate: string; seconds: string }>();
  const [rate, seconds] = [Number(options.rate), Number(options.seconds)];
  const { flows, note } = flowsThatFit(Number(options.flows));
  if (note !== undefined) process.stderr.write(`${note}\n`);
  const hasConntrackd = (await tryRun(['sh', '-c', 'command -v conntrackd'])).code === 0;
  process.stdout.write(`${line([`backup, ${rate} flows/s come and go`, 'us CPU/flow'])}\n`);
  const costs = new Map<string, number>();
  for (const [name, make] of Object.entries(CONTENDERS)) {
    if (name.startsWith('conntrackd') && !hasConntrackd) continue;
    costs.set(name, await churnCost(make, rate, seconds));
    process.stdout.write(`${line([name, figure(costs.get(name), 2)])}\n`);
  }
  const [theirs, ours] = [costs.get('conntrackd, hot'), costs.get('conntwin, hot')];
  if (theirs && ours)
    process.stdout.write(`${line(['conntwin / conntrackd, hot', figure(ours / theirs, 2)])}\n`);
  const { lags, promoteMs, kept, report } = await hotFigures(flows, rate, seconds);
  for (const p of [0.5, 0.99, 1]) {
    process.stdout.write(`${line([`hotLag, ms, p${p * 100}`, figure(percentile(lags, p), 1)])}\n`);
  }
  process.stdout.write(`${line([`promote with ${flows} flows held, ms`, figure(promoteMs, 1)])}\n`);
  process.stdout.write(`kept ${kept}, others ${report}\n`);
}

await main();
