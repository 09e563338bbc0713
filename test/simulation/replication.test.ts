import { describe, expect, it } from 'vitest';
import { PENDING } from '../../src/table/slot-bits.js';
import { NO_FAULTS } from './network-twin.js';
import { SimCluster, type SimNode } from './replication-harness.js';

const LOSSY = {
  loss: 0.05,
  duplication: 0.05,
  reordering: 0.05,
  reorderMs: 50,
  delayMs: 1,
  corruption: 0,
};

/** Random changes on a node's own flows, in its own range of numbers. */
function change(cluster: SimCluster, node: SimNode, first: number, flows: number): void {
  const n = first + cluster.random.below(flows);
  const v = cluster.random.below(40);
  const dice = cluster.random.next();
  if (dice < 0.45) node.create(n, v);
  else if (dice < 0.75) node.update(n, v);
  else node.destroy(n);
}

function startAll(cluster: SimCluster, names: string[]): SimNode[] {
  const nodes = names.map((name) => cluster.start(name));
  nodes[0].replicator.setRole('primary', 1);
  for (const node of nodes) node.classify();
  return nodes;
}

const hexOf = (u8: Uint8Array | undefined): string => Buffer.from(u8 ?? []).toString('hex');

const quiet = (cluster: SimCluster, maxMs = 8000): number => {
  cluster.network.faults = { ...NO_FAULTS };
  cluster.network.heal();
  // What was proven before the last fault proves nothing: a frame with bit errors changes a replica and no verdict.
  const said = cluster.nodes.map(({ replicator }) => replicator.sequence);
  const isJudged = () =>
    cluster.nodes.every(({ replicator }, i) =>
      replicator.peers().every((p) => !p.alive || p.verdictSequence > said[i]),
    );
  return cluster.runUntil(() => cluster.isQuiet() && isJudged(), maxMs, 'all replicas proven');
};

describe('replication between two nodes', () => {
  it('keeps replicas equal to mirrors on a good link, without any repair', () => {
    const cluster = new SimCluster(1);
    const [a, b] = startAll(cluster, ['a', 'b']);
    cluster.run(3000, () => {
      for (let i = 0; i < 5; i++) change(cluster, a, 0, 400);
      change(cluster, b, 1000, 50);
    });
    quiet(cluster);
    cluster.expectEqual();
    expect(b.counters.get('stream.gap')).toBe(0);
    expect(b.counters.get('repair.scopes')).toBe(0);
    expect(a.table.countOf(0)).toBeGreaterThan(100);
  });

  it.each([2, 3, 4, 5, 6, 7])('heals loss, doubling and overtaking (seed %i)', (seed) => {
    const cluster = new SimCluster(seed);
    const [a, b] = startAll(cluster, ['a', 'b']);
    cluster.run(300);
    cluster.network.faults = { ...LOSSY, corruption: 0 };
    cluster.run(3000, () => {
      for (let i = 0; i < 3; i++) change(cluster, a, 0, 300);
      change(cluster, b, 200, 200); // some tuples are both nodes'
    });
    quiet(cluster);
    cluster.expectEqual();
    // What was lost was asked for and sent again: nothing was ever suspect, nothing had to be repaired.
    expect(a.counters.get('stream.resent')).toBeGreaterThan(0);
    expect(b.counters.get('stream.lost-frames')).toBe(0);
    expect(b.counters.get('repair.scopes')).toBe(0);
    expect(b.events.filter((e) => e.type === 'suspect')).toEqual([]);
  });

  it.each([11, 12, 13, 14, 15, 17])('heals what bit errors did to unsealed frames (seed %i)', (seed) => {
    const cluster = new SimCluster(seed);
    const [a, b] = startAll(cluster, ['a', 'b']);
    cluster.run(300);
    cluster.isChecking = false;
    cluster.network.faults = { ...LOSSY, corruption: 0.1 };
    cluster.run(3000, () => {
      change(cluster, a, 0, 300);
      change(cluster, b, 200, 200);
    });
    quiet(cluster);
    cluster.expectEqual();
  });

  it('finds the same at the end of every run of a seed', () => {
    const trace = () => {
      const cluster = new SimCluster(42);
      const [a, b] = startAll(cluster, ['a', 'b']);
      cluster.network.faults = { ...LOSSY, corruption: 0 };
      cluster.run(500, () => change(cluster, a, 0, 100));
      return `${a.digest()} ${b.digest()} ${cluster.network.sentBytes}`;
    };
    expect(trace()).toBe(trace());
  });

  it('brings a node up to date that comes late, by a repair of all scopes', () => {
    const cluster = new SimCluster(21);
    const [a] = startAll(cluster, ['a', 'c']);
    cluster.run(1000, () => change(cluster, a, 0, 600));
    const b = cluster.start('b');
    b.classify();
    const ms = quiet(cluster);
    cluster.expectEqual();
    expect(ms).toBeLessThan(600);
    expect(b.counters.get('repair.scopes')).toBeGreaterThan(100);
  });

  it('says nothing while nobody listens, and all of it when somebody does', () => {
    const cluster = new SimCluster(22);
    const [a] = startAll(cluster, ['a']);
    cluster.run(1500, () => change(cluster, a, 0, 300));
    expect(a.replicator.sequence).toBe(0);
    expect(a.replicator.isParked).toBe(true);
    cluster.start('b').classify();
    quiet(cluster);
    cluster.expectEqual();
  });

  it('heals a partition, during which both went on', () => {
    const cluster = new SimCluster(23);
    const [a, b] = startAll(cluster, ['a', 'b']);
    const act = () => {
      change(cluster, a, 0, 300);
      change(cluster, b, 250, 100);
    };
    cluster.run(1000, act);
    cluster.network.isolate('b');
    cluster.run(2500, act);
    expect(a.replicator.peers()[0].alive).toBe(false);
    cluster.network.heal();
    cluster.run(200, act);
    quiet(cluster);
    cluster.expectEqual();
  });

  it('carries 40 bytes a flow or less, headers of the link included, when flows come in a burst', () => {
    const cluster = new SimCluster(24);
    const [a] = startAll(cluster, ['a', 'b']);
    quiet(cluster);
    const { sentBytes, sentFrames } = cluster.network;
    for (let n = 1; n <= 3000; n++) if (n % 5 !== 4 && n % 7 !== 0) a.create(n, 2);
    const flows = a.table.countOf(0);
    quiet(cluster);
    const bytes = cluster.network.sentBytes - sentBytes + (cluster.network.sentFrames - sentFrames) * 42;
    expect(bytes / flows).toBeLessThan(60);
  });
});

