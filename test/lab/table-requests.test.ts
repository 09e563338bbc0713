/** What a dump can be told to leave out, statistics, and emptying: against the real kernel. */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { NetNamespace } from '../../native/net-namespace.js';
import { AF_INET, AF_INET6, IPS_ASSURED } from '../../src/flow/conntrack-enums.js';
import { CounterMap } from '../../src/flow/counters.js';
import { type Flow, flowFromRecord, recordFromFlow } from '../../src/flow/flow.js';
import { DUMP_DONE, DUMP_MORE, KernelBatch, OP_CREATE, OP_GET } from '../../src/flow/kernel-port.js';
import { allocateMemory, MAX_RECORD_BYTES } from '../../src/flow/record.js';
import type { DumpFilter, DumpList } from '../../src/kernel/dump-request.js';
import { Dumper } from '../../src/kernel/dumper.js';
import { CTA_MARK } from '../../src/kernel/enums.js';
import { Injector } from '../../src/kernel/injector.js';
import { TableRequests } from '../../src/kernel/table-requests.js';
import { addNamespace, freePrefix, removeNamespace } from './namespaces.js';

const name = `${freePrefix()}table`;
const counters = new CounterMap();
const scratch = allocateMemory(MAX_RECORD_BYTES);
let space: NetNamespace;
let injector: Injector;
let requests: TableRequests;
let dumper: Dumper;

const tcp = (
  source: string,
  destination: string,
  destinationPort: number,
  more: Partial<Flow> = {},
): Flow => ({
  family: source.includes(':') ? 'ipv6' : 'ipv4',
  protocol: 'tcp',
  original: { source, destination, sourcePort: 4000, destinationPort },
  status: [],
  timeout: 600,
  protoinfo: { kind: 'tcp', state: 'ESTABLISHED' },
  ...more,
});

const FLOWS: Readonly<Record<string, Flow>> = {
  ssh: tcp('10.1.0.1', '10.2.0.1', 22),
  web: tcp('10.1.0.1', '10.2.0.2', 80, { mark: 0x15 }),
  assured: tcp('10.1.0.2', '10.2.0.2', 80, { status: ['SEEN_REPLY', 'ASSURED'], mark: 0x25 }),
  zoned: tcp('10.1.0.3', '10.2.0.1', 22, { zone: 7 }),
  udp: { ...tcp('10.1.0.4', '10.2.0.1', 53), protocol: 'udp', protoinfo: undefined },
  v6: tcp('fd00:1::1', 'fd00:2::1', 22),
};

function nameOf(flow: Flow): string {
  const key = (f: Flow) => `${f.protocol} ${f.original.source} ${f.original.destination}`;
  return Object.keys(FLOWS).find((n) => key(FLOWS[n]) === key(flow)) ?? 'unknown';
}

function listed(filter?: DumpFilter, list: DumpList = 'table'): string[] {
  const names: string[] = [];
  // A dump may open a socket, which belongs to the namespace it was opened in.
  space.run(() => dumper.start(list, filter));
  for (;;) {
    const state = dumper.next((m, at) => names.push(nameOf(flowFromRecord(m, at))));
    if (state === DUMP_MORE) continue;
    expect(state).toBe(DUMP_DONE);
    return names.sort();
  }
}

function create(flows: Iterable<Flow>): void {
  const batch = new KernelBatch();
  for (const flow of flows) {
    recordFromFlow(flow, scratch, 0);
    batch.add(OP_CREATE, 0, scratch, 0);
  }
  injector.execute(batch);
  expect([...batch.errno.subarray(0, batch.count)].filter((errno) => errno !== 0)).toEqual([]);
}

beforeAll(async () => {
  await addNamespace(name);
  space = new NetNamespace(name);
  injector = space.run(() => new Injector(counters, true));
  requests = space.run(() => new TableRequests());
  dumper = new Dumper({ counters, isShown: true });
});

afterAll(() => {
  for (const resource of [dumper, requests, injector, space]) resource.close();
  removeNamespace(name);
});

beforeEach(async () => {
  await requests.flush();
  create(Object.values(FLOWS));
});

