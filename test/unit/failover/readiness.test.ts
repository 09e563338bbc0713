import { beforeEach, expect, test } from 'vitest';
import { Readiness, type ReadyPeer, type ReadyView } from '../../../src/failover/readiness.js';
import { READY_PROVEN_MS } from '../../../src/limits.js';

const PRIMARY: ReadyPeer = {
  node: 'fw1',
  role: 'primary',
  alive: true,
  silentMs: 0,
  isProven: true,
  wasPrimary: true,
  primaryTerm: 5,
};
const BACKUP: ReadyPeer = { ...PRIMARY, node: 'fw3', role: 'backup', wasPrimary: false, primaryTerm: 0 };
const VIEW: ReadyView = {
  role: 'backup',
  isJoining: false,
  ownTerm: 0,
  peers: [PRIMARY],
  hotLagMs: undefined,
  problems: [],
};

let readiness: Readiness;
let now: number;
beforeEach(() => {
  readiness = new Readiness();
  now = 0;
});

/** Looks every tenth of a second for so long, and returns what the last look said. */
function lookFor(ms: number, view: Partial<ReadyView>, silentFrom?: number) {
  let verdict = readiness.look({ ...VIEW, ...view }, now);
  for (const end = now + ms; now < end; ) {
    now += 100;
    const peers = (view.peers ?? VIEW.peers).map((peer) =>
      silentFrom === undefined ? peer : { ...peer, silentMs: now - silentFrom },
    );
    verdict = readiness.look({ ...VIEW, ...view, peers }, now);
  }
  return verdict;
}
const ready = { isReady: true, reasons: [] };

test('a primary is ready, also while it sorts out its flows after a restart', () => {
  expect(lookFor(0, { role: 'primary', isJoining: true, peers: [], problems: ['no nat chain'] })).toEqual(
    ready,
  );
});

test('a backup is ready when its replica of the primary was proven for five seconds', () => {
  expect(lookFor(READY_PROVEN_MS - 100, {})).toEqual({
    isReady: false,
    reasons: ['the replica of fw1 is proven for 4 s, 5 s are wanted'],
  });
  expect(lookFor(100, {})).toEqual(ready);
});

test('short doubts do not matter, long ones do, and then it takes five seconds again', () => {
  lookFor(READY_PROVEN_MS, {});
  const doubt = { peers: [{ ...PRIMARY, isProven: false }] };
  expect(lookFor(READY_PROVEN_MS, doubt)).toEqual(ready);
  expect(lookFor(200, doubt)).toEqual({ isReady: false, reasons: ['the replica of fw1 is not proven'] });
  expect(lookFor(1000, {}).isReady).toBe(false);
  expect(lookFor(READY_PROVEN_MS, {})).toEqual(ready);
});

test('a primary that fell silent with a proven replica is taken over readily, however long ago that was', () => {
  lookFor(READY_PROVEN_MS, {});
  const dead = { peers: [{ ...PRIMARY, alive: false, isProven: false }] };
  expect(lookFor(60_000, dead, now)).toEqual(ready);
});

test('one that fell silent with a replica long in doubt is not', () => {
  lookFor(READY_PROVEN_MS, {});
  lookFor(READY_PROVEN_MS + 200, { peers: [{ ...PRIMARY, isProven: false }] });
  const dead = { peers: [{ ...PRIMARY, alive: false, isProven: false }] };
  expect(lookFor(1000, dead, now).isReady).toBe(false);
});

test('in a cold cluster in which nobody ever was primary, all are ready', () => {
  expect(lookFor(0, { peers: [{ ...BACKUP, isProven: false }] })).toEqual(ready);
});

test('who hears nobody is not, unless it was primary itself', () => {
  const silent = { peers: [{ ...BACKUP, alive: false }] };
  expect(lookFor(0, silent)).toEqual({ isReady: false, reasons: ['no other node is heard'] });
  expect(lookFor(0, { peers: [] }).isReady).toBe(false);
  expect(lookFor(0, { peers: [], ownTerm: 9 })).toEqual(ready);
});

test('the live primary counts before a dead one of a higher term, and of the dead the last', () => {
  const old = { ...PRIMARY, node: 'fw4', alive: false, role: 'backup' as const, isProven: false };
  lookFor(READY_PROVEN_MS, { peers: [{ ...old, primaryTerm: 9 }, PRIMARY] });
  expect(lookFor(0, { peers: [{ ...old, primaryTerm: 9 }, PRIMARY] })).toEqual(ready);
  const dead = { ...PRIMARY, alive: false };
  expect(lookFor(0, { peers: [{ ...old, primaryTerm: 9 }, dead] }).reasons[0]).toContain('fw4');
  expect(lookFor(0, { peers: [{ ...old, primaryTerm: 1 }, dead] })).toEqual(ready);
});

test.each([
  [{ role: 'fault' as const }, /in fault/],
  [{ isJoining: true }, /joining/],
  [{ hotLagMs: 1500 }, /this kernel is 1.5 s behind the replica/],
  [{ problems: ['no nat chain'] }, /no nat chain/],
])('a node that is otherwise ready is not with %j', (view, reason) => {
  lookFor(READY_PROVEN_MS, {});
  const { isReady, reasons } = lookFor(0, view);
  expect(isReady).toBe(false);
  expect(reasons.join()).toMatch(reason);
});

test('nodes that are gone for good are forgotten', () => {
  lookFor(READY_PROVEN_MS, {});
  lookFor(0, { peers: [BACKUP] });
  expect(lookFor(0, {}).isReady).toBe(false);
});
