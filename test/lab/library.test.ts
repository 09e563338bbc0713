/** Every verb of the library against the real kernel, in a namespace of its own. */
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { CounterMap } from '../../src/flow/counters.js';
import { EventReader } from '../../src/kernel/event-reader.js';
import {
  ClosedError,
  Conntrack,
  type Expectation,
  type Flow,
  FlowExistsError,
  type FlowInput,
  FlowMissingError,
  NetAdminMissingError,
  type OverrunEvent,
} from '../../src/library/index.js';
import { GENERATOR_PROGRAM } from './background-flows.js';
import { run } from './command.js';
import { flowsThatFit, makeRoom } from './kernel-limits.js';
import { addNamespace, freePrefix, removeNamespace } from './namespaces.js';
import { program, repositoryRoot } from './program.js';
import { sized } from './size.js';

const name = `${freePrefix()}library`;
const library = join(repositoryRoot(), 'dist/src/library/index.js');
const inside = (argv: readonly string[], input?: string): Promise<string> =>
  run(['ip', 'netns', 'exec', name, ...argv], input === undefined ? {} : { input });
let ct: Conntrack;

const tuple = (n: number, destinationPort = 80, source = '10.1.0.1', destination = '10.2.0.1') => ({
  source,
  destination,
  sourcePort: 1024 + n,
  destinationPort,
});
const tcp = (n: number, destinationPort = 80, more: Partial<Flow> = {}): FlowInput => ({
  protocol: 'tcp',
  original: tuple(n, destinationPort),
  timeout: 600,
  protoinfo: { kind: 'tcp', state: 'ESTABLISHED' },
  ...more,
});

async function all<T>(items: AsyncIterable<T>): Promise<T[]> {
  const found: T[] = [];
  for await (const item of items) found.push(item);
  return found;
}

/** The first `count` events that are no overruns. */
async function first<T>(stream: AsyncIterable<T | OverrunEvent>, count: number): Promise<T[]> {
  const found: T[] = [];
  for await (const event of stream) {
    if ((event as { type: string }).type === 'overrun') throw new Error('an overrun');
    found.push(event as T);
    if (found.length === count) break;
  }
  return found;
}

beforeAll(async () => {
  await addNamespace(name);
  // Labels are kept, and flows tracked, only where a rule speaks of them.
  await inside(
    ['nft', '-f', '-'],
    'table ip t { chain c { type filter hook prerouting priority 0; ct label set 7; }; }',
  );
});
afterAll(() => removeNamespace(name));
beforeEach(async () => {
  ct = await Conntrack.open({ netns: name });
});
afterEach(async () => {
  const sweeper = await Conntrack.open({ netns: name });
  await sweeper.flush();
  sweeper.close();
  ct.close();
});

describe('open', () => {
  test('takes a name, a path, or the current namespace', async () => {
    await ct.create(tcp(1));
    await using byPath = await Conntrack.open({ netns: `/run/netns/${name}` });
    expect(await byPath.count()).toBe(1);
    await using here = await Conntrack.open();
    expect(await here.get(tcp(1))).toBeUndefined();
  });

  test('says which namespace there is not', async () => {
    const error = await Conntrack.open({ netns: 'nowhere' }).catch((e: unknown) => e);
    expect(error).toMatchObject({ code: 'ENOENT', operation: 'open network namespace nowhere' });
    expect((error as Error).cause).toBeInstanceOf(Error);
  });
});

