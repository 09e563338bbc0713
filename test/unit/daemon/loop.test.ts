/** When the loop gives a core its turns, by a core that only says when it is due. */
import { performance } from 'node:perf_hooks';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import type { Core, TurnState } from '../../../src/daemon/core.js';
import { Loop } from '../../../src/daemon/loop.js';

let dueIn: number;
let next: TurnState;
let dueAt: (now: number) => number;
let onTick: () => void;
let looks: number;
let turns: number;
let ticks: number;
let loop: Loop;
/** Time that something held the process. Milliseconds. */
let heldMs: number;
/** CPU that its thread has used. Milliseconds. */
let cpuMs: number;

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'setImmediate', 'Date'] });
  [heldMs, cpuMs] = [0, 0];
  vi.spyOn(performance, 'now').mockImplementation(() => Date.now() + heldMs);
  [dueIn, next, turns, ticks] = [100, 'idle', 0, 0];
  [dueAt, onTick] = [(now) => now + dueIn, () => {}];
  const core = {
    state: 'ready',
    dueAt: (now: number) => dueAt(now),
    tick: () => {
      ticks++;
      onTick();
    },
    turn: () => {
      turns++;
      return next;
    },
  };
  loop = new Loop(
    core as unknown as Core,
    () => false,
    () => looks++,
    () => cpuMs,
  );
  loop.start();
  [turns, ticks, looks] = [0, 0, 0];
});

afterEach(() => {
  loop.stop();
  vi.restoreAllMocks();
  vi.useRealTimers();
});

it('rests until something is due, and not longer', () => {
  vi.advanceTimersByTime(99);
  expect(ticks).toBe(0);
  vi.advanceTimersByTime(901);
  expect(ticks).toBeGreaterThanOrEqual(8);
  expect(ticks).toBeLessThanOrEqual(10);
});

it('wakes once for what is due soon after each other, and is never early', () => {
  vi.setSystemTime(1000);
  const times = [1105, 1110, 1124, 1140];
  const wakes: number[] = [];
  let done = 1000;
  dueAt = () => times.find((time) => time > done) ?? 2000;
  onTick = () => {
    done = Date.now();
    wakes.push(done);
  };
  loop.wake();
  vi.advanceTimersByTime(500);
  expect(wakes).toHaveLength(2);
  expect(wakes[0]).toBeGreaterThanOrEqual(1124);
  expect(wakes[1]).toBeGreaterThanOrEqual(1140);
  expect(wakes[1]).toBeLessThan(1165);
});

it('has those look that watch the core, with each tick', () => {
  vi.advanceTimersByTime(1000);
  expect(looks).toBe(ticks);
});

it('gives one turn for all frames of a poll round, and none if they brought nothing', () => {
  for (let i = 0; i < 20; i++) loop.heard();
  vi.advanceTimersByTime(1);
  expect(turns).toBe(0);
  dueIn = 0;
  for (let i = 0; i < 20; i++) loop.heard();
  vi.advanceTimersByTime(1);
  expect(turns).toBe(1);
});

it('ticks earlier when a frame has made something due earlier: an acknowledgement', () => {
  dueIn = 10;
  loop.heard();
  vi.advanceTimersByTime(13);
  expect(ticks).toBe(1);
});

it('does not try without end what a turn has left undone', () => {
  dueIn = -5;
  loop.wake();
  [turns, ticks] = [0, 0];
  vi.advanceTimersByTime(110);
  expect(turns).toBeGreaterThan(5);
  expect(turns).toBeLessThanOrEqual(11);
});

it('says how late its timers were, and that it had no CPU meanwhile', () => {
  vi.advanceTimersByTime(250);
  expect(loop.maxPauseMs).toBeLessThan(2);
  [heldMs, cpuMs] = [80, 3];
  vi.advanceTimersByTime(130);
  expect(loop.maxPauseMs).toBeGreaterThanOrEqual(78);
  expect(loop.maxPauseMs).toBeLessThan(82);
  expect(loop.maxHeldMs).toBeCloseTo(3);
});

it('says how long it held the loop itself, and no more than the timer was late', () => {
  vi.advanceTimersByTime(250);
  [heldMs, cpuMs] = [30, 500];
  vi.advanceTimersByTime(130);
  expect(loop.maxHeldMs).toBeGreaterThanOrEqual(28);
  expect(loop.maxHeldMs).toBeLessThan(32);
});
