import { beforeEach, describe, expect, it } from 'vitest';
import { IPS_ASSURED, IPS_NAT_CLASH, IPS_SEEN_REPLY } from '../../../src/flow/conntrack-enums.js';
import { CounterMap } from '../../../src/flow/counters.js';
import {
  EVENT_DESTROY,
  EVENT_NEW,
  EVENT_UPDATE,
  SEEN_MARK,
  SEEN_STATUS,
} from '../../../src/flow/kernel-port.js';
import { durableEqual } from '../../../src/flow/merge.js';
import { copyRecord } from '../../../src/flow/record.js';
import { EventRules } from '../../../src/table/event-rules.js';
import type { FlowTable } from '../../../src/table/flow-table.js';
import * as bit from '../../../src/table/slot-bits.js';
import type { FlowDescription, RecordInMemory } from '../../simulation/record-maker.js';
import { incarnationOf, numberedFlow, smallTable } from './test-flows.js';

const { OWNER_SELF, OWNER_UNCLASSIFIED } = bit;
const SEEN_ALL = 0xff;

let table: FlowTable;
let rules: EventRules;
let counters: CounterMap;
let kernel: Map<string, RecordInMemory>;
let isPrimary: boolean;
/** Flows with this mark are in the table, and the stream is silent about them. */
const STOPPED_MARK = 77;
let ignored: number;
let peer: number;
let clockMs: number;
/** The address that flows are translated to has just left this node. */
let isAddressGone: boolean;

const flow = (more: Partial<FlowDescription> = {}) => numberedFlow(1, more);
const key = ({ m }: RecordInMemory) => [...m.u8.subarray(12, 28)].join();

function send(
  kind: number,
  record: RecordInMemory,
  options: { seen?: number; port?: number; status?: number } = {},
) {
  rules.event(kind, record.m, record.at, options.seen ?? SEEN_ALL, options.port ?? 0, options.status ?? 0);
}

const bits = (slot: number) => table.bits(slot) & ~bit.USED;
const slot = () => table.find(flow().m, 0);
const holds = (s: number, record: RecordInMemory) =>
  durableEqual(table.memory, table.recordAt(s), record.m, 0);

/** What a flush does: all that is dirty becomes the image, tombstones go. */
function flush(): void {
  for (let s = table.nextDirty(); s >= 0; s = table.nextDirty()) {
    if ((table.bits(s) & bit.DEAD) !== 0) {
      table.remove(s);
      continue;
    }
    table.currentHash(s);
    table.setImage(s, table.hash.lo, table.hash.hi);
    table.clearBits(s, bit.FRESH);
  }
}

/** A flow of the peer's, in the kernel here if `more` has KERNEL. */
function peersFlow(record: RecordInMemory, more = 0): number {
  const s = table.insert(record.m, 0, peer, more);
  table.currentHash(s);
  table.setImage(s, table.hash.lo, table.hash.hi);
  return s;
}

beforeEach(() => {
  table = smallTable();
  counters = new CounterMap();
  kernel = new Map();
  isPrimary = true;
  ignored = 0;
  clockMs = 7_500;
  isAddressGone = false;
  peer = table.owners.add('fw2', incarnationOf(2));
  rules = new EventRules({
    table,
    counters,
    now: () => clockMs,
    hasLeft: () => isAddressGone,
    isPrimary: () => isPrimary,
    ignore: (m, at) => ignored !== 0 && m.u32[(at + 44) >>> 2] === ignored,
    passes: (m, at) => m.u32[(at + 44) >>> 2] !== STOPPED_MARK,
    isEcho: (port) => port === 99,
    get: (m, at, found) => {
      const shown = kernel.get([...m.u8.subarray(at + 12, at + 28)].join());
      if (shown !== undefined) copyRecord(shown.m, 0, found, 0);
      return shown !== undefined;
    },
  });
});