describe('a dump', () => {
  test('without a filter shows everything', () => {
    expect(listed()).toEqual(Object.keys(FLOWS).sort());
  });

  test.each<[string, DumpFilter, string[]]>([
    ['family IPv4', { family: AF_INET }, ['assured', 'ssh', 'udp', 'web', 'zoned']],
    ['family IPv6', { family: AF_INET6 }, ['v6']],
    ['mark 5 under a mask of 0xf', { mark: { value: 5, mask: 0xf } }, ['assured', 'web']],
    ['mark 0x15', { mark: { value: 0x15, mask: 0xffffffff } }, ['web']],
    ['status ASSURED', { status: { value: IPS_ASSURED, mask: IPS_ASSURED } }, ['assured']],
    ['no status ASSURED', { status: { value: 0, mask: IPS_ASSURED } }, ['ssh', 'udp', 'v6', 'web', 'zoned']],
    ['zone 7', { zone: 7 }, ['zoned']],
    ['zone 0', { zone: 0 }, ['assured', 'ssh', 'udp', 'v6', 'web']],
    ['a source', { family: AF_INET, original: { source: Uint8Array.of(10, 1, 0, 1) } }, ['ssh', 'web']],
    [
      'a destination and a port',
      {
        family: AF_INET,
        original: { destination: Uint8Array.of(10, 2, 0, 1), protocol: 6, destinationPort: 22 },
      },
      ['ssh', 'zoned'],
    ],
    ['a protocol', { family: AF_INET, original: { protocol: 17 } }, ['udp']],
    ['a port of IPv6', { family: AF_INET6, original: { protocol: 6, destinationPort: 22 } }, ['v6']],
    ['another port of IPv6', { family: AF_INET6, original: { protocol: 6, destinationPort: 23 } }, []],
    [
      'a source of the reply',
      { family: AF_INET, reply: { source: Uint8Array.of(10, 2, 0, 2) } },
      ['assured', 'web'],
    ],
    [
      'both tuples, mark and zone',
      {
        family: AF_INET,
        zone: 0,
        mark: { value: 0x25, mask: 0xff },
        original: { source: Uint8Array.of(10, 1, 0, 2) },
        reply: { protocol: 6, sourcePort: 80 },
      },
      ['assured'],
    ],
  ])('with %s shows what has it', (_what, filter, names) => {
    expect(listed(filter)).toEqual(names);
  });

  test('of the dying and the unconfirmed shows none of the table', () => {
    expect(listed(undefined, 'dying')).toEqual([]);
    expect(listed(undefined, 'unconfirmed')).toEqual([]);
  });

  test('that sets counters to zero shows the table', () => {
    expect(listed(undefined, 'zeroing')).toEqual(Object.keys(FLOWS).sort());
  });

  test('refuses a filter that the kernel would misread', () => {
    const source = new Uint8Array(16);
    expect(() => dumper.start('table', { family: AF_INET6, original: { source } })).toThrow(RangeError);
    expect(() => dumper.start('table', { original: { protocol: 6 } })).toThrow(RangeError);
    expect(() => dumper.start('table', { family: AF_INET, original: { sourcePort: 5 } })).toThrow(RangeError);
  });

  test('waits on another thread, and says when it goes on', async () => {
    let arrive = (): void => undefined;
    const pooled = new Dumper({ counters, isShown: false, isPooled: true, onArrival: () => arrive() });
    const names: string[] = [];
    space.run(() => pooled.start('table', { zone: 7 }));
    for (;;) {
      const arrival = new Promise<void>((resolve) => {
        arrive = resolve;
      });
      const state = pooled.next((m, at) => names.push(nameOf(flowFromRecord(m, at))));
      if (state === DUMP_DONE) break;
      if (state !== DUMP_MORE) await arrival;
    }
    pooled.close();
    expect(names).toEqual(['zoned']);
  });
});

describe('statistics', () => {
  test('tell how many flows there are, and what every CPU counted', () => {
    expect(requests.entries().entries).toBe(Object.keys(FLOWS).length);
    expect(requests.entries().maxEntries).toBeGreaterThan(0);
    const cpus = requests.cpus();
    expect(cpus.map(({ cpu }) => cpu)).toEqual([...cpus.keys()]);
    expect(cpus.reduce((sum, { insert = 0 }) => sum + insert, 0)).toBeGreaterThanOrEqual(0);
    expect(cpus.every(({ insertFailed }) => insertFailed !== undefined)).toBe(true);
    const expectations = requests.expectationCpus();
    expect(expectations).toHaveLength(cpus.length);
    expect(expectations.every(({ create }) => create === 0)).toBe(true);
  });
});

describe('emptying', () => {
  test.each<[string, DumpFilter, string[]]>([
    ['everything', {}, []],
    ['a family', { family: AF_INET6 }, ['assured', 'ssh', 'udp', 'web', 'zoned']],
    ['a mark', { mark: { value: 5, mask: 0xf } }, ['ssh', 'udp', 'v6', 'zoned']],
    ['a zone', { zone: 7 }, ['assured', 'ssh', 'udp', 'v6', 'web']],
  ])('%s leaves the rest', async (_what, filter, left) => {
    await requests.flush(filter);
    expect(listed()).toEqual(left);
  });

  test('one at a time, and a close ends the wait', async () => {
    const other = space.run(() => new TableRequests());
    const flushed = other.flush();
    await expect(other.flush()).rejects.toThrow(/EBUSY/);
    other.close();
    await expect(flushed).rejects.toThrow(/ECANCELED/);
  });
});

test('a change says only what it names', () => {
  recordFromFlow({ ...FLOWS.assured, status: [], mark: 9 }, scratch, 0);
  // With its status the kernel would refuse it: ASSURED cannot be taken back.
  expect(injector.change(scratch, 0, 1 << CTA_MARK)).toBe(0);
  const batch = new KernelBatch(1);
  batch.add(OP_GET, 0, scratch, 0);
  injector.execute(batch);
  const found = flowFromRecord(batch.found, batch.foundAt[0]);
  expect(found).toMatchObject({
    mark: 9,
    status: expect.arrayContaining(['ASSURED']),
    use: expect.any(Number),
  });
});

test('a namespace that is none is named in the error', () => {
  expect(() => new NetNamespace('no-such-space')).toThrow(/no-such-space.*ENOENT/);
  expect(() => new NetNamespace('/etc/passwd').run(() => 0)).toThrow(/EINVAL/);
});
