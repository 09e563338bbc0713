import { describe, expect, it } from 'vitest';
import { FrameReader } from '../../../src/wire/frame.js';
import { CipherTwin } from '../../simulation/cipher-twin.js';
import { SealedCluster, sealedPair, settle } from './sealed-cluster.js';

const NEVER = 65_535;

describe('links', () => {
  it('are told from each other: heartbeats go on all of them, data on the first', () => {
    const { cluster, a, b } = sealedPair(1, 3);
    cluster.run(400);
    for (const node of [a, b]) {
      expect(node.replicator.dataLink).toBe(0);
      for (const { silentMs, hearsUsMs } of node.replicator.peers()[0].links) {
        expect(silentMs).toBeLessThan(250);
        expect(hearsUsMs).toBeLessThan(500);
      }
    }
    const r = new FrameReader('sealed');
    const isStream = (bytes: Uint8Array) =>
      r.read(bytes, 0, bytes.length) === undefined && r.frameClass === 0;
    expect(new Set(cluster.sent.filter((s) => isStream(s.bytes)).map((s) => s.link))).toEqual(new Set([0]));
    expect(a.replicator.frameVersion).toBe(1);
  });

  it('are changed when one receiver stops to hear, and changed back after five seconds of health', () => {
    const { cluster, a } = sealedPair(2, 2);
    const c = cluster.start('c');
    settle(cluster, a);
    cluster.cuts.add('a>c@0');
    const ms = cluster.runUntil(() => a.replicator.dataLink === 1, 2000, 'a changes its link');
    expect(ms).toBeLessThan(1100);
    expect(c.replicator.dataLink).toBe(0);
    for (let n = 0; n < 30; n++) a.create(n, 9);
    settle(cluster, a);
    cluster.cuts.clear();
    const back = cluster.runUntil(() => a.replicator.dataLink === 0, 8000, 'a changes back');
    expect(back).toBeGreaterThanOrEqual(4900);
    expect(a.count('link.switched')).toBe(2);
  });

  it('that come and go are not returned to', () => {
    const { cluster, a } = sealedPair(3, 2);
    cluster.cuts.add('a>b@0');
    cluster.runUntil(() => a.replicator.dataLink === 1, 2000, 'a changes its link');
    for (let i = 0; i < 6; i++) {
      cluster.cuts.clear();
      cluster.run(3000);
      cluster.cuts.add('a>b@0');
      cluster.run(1500);
    }
    expect(a.replicator.dataLink).toBe(1);
    expect(a.count('link.switched')).toBe(1);
  });

  it('that no receiver hears all of are taken by how many hear them', () => {
    const cluster = new SealedCluster(4, 2);
    const [a] = ['a', 'b', 'c', 'd'].map((name) => cluster.start(name));
    a.create(1, 1);
    settle(cluster, a);
    cluster.cuts.add('a>b@0');
    cluster.cuts.add('a>c@0');
    cluster.cuts.add('a>d@1');
    cluster.run(1500);
    expect(a.replicator.dataLink).toBe(1);
    cluster.run(5000);
    expect(a.count('link.switched')).toBe(1);
  });

  it('of which each is heard by one receiver only are not exchanged for each other', () => {
    const cluster = new SealedCluster(9, 2);
    const [a] = ['a', 'b', 'c'].map((name) => cluster.start(name));
    a.create(1, 1);
    settle(cluster, a);
    cluster.cuts.add('a>b@0');
    cluster.cuts.add('a>c@1');
    cluster.run(4000);
    expect([a.replicator.dataLink, a.count('link.switched')]).toEqual([0, 0]);
  });

  it('are not changed because this node stood still', () => {
    const { cluster, a, b } = sealedPair(5, 2);
    cluster.nodes.splice(cluster.nodes.indexOf(a), 1);
    cluster.run(2000);
    cluster.nodes.push(a);
    cluster.run(1);
    expect(a.replicator.peers()[0].silentMs).toBeLessThan(400);
    cluster.run(1000);
    expect([a.replicator.dataLink, a.count('link.switched')]).toEqual([0, 0]);
    expect(a.events.some((e) => e.type === 'silent')).toBe(false);
    expect(b.replicator.peers()[0].alive).toBe(true);
  });

  it('are not heard because somebody sends old frames again on them', () => {
    const { cluster, a, b } = sealedPair(6, 2);
    cluster.cuts.add('a>b@1');
    const { length } = cluster.sent;
    cluster.run(1000);
    const silent = () => b.peer('a')?.links[1].silentMs ?? 0;
    const before = silent();
    expect(before).toBeGreaterThan(900);
    for (const { bytes } of cluster.sent.slice(0, length).filter((s) => s.from === 'a')) {
      cluster.inject(b, bytes, 1);
    }
    expect(silent()).toBe(before);
    cluster.run(70_000);
    expect(silent()).toBe(NEVER);
    expect(a.peer('b')?.links[1].hearsUsMs).toBe(NEVER);
  });
});

describe('settings', () => {
  it('that differ are listed with both sides, whichever node is asked', () => {
    const cluster = new SealedCluster(7);
    const cipher = new CipherTwin();
    const many = Array.from({ length: 45 }, (_, i): [string, string] => [`setting_${i}`, `${i}`]);
    const a = cluster.start('a', { cipher, settings: [['max', '1000'], ['only_here', '1'], ...many] });
    const b = cluster.start('b', { cipher, settings: [...many, ['max', '2000']] });
    cluster.run(1500);
    expect(a.replicator.settingsDiffering()).toEqual([
      { node: 'b', name: 'max', mine: '1000', theirs: '2000' },
    ]);
    expect(b.replicator.settingsDiffering()).toEqual([
      { node: 'a', name: 'max', mine: '2000', theirs: '1000' },
    ]);
    expect(a.count('control.oversized')).toBe(0);
  });

  it('are bounded: a peer that says ever new names fills no memory, and long texts are cut', () => {
    const cluster = new SealedCluster(8);
    const names = (from: number) =>
      Array.from({ length: 48 }, (_, i): [string, string] => [
        `${from + i}${'é'.repeat(100)}`,
        'x'.repeat(500),
      ]);
    const settings = names(0);
    const a = cluster.start('a', { cipher: new CipherTwin(), settings });
    const b = cluster.start('b');
    cluster.run(1500);
    settings.splice(0, 48, ...names(1000));
    cluster.run(10_000);
    expect(b.count('settings.too-many')).toBeGreaterThan(0);
    expect(a.count('control.oversized')).toBe(0);
    expect(b.count('control.malformed')).toBe(0);
    expect(a.isProvenBy('b')).toBe(true);
  });
});
