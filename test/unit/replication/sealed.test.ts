import { describe, expect, it } from 'vitest';
import { STRANGER_KEYS_MAX } from '../../../src/limits.js';
import { CANDIDATES_MAX } from '../../../src/replication/join.js';
import { ControlCodec, type ControlMessage, OWN_VERSIONS } from '../../../src/wire/control-messages.js';
import { CLASS_CONTROL, CLASS_STREAM, FrameReader, FrameWriter } from '../../../src/wire/frame.js';
import { CipherTwin } from '../../simulation/cipher-twin.js';
import { SealedCluster, type SealedNode, sealedPair, settle } from './sealed-cluster.js';

const codec = new ControlCodec();

/** A frame sealed as `node` would. */
function forge(
  node: { name: string; incarnation: Uint8Array },
  frameClass: number,
  counter: number,
  payload: Uint8Array,
  cipher = new CipherTwin(),
): Uint8Array {
  const w = new FrameWriter('sealed', node.name, node.incarnation, cipher);
  const frame = new Uint8Array(w.headBytes + payload.length + w.tailBytes);
  frame.set(payload, w.headBytes);
  w.finish(frame, frameClass, counter, payload.length);
  return frame;
}

const say = (node: SealedNode, counter: number, message: ControlMessage): Uint8Array =>
  forge(node, CLASS_CONTROL, counter, codec.encode(message).slice());

