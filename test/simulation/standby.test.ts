/** Backups in virtual time: hot standby through role changes and restarts, and when a purge begins and ends. */
import { describe, expect, it } from 'vitest';
import type { CoreOptions } from '../../src/daemon/core.js';
import { PurgeRefusedError } from '../../src/daemon/purger.js';
import { IPS_ASSURED, IPS_SEEN_REPLY, IPS_SRC_NAT } from '../../src/flow/conntrack-enums.js';
import { OP_DELETE } from '../../src/flow/kernel-port.js';
import { CoreCluster, type CoreNode, flowOf } from './core-cluster.js';
import { replyKey } from './kernel-twin-flows.js';
import { type FlowDescription, makeRecord } from './record-maker.js';

const FLOWS = 200;

interface Pair {
  readonly cluster: CoreCluster;
  readonly fw1: CoreNode;
  readonly fw2: CoreNode;
}

/** fw1 is primary and has flows; fw2 has them in its replica, and hot also in its kernel. */
async function pair(options: Partial<CoreOptions>): Promise<Pair> {
  const cluster = new CoreCluster(['fw1', 'fw2'], 1, options);
  const [fw1, fw2] = cluster.nodes;
  await cluster.begin();
  for (let n = 0; n < FLOWS; n++) fw1.born(n);
  await cluster.until('all is replicated', () => fw2.up.table.count === FLOWS && cluster.isInStep());
  return { cluster, fw1, fw2 };
}

/** A planned switch: fw2 is primary, fw1 holds what was its own. */
async function switched({ cluster, fw1, fw2 }: Pair): Promise<void> {
  const promoted = fw2.promote();
  await cluster.run(20);
  await cluster.done(fw1.demote());
  await cluster.done(promoted);
  await cluster.until('it is handed over', () => fw1.mirrorFlows === 0 && cluster.isInStep());
}

describe('hot standby', () => {
  it('is in step all along: with births, changes and ends, through a switch, and on the way back', async () => {
    const all = await pair({ standby: 'hot' });
    const { cluster, fw1, fw2 } = all;
    await cluster.until('fw2 has them', () => fw2.twin.flows.count === FLOWS);
    fw1.mark(1, 11);
    fw1.die(2);
    fw1.born(900);
    const hasFollowed = () => fw2.markOf(1) === 11 && fw2.markOf(900) === 0 && fw2.markOf(2) === undefined;
    await cluster.until('fw2 follows', hasFollowed, 100);
    await switched(all);
    expect(fw2.up.roles.lastPromote).toMatchObject({ kept: FLOWS, committed: 0, replaced: 0, updated: 0 });
    // fw1's own flows are of the past; they are made anew while nobody needs them.
    const { hot } = fw1.up.standby;
    await cluster.until('fw1 follows', () => hot?.report.replaced === FLOWS && hot.report.waiting === 0);
    fw2.mark(3, 33);
    await cluster.until('fw1 follows', () => fw1.markOf(3) === 33);
    await cluster.done(fw1.promote());
    expect(fw1.up.roles.lastPromote).toMatchObject({ kept: FLOWS, committed: 0, replaced: 0 });
  });

  it('follows the winner of a split brain also where both have another life of one tuple', async () => {
    const { cluster, fw1, fw2 } = await pair({ standby: 'hot' });
    await cluster.until('fw2 has them', () => fw2.twin.flows.count === FLOWS);
    await cluster.done(fw2.promote());
    // TCP flows are made anew by a hot backup in any case.
    const translated = (port: number): FlowDescription => ({
      ...flowOf(1),
      protocol: 'udp',
      state: undefined,
      wscale: undefined,
      status: IPS_SEEN_REPLY | IPS_ASSURED | IPS_SRC_NAT,
      reply: { source: '10.9.0.1', destination: '192.0.2.1', sourcePort: 80, destinationPort: port },
    });
    // The loser has heard of the winner's when its own begins.
    for (const [node, port] of [
      [fw2, 6000],
      [fw1, 5000],
    ] as const) {
      node.born(1, translated(port));
      await cluster.run(1500);
    }
    await cluster.done(fw1.demote());
    await cluster.until('all is handed over', () => fw1.mirrorFlows === 0 && cluster.isInStep());
    const replyOf = (node: CoreNode) => {
      const flow = node.twin.find(makeRecord(translated(0)).m, 0);
      return flow && replyKey(flow.m, 0);
    };
    expect(replyOf(fw2)).toBe(replyKey(makeRecord(translated(6000)).m, 0));
    await cluster.until('fw1 follows', () => replyOf(fw1) === replyOf(fw2), 15_000);
  });

  it('owns nothing after a restart, and what ended meanwhile goes with the purge', async () => {
    const { cluster, fw1, fw2 } = await pair({ standby: 'hot', purgeAfterMs: 8000 });
    await cluster.until('fw2 has them', () => fw2.twin.flows.count === FLOWS);
    fw2.kill();
    fw1.die(1);
    await cluster.run(500);
    fw2.start();
    await cluster.until('fw2 is ready', () => fw2.up.state === 'ready' && cluster.isInStep());
    expect(fw2.mirrorFlows).toBe(0);
    expect(fw1.up.table.countOf(fw1.peer('fw2').owner)).toBe(0);
    expect(fw2.markOf(1)).toBe(0);
    await cluster.until('it is purged', () => fw2.markOf(1) === undefined, 14_000);
    expect(fw2.twin.flows.count).toBe(FLOWS - 1);
    expect(fw2.up.standby.purger.last).toMatchObject({ purged: 1, isByHand: false });
  });
});

