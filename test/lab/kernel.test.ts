/** Events, dumps and writes against the real kernel, in a network namespace of its own. */
import { setImmediate } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { EEXIST, ENOENT } from '../../native/libc.js';
import { enterNetNamespace } from '../../native/net-namespace.js';
import {
  AF_INET,
  AF_INET6,
  IPPROTO_TCP,
  IPS_ASSURED,
  IPS_SEEN_REPLY,
  TCP_CONNTRACK_ESTABLISHED,
} from '../../src/flow/conntrack-enums.js';
import { CounterMap } from '../../src/flow/counters.js';
import {
  DUMP_DONE,
  DUMP_MORE,
  DUMP_PENDING,
  EVENT_DESTROY,
  EVENT_NEW,
  EVENT_UPDATE,
  KernelBatch,
  OP_CREATE,
  OP_DELETE,
  OP_GET,
  OP_GET_REPLY,
  OP_UPDATE,
} from '../../src/flow/kernel-port.js';
import * as R from '../../src/flow/record.js';
import { EventReader } from '../../src/kernel/event-reader.js';
import { Injector } from '../../src/kernel/injector.js';
import { Kernel, type KernelOptions } from '../../src/kernel/kernel.js';
import { NetAdminMissingError } from '../../src/kernel/kernel-error.js';
import { readSysctl } from '../../src/kernel/sysctl.js';
import { eventually } from './deadline.js';
import { addNamespace, freePrefix, removeNamespace } from './namespaces.js';

const WITHIN = { withinMs: 10_000, everyMs: 5 };
const EVENT_BYTES = 1280;
const KIND_NAMES: Readonly<Record<number, string>> = {
  [EVENT_NEW]: 'new',
  [EVENT_UPDATE]: 'update',
  [EVENT_DESTROY]: 'destroy',
};
const prefix = freePrefix();
const counters = new CounterMap();
const log = () => undefined;
const scratch = R.allocateMemory(R.MAX_RECORD_BYTES);
const opened: { close(): void }[] = [];
let leave = (): void => undefined;

/** Writes an established TCP flow, told from others by `n`, to the scratch memory and returns it. */
function flow(n: number, family = AF_INET, mark = 7): R.Memory {
  const { u8, u16, u32 } = scratch;
  const a = family === AF_INET6 ? 16 : 4;
  u8.fill(0, 0, R.MAX_RECORD_BYTES);
  u16[0] = R.offParts(a);
  u8[R.OFF_HAS] = R.HAS_TIMEOUT;
  u32[R.OFF_TIMEOUT >>> 2] = 3600;
  u8[R.OFF_FAMILY] = family;
  u8[R.OFF_PROTOCOL] = IPPROTO_TCP;
  const source = family === AF_INET6 ? [0x20, 1, 0xd, 0xb8] : [10, 1, 0, 1];
  const destination = family === AF_INET6 ? [0x20, 1, 0xd, 0xb9] : [10, 2, 0, 1];
  const ports = [4 + (n >>> 8), n & 255, 1, 187];
  u8.set(source, R.OFF_ORIG_SRC);
  u8.set(destination, R.offOrigDst(a));
  u8.set(ports, R.OFF_ORIG_L4);
  u8.set(destination, R.offReplySrc(a));
  u8.set(source, R.offReplyDst(a));
  u8.set([ports[2], ports[3], ports[0], ports[1]], R.offReplyL4(a));
  u32[R.offStatus(a) >>> 2] = IPS_SEEN_REPLY | IPS_ASSURED;
  u32[R.offMark(a) >>> 2] = mark;
  u8[R.offState(a)] = TCP_CONNTRACK_ESTABLISHED;
  u8[R.offProtoBits(a)] = R.PROTO_HAS_STATE;
  return scratch;
}

/** The number that told the flow from others. */
const numberOf = (m: R.Memory, at: number): number =>
  ((m.u8[at + R.OFF_ORIG_L4] - 4) << 8) | m.u8[at + R.OFF_ORIG_L4 + 1];

function keep<T extends { close(): void }>(resource: T): T {
  opened.push(resource);
  return resource;
}
const openKernel = (options: Partial<KernelOptions> = {}): Kernel =>
  keep(Kernel.open({ counters, log, eventBufferBytes: 8 << 20, ...options }));

