import { afterAll, beforeAll, expect, test } from 'vitest';
import { generate } from './background-flows.js';
import { FirewallPair, flowsThatFit } from './firewall-pair.js';
import { kernelText, textDifference } from './kernel-text.js';

const FLOWS = flowsThatFit(300_000);
const VERIFY_WITHIN_MS = 10_000;

let pair: FirewallPair;
beforeAll(async () => {
  pair = await FirewallPair.create();
});
afterAll(() => pair?.close());

test('a burst of 300,000 flows (or what the kernel holds) is verified on both within 10 seconds', async () => {
  expect(await generate(pair.lab, 'fw1', 'create', FLOWS)).toMatchObject({ flows: FLOWS, errors: {} });
  await pair.verified(VERIFY_WITHIN_MS);
  expect(await pair.replicatedFlows()).toBeGreaterThanOrEqual(FLOWS);
});

test('after a failover both kernels show the same flows', async () => {
  const result = await pair.fw2.cli(['failover', 'primary', '--json']);
  expect([0, 3], result.stderr).toContain(result.code);
  const status = await pair.fw2.status();
  expect(status.role).toBe('primary');
  expect(status.lastPromote).toMatchObject({ rejected: 0 });
  expect(status.lastPromote?.committed).toBeGreaterThanOrEqual(FLOWS);
  const [left, right] = await Promise.all([kernelText(pair.lab, 'fw1'), kernelText(pair.lab, 'fw2')]);
  expect(left.length).toBeGreaterThanOrEqual(FLOWS);
  expect(textDifference(left, right)).toEqual([]);
});
