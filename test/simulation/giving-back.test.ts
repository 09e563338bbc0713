/**
 * What the loser of a split brain gives back to the winner, and what it keeps for it to take over: what came from the winner
 * and did not change has ended there if it is gone; all else the winner may never have had.
 */
import { describe, expect, it } from 'vitest';
import { CoreCluster, type CoreNode } from './core-cluster.js';

const FLOWS = 300;

let cluster: CoreCluster;

/** All know each other, and the first one is primary and has flows. */
async function nodes(names: readonly string[]): Promise<CoreNode[]> {
  cluster = new CoreCluster(names);
  await cluster.begin();
  const [first, ...others] = cluster.nodes;
  for (let n = 0; n < FLOWS; n++) first.born(n);
  const isThere = () => others.every(({ up }) => up.table.count === FLOWS);
  await cluster.until('all is replicated', () => isThere() && cluster.isInStep());
  return cluster.nodes;
}

/** Neither of the two hears the other. */
function part(one: CoreNode, other: CoreNode): void {
  cluster.network.cut(one.name, other.name);
  cluster.network.cut(other.name, one.name);
}

/** The loser steps back and has nothing of its own any more. */
async function heal(loser: CoreNode): Promise<void> {
  cluster.network.heal();
  await cluster.until('all hear each other', () =>
    cluster.nodes.every(
      ({ core }) =>
        core === undefined || core.replicator.peers().every(({ node, alive }) => alive || isDown(node)),
    ),
  );
  await cluster.run(500);
  await cluster.done(loser.demote());
  await cluster.until('all is handed over', () => loser.mirrorFlows === 0 && cluster.isInStep());
}

const isDown = (name: string): boolean => cluster.nodes.find((n) => n.name === name)?.core === undefined;

describe('a winner that was taken over before', () => {
  it('and was booted since has nothing left of that: the loser keeps it, and it comes back', async () => {
    const [fw1, fw2] = await nodes(['fw1', 'fw2']);
    part(fw1, fw2);
    await cluster.run(1500);
    await cluster.done(fw2.promote());
    fw1.reboot();
    fw1.start();
    await cluster.until('fw1 is there again', () => fw1.up.state === 'ready');
    await cluster.done(fw1.promote());
    fw1.born(1001);
    await heal(fw2);
    expect(fw1.twin.flows.count).toBe(FLOWS + 1);
    expect(fw1.mirrorFlows).toBe(FLOWS + 1);
  });

  it('and has handed over has none of it either, though its kernel is the same', async () => {
    const [fw1, fw2] = await nodes(['fw1', 'fw2']);
    for (const call of [fw2.promote(), fw1.demote()]) await cluster.done(call);
    await cluster.until('all is handed over', () => fw1.mirrorFlows === 0 && cluster.isInStep());
    part(fw1, fw2);
    // No packets pass it.
    for (let n = 0; n < FLOWS; n++) fw1.die(n);
    await cluster.run(1500);
    fw1.kill();
    fw1.start();
    await cluster.until('fw1 is there again', () => fw1.up.state === 'ready');
    expect(await cluster.done(fw1.promote())).toMatchObject({ exitCode: 3 });
    fw1.born(1001);
    await heal(fw2);
    expect(fw1.twin.flows.count).toBe(FLOWS + 1);
    expect(fw1.mirrorFlows).toBe(FLOWS + 1);
  });

  it('gets what is its own, and takes over what had begun on the loser before that', async () => {
    const [fw1, fw2] = await nodes(['fw1', 'fw2']);
    part(fw1, fw2);
    await cluster.run(1500);
    // It knows nobody, and has nothing.
    fw2.kill();
    fw2.start();
    await cluster.until('fw2 is there again', () => fw2.up.state === 'ready');
    await cluster.done(fw2.promote());
    for (const n of [2001, 2002]) fw2.born(n);
    cluster.network.heal();
    await cluster.until('fw1 has heard all of fw2', () => fw1.up.table.count === FLOWS + 2);
    part(fw1, fw2);
    await cluster.run(1500);
    fw1.born(1001);
    await cluster.run(50);
    expect((await cluster.done(fw1.promote())).promote).toMatchObject({ sources: ['fw2'], committed: 2 });
    fw2.die(2001);
    await heal(fw1);
    expect([fw2.markOf(1001), fw2.markOf(2001), fw2.markOf(2002)]).toEqual([0, undefined, 0]);
    expect(fw2.mirrorFlows).toBe(FLOWS + 2);
  });
});

describe('a loser that has taken over a third node', () => {
  it('keeps what it has from that one for a winner that it took over, too', async () => {
    const [fw1, fw2, fw3] = await nodes(['fw1', 'fw2', 'fw3']);
    part(fw1, fw2);
    await cluster.run(1500);
    await cluster.done(fw2.promote());
    fw1.born(1001);
    await cluster.run(500);
    await cluster.done(fw1.demote());
    await cluster.run(500);
    expect((await cluster.done(fw3.promote())).promote?.sources).toEqual(['fw2', 'fw1']);
    fw1.kill();
    fw2.die(7);
    await heal(fw3);
    expect([fw2.markOf(1001), fw2.markOf(7)]).toEqual([0, undefined]);
    expect(fw2.mirrorFlows).toBe(FLOWS);
  });

  it('keeps it also for one that has taken over this loser before', async () => {
    const [fw1, fw2, fw3] = await nodes(['fw1', 'fw2', 'fw3']);
    part(fw2, fw3);
    await cluster.run(1500);
    await cluster.done(fw3.promote());
    fw3.born(1003);
    await cluster.run(500);
    fw3.kill();
    await cluster.run(1500);
    part(fw1, fw2);
    await cluster.run(1500);
    expect((await cluster.done(fw2.promote())).promote?.sources).toEqual(['fw1']);
    fw2.die(7);
    expect((await cluster.done(fw1.promote())).promote?.sources).toEqual(['fw3']);
    expect(fw1.markOf(1003)).toBe(0);
    await heal(fw1);
    expect([fw2.markOf(1003), fw2.markOf(7)]).toEqual([0, undefined]);
    expect(fw2.mirrorFlows).toBe(FLOWS);
  });

  it('gives back what that one had from the winner: what ended there does not return', async () => {
    const [fw1, fw2, fw3] = await nodes(['fw1', 'fw2', 'fw3']);
    part(fw1, fw2);
    part(fw1, fw3);
    await cluster.run(1500);
    await cluster.done(fw2.promote());
    fw2.born(1002);
    await cluster.until('fw3 has heard of it', () => fw3.up.table.count === FLOWS + 1);
    fw2.kill();
    await cluster.run(1500);
    await cluster.done(fw3.promote());
    fw1.die(7);
    await heal(fw3);
    expect([fw1.markOf(1002), fw1.markOf(7)]).toEqual([0, undefined]);
    expect(fw1.mirrorFlows).toBe(FLOWS);
  });
});
