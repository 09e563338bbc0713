import { describe, expect, it } from 'vitest';
import { QUARANTINE_MAX, RING_FRAMES } from '../../../src/limits.js';
import { CANDIDATES_MAX } from '../../../src/replication/join.js';
import { ControlCodec, OWN_VERSIONS } from '../../../src/wire/control-messages.js';
import { CLASS_CONTROL, CLASS_STREAM, FrameReader, FrameWriter } from '../../../src/wire/frame.js';
import { CONTROL_WELCOME } from '../../../src/wire/ops.js';
import { SimCluster, type SimNode } from '../../simulation/replication-harness.js';

function pair(seed: number): { cluster: SimCluster; a: SimNode; b: SimNode } {
  const cluster = new SimCluster(seed);
  const [a, b] = [cluster.start('a'), cluster.start('b')];
  a.replicator.setRole('primary', 1);
  for (const node of [a, b]) node.classify();
  for (let n = 0; n < 50; n++) a.create(n, 1);
  cluster.runUntil(() => cluster.isQuiet(), 2000, 'quiet');
  return { cluster, a, b };
}

/** A frame that looks as if `node` had sent it. */
function forge(
  node: string,
  incarnation: Uint8Array,
  frameClass: number,
  counter: number,
  payload: Uint8Array,
) {
  const w = new FrameWriter('sim', node, incarnation);
  const frame = new Uint8Array(w.headBytes + payload.length);
  frame.set(payload, w.headBytes);
  w.finish(frame, frameClass, counter, payload.length);
  return frame;
}

