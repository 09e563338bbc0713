/** The highest rate of creations at which no event is lost, the mirror is the kernel's table and the backup has all. */
import { setTimeout as pause } from 'node:timers/promises';
import { GENERATOR_PROGRAM, generate } from '../../lab/background-flows.js';
import type { ScheduledReport } from '../../lab/flow-generator.js';
import { Lab } from '../../lab/lab.js';
import { program } from '../../lab/program.js';
import { eventDrops } from '../event-drops.js';
import type { Figure, Side, Values } from '../figure.js';
import { EventSink } from '../kernel-limit.js';
import { contenderOf, type Part, type Say, type Sizes } from '../part.js';
import { SETTLED_MS, settled } from '../settling.js';

/** Tried one after the other until one loses; the last is more than any generator makes. */
const RATES = [80_000, 110_000, 140_000, 170_000, 1_000_000];
/**
 * Long enough that the event queues, which hold a hundred thousand, do not hide the loss. Flows of a trial stay: to clear
 * them away without a loss would take longer than the trial.
 */
const TRIAL_SECONDS = 3;
const TRIAL_FLOWS_MAX = 600_000;
const FLOWS_MAX = 2_000_000;
const WARM_FLOWS = 100_000;
const RATIO = 1.3;
const SHARE = 0.85;

function figures(): Figure[] {
  return [
    {
      id: 'rate.lossless',
      name: 'highest lossless creation rate, flows per second',
      unit: '',
      digits: 0,
      isMoreBetter: true,
      target: { ratio: RATIO, share: SHARE },
    },
    { id: 'rate.lost', name: 'events lost one step above it', unit: '', digits: 0, isDetail: true },
  ];
}

/** Who takes the events of fw1. */
interface Taker {
  wait(): Promise<unknown>;
  /** Flows that did not come to the far end, or cannot be proven. */
  missing(flows: number): Promise<number>;
  stop(): Promise<unknown>;
}

async function takerOf(side: Side, lab: Lab): Promise<Taker> {
  if (side === 'kernel') {
    const sink = await EventSink.start(lab, 'fw1');
    return { wait: () => pause(SETTLED_MS), missing: async () => 0, stop: () => sink.stop() };
  }
  const contender = contenderOf(side, lab);
  await contender.start();
  return {
    wait: () => settled(lab, contender.pids()),
    missing: async (flows) => {
      const missing = Math.abs(flows - (await contender.replicated()));
      return missing === 0 && !(await contender.verify()) ? 1 : missing;
    },
    stop: () => contender.stop(),
  };
}

async function measure(side: Side, { full }: Sizes, say: Say): Promise<Values> {
  // A full table is a million, and as many again are tried; a small one is for tests.
  const most = Math.min(full * 2, FLOWS_MAX);
  const lab = await Lab.create({ flows: most });
  try {
    const taker = await takerOf(side, lab);
    const warm = Math.min(WARM_FLOWS, full);
    say('warm-up');
    await generate(lab, 'fw1', 'create', warm);
    await generate(lab, 'fw1', 'delete', warm);
    await taker.wait();
    const values: Record<string, number> = {};
    let first = 0;
    for (const rate of RATES) {
      const count = Math.min(most - first, TRIAL_FLOWS_MAX, rate * TRIAL_SECONDS);
      if (count <= 0) break;
      say(`${rate} creations/s`);
      const before = await eventDrops(lab, 'fw1');
      const schedule = ['schedule', ...[count, first, rate].map(String)];
      const argv = [...program(GENERATOR_PROGRAM), ...schedule];
      const { perSecond } = JSON.parse(await lab.exec('fw1', argv)) as ScheduledReport;
      first += count;
      await taker.wait();
      const lost = (await eventDrops(lab, 'fw1')) - before;
      const missing = await taker.missing(first);
      say(`${perSecond} creations/s came to be, ${lost} events lost, ${missing} flows missing`);
      values['rate.lost'] = Math.max(lost, missing);
      if (values['rate.lost'] > 0) break;
      values['rate.lossless'] = Math.max(values['rate.lossless'] ?? 0, perSecond);
      // The generator is at its end.
      if (perSecond < rate * 0.9) break;
    }
    await taker.stop();
    return values;
  } finally {
    await lab.close();
  }
}

export const RATE: Part = {
  name: 'rate',
  about: 'the highest creation rate without a lost event, beside a loop that only receives',
  sides: ['conntrackd', 'conntwin', 'kernel'],
  quickRounds: 1,
  figures,
  measure,
};
