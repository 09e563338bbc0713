/** One part of the benchmark: a workload, the sides that can run it, and the figures that come of it. */
import { tryRun } from '../lab/command.js';
import type { Lab } from '../lab/lab.js';
import { makeKeyFile } from '../lab/lab-keys.js';
import type { Contender } from './contender.js';
import { ConntrackdContender } from './contender-conntrackd.js';
import { ConntwinContender } from './contender-conntwin.js';
import type { Figure, Side, Values } from './figure.js';

/** How big the workloads are. */
export interface Sizes {
  /** Flows that are created, updated and deleted at full speed. */
  readonly burst: number;
  /** Flows of a full table: memory, commit, bulk, idle. */
  readonly full: number;
  /** Seconds that a rate is held. */
  readonly seconds: number;
  /** Seconds that a full table is left alone before it is looked at. */
  readonly rest: number;
  /** Real connections a second. */
  readonly connectionRates: readonly number[];
  /** Table sizes for growth. */
  readonly growth: readonly number[];
}

export type Say = (text: string) => void;

export interface Part {
  readonly name: string;
  /** One line for --help. */
  readonly about: string;
  readonly sides: readonly Side[];
  /** Rounds that --quick gives it. */
  readonly quickRounds: number;
  figures(sizes: Sizes): readonly Figure[];
  /** One round of one side, in a lab of its own. */
  measure(side: Side, sizes: Sizes, say: Say): Promise<Values>;
}

/** The daemons of a side, cold or hot, not started yet. */
export function contenderOf(side: Side, lab: Lab, isHot = false): Contender {
  if (side === 'conntrackd') return new ConntrackdContender(lab, { isHot });
  const failover = isHot ? { standby: 'hot' } : {};
  if (side !== 'sealed') return new ConntwinContender(lab, { failover });
  return new ConntwinContender(lab, { failover, security: { key_file: makeKeyFile(lab, 'lab') } });
}

export async function hasConntrackd(): Promise<boolean> {
  return (await tryRun(['sh', '-c', 'command -v conntrackd'])).code === 0;
}