describe('a NEW', () => {
  it('without a slot makes the flow own and queues it', () => {
    send(EVENT_NEW, flow({ mark: 3 }));
    expect(table.owner(slot())).toBe(OWNER_SELF);
    expect(bits(slot())).toBe(bit.KERNEL | bit.DIRTY);
    expect(table.changedTime(slot())).toBe(7);
  });

  it('over a held flow of a peer makes a visible own slot and leaves the peer a shadow with its image', () => {
    const theirs = peersFlow(flow({ mark: 1 }), bit.KERNEL);
    kernel.set(key(flow()), flow({ mark: 2 }));
    send(EVENT_NEW, flow({ mark: 2 }));
    expect(slot()).not.toBe(theirs);
    expect(bits(slot())).toBe(bit.KERNEL | bit.DIRTY | bit.FRESH);
    expect(bits(theirs)).toBe(bit.SHADOW);
    expect(table.hasImage(theirs)).toBe(true);
    expect(holds(theirs, flow({ mark: 1 }))).toBe(true);
    expect(holds(slot(), flow({ mark: 2 }))).toBe(true);
  });

  it('over a held flow that this node has deleted since, which no event tells, is of nothing', () => {
    const theirs = peersFlow(flow({ mark: 1 }), bit.KERNEL);
    rules.gone(theirs);
    send(EVENT_NEW, flow({ mark: 2 }));
    expect(slot()).toBe(theirs);
    expect([table.owner(theirs), bits(theirs)]).toEqual([peer, 0]);
    expect(counters.get('event.ofNothing')).toBe(1);
  });

  it('over an own living flow is a new life only if an immutable field or the id differs, or a sticky bit is gone', () => {
    const cases: [Partial<FlowDescription>, Partial<FlowDescription>, boolean][] = [
      [{ id: 5 }, { id: 5, mark: 2 }, false],
      [{ id: 5 }, { id: 6 }, true],
      [{}, { id: 6 }, false],
      [{}, { reply: { source: '192.0.2.1', destination: '10.0.0.9', sourcePort: 80 } }, true],
      [{ status: IPS_SEEN_REPLY }, {}, true],
      [{}, { status: IPS_SEEN_REPLY | IPS_ASSURED }, false],
    ];
    for (const [before, after, isFresh] of cases) {
      table.remove(table.insert(flow().m, 0, OWNER_SELF));
      send(EVENT_NEW, flow(before));
      flush();
      send(EVENT_NEW, flow(after));
      expect(bits(slot()) & bit.FRESH, JSON.stringify(after)).toBe(isFresh ? bit.FRESH : 0);
      expect(holds(slot(), flow(after))).toBe(true);
      table.remove(slot());
    }
  });

  it('over a tombstone that was shipped is FRESH and stays so until the flush; an unshipped one leaves nothing', () => {
    send(EVENT_NEW, flow({ mark: 1 }));
    flush();
    send(EVENT_DESTROY, flow());
    send(EVENT_NEW, flow({ mark: 2 }));
    expect(bits(slot())).toBe(bit.KERNEL | bit.DIRTY | bit.FRESH);
    send(EVENT_UPDATE, flow({ mark: 3 }));
    expect(bits(slot()) & bit.FRESH).toBe(bit.FRESH);
    expect(table.dirtyCount).toBe(1);
  });

  it('touches a flow that waits for its commit, and leaves its record to the commit', () => {
    const waiting = table.insert(flow().m, 0, OWNER_SELF, bit.PENDING);
    send(EVENT_NEW, flow({ mark: 4 }));
    expect(bits(waiting)).toBe(bit.PENDING | bit.TOUCHED | bit.KERNEL | bit.FRESH);
    expect(durableEqual(table.memory, table.recordAt(waiting), flow().m, 0)).toBe(true);
  });
});

describe('a held flow of which its owner no longer speaks', () => {
  it('is nobody’s when another life begins over it, and does not come back after that', () => {
    const theirs = peersFlow(flow(), bit.KERNEL);
    table.clearImage(theirs);
    send(EVENT_NEW, flow({ mark: 2 }));
    flush();
    send(EVENT_DESTROY, flow({ mark: 2 }));
    flush();
    expect(slot()).toBe(-1);
    expect(table.count).toBe(0);
  });
});

