/** When a socket is read: at once, held up, or by rounds; a watcher that the test rings takes the place of the kernel's. */
import { performance } from 'node:perf_hooks';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { ReadPacer } from '../../../native/read-pacer.js';

const watcher = vi.hoisted(() => ({ ring: () => {}, isWatching: true }));
vi.mock('../../../native/readiness.js', () => ({
  ReadinessWatcher: class {
    constructor(_fd: number, onReadable: () => void) {
      watcher.ring = onReadable;
      watcher.isWatching = true;
    }
    start(): void {
      watcher.isWatching = true;
    }
    stop(): void {
      watcher.isWatching = false;
    }
    close(): void {}
  },
}));

const BUSY = 20;
const HOLD_MS = 2;
let waiting: number;
let reads: number;
let holds: boolean[];
let pacer: ReadPacer;

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'setImmediate', 'Date'] });
  vi.spyOn(performance, 'now').mockImplementation(() => Date.now());
  [waiting, reads, holds] = [0, 0, []];
  pacer = make({ ms: HOLD_MS, onHold: (isHolding) => holds.push(isHolding) });
});

afterEach(() => {
  pacer.close();
  vi.restoreAllMocks();
  vi.useRealTimers();
});

function make(holding?: ConstructorParameters<typeof ReadPacer>[4]): ReadPacer {
  const onReady = () => {
    reads++;
    pacer.report(waiting, false);
    waiting = 0;
  };
  return new ReadPacer(0, BUSY, onReady, () => {}, holding);
}

/** One datagram a millisecond, which rings where somebody watches. */
function stream(milliseconds: number, each = 1): void {
  for (let i = 0; i < milliseconds; i++) {
    waiting += each;
    if (watcher.isWatching) watcher.ring();
    vi.advanceTimersByTime(1);
  }
}

it('reads each datagram at once while few come', () => {
  for (let i = 0; i < 50; i++) {
    stream(1);
    vi.advanceTimersByTime(4);
    expect(waiting).toBe(0);
  }
  expect(reads).toBe(50);
  expect(holds).toEqual([]);
});

it('lets the datagrams of a steady stream wait for each other, and no longer than that', () => {
  stream(20);
  expect(holds).toEqual([true]);
  reads = 0;
  let most = 0;
  for (let i = 0; i < 100; i++) {
    stream(1);
    most = Math.max(most, waiting);
  }
  expect(most).toBeLessThanOrEqual(HOLD_MS);
  expect(reads).toBeLessThanOrEqual(100 / HOLD_MS + 1);
});

it('reads what is held at once when its owner says so, and not again by the timer', () => {
  stream(20);
  reads = 0;
  for (let i = 0; i < 100; i++) {
    waiting++;
    pacer.readNow();
    expect(waiting).toBe(0);
    vi.advanceTimersByTime(1);
  }
  // Timer and owner fall into one millisecond here: a read in between is the timer's.
  expect(reads).toBeLessThanOrEqual(100 + 100 / HOLD_MS);
  expect(holds).toEqual([true]);
});

it('watches again when the stream has ended, and says so', () => {
  stream(20);
  vi.advanceTimersByTime(6 * HOLD_MS);
  expect(holds).toEqual([true, false]);
  expect(watcher.isWatching).toBe(true);
  reads = 0;
  stream(1);
  expect(reads).toBe(1);
});

it('goes over from holding to rounds under load, and back', () => {
  stream(20);
  expect(holds).toEqual([true]);
  stream(20, 2 * BUSY);
  expect(holds).toEqual([true, false]);
  waiting = 0;
  stream(20);
  expect(holds).toEqual([true, false, true]);
});

it('holds nothing up for an owner who has not asked for it', () => {
  pacer.close();
  pacer = make();
  stream(50);
  expect(reads).toBe(50);
  expect(watcher.isWatching).toBe(true);
});

it('does nothing more once it is closed', () => {
  stream(20);
  pacer.close();
  reads = 0;
  pacer.readNow();
  vi.advanceTimersByTime(100);
  expect(reads).toBe(0);
});
