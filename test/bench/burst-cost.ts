/** What a burst of one kind of events costs the daemons, and puts on the link. */
import type { Lab } from '../lab/lab.js';
import { type CpuMeter, cpuValues } from './cpu-meter.js';
import type { Values } from './figure.js';
import { type LinkTraffic, linkTraffic } from './link-bytes.js';

export interface BurstCost {
  /** CPU an event, by `id` and node. */
  readonly cpu: Values;
  /** For each event. */
  readonly link: LinkTraffic;
}

/** `burst` makes that many events, and resolves when daemons and link are quiet again. */
export async function burstCost(
  lab: Lab,
  meter: CpuMeter,
  id: string,
  events: number,
  burst: () => Promise<unknown>,
): Promise<BurstCost> {
  const before = await linkTraffic(lab);
  meter.lap();
  await burst();
  const cpu = cpuValues(id, meter.lap(), events);
  const after = await linkTraffic(lab);
  const each = (name: keyof LinkTraffic): number => (after[name] - before[name]) / events;
  return { cpu, link: { bytes: each('bytes'), packets: each('packets') } };
}
