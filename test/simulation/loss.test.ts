import { describe, expect, it } from 'vitest';
import { addressBytes, offMark } from '../../src/flow/record.js';
import { KERNEL } from '../../src/table/slot-bits.js';
import { ControlCodec } from '../../src/wire/control-messages.js';
import { CLASS_CONTROL } from '../../src/wire/frame.js';
import { CONTROL_GONE, CONTROL_NACK } from '../../src/wire/ops.js';
import { NO_FAULTS } from './network-twin.js';
import { SimCluster, type SimNode } from './replication-harness.js';

function startAll(cluster: SimCluster, names: string[]): SimNode[] {
  const nodes = names.map((name) => cluster.start(name));
  nodes[0].replicator.setRole('primary', 1);
  for (const node of nodes) node.classify();
  return nodes;
}

const peerOf = (node: SimNode, name: string) => {
  const peer = node.replicator.peers().find((p) => p.node === name);
  if (peer === undefined) throw new Error(`${node.name} does not know ${name}`);
  return peer;
};

function quiet(cluster: SimCluster, maxMs = 8000): void {
  cluster.network.faults = { ...NO_FAULTS };
  cluster.network.heal();
  cluster.runUntil(() => cluster.isQuiet(), maxMs, 'all replicas proven');
}

describe('a lossy link', () => {
  it('of 5 % both ways carries 20,000 events a second with every MARK proven and the lag bounded', () => {
    const cluster = new SimCluster(61, 65_536);
    const [a, b] = startAll(cluster, ['a', 'b']);
    cluster.runUntil(() => cluster.isQuiet(), 2000, 'quiet');
    cluster.network.faults = { ...NO_FAULTS, loss: 0.05, delayMs: 0.3 };
    let longest = 0;
    cluster.run(4000, () => {
      for (let i = 0; i < 20; i++) {
        const n = cluster.random.below(20_000);
        const dice = cluster.random.next();
        if (dice < 0.4) a.create(n, cluster.random.below(40));
        else if (dice < 0.8) a.update(n, cluster.random.below(40));
        else a.destroy(n);
      }
      longest = Math.max(longest, peerOf(a, 'b').lagMs);
    });
    expect(longest).toBeLessThan(250);
    expect(b.counters.get('stream.mark-differs')).toBe(0);
    expect(b.counters.get('stream.lost-frames')).toBe(0);
    expect(b.events.filter((e) => e.type === 'suspect')).toEqual([]);
    expect(a.counters.get('window.lagging')).toBe(0);
    quiet(cluster, 1000);
    cluster.expectEqual();
  });

  it('that swallows NACKs does not keep a hole open: they are said again', () => {
    const cluster = new SimCluster(62);
    const [a, b] = startAll(cluster, ['a', 'b']);
    quiet(cluster);
    // One frame is lost, and then all that b says for a while.
    cluster.network.cut('a', 'b');
    a.create(1, 1);
    cluster.run(2);
    cluster.network.heal();
    cluster.network.cut('b', 'a');
    a.create(2, 1);
    cluster.run(300);
    expect(b.counters.get('nack.sent')).toBeGreaterThan(2);
    expect(b.replica(peerOf(b, 'a').owner).size).toBe(0);
    const sent = b.counters.get('nack.sent');
    cluster.network.heal();
    cluster.runUntil(() => b.replica(peerOf(b, 'a').owner).size === 2, 250, 'the hole is closed');
    expect(b.counters.get('nack.sent')).toBeGreaterThan(sent);
    expect(peerOf(b, 'a').myVerdict).toBe('proven');
    expect(b.counters.get('stream.lost-frames')).toBe(0);
  });

  it('on which a frame was lost for several receivers sees it once again, not once for each', () => {
    const cluster = new SimCluster(63);
    const [a, b, c] = startAll(cluster, ['a', 'b', 'c']);
    quiet(cluster);
    for (let n = 0; n < 100; n++) {
      cluster.network.cut('a', 'b');
      cluster.network.cut('a', 'c');
      a.create(n, 1);
      cluster.run(2);
      cluster.network.heal();
      a.create(1000 + n, 1);
      cluster.run(30);
    }
    quiet(cluster);
    expect(a.counters.get('stream.resent')).toBeLessThan(130);
    expect(b.counters.get('nack.sent') + c.counters.get('nack.sent')).toBeLessThan(170);
  });

  it('from whose frames the ring has nothing left: GONE, and a repair', () => {
    const cluster = new SimCluster(64, 65_536);
    const [a, b] = startAll(cluster, ['a', 'b', 'c']);
    quiet(cluster);
    cluster.network.cut('a', 'b');
    let v = 0;
    cluster.run(4000, () => {
      v++;
      for (let n = 0; n < 80; n++) a.create(n, v % 40);
    });
    expect(peerOf(a, 'b').isLagging).toBe(true);
    cluster.network.heal();
    quiet(cluster);
    expect(a.counters.get('stream.gone-said')).toBeGreaterThan(0);
    expect(b.counters.get('stream.gone')).toBeGreaterThan(0);
    cluster.expectEqual();
  });
});

