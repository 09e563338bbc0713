/** The kernel's half of the filter: what it drops never reaches the event socket, and everything else does. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { enterNetNamespace } from '../../native/net-namespace.js';
import { IPS_ASSURED, IPS_SEEN_REPLY, TCP_CONNTRACK_ESTABLISHED } from '../../src/flow/conntrack-enums.js';
import { CounterMap } from '../../src/flow/counters.js';
import { KernelBatch, OP_CREATE, OP_DELETE } from '../../src/flow/kernel-port.js';
import { keyEqual } from '../../src/flow/merge.js';
import type { Memory } from '../../src/flow/record.js';
import { Injector } from '../../src/kernel/injector.js';
import { Kernel } from '../../src/kernel/kernel.js';
import { type FlowDescription, makeRecord } from '../simulation/record-maker.js';
import { type RulesWish, replicateRules } from '../simulation/rules-maker.js';
import { addNamespace, freePrefix, removeNamespace } from './namespaces.js';

const name = `${freePrefix()}filter`;
const counters = new CounterMap();
const log = () => undefined;
let leave = (): void => undefined;

beforeAll(async () => {
  await addNamespace(name);
  leave = enterNetNamespace(name);
});
afterAll(() => {
  leave();
  removeNamespace(name);
});

const common = { timeout: 600, status: IPS_SEEN_REPLY | IPS_ASSURED, sourcePort: 1000, destinationPort: 80 };
const FLOWS: Readonly<Record<string, FlowDescription>> = {
  tcp: { ...common, source: '10.0.0.1', destination: '10.0.1.1', state: TCP_CONNTRACK_ESTABLISHED },
  udp: { ...common, source: '10.0.0.2', destination: '10.0.1.2', protocol: 'udp' },
  ping: {
    timeout: 600,
    source: '10.0.0.3',
    destination: '10.0.1.3',
    protocol: 'icmp',
    sourcePort: 7,
    destinationPort: 8,
  },
  tcp6: { ...common, source: 'fd00::1', destination: 'fd00:1::1', state: TCP_CONNTRACK_ESTABLISHED },
  udp6: { ...common, source: 'fd00::2', destination: 'fd00:1::2', protocol: 'udp' },
};

/** Which of the flows were heard of, each once born and once ended. */
function heard(wish: RulesWish, own: readonly string[] = []): string[] {
  const kernel = Kernel.open({
    counters,
    log,
    reliable: false,
    filter: { rules: replicateRules(wish), own },
  });
  const other = new Injector(counters);
  try {
    const records = Object.entries(FLOWS).map(([key, flow]): [string, Memory] => [key, makeRecord(flow).m]);
    for (const verb of [OP_CREATE, OP_DELETE]) {
      const batch = new KernelBatch();
      for (const [, m] of records) batch.add(verb, 0, m, 0);
      other.execute(batch);
      expect([...batch.errno.subarray(0, records.length)]).toEqual(records.map(() => 0));
    }
    const events: string[] = [];
    const event = (_kind: number, m: Memory, at: number): void => {
      events.push(records.find(([, record]) => keyEqual(record, 0, m, at))![0]);
    };
    while (kernel.drain({ event }, 1));
    expect(kernel.eventsLost()).toBe(0);
    const names = [...new Set(events)];
    expect(events).toHaveLength(names.length * 2);
    return names;
  } finally {
    kernel.close();
    other.close();
  }
}

test.each<[string, string[], RulesWish, string[]?]>([
  ['no rule', ['tcp', 'udp', 'ping', 'tcp6', 'udp6'], {}],
  ['some protocols', ['udp', 'ping', 'udp6'], { protocols: [17, 1] }],
  ['a protocol left out', ['udp', 'ping', 'udp6'], { ignore: { protocols: [6] } }],
  ['an IPv4 destination left out', ['udp', 'ping', 'tcp6', 'udp6'], { ignore: { addresses: ['10.0.1.1'] } }],
  ['an IPv4 block left out', ['tcp6', 'udp6'], { ignore: { addresses: ['10.0.0.0/23'] } }],
  ['an IPv6 source left out', ['tcp', 'udp', 'ping', 'udp6'], { ignore: { addresses: ['fd00::1'] } }],
  ['an IPv6 block left out', ['tcp', 'udp', 'ping', 'tcp6'], { ignore: { addresses: ['fd00::2/127'] } }],
  [
    'original addresses of both families',
    ['udp', 'tcp6'],
    { direction: 'original', addresses: ['10.0.1.2', 'fd00:1::1'] },
  ],
  [
    'addresses in any tuple, which is for user space',
    ['tcp', 'udp', 'ping', 'tcp6', 'udp6'],
    { addresses: ['10.0.1.2'] },
  ],
  ['own links', ['tcp', 'ping', 'tcp6', 'udp6'], { direction: 'reply' }, ['10.0.0.2']],
  [
    'ports, zones, marks and states, which are for user space',
    ['tcp', 'udp', 'ping', 'tcp6', 'udp6'],
    { ports: [{ first: 1, last: 2 }], zones: [5], marks: [{ value: 9, mask: 9 }], tcpStates: ['CLOSE'] },
  ],
  [
    'more than the kernel takes',
    ['tcp', 'udp', 'ping', 'tcp6', 'udp6'],
    { ignore: { addresses: Array.from({ length: 900 }, (_, i) => `10.${i >> 8}.${i & 255}.0/24`) } },
  ],
])('with %s, %j is heard', (_name, expected, wish, own = []) => {
  expect(heard(wish, own)).toEqual(expected);
});