describe('sealed replication', () => {
  it('joins, proves, and refuses what is not sealed', () => {
    const { cluster, a, b } = sealedPair(1);
    const before = b.digest();
    const at = a.replicator.sequence;
    const w = new FrameWriter('sealed', a.name, a.incarnation);
    const frame = new Uint8Array(w.headBytes + 1);
    w.finish(frame, CLASS_STREAM, at + 1, 1);
    cluster.inject(b, frame);
    expect(b.count('frame.unsealed')).toBe(1);
    expect(b.digest()).toBe(before);
  });

  it('tells for ten seconds which version came that it does not read', () => {
    const { cluster, a, b } = sealedPair(1);
    const w = new FrameWriter('sealed', a.name, a.incarnation);
    const frame = new Uint8Array(w.headBytes + 1);
    w.finish(frame, CLASS_STREAM, a.replicator.sequence + 1, 1);
    frame[1] = 9;
    cluster.inject(b, frame);
    expect(b.replicator.otherVersion).toBe(9);
    cluster.run(11_000);
    expect(b.replicator.otherVersion).toBeUndefined();
  });

  it('of a node without keys refuses what is sealed', () => {
    const cluster = new SealedCluster(2);
    const [a, b] = [cluster.start('a'), cluster.start('b', {})];
    cluster.run(3000);
    expect([a, b].map((n) => n.replicator.peers().length)).toEqual([0, 0]);
    expect(b.count('frame.key')).toBeGreaterThan(5);
    expect(a.count('frame.unsealed')).toBeGreaterThan(5);
    expect(b.lines).toContain('a frame on the link was not opened: have all nodes the same keys?');
    expect(b.lines.length).toBe(1);
  });

  it('of another key, or another cluster, is refused', () => {
    const cluster = new SealedCluster(3);
    const a = cluster.start('a');
    const b = cluster.start('b', { cipher: new CipherTwin(new Map([[1, 99]])) });
    const c = cluster.start('c', { cipher: new CipherTwin(new Map([[2, 1]]), 2) });
    const d = cluster.start('d', { cipher: new CipherTwin(), cluster: 'other' });
    cluster.run(3000);
    for (const node of [a, b, c, d]) expect(node.replicator.peers()).toEqual([]);
    expect(a.count('frame.forged')).toBeGreaterThan(5);
    expect(a.count('frame.key')).toBeGreaterThan(5);
    expect(a.count('frame.cluster')).toBeGreaterThan(5);
  });

  it('of another cluster is told by its name where no peer is heard, once a minute in the log', () => {
    const cluster = new SealedCluster(3);
    const a = cluster.start('a');
    const d = cluster.start('d', { cipher: new CipherTwin(), cluster: 'other' });
    cluster.run(20_000);
    expect(a.replicator.otherCluster).toBe('other');
    expect(a.lines.filter((line) => line.includes('another cluster'))).toHaveLength(1);
    const b = cluster.start('b');
    cluster.run(12_000);
    for (const node of [a, b]) expect(node.replicator.otherCluster).toBeUndefined();
    expect(d.replicator.otherCluster).toBe('sealed');
  });

  it('goes on through a rotation of keys: add, switch, remove', () => {
    const cluster = new SealedCluster(4);
    const ciphers = [new CipherTwin(), new CipherTwin()];
    const [a, b] = ['a', 'b'].map((name, i) => cluster.start(name, { cipher: ciphers[i] }));
    let n = 0;
    const change = () => a.create(n++ % 80, n % 40);
    cluster.run(2000, change);
    const both = new Map([
      [1, 1],
      [2, 77],
    ]);
    for (const cipher of ciphers) {
      cipher.replace(both, 1);
      cluster.run(300, change);
    }
    for (const cipher of ciphers) {
      cipher.replace(both, 2);
      cluster.run(300, change);
    }
    for (const cipher of ciphers) {
      cipher.replace(new Map([[2, 77]]), 2);
      cluster.run(300, change);
    }
    settle(cluster, a);
    expect(
      b.events.map((e) => e.type).filter((t) => t === 'proven' || t === 'silent' || t === 'replaced'),
    ).toEqual(['proven']);
    for (const node of [a, b]) expect([node.count('frame.key'), node.count('frame.forged')]).toEqual([0, 0]);
    const [first] = cluster.sent.filter((s) => s.from === 'a');
    cluster.inject(b, first.bytes);
    expect(b.count('frame.key')).toBe(1);
  });

  it('says GONE for frames under a key that was removed before a receiver had them', () => {
    const cluster = new SealedCluster(6);
    const ciphers = [new CipherTwin(), new CipherTwin()];
    const [a, b] = ['a', 'b'].map((name, i) => cluster.start(name, { cipher: ciphers[i] }));
    let n = 0;
    const change = () => a.create(n++ % 80, n % 37);
    cluster.run(2000, change);
    cluster.cuts.add('a>b@0');
    cluster.run(100, change);
    for (const cipher of ciphers) cipher.replace(new Map([[2, 77]]), 2);
    cluster.cuts.clear();
    cluster.run(500, change);
    settle(cluster, a);
    expect(a.count('stream.gone-said')).toBeGreaterThan(0);
    expect(b.count('stream.gone')).toBeGreaterThan(0);
  });

  it('seals no counter of a key with two texts', () => {
    const cluster = new SealedCluster(5);
    const cipher = new CipherTwin();
    const seen = new Map<string, number>();
    cipher.onSeal = ({ key, counter, sum }) => {
      const id = `${key}/${counter}`;
      expect(seen.get(id) ?? sum).toBe(sum);
      expect(seen.has(id)).toBe(false);
      seen.set(id, sum);
    };
    const a = cluster.start('a', { cipher });
    cluster.start('b');
    let n = 0;
    cluster.run(2000, () => a.create(n++ % 80, n % 40));
    expect(seen.size).toBeGreaterThan(50);
  });
});

