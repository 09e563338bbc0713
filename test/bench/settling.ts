/** Waiting until a contender has worked off what there was, without asking it: an answer costs what is being measured. */
import { setTimeout as pause } from 'node:timers/promises';
import type { Lab } from '../lab/lab.js';
import { linkBytes } from './link-bytes.js';
import { scheduledMicros } from './process-usage.js';

const LOOK_MS = 250;
/** Looks in a row that must find nothing. */
const QUIET_LOOKS = 5;
const LIMIT_MS = 120_000;
/** Heartbeats and MARKs are a few thousand bytes a second. */
const QUIET_BYTES = 10_000;
/** More than an idle daemon takes, less than one that has anything to do. Microseconds in one look. */
const QUIET_CPU_MICROS = 12_500;

/** How long `settled` looks at something that is quiet already. */
export const SETTLED_MS = LOOK_MS * QUIET_LOOKS;

/** Waits until neither the daemons nor the link between them have anything to do; throws after two minutes. */
export async function settled(lab: Lab, pids: readonly number[]): Promise<void> {
  const end = performance.now() + LIMIT_MS;
  const look = async () => [await linkBytes(lab), ...pids.map(scheduledMicros)];
  let before = await look();
  for (let quiet = 0; quiet < QUIET_LOOKS; ) {
    if (performance.now() > end) throw new Error(`the daemons are still busy after ${LIMIT_MS} ms`);
    await pause(LOOK_MS);
    const now = await look();
    const [bytes, ...cpu] = now.map((value, i) => value - before[i]);
    const isQuiet = bytes < QUIET_BYTES && cpu.every((micros) => micros < QUIET_CPU_MICROS);
    quiet = isQuiet ? quiet + 1 : 0;
    before = now;
  }
}
