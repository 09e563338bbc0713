import { beforeEach, describe, expect, it } from 'vitest';
import type { FlowTable } from '../../../src/table/flow-table.js';
import { OWNER_SELF } from '../../../src/table/slot-bits.js';
import { incarnationOf, numberedFlow, smallTable } from './test-flows.js';

let table: FlowTable;
let fw2: number;
let fw3: number;

beforeEach(() => {
  table = smallTable(1000);
  fw2 = table.owners.add('fw2', incarnationOf(2));
  fw3 = table.owners.add('fw3', incarnationOf(3));
});

const flow = (n: number, owner: number, changedAt: number): number => {
  const slot = table.insert(numberedFlow(n).m, 0, owner);
  table.setImage(slot, n + 1, 0);
  table.setChangedAt(slot, changedAt, 0);
  return slot;
};
const taking = (node: string, stamp: number, sequence: number, bootId = 'boot') => ({
  origin: { node, bootId, stamp },
  sequence,
});
const isFrom = (slot: number, node: string, bootId = 'boot') => table.isFrom(slot, node, bootId);

describe('where a flow came from', () => {
  it('is known of all that were taken over and have not changed since, and of no own one', () => {
    const [first, second] = [flow(1, fw2, 5), flow(2, fw2, 5)];
    const own = flow(3, OWNER_SELF, 5);
    table.relabel(fw2, OWNER_SELF, taking('fw2', 10, 3));
    const later = flow(4, OWNER_SELF, 5);
    table.setChangedAt(second, 11, 0);
    expect([first, second, own, later].map((slot) => isFrom(slot, 'fw2'))).toEqual([
      true,
      false,
      false,
      false,
    ]);
    expect([first, second, own, later].map((slot) => table.takenAt(slot))).toEqual([3, 3, -1, -1]);
    expect([isFrom(first, 'fw3'), isFrom(first, 'fw2', 'another boot')]).toEqual([false, false]);
    expect([table.owners.hasFrom('fw2', 'boot'), table.owners.hasFrom('fw3', 'boot')]).toEqual([true, false]);
  });

  it('is known also of one that went through other hands, as long as those did not change it', () => {
    const [kept, changed] = [flow(1, fw2, 5), flow(2, fw2, 5)];
    table.relabel(fw2, fw3, taking('fw2', 10, 3));
    table.setChangedAt(changed, 12, 0);
    const its = flow(3, fw3, 13);
    table.relabel(fw3, OWNER_SELF, taking('fw3', 20, 7));
    expect([kept, changed, its].map((slot) => isFrom(slot, 'fw2'))).toEqual([true, false, false]);
    expect([kept, changed, its].map((slot) => isFrom(slot, 'fw3'))).toEqual([true, true, true]);
    expect([kept, changed, its].map((slot) => table.takenAt(slot))).toEqual([7, 7, 7]);
  });

  it('is forgotten when that node has given it up, but not when it was taken', () => {
    const slot = flow(1, fw2, 5);
    table.relabel(fw2, OWNER_SELF, taking('fw2', 10, 3));
    table.owners.origins.forget('fw2');
    expect([isFrom(slot, 'fw2'), table.takenAt(slot)]).toEqual([false, 3]);
    expect(table.owners.hasFrom('fw2', 'boot')).toBe(false);
  });

  it('is said of an own flow that the node had just so, from the takeover on', () => {
    const [shared, other] = [flow(1, OWNER_SELF, 5), flow(2, OWNER_SELF, 5)];
    table.shareWith(shared, fw2);
    expect(isFrom(shared, 'fw2')).toBe(false);
    table.relabel(fw2, OWNER_SELF, taking('fw2', 10, 3));
    expect([isFrom(shared, 'fw2'), isFrom(other, 'fw2')]).toEqual([true, false]);
    expect([table.takenAt(shared), table.owners.slots(OWNER_SELF)]).toEqual([-1, 2]);
    const again = flow(3, OWNER_SELF, 5);
    table.shareWith(again, fw3);
    table.owners.origins.unshare();
    table.relabel(fw3, OWNER_SELF, taking('fw3', 20, 7));
    expect(isFrom(again, 'fw3')).toBe(false);
  });

  it('is not said of later flows that have the same byte', () => {
    table.remove(flow(1, fw2, 5));
    const first = flow(1, fw2, 5);
    table.relabel(fw2, OWNER_SELF, taking('fw2', 10, 3));
    table.remove(first);
    const slots = Array.from({ length: 20 }, (_, n) => {
      const owner = table.owners.add(`node${n % 9}`, incarnationOf(10 + n));
      return flow(10 + n, owner, 5);
    });
    expect(slots.some((slot) => isFrom(slot, 'fw2') || table.takenAt(slot) >= 0)).toBe(false);
  });
});