/** Sends one verb about each flow from `from` to before `to`, and returns the batch with the results. */
function each(
  port: { execute(batch: KernelBatch): void },
  verb: number,
  from: number,
  to: number,
): KernelBatch {
  const batch = new KernelBatch(to - from);
  for (let n = from; n < to; n++) batch.add(verb, n, flow(n), 0);
  port.execute(batch);
  return batch;
}

/** Notes kind and number of every event that is drained. */
class Notes {
  readonly events: string[] = [];
  readonly portIds = new Set<number>();
  event = (kind: number, m: R.Memory, at: number, _seen: number, portId: number): void => {
    this.events.push(`${KIND_NAMES[kind]} ${numberOf(m, at)}`);
    this.portIds.add(portId);
  };
}

function drained(kernel: { drain(sink: Notes, budgetMs: number): boolean }, notes = new Notes()): string[] {
  while (kernel.drain(notes, 1));
  return notes.events;
}

function dump(kernel: Kernel): { numbers: number[]; families: Set<number>; ended: number } {
  const numbers: number[] = [];
  const families = new Set<number>();
  kernel.dumpStart();
  for (;;) {
    const ended = kernel.dumpNext((m, at) => {
      numbers.push(numberOf(m, at));
      families.add(R.familyOf(m, at));
    });
    if (ended !== DUMP_MORE) return { numbers, families, ended };
  }
}

beforeAll(async () => {
  await addNamespace(`${prefix}kernel`);
  leave = enterNetNamespace(`${prefix}kernel`);
});

afterEach(() => {
  for (const resource of opened.splice(0).reverse()) resource.close();
  const sweeper = new Injector(counters);
  each(sweeper, OP_DELETE, 0, 6000);
  sweeper.close();
});

afterAll(() => {
  leave();
  removeNamespace(`${prefix}kernel`);
});