describe('replication among three nodes', () => {
  it.each([31, 32, 33, 34])('heals everything that goes wrong at once (seed %i)', (seed) => {
    const cluster = new SimCluster(seed);
    const nodes = startAll(cluster, ['a', 'b', 'c']);
    cluster.network.faults = { ...LOSSY, corruption: 0 };
    cluster.run(4000, () => {
      nodes.forEach((node, i) => {
        change(cluster, node, i * 100, 200);
      });
      const dice = cluster.random.next();
      if (dice < 0.001) cluster.network.isolate(nodes[cluster.random.below(3)].name);
      else if (dice < 0.004) cluster.network.heal();
    });
    quiet(cluster, 15_000);
    cluster.expectEqual();
  });

  it('lets a receiver that never advances delay the others by a second and no more', () => {
    const cluster = new SimCluster(35);
    const [a, b] = startAll(cluster, ['a', 'b', 'c']);
    quiet(cluster);
    cluster.isChecking = false;
    // c goes on to be heard, but a's frames do not reach it.
    cluster.network.cut('a', 'c');
    let v = 0;
    const burst = () => {
      v++;
      for (let n = 0; n < 150; n++) a.create(n, v);
    };
    const lagging = () => a.replicator.peers().find((p) => p.node === 'c');
    cluster.run(900, burst);
    expect(lagging()?.isLagging).toBe(false);
    expect(a.table.dirtyCount).toBeGreaterThan(0);
    cluster.run(900, burst);
    expect(lagging()?.isLagging).toBe(true);
    cluster.runUntil(() => a.table.dirtyCount === 0, 100, 'the queue is empty');
    expect(b.replicator.peers().find((p) => p.node === 'a')?.receivedSequence).toBeGreaterThan(1024);
    cluster.network.heal();
    cluster.runUntil(() => lagging()?.isLagging === false, 5000, 'c is back in the window');
    quiet(cluster);
    cluster.expectEqual();
  });
});

