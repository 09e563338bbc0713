import { afterAll, beforeAll, expect, test } from 'vitest';
import { generate } from './background-flows.js';
import { FirewallPair } from './firewall-pair.js';
import { flowsThatFit } from './kernel-limits.js';
import { kernelText, textDifference } from './kernel-text.js';

const { flows: FLOWS, note } = flowsThatFit(300_000);
const VERIFY_WITHIN_MS = 10_000;

let pair: FirewallPair;
beforeAll(async () => {
  pair = await FirewallPair.create({ flows: FLOWS });
});
afterAll(() => pair?.close());

test('a burst of 300,000 flows (or what the kernel holds) is verified on both within 10 seconds', async ({
  task,
}) => {
  if (note !== undefined) Object.assign(task.meta, { note });
  expect(await generate(pair.lab, 'fw1', 'create', FLOWS)).toMatchObject({ flows: FLOWS, errors: {} });
  await pair.verified(VERIFY_WITHIN_MS);
  expect(await pair.replicatedFlows()).toBe(FLOWS);
});

test('after a failover both kernels show the same flows', async () => {
  const { code, stdout, stderr } = await pair.fw2.cli(['failover', 'primary', '--json']);
  expect(code, stderr).toBe(0);
  const promote = { committed: FLOWS, kept: 0, updated: 0, replaced: 0, rejected: 0 };
  expect(JSON.parse(stdout)).toMatchObject({ role: 'primary', promote });
  const status = await pair.fw2.status();
  expect(status).toMatchObject({ role: 'primary', mirror: { flows: FLOWS }, lastPromote: promote });
  const [left, right] = await Promise.all([kernelText(pair.lab, 'fw1'), kernelText(pair.lab, 'fw2')]);
  expect(left).toHaveLength(FLOWS);
  expect(textDifference(left, right)).toEqual([]);
});

test('the old primary becomes backup, nothing is lost by it, and both verify', async () => {
  expect((await pair.fw1.failover('backup')).exitCode).toBe(0);
  await pair.verified(VERIFY_WITHIN_MS);
  expect((await pair.fw1.status()).mirror.flows).toBe(0);
  expect(await pair.fw1.replicaOf('fw2')).toMatchObject({ flows: FLOWS, held: FLOWS });
  expect(await pair.lab.kernelFlows('fw1')).toBe(FLOWS);
  expect(await pair.lab.kernelFlows('fw2')).toBe(FLOWS);
});
