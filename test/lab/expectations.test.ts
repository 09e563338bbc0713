import { afterAll, beforeAll, expect, test } from 'vitest';
import { enterNetNamespace } from '../../native/net-namespace.js';
import { IPS_ASSURED, IPS_SEEN_REPLY } from '../../src/flow/conntrack-enums.js';
import { CounterMap } from '../../src/flow/counters.js';
import { recordFromExpectation } from '../../src/flow/expectation-text.js';
import { KernelBatch, OP_CREATE } from '../../src/flow/kernel-port.js';
import { Kernel } from '../../src/kernel/kernel.js';
import { makeRecord } from '../simulation/record-maker.js';
import { eventually } from './deadline.js';
import { FirewallPair } from './firewall-pair.js';
import { FtpSession, helpFtp } from './ftp-session.js';

const WITHIN = { withinMs: 10_000, everyMs: 20 };
const MASTERS = 500;
/** The kernel's SIP helper allows that many audio streams a call. */
const PER_MASTER = 4;

let pair: FirewallPair;
let session: FtpSession;
beforeAll(async () => {
  pair = await FirewallPair.create();
  await Promise.all([helpFtp(pair.lab, 'fw1'), helpFtp(pair.lab, 'fw2')]);
  session = await FtpSession.start(pair.lab);
});
afterAll(() => pair?.close());

const own = async () => (await pair.fw1.status()).mirror.expectations;
const replicated = async () => (await pair.fw2.replicaOf('fw1'))?.expectations;

const portLine = (port: number) => `PORT 10,1,0,100,${port >> 8},${port & 255}`;

test('what an FTP client announces through the firewall reaches the backup, and goes when it is used', async () => {
  const port = await session.listen();
  // The helper has translated the announcement, so the sequence numbers are adjusted as well.
  expect(await session.say(portLine(port))).toContain('10.2.0.254');
  await eventually('the replica has one expectation', WITHIN, async () => (await replicated()) === 1);
  expect(await own()).toBe(1);
  const kernel = await pair.lab.exec('fw1', ['conntrack', '-L', 'expect']);
  expect(kernel).toContain('helper=ftp');
  const line = kernel.trim().replace(/^\d+ /, '');
  const replica = await pair.fw2.cli(['expectations', 'list', '--table', 'external']);
  expect(replica.stdout).toContain(line);
  await session.say('GO');
  await session.data();
  await eventually('it is used up', WITHIN, async () => (await own()) === 0 && (await replicated()) === 0);
  await pair.verified(10_000);
});

test('one announced by EPRT goes with its master', async () => {
  await session.say(`EPRT |1|10.1.0.100|${await session.listen()}|`);
  await eventually('the replica has one expectation', WITHIN, async () => (await replicated()) === 1);
  await pair.lab.exec('fw1', ['conntrack', '-D', '-p', 'tcp', '--dport', '21']);
  await eventually('it is gone', WITHIN, async () => (await own()) === 0 && (await replicated()) === 0);
});

test('two thousand are replicated, and said again to a backup that was killed', async () => {
  const leave = enterNetNamespace(pair.lab.namespace('fw1'));
  const kernel = Kernel.open({ counters: new CounterMap(), log: () => undefined, eventBufferBytes: 1 << 20 });
  try {
    expect(announce(kernel)).toBe(MASTERS * PER_MASTER);
  } finally {
    kernel.close();
    leave();
  }
  const all = MASTERS * PER_MASTER;
  await eventually('all are replicated', WITHIN, async () => (await replicated()) === all);
  await pair.verified(10_000);
  await pair.fw2.kill();
  await pair.fw2.start();
  await eventually('all are back', WITHIN, async () => (await replicated()) === all);
  await pair.verified(10_000);
});

/** Another program announces the streams of many SIP calls; returns how many the kernel took. */
function announce(kernel: Kernel): number {
  let taken = 0;
  for (let i = 0; i < MASTERS; i++) {
    const master = { protocol: 'udp', source: '10.1.0.100', destination: '10.2.0.100' } as const;
    const ports = { sourcePort: 10_000 + i, destinationPort: 5060 };
    const status = IPS_SEEN_REPLY | IPS_ASSURED;
    const batch = new KernelBatch(1);
    batch.add(OP_CREATE, 0, makeRecord({ ...master, ...ports, status, timeout: 600, helper: 'sip' }).m, 0);
    kernel.execute(batch);
    for (let n = 0; n < PER_MASTER; n++) {
      const record = recordFromExpectation({
        family: 'ipv4',
        protocol: 'udp',
        tuple: {
          source: master.destination,
          destination: master.source,
          sourcePort: 0,
          destinationPort: 20_000 + i * PER_MASTER + n,
        },
        mask: { source: '0.0.0.0', destination: '255.255.255.255', sourcePort: 0, destinationPort: 65535 },
        master: { ...master, ...ports },
        class: 1,
        flags: 0,
      });
      if (kernel.createExpectation(record, 0) === 0) taken++;
    }
  }
  return taken;
}