describe('hostile input', () => {
  it('of strangers changes nothing and is bounded', () => {
    const { cluster, b } = pair(1);
    const before = b.digest();
    const unproven = b.counters.get('frame.unproven');
    for (let i = 0; i < 200; i++) {
      const stranger = cluster.random.bytes(16);
      const frame = forge(
        `x${i}`,
        stranger,
        CLASS_STREAM,
        1,
        Buffer.from('9202c41002060000010000500a0000000a000001', 'hex'),
      );
      b.replicator.receive(frame, 0, frame.length, 0, cluster.now);
    }
    expect(b.digest()).toBe(before);
    expect(b.counters.get('frame.unproven') - unproven).toBe(200);
    expect(b.counters.get('join.candidates-full')).toBe(200 - CANDIDATES_MAX);
    cluster.run(6000);
    expect(b.replicator.peers()).toHaveLength(1);
  });

  it('answers a flood of HELLOs at a limited rate', () => {
    const { cluster, b } = pair(2);
    const hello = new ControlCodec()
      .encode({ type: 1, nonce: new Uint8Array(16), versions: OWN_VERSIONS })
      .slice();
    const { sentFrames } = cluster.network;
    for (let i = 1; i <= 1000; i++) {
      const frame = forge('x', cluster.random.bytes(16), CLASS_CONTROL, i, hello);
      b.replicator.receive(frame, 0, frame.length, 0, cluster.now);
    }
    expect(cluster.network.sentFrames - sentFrames).toBeLessThanOrEqual(64 * 2);
    expect(b.counters.get('join.welcome-limited')).toBeGreaterThanOrEqual(1000 - 64 * 2);
  });

  it('that copies a WELCOME under other names makes peers which are forgotten within a second or two', () => {
    const { cluster, a, b } = pair(7);
    cluster.isChecking = false;
    const codec = new ControlCodec();
    const isWelcomeToB = (frame: Uint8Array) => {
      const reader = new FrameReader('sim');
      if (reader.read(frame, 0, frame.length) !== undefined || reader.frameClass !== CLASS_CONTROL) return;
      const payload = reader.payload.subarray(reader.payloadAt, reader.payloadEnd);
      const message = codec.decode(payload);
      if (typeof message === 'string' || message.type !== CONTROL_WELCOME) return;
      return Buffer.from(message.to).equals(b.incarnation) ? payload.slice() : undefined;
    };
    let welcome: Uint8Array | undefined;
    cluster.network.attach('tap', (u8) => {
      welcome ??= isWelcomeToB(u8);
    });
    cluster.runUntil(() => welcome !== undefined, 5000, 'a WELCOME');
    cluster.network.detach('tap');
    for (let i = 0; i < 5; i++) {
      const frame = forge(`x${i}`, cluster.random.bytes(16), CLASS_CONTROL, 1, welcome ?? new Uint8Array());
      b.replicator.receive(frame, 0, frame.length, 0, cluster.now);
    }
    expect(b.replicator.peers()).toHaveLength(6);
    cluster.run(2000);
    expect(b.replicator.peers().map((p) => p.node)).toEqual(['a']);
    expect(b.counters.get('join.never-heard')).toBe(5);
    expect(a.replicator.peers()[0].verdict).toBe('proven');
  });

  it('in the name of a peer is dropped where its counter is old or out of reach', () => {
    const { cluster, a, b } = pair(3);
    const before = b.digest();
    const bytes = Buffer.from('9202c41002060000010000500a0000000a000001', 'hex');
    const at = a.replicator.sequence;
    for (const counter of [1, at, at + RING_FRAMES + 1, 2 ** 52]) {
      const frame = forge('a', a.incarnation, CLASS_STREAM, counter, bytes);
      b.replicator.receive(frame, 0, frame.length, 0, cluster.now);
    }
    expect(b.digest()).toBe(before);
    expect(b.counters.get('stream.duplicate')).toBe(2);
    expect(b.counters.get('stream.out-of-reach')).toBe(2);
  });

  it('keeps the first records that it refuses, and the stream goes on', () => {
    const { cluster, a, b } = pair(4);
    cluster.isChecking = false;
    // Status with a bit that no peer sends.
    const bad = `9421c000c41c${'02060000010000500a0000000a000001'}${'ffffffff'}${'02000000'}${'03000001'}`;
    const payload = Buffer.from(bad.repeat(QUARANTINE_MAX + 5), 'hex');
    const frame = forge('a', a.incarnation, CLASS_STREAM, a.replicator.sequence + 1, payload);
    b.replicator.receive(frame, 0, frame.length, 0, cluster.now);
    expect(b.replicator.quarantine).toHaveLength(QUARANTINE_MAX);
    expect(b.replicator.quarantine[0]).toMatchObject({ node: 'a', reason: 'status' });
    expect(b.counters.get('quarantine.status')).toBe(QUARANTINE_MAX + 5);
    expect(b.replicator.peers()[0].myVerdict).toBe('suspect');
    for (let n = 100; n < 120; n++) a.create(n, 1);
    cluster.runUntil(() => cluster.isQuiet(), 4000, 'quiet');
    cluster.expectEqual();
  });

  it('with this node’s own name is dropped, and alarms when it is another run of it', () => {
    const { cluster, b } = pair(5);
    const own = forge('b', b.incarnation, CLASS_STREAM, 1, Uint8Array.of(1));
    const other = forge('b', new Uint8Array(16).fill(9), CLASS_STREAM, 1, Uint8Array.of(1));
    for (const frame of [own, other]) b.replicator.receive(frame, 0, frame.length, 0, cluster.now);
    expect(b.counters.get('frame.own')).toBe(1);
    expect(b.counters.get('frame.own-name')).toBe(1);
    expect(b.replicator.peers()).toHaveLength(1);
  });

  it('that was true once, with any one byte changed, never throws and heals', () => {
    const { cluster, a, b } = pair(6);
    cluster.isChecking = false;
    const seen: Uint8Array[] = [];
    cluster.network.attach('tap', (u8) => seen.push(u8.slice()));
    cluster.run(500, () => a.create(cluster.random.below(50), cluster.random.below(9)));
    cluster.network.detach('tap');
    for (let i = 0; i < 20_000; i++) {
      const frame = seen[cluster.random.below(seen.length)].slice();
      frame[cluster.random.below(frame.length)] = cluster.random.below(256);
      b.replicator.receive(frame, 0, frame.length, 0, cluster.now);
      if (i % 500 === 0) cluster.run(1);
    }
    cluster.runUntil(() => cluster.isQuiet(), 15_000, 'quiet');
    cluster.expectEqual();
  });
});
