/** What is replicated and what is not: state filters, age, and flows that end on the firewall itself. */
import type { ChildProcess } from 'node:child_process';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { eventually } from './deadline.js';
import { Lab, SERVER_ADDRESS } from './lab.js';
import { LabDaemon } from './lab-daemon.js';
import { INSIDE_GATEWAY } from './ruleset.js';

const WITHIN = { withinMs: 10_000 };
const PORT = 7000;
const CONNECTIONS = 50;

/** Accepts whatever comes, and ends a connection when the other side does. */
const SERVER = `require('net').createServer((s) => { s.resume(); s.on('error', () => {}); }).listen(${PORT}, () => console.log('up'))`;
/** Opens connections, says so, and closes them when its input ends. */
const CLIENT = `const all = Array.from({ length: ${CONNECTIONS} }, () => require('net').connect(${PORT}, '${SERVER_ADDRESS}'));
Promise.all(all.map((s) => new Promise((done) => s.once('connect', done)))).then(() => console.log('up'));
process.stdin.resume().on('end', () => all.forEach((s) => s.end()));`;

let lab: Lab;
let fw1: LabDaemon;
let fw2: LabDaemon;

/** Two firewalls that replicate what `replicate` says, fw1 primary. */
async function start(replicate: Readonly<Record<string, unknown>>): Promise<void> {
  lab = await Lab.create();
  fw1 = new LabDaemon(lab, 'fw1', { replicate });
  fw2 = new LabDaemon(lab, 'fw2', { replicate });
  await Promise.all([fw1.start(), fw2.start()]);
  await fw1.failover('primary');
  await eventually('they know each other', WITHIN, async () => (await fw2.replicaOf('fw1'))?.inSync === true);
}

/** A Node program in the lab that has said it is up. */
async function runNode(node: 'client' | 'server', source: string): Promise<ChildProcess> {
  const child = lab.spawn(node, [process.execPath, '-e', source], { stdio: ['pipe', 'pipe', 'inherit'] });
  let output = '';
  child.stdout?.on('data', (chunk) => {
    output += chunk;
  });
  await eventually(`the program in ${node} is up`, WITHIN, () => output.includes('up'));
  return child;
}

const conntrack = (line: string): Promise<string> => lab.exec('fw1', ['conntrack', ...line.split(' ')]);
const replica = async (): Promise<number> => (await fw2.replicaOf('fw1'))?.flows ?? -1;
const replicaIs = (flows: number): Promise<unknown> =>
  eventually(`the replica has ${flows} flows`, WITHIN, async () => {
    const now = await replica();
    if (now !== flows) throw new Error(`it has ${now}`);
    return true;
  });
async function verified(): Promise<void> {
  await Promise.all([fw1.verified(10_000), fw2.verified(10_000)]);
}

describe('with tcp_states: [ESTABLISHED]', () => {
  beforeAll(() => start({ protocols: ['tcp'], tcp_states: ['ESTABLISHED'] }));
  afterAll(() => lab?.close());

  test('connections are replicated while they are established, and leave no ghost when they close', async () => {
    await runNode('server', SERVER);
    const client = await runNode('client', CLIENT);
    await replicaIs(CONNECTIONS);
    await verified();
    client.stdin?.end();
    await replicaIs(0);
    // They are in the kernel still, waiting for the last packets.
    expect(await lab.kernelFlows('fw1')).toBeGreaterThanOrEqual(CONNECTIONS);
    await verified();
    expect((await fw1.status()).kernel.flows).toBeGreaterThanOrEqual(CONNECTIONS);
  });

  test('a restart of the daemon brings none of them back', async () => {
    await fw1.stop();
    await fw1.start();
    await conntrack(
      `-I -p tcp -s 10.1.0.9 -d 10.2.0.100 --sport 1 --dport 2 --state ESTABLISHED -u ASSURED -t 900`,
    );
    await replicaIs(1);
    await verified();
    await conntrack(`-U -p tcp -s 10.1.0.9 -d 10.2.0.100 --sport 1 --dport 2 --state CLOSE_WAIT`);
    await replicaIs(0);
    await verified();
  });
});

describe('with min_age: 1s', () => {
  beforeAll(() => start({ min_age: '1s', ignore: { local: false } }));
  afterAll(() => lab?.close());

  test('a flow is told when it is old enough, one that dies before is never', async () => {
    await conntrack('-I -p udp -s 10.1.0.9 -d 10.2.0.100 --sport 1 --dport 53 -t 900');
    await conntrack('-I -p udp -s 10.1.0.9 -d 10.2.0.100 --sport 2 --dport 53 -t 900');
    await conntrack('-D -p udp -s 10.1.0.9 -d 10.2.0.100 --sport 2 --dport 53');
    expect(await replica()).toBe(0);
    await replicaIs(1);
    await verified();
    expect(await replica()).toBe(1);
  });
});

describe('by default', () => {
  beforeAll(() => start({}));
  afterAll(() => lab?.close());

  test('a flow to the firewall itself stays there, a translated one does not', async () => {
    await lab.exec('client', ['ping', '-c', '1', '-W', '2', INSIDE_GATEWAY]);
    await conntrack('-I -p udp -s 10.1.0.9 -d 10.2.0.1 --sport 5 --dport 53 -t 900');
    await conntrack('-I -p udp -s 10.2.0.9 -d 10.2.0.1 --sport 6 --dport 53 -t 900 --dst-nat 10.1.0.100');
    await conntrack('-I -p udp -s 10.1.0.9 -d 10.2.0.100 --sport 7 --dport 53 -t 900 --src-nat 10.2.0.254');
    await replicaIs(2);
    await verified();
    expect(await replica()).toBe(2);
    expect(await lab.kernelFlows('fw1')).toBeGreaterThanOrEqual(4);
  });

  test('addresses are followed as they come and go', async () => {
    await conntrack('-I -p udp -s 10.1.0.9 -d 10.2.0.77 --sport 8 --dport 53 -t 900');
    await conntrack('-I -p udp -s fd00:1::9 -d fd00:1::77 --sport 8 --dport 53 -t 900');
    await replicaIs(4);
    await lab.exec('fw1', ['ip', 'address', 'add', '10.2.0.77/16', 'dev', 'wan']);
    await replicaIs(3);
    await lab.exec('fw1', ['ip', 'address', 'add', 'fd00:1::77/64', 'dev', 'lan', 'nodad']);
    await replicaIs(2);
    await verified();
    await lab.exec('fw1', ['ip', 'address', 'del', '10.2.0.77/16', 'dev', 'wan']);
    await replicaIs(3);
    await verified();
  });
});
