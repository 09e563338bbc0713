import { beforeEach, describe, expect, it } from 'vitest';
import { IPS_FIXED_TIMEOUT } from '../../../src/flow/conntrack-enums.js';
import { OFF_IDLE } from '../../../src/flow/record.js';
import { IDLE_QUEUE_MAX } from '../../../src/limits.js';
import type { FlowTable } from '../../../src/table/flow-table.js';
import {
  IDLE_LIVE,
  IDLE_LONG,
  IDLE_ONCE,
  IDLE_UNKNOWN,
  IdleClasses,
} from '../../../src/table/idle-classes.js';
import { DIRTY, KERNEL, OWNER_SELF } from '../../../src/table/slot-bits.js';
import { numberedFlow, smallTable } from './test-flows.js';

let table: FlowTable;
let idle: IdleClasses;
beforeEach(() => {
  table = smallTable();
  idle = new IdleClasses(table);
});

function flow(i: number, owner = OWNER_SELF): number {
  const { m, at } = numberedFlow(i);
  const slot = table.insert(m, at, owner, KERNEL);
  table.setImage(slot, 1, i + 1);
  return slot;
}
/** An audit at this time sees so much left of the flow; returns its class. */
function audit(slot: number, i: number, nowS: number, timeout: number, status = 0): number {
  const at = table.recordAt(slot) + OFF_IDLE;
  const { m } = numberedFlow(i, { timeout, status });
  idle.judge(slot, table.memory.u8[at], m, 0, nowS);
  return table.memory.u8[at];
}
function told(): number[] {
  const slots: number[] = [];
  for (let slot = idle.next(); slot >= 0; slot = idle.next()) slots.push(slot);
  return slots;
}

describe('a flow', () => {
  it('is unknown until it was seen twice, then live or idle, then idle for long', () => {
    const slot = flow(1);
    expect(audit(slot, 1, 1000, 432_000)).toBe(IDLE_UNKNOWN);
    expect(audit(slot, 1, 1100, 431_950)).toBe(IDLE_LIVE);
    expect(audit(slot, 1, 1200, 431_850)).toBe(IDLE_ONCE);
    expect(audit(slot, 1, 1300, 431_751)).toBe(IDLE_LONG);
    expect(audit(slot, 1, 1400, 431_649)).toBe(IDLE_LONG);
    expect(told()).toEqual([slot, slot, slot]);
    expect(audit(slot, 1, 1500, 432_000)).toBe(IDLE_LIVE);
    expect(told()).toEqual([slot]);
  });

  it('with data unacknowledged is live although its timeout fell by days', () => {
    const slot = flow(1);
    audit(slot, 1, 1000, 432_000);
    expect(audit(slot, 1, 1100, 300)).toBe(IDLE_LIVE);
  });

  it('with a fixed timeout, of a peer, or without a timeout is not judged', () => {
    const fixed = flow(1);
    audit(fixed, 1, 1000, 500, IPS_FIXED_TIMEOUT);
    expect(audit(fixed, 1, 1100, 400, IPS_FIXED_TIMEOUT)).toBe(IDLE_UNKNOWN);
    const theirs = flow(2, table.owners.add('fw2', new Uint8Array(16).fill(2)));
    audit(theirs, 2, 1000, 500);
    expect(audit(theirs, 2, 1100, 400)).toBe(IDLE_UNKNOWN);
    expect(told()).toEqual([]);
  });
});

describe('what is to be told', () => {
  it('begins with what turned out to be live, and that has room of its own', () => {
    const [one, two, live] = [flow(1), flow(2), flow(3)];
    for (const [slot, i] of [
      [one, 1],
      [two, 2],
      [live, 3],
    ])
      audit(slot, i, 1000, 500);
    audit(one, 1, 1100, 400);
    audit(two, 2, 1100, 400);
    audit(live, 3, 1100, 500);
    expect(told()).toEqual([live, one, two]);
  });

  it('is left to the stream where that speaks of the flow anyway, or never did', () => {
    const [gone, dirty, never, plain] = [flow(1), flow(2), flow(3), flow(4)];
    table.clearImage(never);
    for (const [i, slot] of [gone, dirty, never, plain].entries()) {
      audit(slot, i + 1, 1000, 500);
      expect(audit(slot, i + 1, 1100, 500)).toBe(IDLE_LIVE);
    }
    table.setBits(dirty, DIRTY);
    table.remove(gone);
    expect(told()).toEqual([plain]);
  });

  it('is found again by the next audit when the queue is full', () => {
    const slot = flow(1);
    audit(slot, 1, 1000, 9000);
    for (let n = 0; n < IDLE_QUEUE_MAX; n++) {
      table.memory.u8[table.recordAt(slot) + OFF_IDLE] = IDLE_UNKNOWN;
      audit(slot, 1, 2000 + n * 100, 9000);
    }
    const other = flow(2);
    audit(other, 2, 1000, 9000);
    expect(audit(other, 2, 1100, 9000)).toBe(IDLE_UNKNOWN);
    expect(told()).toHaveLength(IDLE_QUEUE_MAX);
    expect(audit(other, 2, 1200, 9000)).toBe(IDLE_LIVE);
    expect(told()).toEqual([other]);
  });
});
