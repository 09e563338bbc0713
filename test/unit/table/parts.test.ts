import { describe, expect, it } from 'vitest';
import { seedFromText } from '../../../src/flow/hash.js';
import {
  copyRecord,
  lengthOf,
  MAX_TABLE_RECORD_BYTES,
  OFF_ID,
  PART_LABELS,
} from '../../../src/flow/record.js';
import { OWNERS_MAX } from '../../../src/limits.js';
import { Digests, LEVEL_GROUP, LEVEL_ROOT, LEVEL_SEGMENT } from '../../../src/table/digests.js';
import { FlowTable } from '../../../src/table/flow-table.js';
import { LimitError, Owners } from '../../../src/table/owners.js';
import { SEGMENTS, SegmentIndex } from '../../../src/table/segment-index.js';
import { SLAB_BYTES_MAX, Slab } from '../../../src/table/slab.js';
import {
  DEAD,
  KERNEL,
  OWNER_SELF,
  OWNER_UNCLASSIFIED,
  PENDING,
  SHADOW,
} from '../../../src/table/slot-bits.js';
import { SLOT_WORDS, SLOTS_CAPACITY_MAX, Slots, WORD_HASH, WORD_RECORD } from '../../../src/table/slots.js';
import { incarnationOf, numberedFlow, smallTable } from './test-flows.js';

describe('slab', () => {
  it('uses a freed block again for a record of the same class', () => {
    const slab = new Slab(1024);
    const first = slab.allocate(52);
    const second = slab.allocate(52);
    slab.release(first, 52);
    expect(slab.allocate(56)).toBe(first);
    expect(slab.allocate(52)).toBeGreaterThan(second);
    expect(slab.usedBytes).toBe(3 * 56);
  });

  it('cuts a small block off a free large one when nothing untouched is left', () => {
    const slab = new Slab(8 + 104);
    const large = slab.allocate(100);
    expect(slab.allocate(52)).toBe(0);
    slab.release(large, 100);
    const small = slab.allocate(52);
    const rest = slab.allocate(48);
    expect([small, rest]).toEqual([large, large + 56]);
    expect(slab.allocate(8)).toBe(0);
    expect(slab.usedBytes).toBe(104);
  });

  it('refuses a record one class above the longest, and sizes out of range', () => {
    const slab = new Slab(4096);
    expect(slab.allocate(MAX_TABLE_RECORD_BYTES)).toBeGreaterThan(0);
    expect(slab.allocate(MAX_TABLE_RECORD_BYTES + 4)).toBe(0);
    expect(() => new Slab(SLAB_BYTES_MAX + 1)).toThrow(RangeError);
  });
});

describe('slots', () => {
  it('gives the number freed last again, as zeros', () => {
    const slots = new Slots(3);
    const [a, b] = [slots.take(), slots.take()];
    slots.setSequence(a, 5);
    slots.setShown(a, 9);
    slots.give(a);
    slots.give(b);
    expect(slots.take()).toBe(b);
    expect(slots.take()).toBe(a);
    expect([slots.sequence(a), slots.shown(a), slots.used, slots.limit]).toEqual([0, 0, 2, 2]);
    expect(slots.take()).toBe(2);
    expect(slots.take()).toBe(-1);
  });

  it('refuses more than can be numbered', () => {
    expect(() => new Slots(SLOTS_CAPACITY_MAX + 1)).toThrow(RangeError);
    expect(() => new Slots(0)).toThrow(RangeError);
  });
});

