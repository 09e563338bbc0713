/** Flows made, changed and ended at full speed: CPU an event on both nodes, bytes and packets on the link. */
import { setTimeout as pause } from 'node:timers/promises';
import { generate } from '../../lab/background-flows.js';
import type { GeneratorVerb } from '../../lab/flow-generator.js';
import { Lab } from '../../lab/lab.js';
import { burstCost } from '../burst-cost.js';
import { CpuMeter, cpuValues } from '../cpu-meter.js';
import type { Figure, Side, Values } from '../figure.js';
import { EventSink } from '../kernel-limit.js';
import { contenderOf, type Part, type Say, type Sizes } from '../part.js';
import { SETTLED_MS, settled } from '../settling.js';

const VERBS = ['create', 'update', 'delete'] as const;
/** The most that a CPU figure may be of conntrackd's. */
const CPU_RATIO = 0.5;
const BYTES_RATIO = 0.45;

function figures(): Figure[] {
  const cpu = VERBS.flatMap((verb) =>
    (['active', 'backup'] as const).flatMap((node): Figure[] => {
      const name = `CPU per ${verb} ${node === 'active' ? 'event' : 'record'}, ${node}`;
      const id = `${verb}.${node}`;
      return [
        { id, name, unit: 'us', digits: 2, target: { ratio: CPU_RATIO } },
        { id: `${id}.user`, name: `${name}: user mode alone`, unit: 'us', digits: 2, isDetail: true },
      ];
    }),
  );
  return [
    ...cpu,
    {
      id: 'link.bytes',
      name: 'bytes on the link per new IPv4 TCP flow (target: sealed)',
      unit: 'bytes',
      digits: 1,
      ours: 'sealed',
      target: { ratio: BYTES_RATIO },
    },
    { id: 'link.packets', name: 'packets on the link per 1,000 new flows', unit: '', digits: 1 },
    { id: 'burst.missing', name: 'flows missing after the burst', unit: '', digits: 0, isDetail: true },
    { id: 'burst.perSecond', name: 'creations per second of the burst', unit: '', digits: 0, isDetail: true },
  ];
}

async function measure(side: Side, { burst }: Sizes, say: Say): Promise<Values> {
  const lab = await Lab.create({ flows: burst });
  try {
    return await (side === 'kernel' ? kernelEvents(lab, burst, say) : contenderEvents(side, lab, burst, say));
  } finally {
    await lab.close();
  }
}

/** Compilers, caches and allocators warm up: what is measured is a daemon that has run for a while. */
async function warmUp(lab: Lab, flows: number, wait: () => Promise<unknown>): Promise<void> {
  for (const verb of VERBS) {
    await generate(lab, 'fw1', verb, flows, { first: flows });
  }
  await wait();
}

async function contenderEvents(side: Side, lab: Lab, burst: number, say: Say): Promise<Values> {
  const contender = contenderOf(side, lab);
  await contender.start();
  const wait = () => settled(lab, contender.pids());
  say('warm-up');
  await warmUp(lab, burst, wait);
  const meter = new CpuMeter(() => contender.pids());
  const values: Record<string, number> = {};
  for (const verb of VERBS) {
    say(`${burst} times ${verb}`);
    let perSecond = 0;
    const { cpu, link } = await burstCost(lab, meter, verb, burst, async () => {
      ({ perSecond } = await generate(lab, 'fw1', verb, burst));
      await wait();
    });
    Object.assign(values, cpu);
    if (verb !== 'create') continue;
    values['link.bytes'] = link.bytes;
    values['link.packets'] = link.packets * 1000;
    values['burst.missing'] = burst - (await contender.replicated());
    values['burst.perSecond'] = perSecond;
  }
  await contender.stop();
  return values;
}

/** The same events into a loop that only takes them; there is nothing to settle but its queue. */
async function kernelEvents(lab: Lab, burst: number, say: Say): Promise<Values> {
  const sink = await EventSink.start(lab, 'fw1');
  const wait = () => pause(SETTLED_MS);
  say('warm-up');
  await warmUp(lab, burst, wait);
  const meter = new CpuMeter(() => [sink.pid]);
  const values: Record<string, number> = {};
  for (const verb of VERBS as readonly GeneratorVerb[]) {
    say(`${burst} times ${verb}`);
    meter.lap();
    await generate(lab, 'fw1', verb, burst);
    await wait();
    Object.assign(values, cpuValues(verb, meter.lap(), burst));
  }
  await sink.stop();
  return values;
}

export const EVENTS: Part = {
  name: 'events',
  about: 'bursts of creates, updates and deletes: CPU an event and a record, bytes and packets on the link',
  sides: ['conntrackd', 'conntwin', 'sealed', 'kernel'],
  quickRounds: 2,
  figures,
  measure,
};
