import { expect, test } from 'vitest';
import { CALM_AFTER_MS, DeliveryWatchdog, STUCK_AFTER_MS } from '../../../src/kernel/delivery-watchdog.js';

const state = (queuedBytes: number, lost = 0) => ({ queuedBytes, receiveBufferBytes: 1000, lost });
const empty = () => 0;
const full = () => 0.95;

test('a short queue leaves reliable delivery on', () => {
  const watchdog = new DeliveryWatchdog();
  for (let now = 0; now < 60_000; now += 250) expect(watchdog.check(now, state(700), empty)).toBe(false);
  expect(watchdog.isReliable).toBe(true);
});

test('a queue that stays full turns it off after a while, not at once', () => {
  const watchdog = new DeliveryWatchdog();
  expect(watchdog.check(0, state(900), empty)).toBe(false);
  expect(watchdog.check(STUCK_AFTER_MS - 1, state(900), empty)).toBe(false);
  expect(watchdog.check(STUCK_AFTER_MS, state(900), empty)).toBe(true);
  expect(watchdog.isReliable).toBe(false);
});

test('a burst that the reader works off leaves it on', () => {
  const watchdog = new DeliveryWatchdog();
  watchdog.check(0, state(900), empty);
  watchdog.check(STUCK_AFTER_MS - 1, state(100), empty);
  expect(watchdog.check(STUCK_AFTER_MS, state(900), empty)).toBe(false);
  expect(watchdog.isReliable).toBe(true);
});

test('a conntrack table that is nearly full turns it off at once', () => {
  const watchdog = new DeliveryWatchdog();
  expect(watchdog.check(0, state(100), full)).toBe(false);
  expect(watchdog.check(1, state(900), full)).toBe(true);
  expect(watchdog.isReliable).toBe(false);
});

test('losses count as a full queue', () => {
  const watchdog = new DeliveryWatchdog();
  expect(watchdog.check(0, state(0, 5), full)).toBe(true);
});

test('it comes back when the queue was short and lossless for a while', () => {
  const watchdog = new DeliveryWatchdog();
  watchdog.check(0, state(900), full);
  expect(watchdog.check(1000, state(10), full)).toBe(false);
  expect(watchdog.check(2000, state(10, 1), full)).toBe(false);
  expect(watchdog.check(3000, state(10, 1), full)).toBe(false);
  expect(watchdog.check(3000 + CALM_AFTER_MS - 1, state(10, 1), full)).toBe(false);
  expect(watchdog.check(3000 + CALM_AFTER_MS, state(10, 1), full)).toBe(true);
  expect(watchdog.isReliable).toBe(true);
});
