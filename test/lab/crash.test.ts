/** kill -9 of the daemon in the middle of its promote: three rows, by who is left that has the flows. */
import { afterEach, expect, test } from 'vitest';
import { generate } from './background-flows.js';
import { eventually } from './deadline.js';
import { FirewallCluster } from './firewall-cluster.js';
import { kernelText } from './kernel-text.js';
import type { LabDaemon } from './lab-daemon.js';
import { sized } from './size.js';

const FLOWS = sized(20_000, 100_000);
const WITHIN_MS = 40_000;

let cluster: FirewallCluster;
afterEach(() => cluster?.close());

async function begin(firewalls: 2 | 3): Promise<LabDaemon[]> {
  cluster = await FirewallCluster.create({ firewalls });
  await generate(cluster.lab, 'fw1', 'create', FLOWS);
  await cluster.verified(WITHIN_MS);
  return [...cluster.daemons];
}

/**
 * Promotes the daemon and kills it in the middle of the commit. Where it is is read from the kernel's own count, in a
 * tight loop: the daemon itself would be slowed down by being asked.
 */
async function killInMiddle(daemon: LabDaemon): Promise<number> {
  // The more crowded the machine is, the less of the commit is over when that is seen.
  daemon.isInNoHurry = true;
  const promote = daemon.failover('primary').then(
    () => false,
    () => true,
  );
  await eventually('the commit is on its way', { withinMs: WITHIN_MS, everyMs: 0 }, async () => {
    return (await cluster.lab.kernelFlows('fw2')) > 0;
  });
  await daemon.kill();
  expect(await promote, 'the call ended with the daemon').toBe(true);
  const flows = await cluster.lab.kernelFlows('fw2');
  expect(flows, 'flows in the kernel when it was killed').toBeLessThan(FLOWS);
  return flows;
}

/** All flows are in fw2's kernel, each once, and the promote is written as done. */
async function complete(daemon: LabDaemon): Promise<void> {
  await eventually('all flows are in the kernel', { withinMs: WITHIN_MS }, async () => {
    const { role, mirror, activity } = await daemon.status();
    return role === 'primary' && activity === '' && mirror.flows === FLOWS;
  });
  expect(new Set(await kernelText(cluster.lab, 'fw2')).size).toBe(FLOWS);
  const { warnings, lastPromote, lastAbsorb } = await daemon.status();
  expect(warnings.filter((text) => /cut short/.test(text))).toEqual([]);
  expect((lastAbsorb ?? lastPromote)?.rejected).toBe(0);
}

test('the old primary’s daemon lives: the restarted one takes the rest from it', async ({ task }) => {
  const [fw1, fw2] = await begin(2);
  const before = await killInMiddle(fw2);
  Object.assign(task.meta, { note: `${before} of ${FLOWS} flows were committed when it was killed` });
  await fw2.start();
  await complete(fw2);
  expect((await fw1.failover('backup')).exitCode).toBe(0);
  await eventually('fw1 has given all away', { withinMs: WITHIN_MS }, async () => {
    return (await fw1.status()).mirror.flows === 0;
  });
  await cluster.verified(WITHIN_MS);
  expect(fw2.log()).toMatch(/a promote was cut short by the end of the daemon, going on with it/);
});

test('it is dead, and a third node lives: the restarted one gets back what it had declared', async ({
  task,
}) => {
  const [fw1, fw2, fw3] = await begin(3);
  await fw1.kill();
  const before = await killInMiddle(fw2);
  Object.assign(task.meta, { note: `${before} of ${FLOWS} flows were committed when it was killed` });
  await fw2.start();
  await complete(fw2);
  await eventually('fw3 owns nothing, and has all of fw2', { withinMs: WITHIN_MS }, async () => {
    const { mirror, replicas } = await fw3.status();
    const replica = replicas.find(({ node }) => node === 'fw2');
    return mirror.flows === 0 && replica?.inSync === true && replica.flows === FLOWS;
  });
  // It has never met fw1, so all there is can be proven.
  await fw2.verified(WITHIN_MS);
});

test('it is dead, and nobody else has the flows: what was not committed is lost, and says so', async () => {
  const [fw1, fw2] = await begin(2);
  await fw1.kill();
  const before = await killInMiddle(fw2);
  await fw2.start();
  const text = new RegExp(`cut short .*about ${FLOWS - before} of ${FLOWS} flows of fw1 .*are lost`);
  await eventually('status warns of it', { withinMs: WITHIN_MS }, async () => {
    return (await fw2.status()).warnings.some((warning) => text.test(warning));
  });
  await eventually('the log tells it', { withinMs: WITHIN_MS }, () => text.test(fw2.log()));
  const { code, stdout } = await fw2.cli(['failover', 'primary', '--json']);
  expect(code).toBe(3);
  expect(JSON.parse(stdout)).toMatchObject({ role: 'primary', reasons: [expect.stringMatching(text)] });
  const { mirror } = await fw2.status();
  expect(mirror.flows).toBe(before);
  expect(await cluster.lab.kernelFlows('fw2')).toBe(before);
  // The old primary's machine was not booted: its kernel still has them all, and its daemon brings them.
  await fw1.start();
  await complete(fw2);
});
