import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { LEVEL_SIZES } from '../../../src/table/digests.js';
import type { FlowTable } from '../../../src/table/flow-table.js';
import { DEAD, DIRTY, KERNEL, OWNER_SELF, SHADOW, USED } from '../../../src/table/slot-bits.js';
import type { RecordInMemory } from '../../simulation/record-maker.js';
import { incarnationOf, numberedFlow, recordBytes, smallTable } from '../../unit/table/test-flows.js';
import { type Entry, TableModel } from './table-model.js';

const KEYS = 4;
const OWNERS = 5;
const HELPERS = [undefined, 'ftp', 'sip-0123456789'];

/** Flow `key` in one of six forms, of three lengths. */
const records: RecordInMemory[][] = Array.from({ length: KEYS }, (_, key) =>
  Array.from({ length: 6 }, (_, variant) =>
    numberedFlow(key, { mark: variant, helper: HELPERS[variant % 3] }),
  ),
);

const pick = fc.nat({ max: 1000 });
const owner = fc.nat({ max: OWNERS - 1 });
/** Any combination of the bits that callers may set: 1..256. */
const bits = fc.nat({ max: 511 });
const operation = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.tuple(fc.constant('insert'), fc.nat({ max: KEYS - 1 }), fc.nat({ max: 5 }), owner, bits),
  },
  { weight: 2, arbitrary: fc.tuple(fc.constant('remove'), pick) },
  { weight: 2, arbitrary: fc.tuple(fc.constant('setRecord'), pick, fc.nat({ max: 5 })) },
  { weight: 3, arbitrary: fc.tuple(fc.constant('setOwner'), pick, owner) },
  { weight: 1, arbitrary: fc.tuple(fc.constant('relabel'), owner, owner) },
  { weight: 3, arbitrary: fc.tuple(fc.constant('setBits'), pick, bits) },
  { weight: 3, arbitrary: fc.tuple(fc.constant('clearBits'), pick, bits) },
  {
    weight: 3,
    arbitrary: fc.tuple(
      fc.constant('setImage'),
      pick,
      fc.constantFrom(0, 1, 0x8000_0000, 0xffff_ffff),
      fc.constantFrom(0, 7, 0xffff_fffe),
    ),
  },
  { weight: 2, arbitrary: fc.tuple(fc.constant('nextDirty')) },
  { weight: 2, arbitrary: fc.tuple(fc.constant('keepTombstone'), pick) },
  { weight: 1, arbitrary: fc.tuple(fc.constant('auditRead')) },
  { weight: 1, arbitrary: fc.tuple(fc.constant('setAudit'), fc.nat({ max: 2 })) },
);

function newTable(): FlowTable {
  const table = smallTable(KEYS * OWNERS);
  for (let i = 2; i < OWNERS; i++) table.owners.add(`node${i}`, incarnationOf(i));
  return table;
}

const visibleSlot = (table: FlowTable) => (key: number) => table.find(records[key][0].m, 0);

/** Does the operation to both. */
function apply(
  table: FlowTable,
  model: TableModel,
  [name, a = 0, b = 0, c = 0, d = 0]: OperationTuple,
): void {
  const seen = visibleSlot(table);
  const entry: Entry | undefined = model.entries[a % Math.max(1, model.entries.length)];
  if (name === 'insert') {
    const { m, at } = records[a][b];
    model.insert(table.insert(m, at, c, d), a, b, c, d);
  } else if (name === 'relabel') {
    table.relabel(a, b);
    model.relabel(a, b, seen);
  } else if (name === 'nextDirty') {
    const next = model.dirtyOrder()[0];
    expect(table.nextDirty()).toBe(next?.slot ?? -1);
    if (next !== undefined) model.clearBits(next, DIRTY);
  } else if (name === 'auditRead') {
    table.auditRead();
    model.auditRead(seen);
  } else if (name === 'setAudit') {
    table.auditGeneration = a;
    model.setAuditGeneration(a, seen);
  } else if (entry !== undefined) applyToEntry(table, model, entry, name, b, c);
}

function applyToEntry(
  table: FlowTable,
  model: TableModel,
  entry: Entry,
  name: string,
  b: number,
  c: number,
): void {
  const { slot, key } = entry;
  const seen = () => visibleSlot(table)(key);
  if (name === 'remove') {
    table.remove(slot);
    model.remove(entry, seen);
  } else if (name === 'setRecord') {
    expect(table.setRecord(slot, records[key][b].m, 0)).toBe(true);
    entry.variant = b;
  } else if (name === 'setOwner') {
    table.setOwner(slot, b);
    model.setOwner(entry, b, seen);
  } else if (name === 'setBits') {
    table.setBits(slot, b);
    model.setAll(entry, entry.bits | b);
  } else if (name === 'clearBits') {
    table.clearBits(slot, b);
    model.clearBits(entry, b);
  } else if (name === 'setImage') {
    table.setImage(slot, b, c);
    entry.lo = b;
    entry.hi = c;
  } else if (name === 'keepTombstone') {
    table.keepTombstone(slot);
    model.keep(entry);
  }
}

type OperationTuple = [string, number?, number?, number?, number?];

