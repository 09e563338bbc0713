/** A full table: what it takes of memory, how fast it is committed, what a dump costs, and how long any of it stalls. */
import { generate } from '../../lab/background-flows.js';
import { Lab } from '../../lab/lab.js';
import { CpuMeter } from '../cpu-meter.js';
import type { Figure, Side, Values } from '../figure.js';
import { bareDumpMs } from '../kernel-limit.js';
import { contenderOf, type Part, type Say, type Sizes } from '../part.js';
import { settled } from '../settling.js';

const MEMORY_RATIO = 0.3;
const COMMIT_RATIO = 4;
const COMMIT_SHARE = 0.92;
const STALL_MS = 10;

function figures({ full }: Sizes): Figure[] {
  const memory = (node: string): Figure => ({
    id: `memory.${node}`,
    name: `memory per flow at ${full}, ${node}`,
    unit: 'bytes',
    digits: 0,
    target: { ratio: MEMORY_RATIO },
  });
  const stall = (node: string): Figure => ({
    id: `stall.${node}`,
    name: `longest event-loop stall of its own with ${full} flows, ${node}`,
    unit: 'ms',
    digits: 1,
    target: { value: STALL_MS },
  });
  return [
    memory('active'),
    memory('backup'),
    {
      id: 'commit.perSecond',
      name: `commit of ${full}, flows per second`,
      unit: '',
      digits: 0,
      isMoreBetter: true,
      target: { ratio: COMMIT_RATIO, share: COMMIT_SHARE },
    },
    { id: 'commit.ms', name: `commit of ${full}`, unit: 'ms', digits: 0, isDetail: true },
    {
      id: 'dump.perSecond',
      name: 'dump, flows per second',
      unit: '',
      digits: 0,
      isMoreBetter: true,
      isDetail: true,
    },
    stall('active'),
    stall('backup'),
  ];
}

async function measure(side: Side, { full }: Sizes, say: Say): Promise<Values> {
  const lab = await Lab.create({ flows: full });
  try {
    return await (side === 'kernel' ? kernelTable(lab, full, say) : contenderTable(side, lab, full, say));
  } finally {
    await lab.close();
  }
}

async function contenderTable(side: Side, lab: Lab, full: number, say: Say): Promise<Values> {
  const contender = contenderOf(side, lab);
  await contender.start();
  const wait = () => settled(lab, contender.pids());
  await wait();
  const meter = new CpuMeter(() => contender.pids());
  const empty = meter.memory();
  say(`filling up to ${full} flows`);
  await generate(lab, 'fw1', 'create', full);
  await wait();
  const [active, backup] = meter.memory().map((bytes, i) => (bytes - empty[i]) / full);
  const [stallActive] = await contender.longestPauses();
  say('commit');
  const commitMs = await contender.commit();
  const committed = await lab.kernelFlows('fw2');
  const [, stallBackup] = await contender.longestPauses();
  await contender.stop();
  const values: Record<string, number> = {
    'memory.active': active,
    'memory.backup': backup,
    'commit.ms': commitMs,
    'commit.perSecond': (committed / commitMs) * 1000,
  };
  if (stallActive !== undefined) values['stall.active'] = stallActive;
  if (stallBackup !== undefined) values['stall.backup'] = stallBackup;
  return values;
}

/** The same table written by a loop that does nothing else, and read by one; the other firewall has its own, as in a commit. */
async function kernelTable(lab: Lab, full: number, say: Say): Promise<Values> {
  say(`writing twice ${full} flows`);
  // Both share one hash table of this kernel: without these its chains were half as long.
  await generate(lab, 'fw1', 'create', full);
  const { perSecond } = await generate(lab, 'fw2', 'create', full);
  say('dump');
  const durationMs = await bareDumpMs(lab, 'fw2');
  return { 'commit.perSecond': perSecond, 'dump.perSecond': (full / durationMs) * 1000 };
}

export const TABLE: Part = {
  name: 'table',
  about: 'a full table: memory a flow, commit beside the kernel alone, event-loop stalls',
  sides: ['conntrackd', 'conntwin', 'kernel'],
  quickRounds: 1,
  figures,
  measure,
};