describe('one flow', () => {
  test('is created as conntrack(8) shows it, and found', async () => {
    const created = await ct.create(
      tcp(1, 443, { mark: 0x2a, labels: [3, 100], status: ['SEEN_REPLY', 'ASSURED'] }),
    );
    expect(created).toMatchObject({
      family: 'ipv4',
      mark: 42,
      labels: [3, 100],
      protoinfo: { state: 'ESTABLISHED' },
    });
    expect(created.status).toContain('ASSURED');
    expect(await ct.get({ protocol: 'tcp', original: tuple(1, 443) })).toMatchObject({ id: created.id });
    const line = await inside(['conntrack', '-L', '-o', 'id']);
    expect(line).toMatch(
      /^tcp +6 \d+ ESTABLISHED src=10.1.0.1 dst=10.2.0.1 sport=1025 dport=443 .*\[ASSURED\] mark=42/,
    );
    expect(line).toContain(`id=${created.id}`);
  });

  test('of IPv6, of UDP, of ICMP, translated and in a zone as well', async () => {
    const flows: FlowInput[] = [
      { ...tcp(1), original: tuple(1, 80, 'fd00:1::1', 'fd00:2::1') },
      { protocol: 'udp', original: tuple(2, 53), timeout: 60, zone: 9 },
      {
        protocol: 'icmp',
        original: { source: '10.1.0.1', destination: '10.2.0.1', icmpType: 8, icmpCode: 0, icmpId: 77 },
      },
      {
        ...tcp(3),
        reply: { source: '10.2.0.1', destination: '192.0.2.1', sourcePort: 80, destinationPort: 5555 },
      },
    ];
    for (const flow of flows) {
      const { family, protocol, zone, original } = await ct.create(flow);
      const found = await ct.get({ family, protocol, original, ...(zone ? { zone } : {}) });
      expect(found).toMatchObject({ original: flow.original });
    }
    expect((await ct.get(flows[3]))?.reply).toMatchObject({
      destination: '192.0.2.1',
      destinationPort: 5555,
    });
    expect(await ct.get({ ...flows[1], zone: 8 })).toBeUndefined();
  });

  test('that is there, or lacks its master, is refused with a class of its own', async () => {
    await ct.create(tcp(1));
    const error = await ct.create(tcp(1)).catch((e: unknown) => e);
    expect(error).toBeInstanceOf(FlowExistsError);
    expect(error).toMatchObject({
      operation: 'create flow tcp 10.1.0.1:1025 -> 10.2.0.1:80',
      code: 'EEXIST',
    });
    const child = ct.create(tcp(2, 80, { master: { protocol: 'tcp', ...tuple(9) } }));
    await expect(child).rejects.toBeInstanceOf(FlowMissingError);
    await expect(ct.create({ ...tcp(3), helper: 'none-such' })).rejects.toMatchObject({ code: 'ENOTSUP' });
  });

  test('is changed in what is named, and in nothing else', async () => {
    const before = await ct.create(tcp(1, 80, { mark: 5, labels: [9], status: ['SEEN_REPLY'] }));
    await ct.update(before, { timeout: 1000 });
    expect(await ct.get(before)).toMatchObject({ mark: 5, labels: [9], id: before.id });
    await ct.update(before, {
      mark: 0,
      status: ['ASSURED'],
      protoinfo: { kind: 'tcp', state: 'CLOSE_WAIT' },
    });
    const after = await ct.get(before);
    expect(after?.timeout).toBeGreaterThan(900);
    expect(after?.mark ?? 0).toBe(0);
    expect(after?.status).toEqual(expect.arrayContaining(['SEEN_REPLY', 'ASSURED']));
    expect(after?.protoinfo?.state).toBe('CLOSE_WAIT');
    expect(after?.labels).toEqual([9]);
    await ct.update(before, { labels: [] });
    expect((await ct.get(before))?.labels).toBeUndefined();
    await ct.update(before, { timeout: 700, status: ['FIXED_TIMEOUT'] });
    expect((await ct.get(before))?.timeout).toBeLessThanOrEqual(700);
    await expect(ct.update(before, { timeout: 900 })).rejects.toThrow('its timeout is fixed');
    await expect(ct.update(tcp(8), { mark: 1 })).rejects.toBeInstanceOf(FlowMissingError);
    await expect(ct.update(tcp(8), { status: ['ASSURED'] })).rejects.toBeInstanceOf(FlowMissingError);
  });

  test('is deleted, but not when its id is another life', async () => {
    const flow = await ct.create(tcp(1));
    expect(await ct.delete({ ...flow, id: ((flow.id ?? 0) ^ 1) >>> 0 })).toEqual({ deleted: 0, gone: 1 });
    expect(await ct.delete(flow)).toEqual({ deleted: 1, gone: 0 });
    expect(await ct.delete(tcp(1))).toEqual({ deleted: 0, gone: 1 });
  });
});