describe('segment index', () => {
  it('finds every slot of a crowded segment after any deletions', () => {
    const slots = new Slots(2000);
    const slab = new Slab(200_000);
    const index = new SegmentIndex(slots, slab.memory);
    // Few homes in one segment, so that runs of entries overlap and wrap around.
    const hashOf = (i: number) => 0xabc00000 + [0, 1, 2, 14, 15, 0xffff0][i % 6];
    const flows = Array.from({ length: 300 }, (_, i) => numberedFlow(i));
    const slotOf = flows.map(({ m }, i) => {
      const slot = slots.take();
      const at = slab.allocate(lengthOf(m, 0));
      copyRecord(m, 0, slab.memory, at);
      slots.words[slot * SLOT_WORDS + WORD_HASH] = hashOf(i);
      slots.words[slot * SLOT_WORDS + WORD_RECORD] = at;
      index.add(slot);
      return slot;
    });
    const find = (i: number) => {
      index.seek(hashOf(i));
      return index.next(flows[i].m, 0);
    };
    const alive = new Set(flows.keys());
    for (let step = 0; step < 300; step++) {
      const i = (step * 173) % 300;
      index.delete(slotOf[i]);
      alive.delete(i);
      if (step % 10 !== 0) continue;
      for (const j of flows.keys())
        expect(find(j), `flow ${j}, step ${step}`).toBe(alive.has(j) ? slotOf[j] : -1);
    }
    expect(index.count(0xabc)).toBe(0);
    expect(() => index.delete(slotOf[0])).toThrow('not in segment 2748');
  });

  it('spreads the flows of a table over its segments and lists each once', () => {
    const table = smallTable(3000);
    for (let i = 0; i < 3000; i++) table.insert(numberedFlow(i).m, 0, OWNER_SELF);
    const out = new Int32Array(16);
    const seen = new Set<number>();
    for (let segment = 0; segment < SEGMENTS; segment++) {
      const count = table.segmentSlots(segment, out);
      expect(count).toBe(table.segmentSize(segment));
      expect(count).toBeLessThan(12);
      for (const slot of out.subarray(0, count)) {
        expect(table.segmentAt(slot)).toBe(segment);
        seen.add(slot);
      }
    }
    expect(seen.size).toBe(3000);
  });
});

describe('digests', () => {
  it('sum modulo 2^32 at all three levels, and do not cancel out a record that stands twice', () => {
    const digests = new Digests();
    digests.add(1, 130, 0xffff_ffff, 5);
    digests.add(1, 130, 0xffff_ffff, 5);
    for (const [level, index] of [
      [LEVEL_ROOT, 0],
      [LEVEL_GROUP, 2],
      [LEVEL_SEGMENT, 130],
    ]) {
      digests.sum(1, level, index);
      expect([digests.count, digests.lo, digests.hi]).toEqual([2, 0xffff_fffe, 10]);
    }
    digests.subtract(1, 130, 0xffff_ffff, 5);
    digests.move(1, 3);
    digests.sum(3, LEVEL_SEGMENT, 130);
    expect([digests.count, digests.lo, digests.hi]).toEqual([1, 0xffff_ffff, 5]);
    digests.sum(1, LEVEL_ROOT, 0);
    expect([digests.count, digests.lo, digests.hi]).toEqual([0, 0, 0]);
  });
});

describe('owners', () => {
  it('has one number for each node and incarnation, and forgets one only when it has no slots', () => {
    const table = smallTable();
    const one = table.owners.add('fw1', incarnationOf(1));
    const two = table.owners.add('fw1', incarnationOf(2));
    expect(one).toBe(2);
    expect(table.owners.add('fw1', incarnationOf(1))).toBe(one);
    expect(table.owners.find('fw2', incarnationOf(2))).toBe(-1);
    expect([table.owners.node(two), table.owners.incarnation(two)]).toEqual(['fw1', incarnationOf(2)]);
    const slot = table.insert(numberedFlow(1).m, 0, one);
    expect(table.owners.release(one)).toBe(false);
    table.remove(slot);
    expect(table.owners.release(one)).toBe(true);
    expect(table.owners.release(OWNER_SELF)).toBe(false);
    expect(table.owners.list()).toEqual([two]);
  });

  it('refuses one owner more than OWNERS_MAX', () => {
    const owners = new Owners();
    for (let i = 2; i < OWNERS_MAX; i++) owners.add('node', incarnationOf(i));
    expect(() => owners.add('node', incarnationOf(255))).toThrow(LimitError);
    expect(owners.add('node', incarnationOf(7))).toBe(7);
  });

  it.each([
    ['', undefined],
    [' by takeovers', { origin: { node: 'fw2', bootId: 'b', stamp: 1 }, sequence: 1 }],
  ])('relabels more often than there are owner bytes%s, with a flow left from every time', (_, taking) => {
    const table = smallTable(1000);
    const peer = table.owners.add('fw2', incarnationOf(1));
    for (let i = 0; i < 600; i++) {
      const slot = table.insert(numberedFlow(i).m, 0, peer);
      table.setImage(slot, i + 1, 0);
      table.relabel(peer, OWNER_SELF, taking);
      expect(table.owner(slot)).toBe(OWNER_SELF);
    }
    expect([table.owners.slots(peer), table.owners.slots(OWNER_SELF)]).toEqual([0, 600]);
    for (let i = 0; i < 600; i++) expect(table.owner(table.find(numberedFlow(i).m, 0))).toBe(OWNER_SELF);
    table.digests.sum(OWNER_SELF, LEVEL_ROOT, 0);
    expect([table.digests.count, table.digests.lo]).toEqual([600, (600 * 601) / 2]);
  });
});

