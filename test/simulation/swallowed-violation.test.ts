/** What the watch of a cluster finds at a port of a daemon stops the seed, though the daemon catches what its ports throw. */
import { expect, it } from 'vitest';
import { Cluster } from './cluster/cluster.js';
import { Violation } from './cluster/violation.js';

it('a violation found while the state is written stops the seed: the daemon takes it for a full disk', async () => {
  const cluster = new Cluster({
    seed: 1,
    nodes: 2,
    links: 1,
    traffic: { tuples: 60, sharedShare: 0, isCrowded: false },
    maxFlows: 1 << 12,
    isSealed: false,
    receiveBufferBytes: 8 << 20,
    mode: 'reliable',
    auditIntervalMs: 60_000,
    standby: { hot: [], purgeAfterMs: 0, isPurging: false, faults: [] },
  });
  const [machine, other] = cluster.machines;
  for (const each of [machine, other]) {
    cluster.traffic.fill(each, 30);
    cluster.start(each);
  }
  await cluster.pass(2500);
  const broken = new Violation(11, 'for this test');
  cluster.watch.roles.persists = () => {
    throw broken;
  };
  machine.run?.ask('primary');
  await expect(cluster.pass(100)).rejects.toBe(broken);
});