describe('many flows', () => {
  beforeEach(async () => {
    for (let n = 0; n < 400; n++) await ct.create(tcp(n, n % 4 === 0 ? 22 : 80, { mark: n % 3 }));
    await ct.create({ ...tcp(400, 22), original: tuple(400, 22, 'fd00:1::1', 'fd00:2::1') });
    await ct.create({ protocol: 'udp', original: tuple(0, 22), timeout: 60 });
  });

  test('are listed by what the kernel judges and by what only the library does', async () => {
    expect(await all(ct.list())).toHaveLength(402);
    expect(await all(ct.list({ protocol: 'tcp', destinationPort: 22 }))).toHaveLength(101);
    expect(await all(ct.list({ destinationPort: 22 }))).toHaveLength(102);
    expect(await all(ct.list({ source: '10.1.0.0/24', mark: 1, protocol: 'tcp' }))).toHaveLength(133);
    expect(await all(ct.list({ source: 'fd00:1::1' }))).toHaveLength(1);
    expect(await all(ct.list({ state: 'TIME_WAIT' }))).toEqual([]);
    expect(await all(ct.list({ status: ['CONFIRMED'] }))).toHaveLength(402);
    expect(await all(ct.list({ status: ['OFFLOAD'] }))).toEqual([]);
    expect(await all(ct.list({}, { from: 'dying' }))).toEqual([]);
  });

  test('are counted', async () => {
    expect(await ct.count()).toBe(402);
    expect(await ct.count({ protocol: 'tcp', destinationPort: 22 })).toBe(101);
    const stats = await ct.stats();
    expect(stats).toMatchObject({ entries: 402, maxEntries: expect.any(Number) });
    expect(stats.cpus[0]).toMatchObject({ cpu: 0, drop: expect.any(Number) });
  });

  test('are deleted by a filter, in both families, and the others stay', async () => {
    expect(await ct.delete({ protocol: 'tcp', destinationPort: 22 })).toEqual({ deleted: 101, gone: 0 });
    expect(await ct.count({ destinationPort: 22 })).toBe(1);
    expect(await ct.count()).toBe(301);
    expect(await ct.delete({ mark: '0/0' })).toEqual({ deleted: 301, gone: 0 });
  });

  test('are not deleted by a filter that asks for nothing, or in a word that is none', async () => {
    await expect(ct.delete({})).rejects.toThrow(/means every flow/);
    await expect(ct.delete({ sourcePort: undefined })).rejects.toThrow(/means every flow/);
    await expect(ct.delete({ dport: 22 } as object)).rejects.toThrow(/"dport" is none of/);
    // It would have emptied the table.
    await expect(ct.flush({ family: 'ipv6' } as object)).rejects.toThrow(/"family" is none of signal/);
    await expect(ct.expectations.flush({ master: 1 } as object)).rejects.toThrow(/"master" is none of/);
    expect(await ct.count()).toBe(402);
  });

  test('are deleted while other calls have their turn', async () => {
    const deleted = ct.delete({ destinationPort: 80 });
    for (let n = 0; n < 50; n++) expect(await ct.get(tcp(4 * n, 22))).toBeDefined();
    expect(await deleted).toEqual({ deleted: 300, gone: 0 });
  });

  test('are flushed, and other calls need not wait for it', async () => {
    const flushed = ct.flush();
    expect(await ct.count()).toBeLessThanOrEqual(402);
    await Promise.all([flushed, ct.flush()]);
    expect(await ct.count()).toBe(0);
  });

  test('a list stops when it is aborted, left, or its Conntrack closed', async () => {
    const abort = new AbortController();
    const reason = new Error('enough');
    const listed = (async () => {
      for await (const _ of ct.list({}, { signal: abort.signal })) abort.abort(reason);
    })();
    await expect(listed).rejects.toBe(reason);
    await expect(ct.get(tcp(1), { signal: abort.signal })).rejects.toBe(reason);
    for await (const _ of ct.list()) break;
    const closed = (async () => {
      for await (const _ of ct.list()) ct.close();
    })();
    await expect(closed).rejects.toBeInstanceOf(ClosedError);
    await expect(ct.count()).rejects.toBeInstanceOf(ClosedError);
  });
});

describe('a large table', () => {
  const { flows, note } = flowsThatFit(sized(60_000, 1_000_000));
  let giveBack = (): void => undefined;
  beforeAll(() => {
    giveBack = makeRoom(flows);
  });
  afterAll(() => giveBack());

  test('is listed by a program with room for a fraction of it', async ({ task }) => {
    if (note !== undefined) Object.assign(task.meta, { note });
    await inside([...program(GENERATOR_PROGRAM), 'create', String(flows)]);
    // All flows of the table take some 700 bytes each as objects; a Node that does nothing lives in 8 MiB.
    const text = `import { Conntrack } from '${library}';
      const ct = await Conntrack.open();
      let n = 0;
      for await (const flow of ct.list()) { n++; }
      console.log(n);
      ct.close();`;
    const node = [process.execPath, '--max-old-space-size=24', '--input-type=module', '-e', text];
    expect(Number(await inside(node))).toBe(flows);
  });
});