describe('an UPDATE', () => {
  it('of an own flow overlays what it carries', () => {
    send(EVENT_NEW, flow({ mark: 1, state: 3 }));
    flush();
    send(EVENT_UPDATE, flow({ mark: 9, status: IPS_SEEN_REPLY }), { seen: SEEN_MARK | SEEN_STATUS });
    expect(holds(slot(), flow({ mark: 9, state: 3, status: IPS_SEEN_REPLY }))).toBe(true);
    expect(bits(slot())).toBe(bit.KERNEL | bit.DIRTY);
  });

  it('without a slot asks the kernel: what it shows is own, ENOENT is dropped', () => {
    send(EVENT_UPDATE, flow({ mark: 1 }));
    expect([slot(), counters.get('event.ofNothing')]).toEqual([-1, 1]);
    kernel.set(key(flow()), flow({ mark: 1, state: 3 }));
    send(EVENT_UPDATE, flow({ mark: 1 }), { seen: SEEN_MARK });
    expect(holds(slot(), flow({ mark: 1, state: 3 }))).toBe(true);
    expect(bits(slot())).toBe(bit.KERNEL | bit.DIRTY);
  });

  it('is dropped when the kernel shows another flow, found by its reply tuple', () => {
    kernel.set(key(flow()), numberedFlow(3));
    send(EVENT_UPDATE, flow());
    expect(table.count).toBe(0);
  });

  it('that comes after the DESTROY brings nothing back', () => {
    send(EVENT_NEW, flow());
    flush();
    send(EVENT_DESTROY, flow());
    send(EVENT_UPDATE, flow({ mark: 1 }));
    expect(bits(slot())).toBe(bit.DEAD | bit.DIRTY);
    flush();
    expect(table.count).toBe(0);
  });

  it('of another life than the known one takes the whole flow from the kernel, FRESH', () => {
    send(EVENT_NEW, flow({ id: 1, helper: 'ftp' }));
    flush();
    kernel.set(key(flow()), flow({ id: 2, mark: 8 }));
    send(EVENT_UPDATE, flow({ id: 2, mark: 8 }), { seen: SEEN_MARK });
    expect(holds(slot(), flow({ mark: 8 }))).toBe(true);
    expect(bits(slot())).toBe(bit.KERNEL | bit.DIRTY | bit.FRESH);
  });

  it('of a held flow: the primary owns it from now on, a backup only notes that it was touched', () => {
    const theirs = peersFlow(flow({ mark: 1, state: 3 }), bit.KERNEL);
    isPrimary = false;
    send(EVENT_UPDATE, flow({ mark: 2 }), { seen: SEEN_MARK });
    expect([slot(), bits(theirs)]).toEqual([theirs, bit.KERNEL | bit.TOUCHED]);
    expect(holds(theirs, flow({ mark: 1, state: 3 }))).toBe(true);
    isPrimary = true;
    // What this kernel has is not what the peer said of it.
    kernel.set(key(flow()), flow({ mark: 2, state: 5 }));
    send(EVENT_UPDATE, flow({ mark: 2 }), { seen: SEEN_MARK });
    expect(bits(slot())).toBe(bit.KERNEL | bit.DIRTY);
    expect(holds(slot(), flow({ mark: 2, state: 5 }))).toBe(true);
    expect(bits(theirs)).toBe(bit.TOUCHED | bit.SHADOW);
  });

  it('of a flow that only a replica has is believed when the kernel shows it', () => {
    const theirs = peersFlow(flow());
    isPrimary = false;
    send(EVENT_UPDATE, flow());
    expect(bits(theirs)).toBe(0);
    kernel.set(key(flow()), flow());
    send(EVENT_UPDATE, flow());
    expect(bits(theirs)).toBe(bit.KERNEL | bit.TOUCHED);
  });

  it('of a flow that was ignored asks the kernel, and takes it in when it no longer is', () => {
    ignored = 5;
    send(EVENT_NEW, flow({ mark: 5 }));
    expect(slot()).toBe(-1);
    kernel.set(key(flow()), flow({ mark: 5, state: 3 }));
    send(EVENT_UPDATE, flow({ mark: 6 }), { seen: SEEN_MARK });
    expect(slot()).toBe(-1);
    kernel.set(key(flow()), flow({ mark: 6, state: 3 }));
    send(EVENT_UPDATE, flow({ mark: 6 }), { seen: SEEN_MARK });
    expect(holds(slot(), flow({ mark: 6, state: 3 }))).toBe(true);
  });

  it('of an unclassified flow that the filter stops leaves it without image', () => {
    send(EVENT_NEW, flow({ mark: 1 }));
    const s = slot();
    table.setOwner(s, OWNER_UNCLASSIFIED);
    send(EVENT_UPDATE, flow({ mark: 2 }), { seen: SEEN_MARK });
    expect(table.hasImage(s)).toBe(true);
    send(EVENT_UPDATE, flow({ mark: STOPPED_MARK }), { seen: SEEN_MARK });
    expect(table.hasImage(s)).toBe(false);
  });
});