describe('a capture', () => {
  /** Everything that was sent in a session of two nodes with changes. */
  function session(seed: number) {
    const pair = sealedPair(seed);
    const { cluster, a, b } = pair;
    let n = 0;
    cluster.run(1500, () => {
      a.create(n++ % 80, n % 40);
      b.create(1000 + (n % 30), n % 7);
    });
    settle(cluster, a);
    settle(cluster, b);
    return pair;
  }

  it('that is sent again at once changes nothing and is counted', () => {
    const { cluster, a, b } = session(11);
    const [before, peers] = [b.digest(), b.replicator.peers()];
    const captured = [...cluster.sent];
    const counted = () => b.count('control.duplicate') + b.count('stream.duplicate');
    const old = counted();
    const fromA = captured.filter((s) => s.from === 'a');
    for (const { bytes } of captured) cluster.inject(b, bytes);
    expect(counted() - old).toBe(fromA.length);
    expect(b.count('frame.own')).toBe(captured.length - fromA.length);
    expect(b.digest()).toBe(before);
    expect(b.replicator.peers()).toEqual(peers);
    cluster.run(500);
    expect(a.isProvenBy('b')).toBe(true);
  });

  it.each([
    ['the receiver', 'b'],
    ['the sender', 'a'],
    ['both', 'ab'],
  ])('that is sent again after a restart of %s changes nothing', (_what, restarted) => {
    const { cluster, a, b } = session(12);
    const captured = [...cluster.sent];
    const nodes = [a, b].map((node) => {
      if (!restarted.includes(node.name)) return node;
      cluster.kill(node);
      return cluster.start(node.name);
    });
    nodes[0].replicator.setRole('primary', 2);
    for (let n = 0; n < 30; n++) nodes[0].create(n, 3);
    settle(cluster, nodes[0]);
    settle(cluster, nodes[1]);
    const before = nodes.map((n) => n.digest());
    const ids = () =>
      nodes.map((n) => n.replicator.peers().map((p) => [p.node, p.incarnation, p.role, p.term]));
    const peers = ids();
    const sent = cluster.sent.length;
    for (let i = 0; i < captured.length; i++) {
      for (const node of nodes) cluster.inject(node, captured[i].bytes);
      if (i % 10 === 0) cluster.run(1);
    }
    const ms = Math.ceil(captured.length / 10);
    expect(nodes.map((n) => n.digest())).toEqual(before);
    cluster.run(3000);
    expect(nodes.map((n) => n.digest())).toEqual(before);
    expect(ids()).toEqual(peers);
    expect(nodes.map((n) => n.replicator.isNameInUse)).toEqual([false, false]);
    for (const node of nodes) {
      expect(node.events.filter((e) => e.type === 'refused' || e.type === 'silent')).toEqual([]);
    }
    // Heartbeats, HELLOs at the rate of candidates, and limited WELCOMEs: no more than so much a second.
    expect(cluster.sent.length - sent).toBeLessThan(((ms + 3000) / 1000) * 2 * 50);
  });

  it('makes no peer of who is gone: a HELLO of it is a candidate for five seconds and no more', () => {
    const { cluster, a, b } = session(13);
    const captured = cluster.sent.filter((s) => s.from === 'a');
    cluster.kill(a);
    cluster.kill(b);
    const again = cluster.start('b');
    for (const { bytes } of captured) cluster.inject(again, bytes);
    expect(again.replicator.peers()).toEqual([]);
    expect(again.table.count).toBe(0);
    cluster.run(6000);
    expect(again.replicator.isJoined(cluster.now)).toBe(true);
    expect(again.replicator.peers()).toEqual([]);
  });
});