describe('events', () => {
  test('opening sets nf_conntrack_events to 1', () => {
    openKernel();
    expect(readSysctl('events')).toBe(1);
  });

  test('what others create, update and delete is told in order, with their port id', () => {
    const kernel = openKernel();
    const other = keep(new Injector(counters));
    each(other, OP_CREATE, 0, 2);
    const update = new KernelBatch();
    update.add(OP_UPDATE, 0, flow(1, AF_INET, 8), 0);
    other.execute(update);
    each(other, OP_DELETE, 0, 2);
    const notes = new Notes();
    expect(drained(kernel, notes)).toEqual(['new 0', 'new 1', 'update 1', 'destroy 0', 'destroy 1']);
    expect([...notes.portIds]).toEqual([other.socket.portId]);
  });

  test('own writes are not heard, and do not hide what others do meanwhile', () => {
    const kernel = openKernel();
    const other = keep(new Injector(counters));
    for (let i = 0; i < 500; i += 10) {
      each(kernel, OP_CREATE, i, i + 9);
      each(other, OP_CREATE, i + 9, i + 10);
    }
    const events = drained(kernel);
    expect(events).toHaveLength(50);
    expect(events.slice(0, 2)).toEqual(['new 9', 'new 19']);
    expect(kernel.eventsLost()).toBe(0);
  });

  test('in bulk new flows are not told, destroyed ones are, and after it both', () => {
    const kernel = openKernel();
    const other = keep(new Injector(counters));
    kernel.setBulk(true);
    each(other, OP_CREATE, 0, 3);
    each(other, OP_DELETE, 0, 1);
    kernel.setBulk(false);
    each(other, OP_CREATE, 3, 4);
    expect(drained(kernel)).toEqual(['destroy 0', 'new 3']);
  });

  test('a drain stops when its time is up and says that more waits', () => {
    const kernel = openKernel();
    each(keep(new Injector(counters)), OP_CREATE, 0, 300);
    const notes = new Notes();
    expect(kernel.drain(notes, 0)).toBe(true);
    expect(notes.events).toHaveLength(256);
    expect(drained(kernel, notes)).toHaveLength(300);
  });

  test('an overrun is counted exactly and ends nothing', () => {
    const reader = keep(
      new EventReader({ bufferBytes: 50 * EVENT_BYTES, isReliable: false, ownPortId: 1, counters, log }),
    );
    const other = keep(new Injector(counters));
    each(other, OP_CREATE, 0, 1000);
    const heard = drained(reader).length;
    expect(heard).toBeGreaterThan(0);
    expect(heard + reader.eventsLost()).toBe(1000);
    each(other, OP_CREATE, 1000, 1001);
    expect(drained(reader)).toEqual(['new 1000']);
  });

  test('with reliable delivery every destroyed flow is told through a buffer that is far too small', async () => {
    const other = keep(new Injector(counters));
    const reader = keep(
      new EventReader({ bufferBytes: 50 * EVENT_BYTES, isReliable: true, ownPortId: 1, counters, log }),
    );
    each(other, OP_CREATE, 0, 1000);
    drained(reader);
    each(other, OP_DELETE, 0, 1000);
    const notes = new Notes();
    const destroyed = () => new Set(notes.events.filter((e) => e.startsWith('destroy'))).size;
    await eventually('1000 destroy events', WITHIN, () => {
      drained(reader, notes);
      return destroyed() === 1000;
    });
    expect(readSysctl('count')).toBe(0);
  });

  test('the owner is called when events come, at rest, under load and at rest again', async () => {
    const kernel = openKernel();
    const other = keep(new Injector(counters));
    const notes = new Notes();
    kernel.start(() => kernel.drain(notes, 1));
    let sent = 0;
    // Without root the buffer cannot be forced past the system's limit: no more at once than fit.
    const burst = Math.min(5000, Math.floor((kernel.eventBufferBytes / EVENT_BYTES) * 0.9));
    for (const count of [1, burst, 1, 1]) {
      each(other, OP_CREATE, sent, sent + count);
      sent += count;
      await eventually(`${sent} events`, WITHIN, () => notes.events.length === sent);
    }
    expect(kernel.eventsLost()).toBe(0);
  });

  test('an overrun while the loop is stopped does not silence the owner', async () => {
    const reader = keep(
      new EventReader({ bufferBytes: 50 * EVENT_BYTES, isReliable: false, ownPortId: 1, counters, log }),
    );
    const other = keep(new Injector(counters));
    const notes = new Notes();
    reader.start(() => reader.drain(notes, 1));
    for (let round = 0; round < 3; round++) {
      each(other, OP_CREATE, round * 1000, round * 1000 + 1000);
      each(other, OP_DELETE, round * 1000, round * 1000 + 1000);
      await eventually('all told or counted', WITHIN, () => {
        return notes.events.length + reader.eventsLost() === (round + 1) * 2000;
      });
    }
  });
});

describe('writes', () => {
  test('a batch of mixed verbs is worked off in order, each with its own result', () => {
    const kernel = openKernel();
    const batch = new KernelBatch();
    batch.add(OP_GET, 0, flow(1), 0);
    batch.add(OP_CREATE, 0, flow(1), 0);
    batch.add(OP_CREATE, 0, flow(1), 0);
    batch.add(OP_GET, 0, flow(1), 0);
    batch.add(OP_UPDATE, 0, flow(1, AF_INET, 9), 0);
    batch.add(OP_GET_REPLY, 0, flow(1), 0);
    batch.add(OP_DELETE, 0, flow(1), 0);
    batch.add(OP_DELETE, 0, flow(1), 0);
    batch.add(OP_GET, 0, flow(1), 0);
    kernel.execute(batch);
    expect([...batch.errno.subarray(0, 9)]).toEqual([ENOENT, 0, EEXIST, 0, 0, 0, 0, ENOENT, ENOENT]);
    const mark = (i: number) => batch.found.u32[(batch.foundAt[i] + R.offMark(4)) >>> 2];
    expect(mark(3)).toBe(7);
    expect(mark(5)).toBe(9);
    expect(batch.foundAt[0]).toBe(-1);
    expect(batch.foundAt[8]).toBe(-1);
  });

  test('a batch longer than a datagram has every error at its place', () => {
    const kernel = openKernel();
    const created = each(kernel, OP_CREATE, 0, 400);
    expect(created.errno.every((errno) => errno === 0)).toBe(true);
    each(kernel, OP_DELETE, 150, 151);
    const again = each(kernel, OP_CREATE, 0, 400);
    const wrong = [...again.errno].flatMap((errno, n) => (errno === (n === 150 ? 0 : EEXIST) ? [] : [n]));
    expect(wrong).toEqual([]);
    const found = each(kernel, OP_GET, 0, 400);
    const numbers = [...found.foundAt].map((at) => numberOf(found.found, at));
    expect(numbers).toEqual([...numbers.keys()]);
  });

  test('when answers are lost their results stay unknown, and the next batch is whole', () => {
    const injector = keep(new Injector(counters));
    each(injector, OP_CREATE, 0, 128);
    injector.socket.setReceiveBuffer(8 * EVENT_BYTES);
    const lostBefore = counters.get('kernel.answers-lost');
    const again = each(injector, OP_CREATE, 0, 128);
    expect(counters.get('kernel.answers-lost')).toBeGreaterThan(lostBefore);
    expect(new Set(again.errno)).toEqual(new Set([EEXIST, -1]));
    expect([...each(injector, OP_CREATE, 128, 130).errno]).toEqual([0, 0]);
    expect([...each(injector, OP_GET, 5, 7).errno]).toEqual([0, 0]);
  });

  test('without CAP_NET_ADMIN opening fails with one line that says what to do', (context) => {
    try {
      process.seteuid?.(65534);
    } catch {
      context.skip('this user namespace has no second user');
    }
    try {
      const open = () => Kernel.open({ counters, log });
      expect(open).toThrow(NetAdminMissingError);
      expect(open).toThrow(/\(EPERM\): run as root, or give the process CAP_NET_ADMIN$/);
    } finally {
      process.seteuid?.(0);
    }
  });
});