/** All that can be asked of the table gives what the model says. */
function check(table: FlowTable, model: TableModel): void {
  expect(table.count).toBe(model.entries.length);
  for (const entry of model.entries) {
    const { slot, key } = entry;
    const { m, at } = records[key][entry.variant];
    expect(table.isUsed(slot)).toBe(true);
    expect(table.bits(slot) & ~USED, `bits of slot ${slot}`).toBe(entry.bits);
    expect(table.owner(slot)).toBe(entry.owner);
    expect([table.imageLo(slot), table.imageHi(slot)]).toEqual([entry.lo | 0, entry.hi | 0]);
    const own = recordBytes(table.memory, table.recordAt(slot));
    // The timeout of a tombstone is the audit's to use.
    expect(own.subarray(12)).toEqual(recordBytes(m, at).subarray(12));
    expect(table.findOwned(entry.owner, m, at)).toBe(slot);
  }
  for (let key = 0; key < KEYS; key++) {
    expect(table.find(records[key][0].m, 0)).toBe(model.visible(key)?.slot ?? -1);
    expect(model.ofKey(key).filter((entry) => (entry.bits & SHADOW) === 0).length).toBeLessThan(2);
  }
  const counted = (mask: number) => model.entries.filter((entry) => (entry.bits & mask) !== 0).length;
  expect(table.kernelCount).toBe(counted(KERNEL));
  expect(table.shadowCount).toBe(counted(SHADOW));
  expect(table.dirtyCount).toBe(counted(DIRTY));
  for (let i = 0; i < OWNERS; i++) checkOwner(table, model, i);
}

function checkOwner(table: FlowTable, model: TableModel, owner: number): void {
  const entries = model.entries.filter((entry) => entry.owner === owner);
  const living = entries.filter((entry) => (entry.bits & DEAD) === 0);
  expect(table.owners.slots(owner)).toBe(entries.length);
  expect(table.countOf(owner)).toBe(living.length);
  const visible = living.filter((entry) => (entry.bits & SHADOW) === 0);
  expect(table.countOf(owner, { visible: true })).toBe(visible.length);
  for (let level = 0; level < 3; level++) {
    const shift = 12 - Math.log2(LEVEL_SIZES[level]);
    const places = new Set(level === 0 ? [0] : model.entries.map((e) => table.segmentAt(e.slot) >>> shift));
    for (const place of places) {
      const here = entries.filter((e) => (e.lo | e.hi) !== 0 && table.segmentAt(e.slot) >>> shift === place);
      table.digests.sum(owner, level, place);
      const { count, lo, hi } = table.digests;
      const sum = (of: (e: Entry) => number) => here.reduce((total, e) => (total + of(e)) >>> 0, 0);
      expect([count, lo, hi]).toEqual([here.length, sum((e) => e.lo), sum((e) => e.hi)]);
    }
  }
}

/** Every sum at every place, when all is gone again. */
function checkEmpty(table: FlowTable): void {
  for (let slot = 0; slot < table.slotLimit; slot++) if (table.isUsed(slot)) table.remove(slot);
  expect([table.count, table.kernelCount, table.shadowCount, table.dirtyCount]).toEqual([0, 0, 0, 0]);
  expect(table.recordBytes).toBe(0);
  for (let i = 0; i < OWNERS; i++) {
    expect(table.owners.slots(i)).toBe(0);
    for (let level = 0; level < 3; level++) {
      for (let place = 0; place < LEVEL_SIZES[level]; place++) {
        table.digests.sum(i, level, place);
        if ((table.digests.count | table.digests.lo | table.digests.hi) !== 0) {
          expect.fail(`owner ${i} level ${level} place ${place} has a sum without flows`);
        }
      }
    }
  }
}

describe('flow table', () => {
  it('answers as a plain list of entries does, after any operations', () => {
    fc.assert(
      fc.property(fc.array(operation, { maxLength: 60, size: 'max' }), (operations) => {
        const table = newTable();
        const model = new TableModel();
        for (const step of operations) {
          apply(table, model, step as OperationTuple);
          check(table, model);
        }
        table.auditGeneration = 0;
        checkEmpty(table);
      }),
      { numRuns: 100 },
    );
  });

  it('empties its dirty queue with each slot once, tombstones first, else oldest first', () => {
    const marks = fc.array(fc.tuple(fc.nat({ max: 39 }), fc.boolean()), { maxLength: 120, size: 'max' });
    fc.assert(
      fc.property(marks, (steps) => {
        const table = smallTable();
        const slots = Array.from({ length: 40 }, (_, i) => table.insert(numberedFlow(i).m, 0, OWNER_SELF));
        const queues: [number[], number[]] = [[], []];
        for (const [i, isDead] of steps) {
          const slot = slots[i];
          if (isDead && !queues[0].includes(slot)) {
            queues[1] = queues[1].filter((other) => other !== slot);
            queues[0].push(slot);
            table.setBits(slot, DEAD);
          } else if (!isDead && !queues[0].includes(slot) && !queues[1].includes(slot)) queues[1].push(slot);
          table.markDirty(slot);
        }
        const drained: number[] = [];
        for (let slot = table.nextDirty(); slot >= 0; slot = table.nextDirty()) drained.push(slot);
        expect(drained).toEqual([...queues[0], ...queues[1]]);
      }),
      { numRuns: 50 },
    );
  });
});