describe('a DESTROY', () => {
  it('of an own flow that was never shipped removes it, of a shipped one leaves a queued tombstone', () => {
    send(EVENT_NEW, flow());
    send(EVENT_DESTROY, flow());
    expect([table.count, table.dirtyCount]).toEqual([0, 0]);
    send(EVENT_NEW, flow());
    flush();
    send(EVENT_DESTROY, flow());
    expect(bits(slot())).toBe(bit.DEAD | bit.DIRTY);
    expect([table.kernelCount, table.countOf(OWNER_SELF)]).toEqual([0, 0]);
  });

  it('of another id, or of a clash loser, is not about this flow', () => {
    send(EVENT_NEW, flow({ id: 1 }));
    send(EVENT_DESTROY, flow({ id: 2 }));
    send(EVENT_DESTROY, flow({ id: 1 }), { status: IPS_NAT_CLASH });
    expect(bits(slot())).toBe(bit.KERNEL | bit.DIRTY);
    expect([counters.get('event.destroyOfOtherLife'), counters.get('event.natClash')]).toEqual([1, 1]);
    send(EVENT_DESTROY, flow());
    expect(table.count).toBe(0);
  });

  it('of a held flow clears KERNEL and leaves the replica; someone else’s delete is noted', () => {
    const theirs = peersFlow(flow(), bit.KERNEL);
    send(EVENT_DESTROY, flow());
    expect([bits(theirs), table.hasImage(theirs)]).toEqual([0, true]);
    table.setBits(theirs, bit.KERNEL);
    send(EVENT_DESTROY, flow(), { port: 4321 });
    expect(bits(theirs)).toBe(bit.TOUCHED);
  });

  it('of a held flow is believed by the id that an update showed last', () => {
    isPrimary = false;
    const theirs = peersFlow(flow({ id: 5 }), bit.KERNEL);
    send(EVENT_UPDATE, flow({ id: 6, mark: 1 }));
    send(EVENT_DESTROY, flow({ id: 6 }));
    expect(bits(theirs)).toBe(bit.TOUCHED);
  });

  it('of a held flow that its owner has deleted already removes it', () => {
    const theirs = peersFlow(flow(), bit.KERNEL);
    table.clearImage(theirs);
    send(EVENT_DESTROY, flow());
    expect(table.count).toBe(0);
  });

  it('of an own flow makes the peer’s shadow visible again, once the stream has said it', () => {
    const theirs = peersFlow(flow({ mark: 1 }));
    kernel.set(key(flow()), flow({ mark: 2 }));
    send(EVENT_NEW, flow({ mark: 2 }));
    flush();
    send(EVENT_DESTROY, flow());
    expect(slot()).not.toBe(theirs);
    flush();
    expect([slot(), bits(theirs)]).toEqual([theirs, 0]);
  });

  it('of a flow that waits for its commit leaves it waiting', () => {
    const waiting = table.insert(flow().m, 0, OWNER_SELF, bit.PENDING | bit.KERNEL);
    send(EVENT_DESTROY, flow());
    expect(bits(waiting)).toBe(bit.PENDING | bit.TOUCHED);
  });

  it('of a life that began over a flow that waits for its commit is known by its id', () => {
    const waiting = table.insert(flow({ id: 1 }).m, 0, OWNER_SELF, bit.PENDING);
    send(EVENT_NEW, flow({ id: 2 }));
    expect(bits(waiting) & bit.KERNEL).toBe(bit.KERNEL);
    send(EVENT_DESTROY, flow({ id: 2 }));
    expect(bits(waiting) & bit.KERNEL).toBe(0);
  });

  it('of an unclassified flow removes it with its image', () => {
    const found = table.insert(flow().m, 0, OWNER_UNCLASSIFIED, bit.KERNEL);
    table.setImage(found, 1, 1);
    send(EVENT_DESTROY, flow());
    expect(table.count).toBe(0);
    table.digests.sum(OWNER_UNCLASSIFIED, 0, 0);
    expect(table.digests.count).toBe(0);
  });
});

