import { afterAll, beforeAll, expect, test } from 'vitest';
import { Churn, exercise } from './background-flows.js';
import { eventually } from './deadline.js';
import { FirewallCluster } from './firewall-cluster.js';
import { sized } from './size.js';
import { StatusWatch, sightingsText } from './status-watch.js';

const FLOWS = sized(20_000, 100_000);
const PER_SECOND = 2000;
const ALIVE = 2000;
/** Number of a firewall's first flow: the three tables have nothing in common. */
const FIRST_STEP = 10_000_000;
const STOPPED_MS = 10_000;
/** A stuck peer costs the others one second of a shut window; the rest is this machine. */
const LAG_MAX_MS = 3000;
const VERIFY_WITHIN_MS = 10_000;

let cluster: FirewallCluster;
beforeAll(async () => {
  cluster = await FirewallCluster.create({ firewalls: 3 });
});
afterAll(() => cluster?.close());

test('three firewalls know each other and replicate what each of them has', async () => {
  const { lab, daemons } = cluster;
  await Promise.all(
    lab.firewalls.map((fw, i) => exercise(lab, fw, FLOWS, { first: i * FIRST_STEP, perSecond: 20_000 })),
  );
  await cluster.verified(VERIFY_WITHIN_MS);
  for (const daemon of daemons) {
    const { replicas } = await daemon.status();
    expect(replicas.map((r) => r.flows)).toEqual([FLOWS / 2, FLOWS / 2]);
  }
});

test('one that is stopped for ten seconds holds up nobody, and catches up when it goes on', async ({
  task,
}) => {
  const { lab, daemons } = cluster;
  const [fw1, fw2, fw3] = daemons;
  const churns = lab.firewalls.map((fw, i) =>
    Churn.start(lab, fw, PER_SECOND, ALIVE, i * FIRST_STEP + FIRST_STEP / 2),
  );
  await eventually('the flows come and go', { withinMs: 10_000 }, async () => {
    return ((await fw2.replicaOf('fw1'))?.flows ?? 0) > FLOWS / 2 + ALIVE / 2;
  });
  const stopped = fw3.pid!;
  process.kill(stopped, 'SIGSTOP');
  const stoppedAt = performance.now();
  const watch = StatusWatch.start([fw1, fw2]);
  await eventually('the time of the stop is over', { withinMs: STOPPED_MS + 1000 }, () => {
    return performance.now() - stoppedAt >= STOPPED_MS;
  }).finally(() => process.kill(stopped, 'SIGCONT'));
  const sightings = (await watch.stop()).filter(({ to }) => to !== 'fw3');
  await cluster.acquainted();
  for (const churn of churns) expect(await churn.stop()).toMatchObject({ errors: {} });
  const verifiedMs = await cluster.converged(VERIFY_WITHIN_MS);
  Object.assign(task.meta, {
    note: `${sightingsText(sightings)}; verified ${verifiedMs} ms after quiet`,
  });
  expect(sightings).toHaveLength(2);
  for (const { from, to, maxLagMs, longestUnprovenMs } of sightings) {
    expect(maxLagMs, `lag of ${to} behind ${from}`).toBeLessThan(LAG_MAX_MS);
    expect(longestUnprovenMs, `${from} not proven by ${to}`).toBeLessThan(LAG_MAX_MS);
  }
  for (const daemon of daemons) {
    const { replicas } = await daemon.status();
    expect(replicas.map((r) => r.flows)).toEqual([FLOWS / 2, FLOWS / 2]);
  }
}, 180_000);