describe('a purge', () => {
  for (const standby of ['hot', 'cold'] as const) {
    it(`of a ${standby} backup lets the daemon rest between its two looks`, async () => {
      const all = await pair({ standby, purgeAfterMs: 10_000 });
      await switched(all);
      const { cluster, fw1 } = all;
      const { standby: backup } = fw1.up;
      await cluster.until('a purge runs', () => backup.purger.isRunning, 11_000);
      await cluster.run(1000);
      expect(backup.purger.isRunning).toBe(true);
      expect(backup.isAtWork(cluster.now)).toBe(backup.hot?.isAtWork(cluster.now) ?? false);
      expect(backup.purger.dueAt - cluster.now).toBeGreaterThan(2000);
      await cluster.until('it is over', () => !backup.purger.isRunning, 6000);
    });
  }
});

describe('the purge of a cold backup', () => {
  it('begins after its time and not before, and takes what the switch left', async () => {
    const all = await pair({ purgeAfterMs: 10_000 });
    const { cluster, fw1, fw2 } = all;
    await switched(all);
    const since = cluster.now;
    expect(fw1.twin.flows.count).toBe(FLOWS);
    await cluster.until('it is purged', () => fw1.twin.flows.count === 0, 20_000);
    expect(cluster.now - since).toBeGreaterThan(8000);
    expect(cluster.now - since).toBeLessThan(15_000);
    expect(fw1.up.table.countOf(fw1.peer('fw2').owner)).toBe(FLOWS);
    expect(fw2.twin.flows.count).toBe(FLOWS);
    await cluster.run(300);
    expect(fw1.up.standby.purger.last).toMatchObject({ purged: FLOWS, skipped: {}, isCancelled: false });
    expect(cluster.isInStep()).toBe(true);
  });

  it('is ended by a promote, and nothing is lost', async () => {
    const all = await pair({ purgeAfterMs: 6000 });
    const { cluster, fw1, fw2 } = all;
    await switched(all);
    await cluster.until('it runs', () => fw1.up.standby.purger.isRunning, 10_000);
    await cluster.done(fw1.promote());
    expect(fw1.up.standby.purger.isRunning).toBe(false);
    expect(fw1.up.standby.purger.last).toMatchObject({ isCancelled: true });
    await cluster.done(fw2.demote());
    await cluster.until('both are in step', () => cluster.isInStep());
    expect(fw1.twin.flows.count).toBe(FLOWS);
  });

  it('waits as long as the primary is not heard: these may be the last ones', async () => {
    const all = await pair({ purgeAfterMs: 3000 });
    const { cluster, fw1, fw2 } = all;
    await switched(all);
    fw2.kill();
    await cluster.run(15_000);
    expect(fw1.twin.flows.count).toBe(FLOWS);
    expect(fw1.twin.requests[OP_DELETE]).toBe(0);
    await expect(fw1.up.standby.purger.purge(() => {})).rejects.toThrow(PurgeRefusedError);
  });

  it('by hand is refused on a primary, and done on a backup whose time is never', async () => {
    const all = await pair({ purgeAfterMs: 0 });
    const { cluster, fw1, fw2 } = all;
    await expect(fw1.up.standby.purger.purge(() => {})).rejects.toThrow('only a backup purges');
    await switched(all);
    await cluster.run(20_000);
    expect(fw1.twin.flows.count).toBe(FLOWS);
    const outcome = await cluster.done(fw1.up.standby.purger.purge(() => {}));
    expect(outcome).toMatchObject({ purged: FLOWS, isByHand: true, isCancelled: false });
    expect(fw1.twin.flows.count).toBe(0);
    expect(fw2.twin.flows.count).toBe(FLOWS);
  });
});
