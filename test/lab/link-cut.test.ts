import { afterAll, beforeAll, expect, test } from 'vitest';
import { exercise } from './background-flows.js';
import { eventually } from './deadline.js';
import { FirewallPair } from './firewall-pair.js';
import { flowsThatFit } from './kernel-limits.js';
import { sized } from './size.js';

/** Longer than the 3 s after which a silent peer is given up. */
const CUT_MS = sized(6000, 60_000);
const { flows: FLOWS, note } = flowsThatFit(sized(100_000, 300_000));
const OTHER_FLOWS = FLOWS / 10;
const OTHER_FIRST = 30_000_000;
/** Slow enough that the traffic lasts longer than the cut. */
const PER_SECOND = sized(20_000, 8000);
const HEARD_WITHIN_MS = 20_000;
const VERIFY_WITHIN_MS = 20_000;

let pair: FirewallPair;
beforeAll(async () => {
  pair = await FirewallPair.create({ flows: FLOWS });
});
afterAll(() => pair?.close());

test('a sync link that is cut in the middle of traffic is made up for when it is mended', async ({
  task,
}) => {
  const { lab, fw1, fw2 } = pair;
  const traffic = Promise.all([
    exercise(lab, 'fw1', FLOWS, { perSecond: PER_SECOND }),
    exercise(lab, 'fw2', OTHER_FLOWS, { first: OTHER_FIRST, perSecond: PER_SECOND / 10 }),
  ]);
  await eventually('traffic is replicated', { withinMs: 20_000 }, async () => {
    return (await pair.replicatedFlows()) > FLOWS / 20;
  });
  await lab.cutSync('fw1');
  const cutAt = performance.now();
  await eventually('both say that they hear nobody', { withinMs: CUT_MS }, async () => {
    const all = await Promise.all([fw1.status(), fw2.status()]);
    return all.every(({ warnings }) => warnings.some((text) => /was not heard/.test(text)));
  });
  const frozen = await pair.replicatedFlows();
  await eventually('the time of the cut is over', { withinMs: CUT_MS + 1000 }, () => {
    return performance.now() - cutAt >= CUT_MS;
  });
  expect(await pair.replicatedFlows()).toBe(frozen);
  await lab.mendSync('fw1');
  await eventually('both hear each other again', { withinMs: HEARD_WITHIN_MS }, async () => {
    const all = await Promise.all([fw1.status(), fw2.status()]);
    return all.every(({ peers }) => peers.some((peer) => peer.alive));
  });
  await traffic;
  const figures = `verified ${await pair.converged(VERIFY_WITHIN_MS)} ms after quiet`;
  Object.assign(task.meta, { note: note === undefined ? figures : `${note}; ${figures}` });
  expect((await fw2.replicaOf('fw1'))?.flows).toBe(FLOWS / 2);
  expect((await fw1.replicaOf('fw2'))?.flows).toBe(OTHER_FLOWS / 2);
}, 300_000);