describe('a restart of a daemon', () => {
  it.each([
    [41, 'the same boot', 0],
    [42, 'the same boot, with flows that changed meanwhile', 30],
  ])('never makes its replica smaller before its mirror is ready (seed %i: %s)', (seed, _what, changes) => {
    const cluster = new SimCluster(seed);
    const kernel = new Map<number, number>();
    const [a, b] = startAll(cluster, ['a', 'b']);
    for (let n = 0; n < 400; n++) {
      a.create(n, 3);
      kernel.set(n, 3);
    }
    quiet(cluster);
    const { sentBytes } = cluster.network;
    cluster.kill(a);
    cluster.run(40);
    for (let i = 0; i < changes; i++) {
      if (i % 3 === 0) kernel.delete(i);
      else kernel.set(i % 3 === 1 ? i : 1000 + i, 5);
    }
    const again = cluster.start('a');
    again.dump(kernel);
    const replica = () => b.replicator.peers().find((p) => p.node === 'a');
    cluster.run(1000, () => {
      expect(b.replica(replica()?.owner ?? -1).size).toBe(400);
    });
    expect(hexOf(replica()?.incarnation)).toBe(again.id);
    again.classify();
    quiet(cluster);
    cluster.expectEqual();
    expect(b.replica(replica()?.owner ?? -1).size).toBe(kernel.size);
    // Few packets when equal: control messages mostly, far less than the flows themselves.
    if (changes === 0) expect(b.counters.get('repair.scopes')).toBe(0);
    expect(cluster.network.sentBytes - sentBytes).toBeLessThan(40_000);
  });

  it('with another boot leaves what a primary had as a source of a promote', () => {
    const cluster = new SimCluster(43);
    const [a, b] = startAll(cluster, ['a', 'b']);
    for (let n = 0; n < 100; n++) a.create(n, 1);
    for (let n = 200; n < 300; n++) b.create(n, 1);
    quiet(cluster);
    cluster.kill(a);
    const again = cluster.start('a', 'another-boot');
    cluster.run(500);
    again.classify();
    quiet(cluster);
    const [former] = b.replicator.formers();
    expect(former.node).toBe('a');
    expect(b.replica(former.owner).size).toBe(100);
  });

  it('with another boot of a backup lets go of what it had', () => {
    const cluster = new SimCluster(44);
    const [a, b] = startAll(cluster, ['a', 'b']);
    for (let n = 200; n < 300; n++) b.create(n, 1);
    quiet(cluster);
    cluster.kill(b);
    cluster.start('b', 'another-boot').classify();
    quiet(cluster);
    cluster.run(300);
    expect(a.table.count).toBe(0);
    expect(a.replicator.formers()).toEqual([]);
    expect(a.table.owners.list()).toHaveLength(1);
  });

  it('of a backup finds its flows held, if a live primary speaks of them', () => {
    const cluster = new SimCluster(45);
    const kernel = new Map<number, number>();
    const [a, b] = startAll(cluster, ['a', 'b']);
    for (let n = 0; n < 300; n++) {
      a.create(n, 3);
      kernel.set(n, 3);
    }
    quiet(cluster);
    cluster.kill(b);
    const again = cluster.start('b');
    again.dump(kernel);
    cluster.runUntil(() => again.replicator.isJoined(cluster.now), 2000, 'joined');
    expect(cluster.now - 1000).toBeLessThan(3000);
    const owner = again.replicator.peers()[0].owner;
    expect(again.table.countOf(owner)).toBe(300);
    expect(again.table.kernelCount).toBe(300);
    again.classify();
    quiet(cluster);
    expect(again.mirror().size).toBe(0);
    cluster.expectEqual();
  });

  it('of two peers at once is seen by a node that was stalled right then', () => {
    const cluster = new SimCluster(47);
    const [a, b, c] = startAll(cluster, ['a', 'b', 'c']);
    quiet(cluster);
    cluster.kill(b);
    cluster.kill(c);
    const again = ['b', 'c'].map((name) => cluster.start(name));
    // Both have proved themselves, and their names' old owners have a moment to answer; then nobody is heard any more.
    cluster.run(150);
    expect(a.replicator.peers().map((p) => hexOf(p.incarnation))).toEqual([b.id, c.id]);
    for (const node of again) cluster.kill(node);
    cluster.now += 6000;
    a.replicator.tick(cluster.now);
    expect(a.replicator.peers().map((p) => hexOf(p.incarnation))).toEqual(
      expect.arrayContaining(again.map(({ id }) => id)),
    );
  });

  it('under a name that is in use is refused, and the first one goes on', () => {
    const cluster = new SimCluster(46);
    const [a, b] = startAll(cluster, ['a', 'b']);
    for (let n = 0; n < 50; n++) a.create(n, 1);
    quiet(cluster);
    const impostor = cluster.start('a');
    cluster.nodes.pop();
    // Both hear the link under their own incarnation: the twin knows receivers by name, so a gets a second
    // one.
    cluster.network.attach('a2', (u8, length) => a.replicator.receive(u8, 0, length, 0, cluster.now));
    cluster.run(2500, () => {
      impostor.replicator.tick(cluster.now);
      impostor.replicator.flush(cluster.now);
    });
    expect(b.counters.get('join.duplicate-name')).toBeGreaterThan(0);
    expect(b.events.some((e) => e.type === 'refused')).toBe(true);
    expect(b.replicator.peers().map((p) => hexOf(p.incarnation))).toEqual([a.id]);
    expect(a.counters.get('frame.own-name') + impostor.counters.get('frame.own-name')).toBeGreaterThan(0);
  });
});

