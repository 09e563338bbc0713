import { beforeEach, describe, expect, it } from 'vitest';
import { HeldTimes } from '../../../src/failover/held-times.js';

const SLOT = 3;
let times: HeldTimes;
beforeEach(() => {
  times = new HeldTimes(8);
  times.note(SLOT, 1000, 900);
});

describe('the deadline that a held flow was given', () => {
  it('is known for as long as nobody moves it', () => {
    expect(times.left(SLOT, 1100)).toBe(800);
    expect(times.isGiven(SLOT, 1100, 799)).toBe(true);
    expect(times.isGiven(SLOT, 1100, 120)).toBe(false);
  });

  it('is not moved by a row that an audit read some seconds ago, before a pause', () => {
    times.seen(SLOT, 1108, 800);
    expect(times.isGiven(SLOT, 1108, 792)).toBe(true);
  });

  it('is what the kernel gives at a packet, as soon as an audit has seen it', () => {
    times.seen(SLOT, 1100, 300);
    expect(times.left(SLOT, 1100)).toBe(300);
    times.seen(SLOT, 1100, 432_000);
    expect(times.left(SLOT, 1100)).toBe(432_000);
  });
});