describe('events', () => {
  test('tell from the call on, not from the first reading, what begins, changes and ends', async () => {
    const events = ct.events();
    await ct.create(tcp(1, 80, { mark: 3 }));
    await ct.update(tcp(1), { mark: 0 });
    await ct.delete(tcp(1));
    const [born, changed, ended] = await first(events, 3);
    expect(born).toMatchObject({ type: 'new', flow: { mark: 3, original: tuple(1) } });
    expect(born.portId).toBeGreaterThan(0);
    expect(changed).toMatchObject({ type: 'update', flow: { mark: 0 } });
    expect(ended).toMatchObject({ type: 'destroy', flow: { original: tuple(1) } });
  });

  test('are told to those who wait, and filtered', async () => {
    const events = ct.events({ protocol: 'tcp', destination: '10.2.0.1', destinationPort: 22 });
    const told = first(events, 2);
    await pause(20);
    await ct.create(tcp(1, 80));
    await ct.create({ protocol: 'udp', original: tuple(2, 22) });
    await ct.create({ ...tcp(3, 22), original: tuple(3, 22, '10.1.0.1', '10.2.0.9') });
    await ct.create(tcp(4, 22));
    await ct.create(tcp(5, 22));
    expect((await told).map((event) => event.flow.original.sourcePort)).toEqual([1028, 1029]);
  });

  test('wait in the socket while nobody reads, and what does not fit there is told as an overrun', async () => {
    const events = ct.events({}, { bufferBytes: 64 * 1280 });
    for (let n = 0; n < 1000; n++) await ct.create(tcp(n));
    let told = 0;
    let lost = 0;
    for await (const event of events) {
      if (event.type === 'overrun') lost += event.lost;
      else told++;
      if (told + lost === 1000) break;
    }
    expect(lost).toBeGreaterThan(0);
    expect(told).toBeGreaterThan(50);
  });

  test('end with their signal, with the Conntrack, and with the loop that is left', async () => {
    const abort = new AbortController();
    const reason = new Error('enough');
    const aborted = all(ct.events({}, { signal: abort.signal }));
    const closed = all(ct.events());
    await pause(20);
    abort.abort(reason);
    await expect(aborted).rejects.toBe(reason);
    ct.close();
    expect(await closed).toEqual([]);
    expect(() => ct.events()).toThrow(ClosedError);
  });

  test('are refused where the kernel tells none', async () => {
    await inside(['sysctl', '-qw', 'net.netfilter.nf_conntrack_events=0']);
    try {
      expect(() => ct.events()).toThrow(/nf_conntrack_events=1 turns them on/);
    } finally {
      await inside(['sysctl', '-qw', 'net.netfilter.nf_conntrack_events=2']);
    }
  });
});

describe('expectations', () => {
  const master = { ...tcp(1, 21), helper: 'ftp' };
  const input = { master, destination: '10.1.0.1', destinationPort: 7001 };

  test('are made, listed as conntrack(8) does, told and taken back', async () => {
    // The other way round the master would have been born unheard, and be silent about its expectations as well.
    const events = ct.expectations.events();
    await ct.create(master);
    const made = await ct.expectations.create({ ...input, timeout: 77 });
    const [listed] = await all(ct.expectations.list());
    expect(listed).toMatchObject({ ...made, timeout: expect.any(Number) });
    expect(listed.timeout).toBeLessThanOrEqual(77);
    expect(await inside(['conntrack', '-L', 'expect'])).toMatch(
      /dst=10.1.0.1 sport=0 dport=7001 .*master-dst=10.2.0.1/,
    );
    expect(await ct.expectations.delete(listed)).toBe(true);
    expect(await ct.expectations.delete(input)).toBe(false);
    const told = await first<{ type: string; expectation: Expectation }>(events, 2);
    expect(told.map(({ type }) => type)).toEqual(['new', 'destroy']);
    expect(told[0].expectation.tuple).toEqual(made.tuple);
  });

  test('are flushed, all or those of a helper', async () => {
    await ct.create(master);
    await ct.expectations.create(input);
    await ct.expectations.flush({ helper: 'sip' });
    expect(await all(ct.expectations.list())).toHaveLength(1);
    await ct.expectations.flush();
    expect(await all(ct.expectations.list())).toEqual([]);
  });

  test('need a master with a helper', async () => {
    await expect(ct.expectations.create(input)).rejects.toBeInstanceOf(FlowMissingError);
    await ct.create({ ...master, helper: undefined });
    const error = await ct.expectations.create(input).catch((e: unknown) => e);
    expect(error).toMatchObject({ code: 'ENOTSUP', message: expect.stringContaining('has no helper') });
    await expect(ct.expectations.create({ ...input, class: 5 })).rejects.toMatchObject({
      code: expect.any(String),
    });
  });
});

test('without CAP_NET_ADMIN it says what is needed', async (context) => {
  try {
    process.seteuid?.(65534);
  } catch {
    context.skip('this user namespace has no second user');
  }
  try {
    const error = await Conntrack.open().catch((e: unknown) => e);
    expect(error).toBeInstanceOf(NetAdminMissingError);
    expect(String(error)).toMatch(/open the conntrack table: .*EPERM.*CAP_NET_ADMIN$/);
    // What `flows watch` and `conntrack -E` begin with.
    const counters = new CounterMap();
    const reader = () =>
      new EventReader({ bufferBytes: 65_536, isReliable: false, counters, log: () => undefined });
    expect(reader).toThrow(NetAdminMissingError);
    expect(reader).toThrow(/listen to conntrack events: .*EPERM.*CAP_NET_ADMIN$/);
  } finally {
    process.seteuid?.(0);
  }
});
