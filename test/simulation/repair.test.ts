import { describe, expect, it } from 'vitest';
import { offStatus } from '../../src/flow/record.js';
import { QUARANTINE_MAX, REPAIRS_MAX } from '../../src/limits.js';
import { RepairPair } from './repair-pair.js';
import { SimCluster } from './replication-harness.js';

describe('a repair of a large table', () => {
  it('says only the fine scopes that differ, and a re-join of equal tables next to nothing', () => {
    const pair = new RepairPair(200_000);
    pair.fill();
    for (const side of [pair.a, pair.b]) side.replicator.setMirrorReady();
    const bulk = pair.measure('bulk');
    pair.spoil(100);
    const repair = pair.measure('repair');
    const { counters } = pair.b;
    expect(counters.get('repair.fine-scopes')).toBeGreaterThan(90);
    expect(counters.get('repair.scopes')).toBe(0);
    expect(repair).toBeLessThan(bulk * 0.03);
    pair.a.restart();
    pair.a.replicator.setMirrorReady();
    expect(pair.measure('re-join')).toBeLessThan(20_000);
    expect(counters.get('repair.scopes')).toBe(0);
  }, 60_000);
});

describe('records that a receiver refuses', () => {
  it('are given up after a few repairs, are quarantined in bounds, and harm nothing else', () => {
    const cluster = new SimCluster(81, 16_384);
    const [a, b] = [cluster.start('a'), cluster.start('b')];
    for (const node of [a, b]) node.classify();
    cluster.isChecking = false;
    for (let n = 0; n < 4000; n++) a.create(n, 1);
    for (let n = 10_000; n < 10_050; n++) b.create(n, 1);
    const { table } = a;
    for (let slot = 0; slot < 3000; slot++) {
      const at = table.recordAt(slot);
      const addr = table.memory.u8[at + 12] === 10 ? 16 : 4;
      table.memory.u32[(at + offStatus(addr)) >>> 2] = 0xffffffff;
    }
    const [seen] = [() => b.replicator.peers().find((p) => p.node === 'a')];
    cluster.runUntil(() => seen()?.myVerdict === 'diverged', 20_000, 'b gave up');
    expect(b.replicator.quarantine).toHaveLength(QUARANTINE_MAX);
    // Once as deltas, and as often as a scope is repaired.
    expect(b.counters.get('quarantine.status')).toBeLessThanOrEqual(3000 * (REPAIRS_MAX + 1));
    expect(b.replica(seen()?.owner ?? -1).size).toBe(1000);
    const { sentBytes } = cluster.network;
    cluster.run(5000);
    expect(cluster.network.sentBytes - sentBytes).toBeLessThan(40_000);
    expect(a.replicator.peers()[0].myVerdict).toBe('proven');
    a.create(5000, 1);
    cluster.run(20);
    expect(b.replica(seen()?.owner ?? -1).size).toBe(1001);
  }, 60_000);
});
