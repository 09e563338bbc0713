/** A mixed table: IPv4, IPv6, UDP and translated flows are made, changed and ended; CPU an event, bytes an event on the link. */
import type { GeneratorVerb } from '../../lab/flow-generator.js';
import { Lab } from '../../lab/lab.js';
import { program } from '../../lab/program.js';
import { burstCost } from '../burst-cost.js';
import { CpuMeter } from '../cpu-meter.js';
import type { Figure, Side, Values } from '../figure.js';
import { contenderOf, type Part, type Say, type Sizes } from '../part.js';
import { settled } from '../settling.js';

const VERBS = ['create', 'update', 'delete'] as const satisfies GeneratorVerb[];
const CPU_RATIO = 0.5;
const PROGRAM = 'test/bench/mixed-flows-program';
/** What the marks are before and after a change. */
const MARKS: Readonly<Record<GeneratorVerb, number>> = { create: 1, update: 2, delete: 2 };

function figures(): Figure[] {
  return VERBS.flatMap((verb): Figure[] => [
    ...(['active', 'backup'] as const).map((node): Figure => {
      const name = `CPU per ${verb} ${node === 'active' ? 'event' : 'record'} of a mixed table, ${node}`;
      return { id: `mixed.${verb}.${node}`, name, unit: 'us', digits: 2, target: { ratio: CPU_RATIO } };
    }),
    {
      id: `mixed.${verb}.bytes`,
      name: `bytes on the link per ${verb} of a mixed table`,
      unit: 'bytes',
      digits: 1,
      isDetail: true,
    },
  ]);
}

async function generate(lab: Lab, verb: GeneratorVerb, count: number, first: number): Promise<void> {
  const argv = [...program(PROGRAM), verb, ...[count, first, MARKS[verb]].map(String)];
  const { errors } = JSON.parse(await lab.exec('fw1', argv)) as { errors: Record<string, number> };
  if (Object.keys(errors).length > 0)
    throw new Error(`the kernel refused to ${verb}: ${JSON.stringify(errors)}`);
}

async function measure(side: Side, { burst }: Sizes, say: Say): Promise<Values> {
  const lab = await Lab.create({ flows: 2 * burst });
  try {
    const contender = contenderOf(side, lab);
    await contender.start();
    const wait = () => settled(lab, contender.pids());
    say('warm-up');
    for (const verb of VERBS) await generate(lab, verb, burst, burst);
    await wait();
    const meter = new CpuMeter(() => contender.pids());
    const values: Record<string, number> = {};
    for (const verb of VERBS) {
      say(`${burst} times ${verb}`);
      const { cpu, link } = await burstCost(lab, meter, `mixed.${verb}`, burst, async () => {
        await generate(lab, verb, burst, 0);
        await wait();
      });
      Object.assign(values, cpu, { [`mixed.${verb}.bytes`]: link.bytes });
      if (verb !== 'update') continue;
      const missing = burst - (await contender.replicated());
      if (missing > 0) throw new Error(`the backup lacks ${missing} of ${burst} flows`);
    }
    await contender.stop();
    return values;
  } finally {
    await lab.close();
  }
}

export const MIXED: Part = {
  name: 'mixed',
  about:
    'creates, updates and deletes of IPv4, IPv6, UDP and translated flows: CPU and bytes an event (not in --quick)',
  sides: ['conntrackd', 'conntwin'],
  quickRounds: 1,
  figures,
  measure,
};
