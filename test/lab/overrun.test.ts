import { afterAll, beforeAll, expect, test } from 'vitest';
import { exercise } from './background-flows.js';
import { FirewallPair } from './firewall-pair.js';
import { flowsThatFit } from './kernel-limits.js';
import { sized } from './size.js';

const { flows: FLOWS, note } = flowsThatFit(sized(100_000, 300_000));
const VERIFY_WITHIN_MS = 10_000;

let pair: FirewallPair;
beforeAll(async () => {
  // Room for a few dozen events.
  pair = await FirewallPair.create({ flows: FLOWS, config: { kernel: { event_buffer: '64KiB' } } });
});
afterAll(() => pair?.close());

test('events that the kernel could not deliver are found by audits, and both verify', async ({ task }) => {
  await exercise(pair.lab, 'fw1', FLOWS);
  const verifiedMs = await pair.converged(VERIFY_WITHIN_MS);
  const { mirror, audit } = await pair.fw1.status();
  const figures =
    `${mirror.eventsLost} events lost, ${audit.runs} audits (${audit.unclean} more runs were unclean) repaired ${audit.repaired} ` +
    `flows, verified ${verifiedMs} ms after quiet`;
  Object.assign(task.meta, { note: note === undefined ? figures : `${note}; ${figures}` });
  expect(mirror.eventsLost).toBeGreaterThan(FLOWS / 100);
  expect(audit.repaired).toBeGreaterThan(0);
  expect(mirror.flows).toBe(FLOWS / 2);
  expect((await pair.fw2.replicaOf('fw1'))?.flows).toBe(FLOWS / 2);
}, 180_000);