describe('a peer', () => {
  it('that asks for everything, all the time, gets a bounded share, and the others all', () => {
    const cluster = new SimCluster(65);
    const [a, b, c] = startAll(cluster, ['a', 'b', 'c']);
    quiet(cluster);
    cluster.isChecking = false;
    const codec = new ControlCodec();
    cluster.network.faults = { ...NO_FAULTS, loss: 0.05 };
    let counter = 2 ** 40;
    const nacks = () => {
      for (let i = 0; i < 20; i++) {
        const { sequence } = a.replicator;
        const ranges: [number, number][] = [[1, sequence]];
        const payload = codec.encode({ type: CONTROL_NACK, to: a.incarnation, ranges });
        const frame = c.forge(CLASS_CONTROL, counter++, payload);
        a.replicator.receive(frame, 0, frame.length, 0, cluster.now);
      }
    };
    cluster.run(2000, () => {
      nacks();
      for (let n = 0; n < 10; n++) a.create(cluster.random.below(400), cluster.random.below(40));
    });
    expect(a.counters.get('nack.received')).toBeGreaterThan(40_000);
    expect(a.counters.get('stream.resent')).toBeLessThan(2 * 4000 + 512 + 500);
    expect(peerOf(b, 'a').myVerdict).toBe('proven');
    expect(b.counters.get('stream.lost-frames')).toBe(0);
    quiet(cluster);
    cluster.expectEqual();
  });

  it('that asks for what was never sent, or speaks of GONE out of reach, is not listened to', () => {
    const cluster = new SimCluster(66);
    const [a, b] = startAll(cluster, ['a', 'b']);
    for (let n = 0; n < 50; n++) a.create(n, 1);
    quiet(cluster);
    const codec = new ControlCodec();
    const { sequence } = a.replicator;
    for (const ranges of [
      [[1, sequence + 1]],
      [
        [3, 4],
        [2, 5],
      ],
    ] as [number, number][][]) {
      const frame = b.forge(
        CLASS_CONTROL,
        2 ** 40,
        codec.encode({ type: CONTROL_NACK, to: a.incarnation, ranges }),
      );
      a.replicator.receive(frame, 0, frame.length, 0, cluster.now);
    }
    expect(a.counters.get('control.nack-beyond')).toBe(2);
    expect(a.counters.get('stream.resent')).toBe(0);
    for (const lowest of [0, 1, sequence, sequence + 2, 2 ** 50]) {
      const frame = a.forge(CLASS_CONTROL, 2 ** 41, codec.encode({ type: CONTROL_GONE, lowest }));
      b.replicator.receive(frame, 0, frame.length, 0, cluster.now);
    }
    expect(b.counters.get('control.gone-beyond')).toBe(2);
    expect(b.counters.get('control.invalid')).toBe(1);
    expect(b.counters.get('stream.gone')).toBe(0);
    expect(peerOf(b, 'a').myVerdict).toBe('proven');
  });
});

