/** What nodes do to each other when roles change: planned switches, split brain and its heal, crashes in the middle. */
import { beforeEach, describe, expect, it } from 'vitest';
import { CoreCluster, type CoreNode } from './core-cluster.js';

const FLOWS = 300;

let cluster: CoreCluster;
let fw1: CoreNode;
let fw2: CoreNode;

async function pair(): Promise<void> {
  cluster = new CoreCluster(['fw1', 'fw2']);
  [fw1, fw2] = cluster.nodes;
  await cluster.begin();
  for (let n = 0; n < FLOWS; n++) fw1.born(n);
  await cluster.until('all is replicated', () => fw2.up.table.count === FLOWS && cluster.isInStep());
}

describe('a split brain', () => {
  beforeEach(pair);

  /** Both are primary, apart; each goes on with its own traffic. */
  async function split(): Promise<void> {
    cluster.cut();
    await cluster.run(1500);
    await cluster.done(fw2.promote());
    for (const node of [fw1, fw2]) expect(node.twin.flows.count).toBe(FLOWS);
    fw1.born(1001);
    fw2.born(1002);
    fw1.die(1);
    fw2.die(2);
    fw1.mark(3, 31);
    fw2.mark(4, 42);
    fw1.mark(5, 51);
    fw2.mark(5, 52);
    await cluster.run(3000);
    cluster.network.heal();
    await cluster.run(1000);
  }

  for (const [loser, winner] of [
    ['fw1', 'fw2'],
    ['fw2', 'fw1'],
  ]) {
    it(`heals when ${loser} steps back: nothing born on it is lost, nothing ended on ${winner} returns`, async () => {
      await split();
      const [l, w] = loser === 'fw1' ? [fw1, fw2] : [fw2, fw1];
      const other = (n: number) => (loser === 'fw1' ? n : [0, 2, 1, 4, 3][n]);
      expect((await cluster.done(l.demote())).exitCode).toBe(0);
      await cluster.until('it is absorbed', () => w.up.roles.lastAbsorb !== undefined && l.mirrorFlows === 0);
      await cluster.until('both are in step', () => cluster.isInStep());
      expect(w.mirrorFlows).toBe(FLOWS + 1);
      expect(w.markOf(1001)).toBe(0);
      expect(w.markOf(1002)).toBe(0);
      // Ended on the winner; on the loser it had not changed.
      expect(w.markOf(other(2))).toBeUndefined();
      // Ended on the loser only.
      expect(w.markOf(other(1))).toBe(0);
      expect(w.markOf(5)).toBe(loser === 'fw1' ? 52 : 51);
      expect(w.markOf(other(4))).toBe(loser === 'fw1' ? 42 : 31);
      // Changed on the loser only.
      if (loser === 'fw1') expect(w.markOf(3)).toBe(31);
      // Born on the loser, and what it has changed: nothing is looked at twice.
      expect(w.absorbed).toEqual([1, 2]);
      const { lastAbsorb } = w.up.roles;
      expect(lastAbsorb).toMatchObject({ sources: [loser], rejected: 0 });
      expect(l.up.role).toBe('backup');
      expect(w.up.replicator.term).toBeGreaterThanOrEqual(l.peer(winner).term);
    });
  }
});
