import { beforeEach, describe, expect, it } from 'vitest';
import { Heals } from '../../../src/failover/heal.js';
import type { SourceView } from '../../../src/failover/ports.js';
import { ABSORBS_MAX, ASK_AGAIN_MS, FORMER_SETTLE_MS } from '../../../src/limits.js';

type View = { -readonly [Key in keyof SourceView]: SourceView[Key] };

let heals: Heals;
let former: View;
let now: number;

beforeEach(() => {
  heals = new Heals();
  now = 1000;
  former = {
    node: 'fw1',
    incarnation: new Uint8Array(16).fill(1),
    owner: 2,
    role: 'backup',
    primaryTerm: 7,
    isAbsorbed: false,
    isAlive: true,
    isProven: true,
    wholeUpTo: 50,
    flows: 9,
    isReady: true,
    yields: 0,
    lends: false,
    takenAt: Number.NEGATIVE_INFINITY,
    bootId: 'boot-fw1',
  };
});

const next = () => {
  const step = heals.next(now, [former]);
  return step && `${step.kind} ${step.cut}`;
};

describe('a former primary that nobody took over', () => {
  it('is asked when it has stepped back for a second, and absorbed when it has given away', () => {
    expect(next()).toBeUndefined();
    now += FORMER_SETTLE_MS;
    expect(next()).toBe('ask 0');
    expect(next()).toBeUndefined();
    former.yields = 1;
    former.isProven = false; // what it gave away is still to be swept
    expect(next()).toBeUndefined();
    former.isProven = true;
    expect(next()).toBe('absorb 50');
  });

  it('is left alone while it, or anybody else, is primary', () => {
    former.role = 'primary';
    now += 5 * FORMER_SETTLE_MS;
    expect(next()).toBeUndefined();
    former.role = 'backup';
    next();
    now += FORMER_SETTLE_MS;
    const other: SourceView = { ...former, node: 'fw3', role: 'primary' };
    expect(heals.next(now, [former, other])).toBeUndefined();
    expect(heals.next(now, [former, { ...other, isAlive: false }])?.kind).toBe('ask');
  });

  it('is asked again when it does not answer', () => {
    next();
    now += FORMER_SETTLE_MS;
    expect(next()).toBe('ask 0');
    now += ASK_AGAIN_MS - 1;
    expect(next()).toBeUndefined();
    now += 1;
    expect(next()).toBe('ask 0');
    expect(next()).toBeUndefined();
  });
});

describe('a source of a promote', () => {
  beforeEach(() => {
    former.isAbsorbed = true;
    heals.taken(former, now, 48);
  });

  it('that says its tenure is open has missed that it was taken over, and is told so again', () => {
    former.isAbsorbed = false;
    expect(next()).toBe('again 48');
    expect(next()).toBeUndefined();
    now += ASK_AGAIN_MS;
    expect(next()).toBe('again 48');
    former.yields = 1;
    expect(next()).toBe('absorb 50');
  });

  it('whose tenure has a higher term since, but no other beginning, is asked by the cut of the takeover', () => {
    Object.assign(former, { isAbsorbed: false, primaryTerm: former.primaryTerm + 1 });
    expect(next()).toBeUndefined();
    now += FORMER_SETTLE_MS;
    expect(next()).toBe('ask 48');
    now += ASK_AGAIN_MS;
    expect(next()).toBe('ask 48');
  });

  it('is done with when it has given all away', () => {
    former.yields = 1;
    former.flows = 0;
    expect(next()).toBeUndefined();
    former.flows = 5; // its own traffic, from then on
    former.yields = 2;
    now += 60_000;
    expect(next()).toBeUndefined();
  });

  it('that goes on changing flows is absorbed a few times, with growing pauses, and then left alone', () => {
    const at: number[] = [];
    former.yields++;
    for (let ms = 0; ms < 300_000; ms += 10) {
      now += 10;
      if (next() === undefined) continue;
      at.push(now);
      heals.taken(former, now, 48);
      former.yields++; // it gives away at once, and has changed more
    }
    expect(at).toHaveLength(ABSORBS_MAX);
    expect(at[2] - at[1]).toBeGreaterThan(at[1] - at[0]);
  });

  it('whose daemon is started again is asked for what it changed since, but not after a reboot', () => {
    former.incarnation = new Uint8Array(16).fill(2);
    expect(next()).toBe('ask 1');
    now += ASK_AGAIN_MS;
    expect(next()).toBe('ask 1');
    heals = new Heals();
    heals.taken({ ...former, incarnation: new Uint8Array(16).fill(1) }, now, 0);
    expect(next()).toBe('ask 0');
    heals = new Heals();
    heals.taken({ ...former, incarnation: new Uint8Array(16).fill(1), bootId: 'an older one' }, now, 48);
    expect(next()).toBeUndefined();
    now += 60_000;
    expect(next()).toBeUndefined();
  });
});

it('a third node that kept what this one had declared is absorbed without being asked', () => {
  Object.assign(former, { primaryTerm: 0, isAbsorbed: true, lends: true });
  next();
  expect(next()).toBe('absorb 50');
});