describe('a sender in mode', () => {
  it('refresh is asked for nothing, and says everything once a cycle', () => {
    const cluster = new SimCluster(67);
    const a = cluster.start('a', 'boot-a', { options: { mode: 'refresh' } });
    const b = cluster.start('b');
    for (const node of [a, b]) node.classify();
    for (let n = 0; n < 200; n++) a.create(n, 1);
    cluster.run(500);
    cluster.network.cut('a', 'b');
    a.update(5, 7);
    cluster.run(5);
    cluster.network.heal();
    a.update(6, 7);
    cluster.run(500);
    expect(peerOf(b, 'a').myVerdict).toBe('suspect');
    expect(b.counters.get('nack.sent')).toBe(0);
    cluster.runUntil(() => peerOf(b, 'a').myVerdict === 'proven', 63_000, 'a cycle healed it');
    expect(b.replica(peerOf(b, 'a').owner)).toEqual(a.mirror());
    expect(a.counters.get('nack.received')).toBe(0);
  }, 30_000);

  it('best-effort is asked when somebody joins, or says resync, and not about losses', () => {
    const cluster = new SimCluster(68);
    const a = cluster.start('a', 'boot-a', { options: { mode: 'best-effort' } });
    const c = cluster.start('c');
    for (const node of [a, c]) node.classify();
    for (let n = 0; n < 200; n++) a.create(n, 1);
    cluster.run(500);
    const b = cluster.start('b');
    b.classify();
    cluster.run(100);
    cluster.runUntil(() => peerOf(b, 'a').myVerdict === 'proven', 2000, 'the newcomer has all');
    cluster.network.cut('a', 'b');
    a.update(5, 7);
    cluster.run(5);
    cluster.network.heal();
    cluster.run(3000);
    expect(peerOf(b, 'a').myVerdict).toBe('suspect');
    expect(b.counters.get('nack.sent')).toBe(0);
    b.replicator.requestRepair('a');
    cluster.runUntil(() => peerOf(b, 'a').myVerdict === 'proven', 2000, 'the repair healed it');
  });
});

describe('the filter after the merge', () => {
  it('deletes at the peers what leaves it, and says again what comes back', () => {
    const cluster = new SimCluster(69);
    const passed = { from: 0 };
    // The mark of a sample is its variant.
    const isIn = (mark: number) => mark >= passed.from;
    const a = cluster.start('a', 'boot-a', {
      ports: { passes: (m, at) => isIn(m.u32[(at + offMark(addressBytes(m, at))) >>> 2]) },
    });
    const b = cluster.start('b');
    for (const node of [a, b]) node.classify();
    passed.from = 3;
    for (let n = 0; n < 100; n++) a.create(n, n % 6);
    const replica = () => b.replica(peerOf(b, 'a').owner).size;
    cluster.runUntil(() => cluster.isQuiet(), 2000, 'quiet');
    const inside = [...Array(100).keys()].filter((n) => n % 6 >= 3).length;
    expect(replica()).toBe(inside);
    a.update(3, 1);
    a.update(0, 5);
    cluster.runUntil(() => cluster.isQuiet(), 2000, 'quiet');
    expect(replica()).toBe(inside);
    expect(a.mirror().size).toBe(100);
    cluster.run(300); // a MARK came
    expect(b.events.filter((e) => e.type === 'suspect')).toEqual([]);
    // A repair names only what passes, and deletes the rest.
    passed.from = 4;
    a.replicator.resendAll();
    cluster.run(300);
    cluster.runUntil(() => cluster.isQuiet(), 2000, 'quiet');
    expect(replica()).toBe(
      [...Array(100).keys()].filter((n) => (n === 0 ? 5 : n === 3 ? 1 : n % 6) >= 4).length,
    );
  });
});

describe('idle classes', () => {
  it('are told when there is nothing else to say, slowly, and change no image', () => {
    const cluster = new SimCluster(70);
    const queue: number[] = [];
    const a = cluster.start('a', 'boot-a', { ports: { nextIdle: () => queue.shift() ?? -1 } });
    const b = cluster.start('b');
    for (const node of [a, b]) node.classify();
    for (let n = 0; n < 3000; n++) a.create(n, 1);
    cluster.runUntil(() => cluster.isQuiet(), 3000, 'quiet');
    for (let slot = 0; slot < a.table.slotLimit; slot++) {
      if ((a.table.bits(slot) & KERNEL) === 0) continue;
      a.table.memory.u8[a.table.recordAt(slot) + 2] = 3;
      queue.push(slot);
    }
    const waiting = queue.length;
    cluster.run(500);
    expect(waiting - queue.length).toBeGreaterThan(900);
    expect(waiting - queue.length).toBeLessThanOrEqual(1064);
    cluster.run(1500);
    expect(queue).toHaveLength(0);
    expect(b.events.filter((e) => e.type === 'suspect')).toEqual([]);
  });
});