describe('dumps', () => {
  test('a dump shows every flow of both families once, a datagram a step', () => {
    const kernel = openKernel();
    each(kernel, OP_CREATE, 0, 1000);
    const v6 = new KernelBatch();
    v6.add(OP_CREATE, 0, flow(1000, AF_INET6), 0);
    v6.add(OP_CREATE, 0, flow(1001, AF_INET6), 0);
    kernel.execute(v6);
    expect([...v6.errno.subarray(0, 2)]).toEqual([0, 0]);
    const { numbers, families, ended } = dump(kernel);
    expect(ended).toBe(DUMP_DONE);
    expect(numbers.sort((a, b) => a - b)).toEqual([...Array(1002).keys()]);
    expect(families).toEqual(new Set([AF_INET, AF_INET6]));
    v6.verb.fill(OP_DELETE);
    kernel.execute(v6);
  });

  test('a dump that was started anew begins from the start', () => {
    const kernel = openKernel();
    each(kernel, OP_CREATE, 0, 1000);
    let rows = 0;
    kernel.dumpStart();
    expect(kernel.dumpNext(() => rows++)).toBe(DUMP_MORE);
    expect(rows).toBeGreaterThan(0);
    expect(rows).toBeLessThan(1000);
    expect(new Set(dump(kernel).numbers).size).toBe(1000);
    expect(kernel.dumpNext(() => rows++)).toBe(DUMP_DONE);
  });

  test('a nearly empty table is dumped on another thread, also when a dump before it was given up', async () => {
    const kernel = openKernel({ isPooled: true });
    each(kernel, OP_CREATE, 0, 100);
    each(kernel, OP_DELETE, 40, 100);
    const stray: number[] = [];
    kernel.dumpStart();
    expect(kernel.dumpNext((m, at) => stray.push(numberOf(m, at)))).toBe(DUMP_PENDING);
    const numbers: number[] = [];
    kernel.dumpStart();
    let state: number = DUMP_PENDING;
    for (const end = performance.now() + 5000; performance.now() < end; await setImmediate()) {
      state = kernel.dumpNext((m, at) => numbers.push(numberOf(m, at)));
      if (state !== DUMP_PENDING && state !== DUMP_MORE) break;
    }
    expect(state).toBe(DUMP_DONE);
    expect(numbers.filter((n) => n < 40).sort((a, b) => a - b)).toEqual([...Array(40).keys()]);
    expect(new Set(numbers).size).toBe(numbers.length);
    expect(stray).toEqual([]);
  });

  test('the size of the hash table is told', () => {
    expect(openKernel().buckets()).toBeGreaterThan(0);
  });
});
