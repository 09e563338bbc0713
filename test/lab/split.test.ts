import { afterAll, beforeAll, expect, test } from 'vitest';
import { generate } from './background-flows.js';
import { eventually } from './deadline.js';
import { FirewallPair } from './firewall-pair.js';
import { kernelText, textDifference } from './kernel-text.js';

const FLOWS = 5000;
const VERIFY_WITHIN_MS = 10_000;

let pair: FirewallPair;
beforeAll(async () => {
  pair = await FirewallPair.create();
  await generate(pair.lab, 'fw1', 'create', FLOWS);
  await pair.verified(VERIFY_WITHIN_MS);
});
afterAll(() => pair?.close());

test('with the sync cable cut the backup takes over all the same, and both say so when it is mended', async () => {
  await pair.lab.cutSync('fw1');
  const report = await pair.fw2.failover('primary');
  expect(report.promote).toMatchObject({ committed: FLOWS, rejected: 0 });
  // Flows that only one of the two has, from the time apart.
  await generate(pair.lab, 'fw2', 'create', 10, { first: FLOWS });
  await pair.lab.mendSync('fw1');
  await eventually('both report that both are primary', { withinMs: 5000 }, async () => {
    const all = await Promise.all([pair.fw1.status(), pair.fw2.status()]);
    return all.every(({ warnings }) => warnings.some((text) => /split brain/i.test(text)));
  });
});

test('the old primary steps back, its flows become the new one’s, and both verify', async () => {
  expect((await pair.fw1.failover('backup')).exitCode).toBe(0);
  await eventually('fw1 owns nothing any more', { withinMs: VERIFY_WITHIN_MS }, async () => {
    return (await pair.fw1.status()).mirror.flows === 0;
  });
  await pair.verified(VERIFY_WITHIN_MS);
  const replica = await pair.fw1.replicaOf('fw2');
  expect(replica).toMatchObject({ flows: FLOWS + 10, held: FLOWS, inSync: true });
});

test('failing back creates what is missing, and the TCP flows anew that the kernel has from before', async () => {
  expect((await pair.fw2.failover('backup')).exitCode).toBe(0);
  const report = await pair.fw1.failover('primary');
  expect(report.exitCode, report.reasons.join()).toBe(0);
  expect(report.promote).toMatchObject({ committed: 10, kept: 0, replaced: FLOWS, rejected: 0 });
  const [left, right] = await Promise.all([kernelText(pair.lab, 'fw1'), kernelText(pair.lab, 'fw2')]);
  expect(textDifference(left, right)).toEqual([]);
  await pair.verified(VERIFY_WITHIN_MS);
});