describe('an unclassified flow', () => {
  it('stays unclassified through events, its image follows it, and TOUCHED tells that it lives here', () => {
    const found = table.insert(flow().m, 0, OWNER_UNCLASSIFIED, bit.KERNEL);
    send(EVENT_UPDATE, flow({ mark: 7 }), { seen: SEEN_MARK });
    expect([table.owner(found), bits(found)]).toEqual([OWNER_UNCLASSIFIED, bit.KERNEL | bit.TOUCHED]);
    table.currentHash(found);
    expect([table.imageLo(found), table.imageHi(found)]).toEqual([table.hash.lo, table.hash.hi]);
  });
});

describe('while an audit runs', () => {
  beforeEach(() => {
    table.auditGeneration = 3;
  });

  it('every event marks its slot as shown', () => {
    send(EVENT_NEW, flow());
    expect(table.shown(slot())).toBe(3);
    const held = peersFlow(numberedFlow(4), bit.KERNEL);
    send(EVENT_DESTROY, numberedFlow(4));
    expect(table.shown(held)).toBe(3);
  });

  it('an ended flow is kept as tombstone for two reads of the dump, also after its DELETE was said', () => {
    send(EVENT_NEW, flow());
    flush();
    send(EVENT_DESTROY, flow());
    flush();
    expect([bits(slot()), table.shown(slot())]).toEqual([bit.DEAD | bit.KEPT, 3]);
    expect(table.hasImage(slot())).toBe(false);
    table.auditRead();
    expect(slot()).toBeGreaterThanOrEqual(0);
    table.auditRead();
    expect(table.count).toBe(0);
  });

  it('a tombstone that the stream has still to say outlives the audit', () => {
    send(EVENT_NEW, flow());
    flush();
    send(EVENT_DESTROY, flow());
    table.auditGeneration = 0;
    expect(bits(slot())).toBe(bit.DEAD | bit.DIRTY);
    flush();
    expect(table.count).toBe(0);
  });

  it('a DESTROY of an unknown flow is remembered too, and a later one counts anew', () => {
    send(EVENT_DESTROY, flow());
    table.auditRead();
    send(EVENT_DESTROY, flow());
    table.auditRead();
    expect(bits(slot())).toBe(bit.DEAD | bit.KEPT);
    expect(table.countOf(OWNER_SELF)).toBe(0);
    table.auditRead();
    expect(table.count).toBe(0);
  });

  it('a flow born over a kept tombstone is an ordinary one', () => {
    send(EVENT_DESTROY, flow({ mark: 1 }));
    send(EVENT_NEW, flow({ mark: 2 }));
    expect(bits(slot())).toBe(bit.KERNEL | bit.DIRTY);
    table.auditRead();
    table.auditRead();
    table.auditGeneration = 0;
    expect(holds(slot(), flow({ mark: 2 }))).toBe(true);
  });

  it('more tombstones than the list first has room for are all let go of, in their turn', () => {
    const big = smallTable(4096);
    big.auditGeneration = 1;
    for (let i = 0; i < 1000; i++) {
      // The oldest hundred go before the list grows, so that it grows from its middle.
      if (i === 100 || i === 200 || i === 700) big.auditRead();
      big.keepTombstone(big.insert(numberedFlow(i).m, 0, OWNER_SELF, bit.DEAD));
    }
    expect(big.count).toBe(800);
    big.auditRead();
    expect(big.count).toBe(300);
    big.auditGeneration = 2;
    expect(big.count).toBe(0);
  });
});

