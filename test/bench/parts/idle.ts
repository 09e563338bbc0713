/** A full table at rest; then a backup that joins, and a backup that takes over and says so (DECLARE). */
import { setTimeout as pause } from 'node:timers/promises';
import { generate } from '../../lab/background-flows.js';
import { FirewallPair } from '../../lab/firewall-pair.js';
import { Lab } from '../../lab/lab.js';
import { ConntrackdContender } from '../contender-conntrackd.js';
import type { Figure, Side, Values } from '../figure.js';
import type { Part, Say, Sizes } from '../part.js';
import { scheduledMicros } from '../process-usage.js';
import { settled } from '../settling.js';
import { Silences } from '../silences.js';

const IDLE_PERCENT = 0.5;
const GAP_MS = 400;
const PERCENT = 100;
const MICROS_PER_MS = 1000;

function figures({ full }: Sizes): Figure[] {
  const idle = (node: string): Figure => ({
    id: `idle.${node}`,
    name: `idle with ${full} flows, ${node}`,
    unit: '% of a core',
    digits: 2,
    target: { value: IDLE_PERCENT },
  });
  const cpu = (id: string, name: string): Figure => {
    return { id, name: `CPU of ${name} with ${full} flows`, unit: 'ms', digits: 0 };
  };
  const gap = (id: string, name: string): Figure => {
    return { id, name: `longest silence during ${name}`, unit: 'ms', digits: 0, target: { value: GAP_MS } };
  };
  return [
    idle('active'),
    idle('backup'),
    cpu('join.active', 'a join, active'),
    cpu('join.backup', 'a join, backup'),
    gap('join.gap', 'a join'),
    cpu('declare.cpu', "a promote's DECLARE and commit, both nodes"),
    gap('declare.gap', 'a promote'),
  ];
}

/** Percent of a core that each of the processes takes while nothing happens. */
async function idleShares(pids: readonly number[], seconds: number): Promise<number[]> {
  const before = pids.map(scheduledMicros);
  const start = performance.now();
  await pause(seconds * 2 * 1000);
  const micros = (performance.now() - start) * MICROS_PER_MS;
  return pids.map((pid, i) => ((scheduledMicros(pid) - before[i]) / micros) * PERCENT);
}

async function measureConntrackd({ full, seconds }: Sizes, say: Say): Promise<Values> {
  const lab = await Lab.create({ flows: full });
  try {
    const contender = new ConntrackdContender(lab);
    await contender.start();
    say(`${full} flows`);
    await generate(lab, 'fw1', 'create', full);
    await settled(lab, contender.pids());
    const [active, backup] = await idleShares(contender.pids(), seconds);
    await contender.stop();
    return { 'idle.active': active, 'idle.backup': backup };
  } finally {
    await lab.close();
  }
}

/**
 * The full table is left alone first: the audits of the start are over by then, and V8 has compiled most of what a daemon
 * at rest does, for which it takes a minute.
 */
async function measureConntwin({ full, seconds, rest }: Sizes, say: Say): Promise<Values> {
  const pair = await FirewallPair.create({ flows: full, firewalls: 3 });
  const { lab, fw1, fw2 } = pair;
  const pids = () => [fw1.pid ?? 0, fw2.pid ?? 0];
  const spentMs = () => pids().map((pid) => scheduledMicros(pid) / MICROS_PER_MS);
  try {
    say(`${full} flows`);
    await generate(lab, 'fw1', 'create', full);
    await settled(lab, pids());
    say('left alone');
    await pause(rest * 1000);
    say('at rest');
    const [active, backup] = await idleShares(pids(), seconds);
    const silences = await Silences.start(lab);
    say('a join');
    const [beforeJoin] = spentMs();
    await fw2.kill();
    await silences.longest(1);
    await fw2.start();
    await settled(lab, pids());
    const joinGap = await silences.longest(1);
    const [joinActive, joinBackup] = spentMs();
    const held = await pair.replicatedFlows();
    if (held < full) throw new Error(`the backup that joined has ${held} of ${full} flows`);
    say('a promote');
    const [before1, before2] = spentMs();
    await silences.longest(2);
    await fw2.failover('primary');
    await settled(lab, pids());
    const gap = await silences.longest(2);
    const [after1, after2] = spentMs();
    return {
      'idle.active': active,
      'idle.backup': backup,
      'join.active': joinActive - beforeJoin,
      'join.backup': joinBackup,
      'join.gap': joinGap,
      'declare.cpu': after1 - before1 + after2 - before2,
      'declare.gap': gap,
    };
  } finally {
    await pair.close();
  }
}

export const IDLE: Part = {
  name: 'idle',
  about: 'a full table at rest, a join, a promote: CPU, and the longest silence a peer hears',
  sides: ['conntrackd', 'conntwin'],
  quickRounds: 1,
  figures,
  measure: (side: Side, sizes: Sizes, say: Say) =>
    side === 'conntrackd' ? measureConntrackd(sizes, say) : measureConntwin(sizes, say),
};