describe('hostile input under a seal', () => {
  it('that is forged costs a bounded number of derivations, and others still join', () => {
    const cluster = new SealedCluster(21);
    const cipher = new CipherTwin();
    const b = cluster.start('b', { cipher });
    const bad = new CipherTwin(new Map([[1, 4242]]));
    const flood = () => {
      for (let i = 0; i < 10; i++) {
        const made = { name: 'x', incarnation: cluster.random.bytes(16) };
        cluster.inject(b, forge(made, CLASS_STREAM, 1, Uint8Array.of(1), bad));
      }
    };
    cluster.run(1000, flood);
    expect(cipher.derived).toBeLessThan(64 * 4 + 64 * 20 + 10);
    expect(b.count('frame.derive-limited')).toBeGreaterThan(5000);
    const a = cluster.start('a');
    a.create(1, 1);
    cluster.run(1, flood);
    const ms = cluster.runUntil(
      () => {
        flood();
        return a.isProvenBy('b');
      },
      4000,
      'a joins in a flood',
    );
    expect(ms).toBeLessThan(2500);
    expect(b.replicator.peers()).toHaveLength(1);
  });

  it('that floods with captured HELLOs does not keep a newcomer out', () => {
    const cluster = new SealedCluster(22);
    const b = cluster.start('b');
    const hellos = Array.from({ length: 20 }, (_, i) => {
      const old = { name: 'a', incarnation: cluster.random.bytes(16) };
      const hello = { type: 1 as const, nonce: new Uint8Array(16).fill(i), versions: OWN_VERSIONS };
      return forge(old, CLASS_CONTROL, i + 1, codec.encode(hello).slice());
    });
    const flood = () => {
      for (const node of cluster.nodes) for (const hello of hellos) cluster.inject(node, hello);
    };
    cluster.run(2000, flood);
    expect(b.count('join.welcome-limited')).toBeGreaterThan(30_000);
    const c = cluster.start('c');
    c.create(1, 1);
    cluster.runUntil(
      () => {
        flood();
        return c.isProvenBy('b');
      },
      1000,
      'c joins in a flood',
    );
    expect(hellos.length).toBeLessThan(Math.min(CANDIDATES_MAX, STRANGER_KEYS_MAX));
  });

  it('that was true once, with any bit changed, changes nothing at all', () => {
    const { cluster, a, b } = sealedPair(23);
    cluster.run(500, () => a.create(cluster.random.below(50), cluster.random.below(9)));
    settle(cluster, a);
    // Frames that b has not seen are among them, and would be applied if they opened.
    cluster.cuts.add('a>b@0');
    const unseen = cluster.sent.length;
    cluster.run(150, () => a.create(cluster.random.below(50), cluster.random.below(9)));
    const captured = cluster.sent.slice(unseen - 40).filter((s) => s.from === 'a');
    const [before, peers] = [b.digest(), b.replicator.peers()];
    const forged = b.count('frame.forged');
    for (let i = 0; i < 20_000; i++) {
      const frame = captured[cluster.random.below(captured.length)].bytes.slice();
      frame[cluster.random.below(frame.length)] ^= 1 << cluster.random.below(8);
      cluster.inject(b, frame);
      const cut = frame.subarray(0, cluster.random.below(frame.length));
      cluster.inject(b, cut);
    }
    expect(b.digest()).toBe(before);
    expect(b.replicator.peers()).toEqual(peers);
    expect(b.count('frame.forged') - forged).toBeGreaterThan(5000);
    cluster.cuts.clear();
    settle(cluster, a);
  });

  it('that a key holder changed inside the seal never throws, spoils at most its own replica, and heals', () => {
    const cluster = new SealedCluster(24);
    const [a, b, c] = [cluster.start('a'), cluster.start('b'), cluster.start('c')];
    a.replicator.setRole('primary', 1);
    for (let n = 0; n < 40; n++) a.create(n, 1);
    for (let n = 100; n < 140; n++) c.create(n, 1);
    settle(cluster, a);
    settle(cluster, c);
    cluster.run(300, () => a.create(cluster.random.below(50), cluster.random.below(9)));
    settle(cluster, a);
    const payloads = cluster.sent.filter((s) => s.from === 'a').map((s) => plain(s.bytes));
    const ofC = () => {
      b.table.digests.sum(b.peer('c')?.owner ?? -1, 0, 0);
      return [b.table.digests.count, b.table.digests.lo];
    };
    const before = ofC();
    let control = 1 << 20;
    for (let i = 0; i < 50_000; i++) {
      const { frameClass, payload } = payloads[cluster.random.below(payloads.length)];
      const changed = payload.slice();
      for (let k = cluster.random.below(3); k >= 0; k--) {
        changed[cluster.random.below(changed.length)] = cluster.random.below(256);
      }
      const applied = b.peer('a')?.receivedSequence ?? 0;
      const counter = frameClass === CLASS_STREAM ? applied + 1 + cluster.random.below(2) : ++control;
      cluster.inject(b, forge(a, frameClass, counter, changed));
    }
    // The forged DECLAREs and ROLEs of a key holder are believed of a's flows; nobody else's replica is touched.
    expect(ofC()).toEqual(before);
    expect(b.table.count).toBeLessThanOrEqual(8192);
    expect(b.replicator.quarantine.length).toBeLessThanOrEqual(10);
    // A new run of the one whose key was misused is believed from its start on.
    cluster.kill(a);
    const again = cluster.start('a');
    for (let n = 0; n < 40; n++) again.create(n, 1);
    settle(cluster, again, 20_000);
    settle(cluster, c, 20_000);
  });

  it('that acknowledges what was never sent is refused', () => {
    const { cluster, a, b } = sealedPair(25);
    const acks = [{ incarnation: a.incarnation, applied: a.replicator.sequence + 1 }];
    cluster.inject(a, say(b, 1 << 20, { type: 5, acks }));
    expect(a.count('control.ack-beyond')).toBe(1);
    const applied = a.replicator.sequence + 1;
    const opinions = [{ incarnation: a.incarnation, applied, verdict: 3, verdictAt: 1, silentMs: [0] }];
    const state = { sequence: b.replicator.sequence, role: 0, term: 0, isMirrorReady: true };
    const heartbeat = { versions: OWN_VERSIONS, ...state, opinions, receiveBuffer: 0, mode: 0 };
    cluster.inject(a, say(b, (1 << 20) + 1, { type: 4, ...heartbeat }));
    expect(a.count('control.ack-beyond')).toBe(2);
    // Nothing else in such an opinion is believed either.
    expect(a.peer('b')?.verdict).toBe('proven');
    expect(a.peer('b')?.appliedSequence).toBeLessThanOrEqual(a.replicator.sequence);
  });

  it('of a version from the future is refused with its number, in one line', () => {
    const { cluster, b } = sealedPair(26);
    const future = { name: 'f', incarnation: cluster.random.bytes(16) };
    const hello = { type: 1 as const, nonce: new Uint8Array(16), versions: [3, 4, 1, 1] as const };
    const payload = codec.encode(hello).slice();
    for (let i = 1; i <= 50; i++) {
      cluster.inject(b, forge(future, CLASS_CONTROL, i, payload));
      const frame = forge(future, CLASS_CONTROL, i, payload);
      frame[1] = i + 1;
      cluster.inject(b, frame);
    }
    expect(b.count('control.version-4')).toBe(50);
    expect(b.count('frame.version-2')).toBe(1);
    expect(b.count('frame.version-more')).toBe(42);
    expect(b.lines.filter((l) => l === 'a node speaks a version that this one does not read')).toHaveLength(
      1,
    );
    expect(b.replicator.peers()).toHaveLength(1);
  });
});