describe('limits of the table', () => {
  it('takes maxFlows flows and not one more, and one more again after a removal', () => {
    const table = smallTable(8);
    const slots = Array.from({ length: 8 }, (_, i) => table.insert(numberedFlow(i).m, 0, OWNER_SELF));
    const bytes = table.recordBytes;
    expect(table.insert(numberedFlow(8).m, 0, OWNER_SELF)).toBe(-1);
    expect(table.recordBytes).toBe(bytes);
    table.remove(slots[3]);
    expect(table.insert(numberedFlow(8).m, 0, OWNER_SELF)).toBe(slots[3]);
  });

  it('says so when the memory for records is full, and keeps the old record then', () => {
    const table = smallTable(8, 56 * 3);
    const slot = table.insert(numberedFlow(0).m, 0, OWNER_SELF);
    expect(table.insert(numberedFlow(1).m, 0, OWNER_SELF)).toBeGreaterThanOrEqual(0);
    expect(table.insert(numberedFlow(3).m, 0, OWNER_SELF)).toBe(-1);
    expect(table.count).toBe(2);
    expect(table.setRecord(slot, numberedFlow(0, { helper: 'ftp' }).m, 0)).toBe(false);
    expect(lengthOf(table.memory, table.recordAt(slot))).toBe(52);
  });

  it('refuses a record above MAX_TABLE_RECORD_BYTES', () => {
    const { m } = numberedFlow(0);
    m.u16[26] = PART_LABELS + 0x50;
    m.u16[27] = MAX_TABLE_RECORD_BYTES - 52;
    m.u16[0] = MAX_TABLE_RECORD_BYTES + 4;
    const table = smallTable();
    expect(table.insert(m, 0, OWNER_SELF)).toBe(-1);
    m.u16[0] = MAX_TABLE_RECORD_BYTES;
    expect(table.insert(m, 0, OWNER_SELF)).toBe(0);
  });

  it('refuses sizes out of range', () => {
    const seed = seedFromText('x');
    expect(() => new FlowTable({ seed, maxFlows: SLOTS_CAPACITY_MAX + 1 })).toThrow(RangeError);
    expect(() => new FlowTable({ seed: seed.subarray(1) })).toThrow(RangeError);
  });
});

describe('shadows', () => {
  it('become visible in the order own, living, tombstone, and take the kernel bit over', () => {
    const table = smallTable();
    const { m } = numberedFlow(1);
    const owners = [2, 3, 4].map((i) => table.owners.add('fw', incarnationOf(i)));
    const dead = table.insert(m, 0, owners[0], SHADOW | DEAD);
    const living = table.insert(m, 0, owners[1], SHADOW);
    const own = table.insert(m, 0, OWNER_SELF, SHADOW);
    const first = table.insert(m, 0, owners[2], KERNEL);
    for (const [gone, heir] of [
      [first, own],
      [own, living],
      [living, dead],
    ]) {
      table.remove(gone);
      expect(table.find(m, 0)).toBe(heir);
      expect(table.bits(heir) & (KERNEL | SHADOW)).toBe(KERNEL);
    }
    expect(table.kernelCount).toBe(1);
  });
});

