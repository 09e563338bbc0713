/** Expectations in the streams of the real replicators: proven only if they are equal too, whatever the network does. */
import { describe, expect, it } from 'vitest';
import { expectationKey, expOffFlags } from '../../src/flow/expectation.js';
import { recordFromExpectation } from '../../src/flow/expectation-text.js';
import type { Memory } from '../../src/flow/record.js';
import { OWNER_SELF } from '../../src/table/slot-bits.js';
import { NO_FAULTS } from './network-twin.js';
import { SimCluster, type SimNode } from './replication-harness.js';

const LOSSY = { loss: 0.1, duplication: 0.05, reordering: 0.05, reorderMs: 50, delayMs: 1, corruption: 0 };

function sample(n: number, flags = 0): Memory {
  return recordFromExpectation({
    family: 'ipv4',
    protocol: 'tcp',
    tuple: { source: '10.9.0.1', destination: '10.0.0.1', sourcePort: 0, destinationPort: n & 0xffff },
    mask: {
      source: '255.255.255.255',
      destination: '255.255.255.255',
      sourcePort: 0,
      destinationPort: 65535,
    },
    master: {
      protocol: 'tcp',
      source: '10.0.0.1',
      destination: '10.9.0.1',
      sourcePort: n >>> 16,
      destinationPort: 21,
    },
    class: 0,
    flags,
    helper: 'ftp',
  });
}

function begin(node: SimNode, n: number, flags = 0): void {
  node.table.expectations.put(OWNER_SELF, sample(n, flags), 0);
}

function end(node: SimNode, n: number): void {
  const entry = node.table.expectations.find(OWNER_SELF, sample(n), 0);
  if (entry !== undefined) node.table.expectations.end(entry);
}

const image = (node: SimNode, owner: number): string[] =>
  node.table.expectations
    .list(owner)
    .filter((entry) => entry.isLive)
    .map((entry) => expectationKey(entry.record, 0) + entry.record.u32[expOffFlags(12) >>> 2])
    .sort();

const replicaOf = (at: SimNode, of: SimNode): string[] => {
  const peer = at.replicator.peers().find((p) => p.node === of.name);
  return peer === undefined ? [] : image(at, peer.owner);
};

function pair(seed: number): { cluster: SimCluster; a: SimNode; b: SimNode } {
  const cluster = new SimCluster(seed);
  const [a, b] = ['a', 'b'].map((name) => cluster.start(name));
  a.replicator.setRole('primary', 1);
  for (const node of [a, b]) node.classify();
  return { cluster, a, b };
}

const quiet = (cluster: SimCluster): void => {
  cluster.network.faults = { ...NO_FAULTS };
  cluster.network.heal();
  cluster.runUntil(() => cluster.isQuiet(), 8000, 'all replicas proven');
};
const verdictOf = (at: SimNode, of: SimNode) =>
  at.replicator.peers().find((p) => p.node === of.name)?.myVerdict;

describe('expectations in a stream', () => {
  it('reach the peer, change and end there, without any repair', () => {
    const { cluster, a, b } = pair(1);
    cluster.run(300);
    for (let n = 0; n < 50; n++) begin(a, n);
    cluster.run(1500);
    expect(replicaOf(b, a)).toEqual(image(a, OWNER_SELF));
    expect(replicaOf(b, a)).toHaveLength(50);
    for (let n = 0; n < 20; n++) end(a, n);
    for (let n = 20; n < 30; n++) begin(a, n, 1);
    cluster.run(1500);
    expect(replicaOf(b, a)).toEqual(image(a, OWNER_SELF));
    expect(replicaOf(b, a)).toHaveLength(30);
    expect(verdictOf(b, a)).toBe('proven');
    expect(b.counters.get('repair.expectations')).toBe(0);
  });

  it('a helper that announces the same again costs nothing on the link', () => {
    const { cluster, a, b } = pair(2);
    begin(a, 1);
    cluster.run(1500);
    const applied = a.table.expectations.dirtyCount;
    end(a, 1);
    begin(a, 1);
    expect(a.table.expectations.dirtyCount).toBe(applied);
    cluster.run(500);
    expect(replicaOf(b, a)).toHaveLength(1);
  });

  it('more than a window holds come in one run to a newcomer', () => {
    const { cluster, a } = pair(3);
    for (let n = 0; n < 20_000; n++) begin(a, n);
    cluster.run(2000);
    const c = cluster.start('c');
    c.classify();
    cluster.runUntil(() => verdictOf(c, a) === 'proven', 20_000, 'the newcomer is proven');
    expect(replicaOf(c, a)).toHaveLength(20_000);
    expect(c.counters.get('repair.expectations')).toBeGreaterThan(0);
  });

  it('a replica that lost or invented some is suspect at the next MARK, and repaired', () => {
    const { cluster, a, b } = pair(4);
    for (let n = 0; n < 40; n++) begin(a, n);
    cluster.run(1500);
    const owner = b.replicator.peers()[0].owner;
    for (const entry of b.table.expectations.list(owner).slice(0, 5)) b.table.expectations.remove(entry);
    b.table.expectations.put(owner, sample(9999), 0);
    begin(a, 100);
    cluster.runUntil(() => verdictOf(b, a) !== 'proven', 3000, 'the replica is suspect');
    cluster.runUntil(() => verdictOf(b, a) === 'proven', 5000, 'the replica is proven');
    expect(replicaOf(b, a)).toEqual(image(a, OWNER_SELF));
    expect(b.counters.get('stream.expectations-differ')).toBeGreaterThan(0);
    expect(replicaOf(b, a)).toEqual(image(a, OWNER_SELF));
    expect(verdictOf(b, a)).toBe('proven');
  });

  it.each([5, 6, 7, 8])('survive loss, doubling and overtaking (seed %i)', (seed) => {
    const { cluster, a, b } = pair(seed);
    cluster.run(300);
    cluster.network.faults = { ...LOSSY };
    cluster.run(3000, () => {
      for (let i = 0; i < 3; i++) {
        const n = cluster.random.below(300);
        if (cluster.random.next() < 0.6) begin(a, n, cluster.random.below(3));
        else end(a, n);
        a.create(cluster.random.below(100), cluster.random.below(40));
      }
    });
    quiet(cluster);
    cluster.run(1500);
    expect(replicaOf(b, a)).toEqual(image(a, OWNER_SELF));
    expect(replicaOf(b, a).length).toBeGreaterThan(50);
    expect(verdictOf(b, a)).toBe('proven');
  });

  it('follow their owner’s flows: relabelled at a takeover, gone with a forgotten owner', () => {
    const { cluster, a, b } = pair(9);
    for (let n = 0; n < 10; n++) begin(a, n);
    cluster.run(1500);
    const owner = b.replicator.peers()[0].owner;
    begin(b, 3);
    b.replicator.take(owner);
    expect(image(b, OWNER_SELF)).toEqual(image(a, OWNER_SELF));
    expect(b.table.expectations.countOf(owner)).toBe(0);
    const other = b.table.owners.add('gone', new Uint8Array(16));
    b.table.expectations.put(other, sample(77), 0);
    expect(b.table.owners.release(other)).toBe(true);
    expect(b.table.expectations.countOf(other)).toBe(0);
  });
});
