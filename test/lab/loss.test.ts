import { afterAll, beforeAll, expect, test } from 'vitest';
import { exercise } from './background-flows.js';
import { FirewallPair } from './firewall-pair.js';
import { flowsThatFit } from './kernel-limits.js';
import { sized } from './size.js';
import { StatusWatch, sightingsText } from './status-watch.js';
import { loseSyncFrames, lostSyncFrames } from './sync-loss.js';

const LOST_PERCENT = 5;
const { flows: FLOWS, note } = flowsThatFit(sized(100_000, 300_000));
const OTHER_FLOWS = FLOWS / 10;
const OTHER_FIRST = 30_000_000;
const PER_SECOND = 20_000;
const VERIFY_WITHIN_MS = 20_000;

let pair: FirewallPair;
beforeAll(async () => {
  pair = await FirewallPair.create({ flows: FLOWS });
});
afterAll(() => pair?.close());

test('a sync link that loses 5 % in both directions goes on being proven, and verifies after quiet', async ({
  task,
}) => {
  const { lab, daemons } = pair;
  await Promise.all(lab.firewalls.map((fw) => loseSyncFrames(lab, fw, LOST_PERCENT)));
  const watch = StatusWatch.start(daemons);
  await Promise.all([
    exercise(lab, 'fw1', FLOWS, { perSecond: PER_SECOND }),
    exercise(lab, 'fw2', OTHER_FLOWS, { first: OTHER_FIRST, perSecond: PER_SECOND / 10 }),
  ]);
  const sightings = await watch.stop();
  const verifiedMs = await pair.converged(VERIFY_WITHIN_MS);
  const lost = await Promise.all(lab.firewalls.map((fw) => lostSyncFrames(lab, fw)));
  const figures = `${lost.join(' + ')} frames lost, verified ${verifiedMs} ms after quiet; ${sightingsText(sightings)}`;
  Object.assign(task.meta, { note: note === undefined ? figures : `${note}; ${figures}` });
  for (const count of lost) expect(count).toBeGreaterThan(0);
  for (const { from, to, proven } of sightings) expect(proven, `${from} by ${to}`).toBeGreaterThan(0);
  expect((await pair.fw2.replicaOf('fw1'))?.flows).toBe(FLOWS / 2);
  expect((await pair.fw1.replicaOf('fw2'))?.flows).toBe(OTHER_FLOWS / 2);
}, 300_000);
