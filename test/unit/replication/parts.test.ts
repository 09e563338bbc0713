import { describe, expect, it } from 'vitest';
import { Peer } from '../../../src/replication/peer.js';
import { ReplayWindow } from '../../../src/replication/replay-window.js';
import { TokenBuckets } from '../../../src/replication/token-bucket.js';
import { Random } from '../../simulation/random.js';

describe('a replay window', () => {
  it('takes every counter once, and none that is 1,024 older than the highest', () => {
    const w = new ReplayWindow(100);
    expect([w.take(100), w.take(1), w.take(101), w.take(101)]).toEqual([false, false, true, false]);
    expect([w.take(1200), w.take(177), w.take(176), w.take(177)]).toEqual([true, true, false, false]);
    expect([w.take(2 ** 52), w.take(2 ** 52 - 1023), w.take(2 ** 52 - 1024)]).toEqual([true, true, false]);
  });

  it('says what a set of all counters would say, in any order', () => {
    const random = new Random(1);
    const w = new ReplayWindow(0);
    const taken = new Set<number>();
    let highest = 0;
    for (let i = 0; i < 50_000; i++) {
      const counter = Math.max(1, highest - 1100 + random.below(random.chance(0.01) ? 4000 : 1110));
      const isNew = !taken.has(counter) && highest - counter < 1024;
      expect(w.take(counter)).toBe(isNew);
      if (isNew) taken.add(counter);
      highest = Math.max(highest, counter);
    }
    expect(taken.size).toBeGreaterThan(10_000);
  });
});

describe('token buckets', () => {
  it('give a burst, then a rate, to each sender apart from the others', () => {
    const buckets = new TokenBuckets(10, 3);
    const takes = (byte: number, now: number, n: number) =>
      Array.from({ length: n }, () => buckets.take(byte, now)).filter(Boolean).length;
    expect([takes(5, 1000, 9), takes(5, 1000, 9), takes(6, 1000, 9)]).toEqual([3, 0, 3]);
    expect([takes(5, 1250, 9), takes(5, 1300, 9)]).toEqual([2, 1]);
    expect([takes(5, 900_000, 9), takes(5 + 64, 900_000, 9)]).toEqual([3, 0]);
    // A clock that goes back gives nothing.
    expect(takes(5, 800_000, 9)).toBe(0);
  });
});

describe('a peer', () => {
  const peer = () => new Peer('a', new Uint8Array(16), 2, 'boot', 0, 1000, 1000, 2, 5);

  it('is heard on a link by what is new there, and its silence stands still while this node does', () => {
    const p = peer();
    expect([p.silentMs(0, 1000), p.hearsUsMs(1, 1000)]).toEqual([65_535, 65_535]);
    p.heardControlOn(1, 7, 1000);
    p.heardControlOn(1, 7, 1500);
    p.heardControlOn(1, 6, 1500);
    p.noteHearing([3, 70_000, 9], 1400);
    expect([p.silentMs(1, 1500), p.hearsUsMs(0, 1500), p.hearsUsMs(1, 1500)]).toEqual([500, 103, 65_535]);
    p.stalled(400);
    expect([p.silentMs(1, 1900), p.hearsUsMs(0, 1900)]).toEqual([500, 103]);
    p.noteHearing([], 2000);
    expect(p.hearsUsMs(0, 2000)).toBe(65_535);
  });

  it('has counters that a forged one does not keep high', () => {
    const p = peer();
    p.heardControlOn(0, 2 ** 50, 1000);
    p.lastHeartbeat = 2 ** 50;
    p.lowerCounters(20);
    p.heardControlOn(0, 21, 1300);
    expect([p.lastHeartbeat, p.silentMs(0, 1300)]).toEqual([20, 0]);
  });
});
