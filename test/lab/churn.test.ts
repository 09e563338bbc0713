import { afterAll, beforeAll, expect, test } from 'vitest';
import { Churn, generate } from './background-flows.js';
import { eventually } from './deadline.js';
import { FirewallPair } from './firewall-pair.js';

const PER_SECOND = 5000;
const VERIFIED_TIMES = 3;

let pair: FirewallPair;
beforeAll(async () => {
  pair = await FirewallPair.create();
});
afterAll(() => pair?.close());

test('verify exits 0 on both while 5,000 flows a second are created and deleted', async () => {
  await generate(pair.lab, 'fw1', 'create', 20_000, { first: 30_000_000 });
  const churn = Churn.start(pair.lab, 'fw1', PER_SECOND, 5000);
  await eventually('the flows come and go', { withinMs: 10_000 }, async () => {
    return (await pair.replicatedFlows()) > 22_000;
  });
  for (let i = 0; i < VERIFIED_TIMES; i++) {
    const answers = await Promise.all([pair.fw1.cli(['verify']), pair.fw2.cli(['verify'])]);
    for (const { code, stdout, stderr } of answers) expect(code, stdout + stderr).toBe(0);
  }
  const report = await churn.stop();
  expect(report.errors).toEqual({});
  expect(report.perSecond).toBeGreaterThan(PER_SECOND * 0.9);
  await pair.verified(10_000);
  expect(await pair.replicatedFlows()).toBe(await pair.lab.kernelFlows('fw1'));
});
