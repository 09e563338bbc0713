/** Memory a flow as tables grow: a fresh pair of daemons for every size. */
import { generate } from '../../lab/background-flows.js';
import { Lab } from '../../lab/lab.js';
import { CpuMeter } from '../cpu-meter.js';
import type { Figure, Side, Values } from '../figure.js';
import { contenderOf, type Part, type Say, type Sizes } from '../part.js';
import { settled } from '../settling.js';

const NODES = ['active', 'backup'] as const;

const figures = ({ growth }: Sizes): Figure[] =>
  NODES.flatMap((node) =>
    growth.map((flows) => ({
      id: `growth.${node}.${flows}`,
      name: `memory per flow at ${flows}, ${node}`,
      unit: 'bytes',
      digits: 0,
      isDetail: true,
    })),
  );

async function measure(side: Side, { growth }: Sizes, say: Say): Promise<Values> {
  const values: Record<string, number> = {};
  for (const flows of growth) {
    say(`${flows} flows`);
    const lab = await Lab.create({ flows });
    try {
      const contender = contenderOf(side, lab);
      await contender.start();
      await settled(lab, contender.pids());
      const meter = new CpuMeter(() => contender.pids());
      const empty = meter.memory();
      await generate(lab, 'fw1', 'create', flows);
      await settled(lab, contender.pids());
      for (const [i, bytes] of meter.memory().entries()) {
        values[`growth.${NODES[i]}.${flows}`] = (bytes - empty[i]) / flows;
      }
      await contender.stop();
    } finally {
      await lab.close();
    }
  }
  return values;
}

export const GROWTH: Part = {
  name: 'growth',
  about: 'memory a flow from 10,000 to 2,000,000 flows (not in --quick)',
  sides: ['conntrackd', 'conntwin'],
  quickRounds: 1,
  figures,
  measure,
};
