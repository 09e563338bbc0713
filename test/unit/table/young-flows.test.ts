import { beforeEach, describe, expect, it } from 'vitest';
import type { FlowTable } from '../../../src/table/flow-table.js';
import { DEAD, DIRTY, FRESH, OWNER_SELF } from '../../../src/table/slot-bits.js';
import { YoungFlows } from '../../../src/table/young-flows.js';
import { numberedFlow, smallTable } from './test-flows.js';

const MIN_AGE_MS = 5000;
let table: FlowTable;
let young: YoungFlows;
let now: number;
beforeEach(() => {
  table = smallTable();
  young = new YoungFlows(table, MIN_AGE_MS);
  now = 1_000_000;
});

/** A new own flow, asked about as the flush does. */
function born(i: number): number {
  const { m, at } = numberedFlow(i);
  const slot = table.insert(m, at, OWNER_SELF, DIRTY);
  table.setChangedTime(slot, Math.floor(now / 1000));
  flush(slot);
  return slot;
}
function flush(slot: number): boolean {
  table.clearBits(slot, DIRTY);
  return young.admits(slot, now);
}
/** Slots that came of age and were admitted then. */
function grown(): number[] {
  young.step(now);
  const slots: number[] = [];
  for (let slot = table.nextDirty(); slot >= 0; slot = table.nextDirty()) {
    if (young.admits(slot, now)) slots.push(slot);
  }
  return slots;
}

describe('a flow', () => {
  it('is told when it is old enough, and not before, however often it changes', () => {
    const slot = born(1);
    now += MIN_AGE_MS - 1;
    table.markDirty(slot);
    expect(grown()).toEqual([]);
    now += 1;
    expect(grown()).toEqual([slot]);
    expect(young.count).toBe(0);
  });

  it('that dies young is never told, and the next in its slot has its own age', () => {
    const slot = born(1);
    now += 3000;
    table.remove(slot);
    expect(born(2)).toBe(slot);
    expect(young.count).toBe(1);
    now += 3000;
    expect(grown()).toEqual([]);
    now += 2000;
    expect(grown()).toEqual([slot]);
  });

  it('that begins another life is young again, told or not', () => {
    const slot = born(1);
    now += MIN_AGE_MS;
    expect(grown()).toEqual([slot]);
    table.setImage(slot, 1, 1);
    table.setBits(slot, FRESH);
    expect(flush(slot)).toBe(false);
    now += MIN_AGE_MS;
    expect(grown()).toEqual([slot]);
    table.clearBits(slot, FRESH);
    table.setBits(slot, DEAD);
    table.clearImage(slot);
    table.clearBits(slot, DEAD);
    table.setChangedTime(slot, now / 1000);
    expect(flush(slot)).toBe(false);
  });

  it('that was told before this node had it, or is older than the wait of the stream, is not young', () => {
    const told = born(1);
    table.setImage(told, 1, 1);
    const { m, at } = numberedFlow(2);
    const old = table.insert(m, at, OWNER_SELF);
    table.setChangedTime(old, now / 1000 - 6);
    expect(young.admits(old, now)).toBe(true);
    const { m: m3, at: at3 } = numberedFlow(3);
    const inherited = table.insert(m3, at3, OWNER_SELF);
    table.setImage(inherited, 5, 5);
    table.setChangedTime(inherited, now / 1000);
    expect(young.admits(inherited, now)).toBe(true);
  });
});

it('a list of many births and deaths is never longer than the table, and keeps the order of birth', () => {
  const alive: number[] = [];
  for (let i = 0; i < 5000; i++) {
    now += 1;
    alive.push(born(i));
    if (alive.length > 100) table.remove(alive.shift()!);
    expect(young.count).toBeLessThanOrEqual(101);
  }
  now += MIN_AGE_MS;
  expect(grown()).toEqual(alive);
  expect(young.count).toBe(0);
});