describe('a takeover', () => {
  /** What `failover/` does at a promote, without a kernel. */
  function promote(cluster: SimCluster, node: SimNode, from: string, term: number): void {
    const source = node.replicator.peers().find((p) => p.node === from);
    if (source === undefined) throw new Error(`${node.name} does not know ${from}`);
    const image = node.replica(source.owner);
    for (const [key, record] of node.replica(0)) image.set(key, record);
    node.replicator.take(source.owner);
    node.log.declared.push(image);
    node.replicator.setRole('primary', term);
    node.replicator.declare({ seeds: [{ node: from, incarnation: source.incarnation }], term });
    expect(cluster.runs.has(hexOf(source.incarnation))).toBe(true);
  }

  it('from a dead primary costs the third node no bulk', () => {
    const cluster = new SimCluster(51);
    const [a, b, c] = startAll(cluster, ['a', 'b', 'c']);
    for (let n = 0; n < 500; n++) a.create(n, 3);
    quiet(cluster);
    cluster.kill(a);
    cluster.run(1200);
    const { sentBytes } = cluster.network;
    promote(cluster, b, 'a', 2);
    const bOfC = () => c.replicator.peers().find((p) => p.node === 'b');
    cluster.runUntil(() => bOfC()?.myVerdict === 'proven' && bOfC()?.role === 'primary', 500, 'c proved b');
    expect(c.replica(bOfC()?.owner ?? -1).size).toBe(500);
    expect(cluster.network.sentBytes - sentBytes).toBeLessThan(6000);
    expect(c.counters.get('repair.scopes')).toBe(0);
    cluster.run(500, () => change(cluster, b, 0, 500));
    cluster.runUntil(() => cluster.isQuiet() || bOfC()?.verdict === 'proven', 3000, 'quiet');
    cluster.run(500);
    expect(c.replica(bOfC()?.owner ?? -1)).toEqual(b.mirror());
  });

  it('by plan hands over what did not change, and says the rest again', () => {
    const cluster = new SimCluster(52);
    const [a, b] = startAll(cluster, ['a', 'b']);
    for (let n = 0; n < 400; n++) a.create(n, 3);
    quiet(cluster);
    cluster.isChecking = false;
    promote(cluster, b, 'a', 2);
    for (let n = 0; n < 20; n++) a.update(n, 9); // not said when b cut
    cluster.run(20);
    expect(a.mirror().size).toBe(400);
    // Left by a promote of a that was stopped.
    for (let slot = 0; slot < a.table.slotLimit; slot++) a.table.setBits(slot, PENDING);
    a.replicator.setRole('backup', 2);
    cluster.runUntil(() => a.events.some((e) => e.type === 'yielded'), 1000, 'a yielded');
    quiet(cluster, 10_000);
    cluster.expectEqual();
    const bOfA = a.replicator.peers()[0];
    expect(bOfA.role).toBe('primary');
    // Held: in a's kernel, and b's word.
    expect(a.replica(bOfA.owner).size).toBe(400);
    expect(a.table.kernelCount).toBe(400);
    for (let slot = 0; slot < a.table.slotLimit; slot++) {
      if (a.table.isUsed(slot) && a.table.owner(slot) === bOfA.owner)
        expect(a.table.bits(slot) & PENDING).toBe(0);
    }
    expect(b.mirror().size).toBe(400);
    expect(b.conflicts.length).toBeGreaterThanOrEqual(20);
  });

  it('that is told long after leaves a replica that is to be proven anew', () => {
    const cluster = new SimCluster(54);
    const [a, b] = startAll(cluster, ['a', 'b']);
    for (let n = 0; n < 400; n++) a.create(n, 3);
    quiet(cluster);
    cluster.isChecking = false;
    promote(cluster, b, 'a', 2);
    cluster.run(10_000);
    expect(a.replicator.peers()[0].myVerdict).toBe('proven');
    a.replicator.setRole('backup', 1);
    cluster.runUntil(() => a.events.some((e) => e.type === 'yielded'), 1000, 'a yielded');
    expect(a.replicator.peers()[0].myVerdict).toBe('suspect');
    quiet(cluster, 10_000);
    cluster.expectEqual();
  });

  it('that stops in the middle leaves the peers nothing to wait for', () => {
    const cluster = new SimCluster(55);
    const [a, b] = startAll(cluster, ['a', 'b']);
    for (let n = 0; n < 400; n++) a.create(n, 3);
    quiet(cluster);
    cluster.isChecking = false;
    const [source] = b.replicator.peers();
    b.replicator.setRole('primary', 2);
    const seeds = [{ node: 'a', incarnation: source.incarnation }];
    b.replicator.declare({ seeds, term: 2, stage: 'begun' });
    cluster.run(100);
    b.replicator.setRole('backup', 2);
    const bOfA = () => a.replicator.peers()[0];
    cluster.runUntil(() => bOfA().role === 'backup' && bOfA().myVerdict === 'proven', 3000, 'a proved b');
  });

  it('over a cut link is heard of when the link is mended, and the old primary hands over all the same', () => {
    const cluster = new SimCluster(53);
    const [a, b] = startAll(cluster, ['a', 'b']);
    for (let n = 0; n < 400; n++) a.create(n, 3);
    quiet(cluster);
    cluster.isChecking = false;
    cluster.network.cut('a', 'b');
    cluster.network.cut('b', 'a');
    promote(cluster, b, 'a', 2);
    for (let n = 0; n < 20; n++) a.update(n, 9);
    cluster.run(3000);
    cluster.network.heal();
    cluster.run(3000);
    expect(a.mirror().size).toBe(400);
    a.replicator.setRole('backup', 1);
    cluster.runUntil(() => a.events.some((e) => e.type === 'yielded'), 1000, 'a yielded');
    quiet(cluster, 10_000);
    cluster.expectEqual();
    expect(a.mirror().size).toBeLessThanOrEqual(20);
    expect(a.replica(a.replicator.peers()[0].owner).size).toBe(400);
    expect(b.mirror().size).toBe(400);
  });
});

