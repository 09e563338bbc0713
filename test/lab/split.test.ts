import { afterAll, beforeAll, expect, test } from 'vitest';
import { generate } from './background-flows.js';
import { eventually } from './deadline.js';
import { FirewallPair } from './firewall-pair.js';
import { kernelText, textDifference } from './kernel-text.js';

const FLOWS = 5000;
/** Of those, closed on fw2 while the cable is cut, and as many more changed on fw1. */
const CLOSED = 100;
/** Flows that only one of the two has, from the time apart. */
const BORN = 10;
const VERIFY_WITHIN_MS = 30_000;

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
  await generate(pair.lab, 'fw2', 'create', BORN, { first: FLOWS });
  await generate(pair.lab, 'fw2', 'delete', CLOSED);
  await generate(pair.lab, 'fw1', 'create', BORN, { first: FLOWS + BORN });
  await generate(pair.lab, 'fw1', 'update', CLOSED, { first: CLOSED });
  await pair.lab.mendSync('fw1');
  await eventually('both report that both are primary', { withinMs: 20_000 }, async () => {
    const all = await Promise.all([pair.fw1.status(), pair.fw2.status()]);
    return all.every(
      ({ warnings, splitBrain }) =>
        splitBrain.length === 1 && warnings.some((text) => /^split brain: .*failover backup/.test(text)),
    );
  });
});

test('the old primary steps back: what it alone has comes over, what ended on the new one does not', async () => {
  expect((await pair.fw1.failover('backup')).exitCode).toBe(0);
  const flows = FLOWS - CLOSED + 2 * BORN;
  await eventually('fw2 has taken what fw1 had, and fw1 owns nothing', { withinMs: 10_000 }, async () => {
    const [left, right] = await Promise.all([pair.fw1.status(), pair.fw2.status()]);
    return left.mirror.flows === 0 && right.mirror.flows === flows && right.splitBrain.length === 0;
  });
  await pair.verified(VERIFY_WITHIN_MS);
  expect((await pair.fw2.status()).lastAbsorb).toMatchObject({ sources: ['fw1'], rejected: 0 });
  const { digest } = (await pair.fw2.status()).mirror;
  expect(await pair.fw1.replicaOf('fw2')).toMatchObject({ digest, inSync: true });
  expect(await pair.lab.kernelFlows('fw2')).toBe(flows);
  const lines = (text: RegExp) => pair.fw2.log().match(text)?.length;
  expect([lines(/split brain: another node/g), lines(/the split brain is over/g)]).toEqual([1, 1]);
});

test('failing back creates what is missing, and the TCP flows anew that the kernel has from before', async () => {
  expect((await pair.fw2.failover('backup')).exitCode).toBe(0);
  const report = await pair.fw1.failover('primary');
  expect(report.exitCode, report.reasons.join()).toBe(0);
  expect(report.promote).toMatchObject({
    committed: BORN,
    kept: 0,
    replaced: FLOWS - CLOSED + BORN,
    rejected: 0,
  });
  await pair.verified(VERIFY_WITHIN_MS);
  const [left, right] = await Promise.all([kernelText(pair.lab, 'fw1'), kernelText(pair.lab, 'fw2')]);
  const isClosed = (line: string) => !right.includes(line);
  expect(left.filter(isClosed)).toHaveLength(CLOSED);
  expect(
    textDifference(
      left.filter((line) => !isClosed(line)),
      right,
    ),
  ).toEqual([]);
});

test('a primary that was booted comes back empty, is filled until its replica is proven, and takes over', async () => {
  const { lab, fw1, fw2 } = pair;
  await fw1.kill();
  expect((await fw2.failover('primary')).promote).toMatchObject({ rejected: 0 });
  const { flows, digest } = (await fw2.status()).mirror;
  await lab.exec('fw1', ['conntrack', '-F']);
  fw1.bootId = '00000000-0000-4000-8000-000000000001';
  await fw1.start();
  // Its old role means nothing after a boot.
  expect((await fw1.status()).role).toBe('backup');
  await eventually('its replica is proven', { withinMs: VERIFY_WITHIN_MS }, async () => {
    return (await fw1.replicaOf('fw2'))?.inSync === true;
  });
  expect((await fw1.replicaOf('fw2'))?.digest).toBe(digest);
  expect((await fw1.status()).mirror.flows).toBe(0);
  const [handed, taken] = await Promise.all([fw2.failover('backup'), fw1.failover('primary')]);
  expect([handed.exitCode, taken.exitCode], taken.reasons.join()).toEqual([0, 0]);
  expect(taken.promote).toMatchObject({ committed: flows, rejected: 0 });
  await pair.verified(VERIFY_WITHIN_MS);
});
