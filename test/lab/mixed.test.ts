import { afterAll, beforeAll, expect, test } from 'vitest';
import { FirewallPair } from './firewall-pair.js';
import { kernelText, textDifference } from './kernel-text.js';
import { SERVER_ADDRESS } from './lab.js';
import { makeMixedTable } from './mixed-table.js';
import { program } from './program.js';

const FLOWS = 2000;

let pair: FirewallPair;
beforeAll(async () => {
  pair = await FirewallPair.create();
});
afterAll(() => pair?.close());

test('flows of every protocol, family, NAT, mark, label and zone are verified on both', async () => {
  await makeMixedTable(pair.lab, 'fw1', FLOWS);
  // The ruleset labels pings.
  await pair.lab.exec('client', ['ping', '-c', '1', '-W', '1', SERVER_ADDRESS]);
  await pair.verified(10_000);
  expect(await pair.replicatedFlows()).toBeGreaterThanOrEqual(FLOWS);
});

test('after a planned switch both kernels have the same flows, field by field', async () => {
  expect((await pair.fw1.failover('backup')).exitCode).toBe(0);
  const report = await pair.fw2.failover('primary');
  expect(report.promote).toMatchObject({ rejected: 0, rejectedBy: {} });
  const [left, right] = await Promise.all([kernelText(pair.lab, 'fw1'), kernelText(pair.lab, 'fw2')]);
  expect(left.length).toBeGreaterThanOrEqual(FLOWS);
  expect(textDifference(left, right)).toEqual([]);
  const records = (['fw1', 'fw2'] as const).map((fw) =>
    pair.lab.exec(fw, program('test/lab/kernel-records-program')),
  );
  const [before, after] = (await Promise.all(records)).map((text) => text.split('\n'));
  expect(textDifference(before, after)).toEqual([]);
});