describe('a source that a promote reads', () => {
  const knownTo = (node: SimNode) => node.replicator.peers().map((p) => hexOf(p.incarnation));

  it('is not replaced by its next run before the promote lets go of it', () => {
    const cluster = new SimCluster(61);
    const [a, b] = startAll(cluster, ['a', 'b']);
    for (let n = 0; n < 200; n++) a.create(n, 1);
    quiet(cluster);
    const { owner } = b.replicator.peers()[0];
    b.replicator.pin([owner]);
    cluster.kill(a);
    cluster.run(1500);
    const again = cluster.start('a');
    again.classify();
    cluster.run(4000);
    expect(knownTo(b)).toEqual([a.id]);
    expect(b.replica(owner).size).toBe(200);
    b.replicator.unpin();
    cluster.runUntil(() => knownTo(b)[0] === again.id, 3000, 'the new run is known');
  });

  it('keeps its flows when another node declares that it has taken them over', () => {
    const cluster = new SimCluster(62);
    const [a, b, c] = startAll(cluster, ['a', 'b', 'c']);
    for (let n = 0; n < 200; n++) a.create(n, 1);
    quiet(cluster);
    cluster.isChecking = false;
    const ofA = c.replicator.peers().find((p) => p.node === 'a')?.owner ?? -1;
    c.replicator.pin([ofA]);
    const source = b.replicator.peers().find((p) => p.node === 'a');
    b.replicator.take(source?.owner ?? -1);
    b.replicator.setRole('primary', 5);
    b.replicator.declare({ seeds: [{ node: 'a', incarnation: a.incarnation }], term: 5 });
    cluster.run(100);
    expect(c.replica(ofA).size).toBe(200);
  });

  it('is not swept, although its machine was booted again', () => {
    const cluster = new SimCluster(63);
    const [b, a] = startAll(cluster, ['b', 'a']);
    for (let n = 0; n < 200; n++) a.create(n, 1);
    quiet(cluster);
    const { owner } = b.replicator.peers()[0];
    cluster.kill(a);
    cluster.run(1500);
    const again = cluster.start('a', 'boot-2');
    again.classify();
    cluster.runUntil(() => knownTo(b)[0] === again.id, 3000, 'the new run is known');
    b.replicator.pin([owner]);
    cluster.run(2000);
    expect(b.replica(owner).size).toBe(200);
    b.replicator.unpin();
    cluster.run(2000);
    expect(b.replica(owner).size).toBe(0);
  });
});