describe('what is not to be believed', () => {
  it('an echo of an own write changes nothing', () => {
    send(EVENT_NEW, flow(), { port: 99 });
    expect([table.count, counters.get('event.echo')]).toEqual([0, 1]);
  });

  it('a full table counts what it could not take', () => {
    const full = smallTable(1);
    const few = new EventRules({
      table: full,
      counters,
      now: () => 0,
      isPrimary: () => true,
      get: () => false,
    });
    few.event(EVENT_NEW, flow().m, 0, SEEN_ALL, 0, 0);
    few.event(EVENT_NEW, numberedFlow(3).m, 0, SEEN_ALL, 0, 0);
    expect([full.count, counters.get('table.full')]).toEqual([1, 1]);
  });
});

describe('a DESTROY by the kernel of a flow whose translated address left this node', () => {
  /** As the kernel tells of a flow that it destroys before its time. */
  const early = flow({ timeout: 100 });

  beforeEach(() => {
    isAddressGone = true;
    send(EVENT_NEW, flow());
    flush();
  });

  it('is held back: the slot stays with its image, without KERNEL, and nothing is said of it', () => {
    send(EVENT_DESTROY, early);
    expect(bits(slot())).toBe(bit.AWAY);
    expect(table.hasImage(slot())).toBe(true);
    expect(table.dirtyCount).toBe(0);
    expect(counters.get('event.addressLeft')).toBe(1);
  });

  it('ends after ten seconds on who is still primary, and not before', () => {
    send(EVENT_DESTROY, early);
    rules.away.step(16);
    expect(bits(slot())).toBe(bit.AWAY);
    rules.away.step(17);
    expect(bits(slot())).toBe(bit.DEAD | bit.DIRTY);
    expect(rules.away.waiting).toBe(0);
  });

  it('waits on a backup for the new primary, a minute at most', () => {
    send(EVENT_DESTROY, early);
    isPrimary = false;
    rules.away.step(66);
    expect(bits(slot())).toBe(bit.AWAY);
    rules.away.step(67);
    expect(bits(slot())).toBe(bit.DEAD | bit.DIRTY);
  });

  it('is the new primary’s once it was given away, and does not end then', () => {
    send(EVENT_DESTROY, early);
    table.setOwner(slot(), peer);
    rules.away.step(1000);
    expect(table.owner(slot())).toBe(peer);
    expect(bits(slot())).toBe(0);
    expect(table.hasImage(slot())).toBe(true);
  });

  it('is over when the tuple lives again here', () => {
    send(EVENT_DESTROY, early);
    send(EVENT_NEW, flow({ mark: 4 }));
    expect(bits(slot())).toBe(bit.KERNEL | bit.DIRTY);
    rules.away.step(1000);
    expect(bits(slot()) & bit.KERNEL).toBe(bit.KERNEL);
  });

  it.each([
    ['of a flow that ran out', () => send(EVENT_DESTROY, flow())],
    ['by somebody’s command', () => send(EVENT_DESTROY, early, { port: 5 })],
    [
      'while the address is still here',
      () => {
        isAddressGone = false;
        send(EVENT_DESTROY, early);
      },
    ],
  ])('is not held back %s', (_name, destroy) => {
    destroy();
    expect(bits(slot())).toBe(bit.DEAD | bit.DIRTY);
  });
});