describe('two nodes of one name', () => {
  it('both say so, the newcomer is refused, and nobody’s flows change', () => {
    const { cluster, a, b } = sealedPair(31);
    const [image, replica] = [a.digest(), b.digest()];
    const newcomer = cluster.start('a');
    newcomer.create(500, 1);
    cluster.run(4000);
    expect([a, newcomer, b].map((n) => n.replicator.isNameInUse)).toEqual([true, true, false]);
    for (const node of [a, newcomer]) {
      expect(node.lines).toContain('another daemon uses the name of this node');
      expect(node.count('join.own-name-in-use')).toBeGreaterThan(0);
    }
    expect(b.events.some((e) => e.type === 'refused')).toBe(true);
    expect(b.replicator.peers().map((p) => Buffer.from(p.incarnation))).toEqual([Buffer.from(a.incarnation)]);
    expect([a.digest(), b.digest()]).toEqual([image, replica]);
    cluster.kill(newcomer);
    cluster.run(12_000);
    expect(a.replicator.isNameInUse).toBe(false);
    expect(a.isProvenBy('b')).toBe(true);
  });
});

/** The class and the opened payload of a frame. */
function plain(bytes: Uint8Array): { frameClass: number; payload: Uint8Array } {
  const r = new FrameReader('sealed');
  r.read(bytes, 0, bytes.length);
  const key = new CipherTwin().derive(1, r.cluster, r.nodeName, r.incarnation, r.frameClass);
  if (key === undefined || !r.open(key)) throw new Error('a frame of the test does not open');
  return { frameClass: r.frameClass, payload: r.payload.slice(r.payloadAt, r.payloadEnd) };
}