describe('a flow that waits for its commit', () => {
  it('waits on when two owners who have it become one', () => {
    const table = smallTable();
    const [first, second] = [2, 3].map((n) => table.owners.add(`fw${n}`, incarnationOf(n)));
    const kept = table.insert(numberedFlow(1).m, 0, first, SHADOW);
    table.setImage(kept, 1, 1);
    table.setImage(table.insert(numberedFlow(1).m, 0, second, PENDING), 2, 2);
    for (const owner of [first, second]) table.relabel(owner, OWNER_SELF);
    expect(table.bits(kept) & (PENDING | SHADOW)).toBe(PENDING);
    expect(table.count).toBe(1);
  });
});

describe('the ct id', () => {
  const id = (table: FlowTable, slot: number) => table.memory.u32[(table.recordAt(slot) + OFF_ID) >>> 2];

  it('goes to the shadow that becomes the visible slot of a flow that the kernel has', () => {
    const table = smallTable();
    const peer = table.owners.add('fw2', incarnationOf(2));
    const own = table.insert(numberedFlow(1, { id: 7 }).m, 0, OWNER_SELF, KERNEL);
    const theirs = table.insert(numberedFlow(1, { id: 3 }).m, 0, peer, SHADOW);
    table.setImage(theirs, 1, 1);
    table.remove(own);
    expect([table.bits(theirs) & (KERNEL | SHADOW), id(table, theirs)]).toEqual([KERNEL, 7]);
  });

  it('stays where a slot goes to an owner who has the flow as well', () => {
    const table = smallTable();
    const peer = table.owners.add('fw2', incarnationOf(2));
    const own = table.insert(numberedFlow(1, { id: 7 }).m, 0, OWNER_SELF, KERNEL);
    table.setImage(table.insert(numberedFlow(1, { id: 3 }).m, 0, peer, SHADOW), 1, 1);
    table.setOwner(own, peer);
    expect([table.owner(own), id(table, own)]).toEqual([peer, 7]);
  });

  it('goes to the shadow that is made visible', () => {
    const table = smallTable();
    const peers = [2, 3].map((n) => table.owners.add(`fw${n}`, incarnationOf(n)));
    table.setImage(table.insert(numberedFlow(1, { id: 7 }).m, 0, peers[0], KERNEL), 1, 1);
    const shadow = table.insert(numberedFlow(1, { id: 3 }).m, 0, peers[1], SHADOW);
    table.clearBits(shadow, SHADOW);
    expect([table.bits(shadow) & (KERNEL | SHADOW), id(table, shadow)]).toEqual([KERNEL, 7]);
  });
});

describe('what a running audit knows of a flow', () => {
  it('goes to whatever slot is the visible one: the row that comes may be older', () => {
    const table = smallTable();
    const peers = [2, 3, 4].map((n) => table.owners.add(`fw${n}`, incarnationOf(n)));
    table.auditGeneration = 5;
    const own = table.insert(numberedFlow(1).m, 0, OWNER_SELF);
    table.setShown(own, 5);
    const shadow = table.insert(numberedFlow(1).m, 0, peers[0], SHADOW);
    table.remove(own);
    expect(table.shown(shadow)).toBe(5);
    const second = table.insert(numberedFlow(1).m, 0, peers[1], SHADOW);
    expect(table.shown(second)).toBe(0);
    table.clearBits(second, SHADOW);
    expect(table.shown(second)).toBe(5);
    expect(table.shown(table.insert(numberedFlow(1).m, 0, peers[2]))).toBe(5);
  });
});

describe('listing a segment', () => {
  it('goes on although the visitor removes flows and lists another segment meanwhile', () => {
    const table = smallTable(3000);
    for (let i = 0; i < 3000; i++)
      table.insert(numberedFlow(i).m, 0, i % 2 === 0 ? OWNER_SELF : OWNER_UNCLASSIFIED);
    let visited = 0;
    for (let segment = 0; segment < SEGMENTS; segment++) {
      table.forEachOwnedInSegment(segment, OWNER_SELF, (slot) => {
        visited++;
        expect(table.segmentAt(slot)).toBe(segment);
        table.forEachOwnedInSegment((segment + 1) % SEGMENTS, OWNER_UNCLASSIFIED, (other) =>
          table.remove(other),
        );
        table.remove(slot);
      });
    }
    expect(visited).toBe(1500);
    expect(table.owners.slots(OWNER_SELF)).toBe(0);
  });
});
