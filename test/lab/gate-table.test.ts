/** The gate's table in a kernel, with nft as the oracle. */
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { enterNetNamespace } from '../../native/net-namespace.js';
import type { SystemError } from '../../native/system-error.js';
import { AddressBlocks } from '../../src/flow/address-blocks.js';
import { GateTable } from '../../src/kernel/gate-table.js';
import { run, runSync } from './command.js';
import { eventually } from './deadline.js';
import { addNamespace, freePrefix, removeNamespace } from './namespaces.js';

const RAISED_MS = 400;
const OPTIONS = {
  interfaces: ['sync', 'mgmt'],
  sources: new AddressBlocks(['192.0.2.0/24', '198.51.100.7', '2001:db8::/37']).blocks,
  tcpPorts: [
    { first: 22, last: 22 },
    { first: 8000, last: 8099 },
  ],
  udpPorts: [{ first: 3784, last: 3785 }],
};
/** As nft 1.0.6 prints what was asked for, but for the time that is left. */
const LISTED = `table inet conntwin_gate {
  flags owner
  counter dropped { packets 0 bytes 0 }
  set raised { type nf_proto flags timeout elements = { ipv4 timeout 400ms expires, ipv6 timeout 400ms expires } }
  chain gate {
    type filter hook prerouting priority mangle; policy accept;
    ct state ! invalid,new accept
    meta nfproto != @raised accept
    iifname "lo" accept
    iifname "sync" accept
    iifname "mgmt" accept
    meta pkttype != host accept
    meta l4proto vrrp accept
    meta l4proto igmp accept
    meta l4proto ospf accept
    meta l4proto pim accept
    fib daddr type local ip saddr 192.0.2.0/24 accept
    fib daddr type local ip saddr 198.51.100.7 accept
    fib daddr type local ip6 saddr 2001:db8::/37 accept
    fib daddr type local tcp dport 22 tcp flags syn / fin,syn,rst,ack accept
    fib daddr type local tcp dport 8000-8099 tcp flags syn / fin,syn,rst,ack accept
    fib daddr type local udp dport 3784-3785 accept
    counter name "dropped" drop
  }
}`;
const words = (text: string) =>
  text
    .replace(/#.*|expires \w+/g, (m) => (m[0] === '#' ? '' : 'expires'))
    .replace(/\s+/g, ' ')
    .trim();

const namespace = `${freePrefix()}gate`;
let table: GateTable | undefined;

function open(raisedMs = RAISED_MS): GateTable {
  const leave = enterNetNamespace(namespace);
  try {
    return new GateTable(OPTIONS, raisedMs);
  } finally {
    leave();
  }
}

const change = (begin: (done: (problem: SystemError | undefined) => void) => void) =>
  new Promise<SystemError | undefined>((resolve) => begin(resolve));
const raise = (of: GateTable) => change((done) => of.raise(done));
const remove = (of: GateTable) => change((done) => of.remove(done));
const ruleset = () => run(['ip', 'netns', 'exec', namespace, 'nft', 'list', 'ruleset']);

beforeAll(async () => {
  await addNamespace(namespace);
  await run(['ip', '-n', namespace, 'link', 'set', 'lo', 'up']);
});
afterEach(() => table?.close());
afterAll(() => removeNamespace(namespace));

test('it is tried when it is opened, stands when it is raised, and leaves nothing behind', async () => {
  table = open(60_000);
  expect(await ruleset()).toBe('');
  expect(await raise(table)).toBeUndefined();
  const listed = words(await ruleset());
  expect(listed).toBe(words(LISTED.replaceAll('400ms', '1m')));
  expect(await remove(table)).toBeUndefined();
  expect(await ruleset()).toBe('');
});

test('the kernel itself ends it, and a socket that is closed takes the table with it', async () => {
  table = open();
  await raise(table);
  await eventually('the set is empty', { withinMs: RAISED_MS + 2000, everyMs: 20 }, async () => {
    return !(await ruleset()).includes('elements');
  });
  expect(await ruleset()).toContain('chain gate');
  table.close();
  await eventually(
    'the table is gone',
    { withinMs: 10_000, everyMs: 20 },
    async () => (await ruleset()) === '',
  );
});

test('a table that somebody else holds is told apart from a kernel that cannot', async () => {
  const other = open();
  try {
    await raise(other);
    expect(() => open()).toThrow(/make the table: .*another program holds a gate in this network namespace/);
  } finally {
    other.close();
  }
});

test('what it drops is counted: an opening to a port that it does not allow', async () => {
  table = open(60_000);
  await raise(table);
  expect(table.dropped()).toBe(0);
  // Loopback passes every gate: the packet has to come by another interface.
  const peer = `${namespace}2`;
  await addNamespace(peer);
  try {
    for (const command of [
      `link add out netns ${peer} type veth peer name in`,
      'addr add 10.77.0.1/24 dev in',
      'link set in up',
    ]) {
      await run(['ip', '-n', namespace, ...command.split(' ')]);
    }
    for (const command of ['addr add 10.77.0.2/24 dev out', 'link set out up']) {
      await run(['ip', '-n', peer, ...command.split(' ')]);
    }
    // dash has no /dev/tcp.
    const connect = (port: number, withinS: string) =>
      runSync(['ip', 'netns', 'exec', peer, 'timeout', withinS, 'bash', '-c', `</dev/tcp/10.77.0.1/${port}`]);
    expect(connect(22, '20').stderr).toContain('refused');
    expect(table.dropped()).toBe(0);
    // Nobody answers this one, ever.
    expect(connect(80, '1').stderr).not.toContain('refused');
    expect(table.dropped()).toBeGreaterThan(0);
  } finally {
    removeNamespace(peer);
  }
});
