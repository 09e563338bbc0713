import { afterEach, expect, test } from 'vitest';
import { generate } from './background-flows.js';
import { eventually } from './deadline.js';
import { FirewallPair } from './firewall-pair.js';
import { kernelText, textDifference } from './kernel-text.js';

const FLOWS = 3000;
const PURGE_WITHIN_MS = 20_000;

let pair: FirewallPair;
afterEach(() => pair?.close());

/** fw1 has flows and hands over; fw2 is primary then, and fw1's kernel still has them. */
async function switched(failover: Record<string, unknown>, flows = FLOWS): Promise<void> {
  pair = await FirewallPair.create({ config: { failover } });
  await generate(pair.lab, 'fw1', 'create', flows);
  await pair.verified(10_000);
  await Promise.all([pair.fw2.failover('primary'), pair.fw1.failover('backup')]);
  await pair.verified(10_000);
}

test('a former primary drops what it holds after its time, but no connection of its own', async () => {
  await switched({ purge_after: '6s' });
  // A connection that ends on fw1: a listener there, and the client that talks to it.
  await pair.lab.exec(
    'fw1',
    ['conntrack', '-I', '-p', 'tcp', '-s', '10.1.0.100', '-d', '10.1.0.1'].concat([
      '--sport',
      '4000',
      '--dport',
      '22',
      '--state',
      'ESTABLISHED',
      '-t',
      '300',
      '-u',
      'SEEN_REPLY,ASSURED',
    ]),
  );
  await eventually('fw1 has purged', { withinMs: PURGE_WITHIN_MS }, async () => {
    const { purge } = await pair.fw1.status();
    return purge.purged === FLOWS;
  });
  expect((await pair.fw1.status()).purge.last).toMatchObject({
    purged: FLOWS,
    skippedBy: {},
    isByHand: false,
  });
  const left = await pair.lab.exec('fw1', ['conntrack', '-L', '-p', 'tcp']);
  expect(left).toContain('dport=22');
  expect(await pair.lab.kernelFlows('fw2')).toBeGreaterThanOrEqual(FLOWS);
  await pair.verified(10_000);
  // All of it is still to be had: the replica is what counts.
  expect((await pair.fw1.failover('primary')).promote).toMatchObject({ committed: FLOWS, rejected: 0 });
});

test('by hand in hot standby only what the primary no longer has goes; a primary refuses', async () => {
  await switched({ standby: 'hot', purge_after: 0 });
  const refused = await pair.fw2.cli(['purge']);
  expect([refused.code, refused.stderr]).toEqual([
    4,
    'conntwin: only a backup purges, this node is primary\n',
  ]);
  await pair.fw1.kill();
  await generate(pair.lab, 'fw2', 'delete', 500);
  await pair.fw1.start();
  await pair.acquainted();
  expect(await pair.lab.kernelFlows('fw1')).toBe(FLOWS);
  const { code, stdout, stderr } = await pair.fw1.cli(['purge', '--json']);
  expect(code, stderr).toBe(0);
  expect(JSON.parse(stdout)).toMatchObject({ total: 500, purged: 500, skippedBy: {}, isByHand: true });
  await eventually('both kernels show the same', { withinMs: 10_000 }, async () => {
    const [left, right] = await Promise.all([kernelText(pair.lab, 'fw1'), kernelText(pair.lab, 'fw2')]);
    const differences = textDifference(left, right);
    if (differences.length > 0) throw new Error(differences.join('\n'));
    return true;
  });
  expect((await pair.fw1.status()).mirror.flows).toBe(0);
});

test('a daemon that is killed in the middle of a purge begins again, and touches nothing else', async ({
  task,
}) => {
  const flows = 20_000;
  await switched({ purge_after: '2s' }, flows);
  const { fw1, lab } = pair;
  // The more crowded the machine is, the less of the purge is over when that is seen.
  fw1.isInNoHurry = true;
  await eventually('the purge is on its way', { withinMs: PURGE_WITHIN_MS, everyMs: 0 }, async () => {
    return (await lab.kernelFlows('fw1')) < flows - 50;
  });
  await fw1.kill();
  const left = await lab.kernelFlows('fw1');
  Object.assign(task.meta, { note: `${left} of ${flows} flows were left when it was killed` });
  expect(left).toBeGreaterThan(50);
  await fw1.start();
  await eventually('fw1 has purged the rest', { withinMs: PURGE_WITHIN_MS }, async () => {
    return (await fw1.status()).purge.purged > left - 50;
  });
  expect(await lab.kernelFlows('fw1')).toBeLessThan(50);
  expect((await fw1.status()).mirror.flows).toBeLessThan(50);
  // Nothing that was purged, before or after, has ended where it lives.
  expect(await lab.kernelFlows('fw2')).toBeGreaterThanOrEqual(flows);
  await pair.verified(10_000);
  expect((await fw1.failover('primary')).promote).toMatchObject({ committed: flows, rejected: 0 });
});
