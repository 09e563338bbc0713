/** A drill on a real kernel: it changes nothing, and the promote after it does what it said, count for count. */
import { afterEach, expect, test } from 'vitest';
import { enterNetNamespace } from '../../native/net-namespace.js';
import type { FailoverReport, PromoteReport } from '../../src/control/messages.js';
import { IPS_ASSURED, IPS_SEEN_REPLY } from '../../src/flow/conntrack-enums.js';
import { CounterMap } from '../../src/flow/counters.js';
import { recordFromExpectation } from '../../src/flow/expectation-text.js';
import { KernelBatch, OP_CREATE } from '../../src/flow/kernel-port.js';
import { Kernel } from '../../src/kernel/kernel.js';
import { makeRecord } from '../simulation/record-maker.js';
import { eventually } from './deadline.js';
import { FirewallPair } from './firewall-pair.js';
import { helpFtp } from './ftp-session.js';
import type { FirewallName } from './lab.js';
import { makeMixedTable } from './mixed-table.js';
import { program } from './program.js';

const FLOWS = 1500;
const LIVE = '-u SEEN_REPLY,ASSURED';
const [CLIENT, SERVER] = ['10.1.0.100', '10.2.0.100'];
const FTP = { source: CLIENT, destination: SERVER, sourcePort: 900, destinationPort: 21 };

let pair: FirewallPair;
afterEach(() => pair?.close());

const make = (fw: FirewallName, ...flows: readonly string[]) =>
  Promise.all(flows.map((flow) => pair.lab.exec(fw, ['conntrack', '-I', '-t', '3000', ...flow.split(' ')])));

/** All flows of a firewall's kernel, every durable byte, and all it expects. */
async function kernelOf(fw: FirewallName): Promise<string> {
  const flows = await pair.lab.exec(fw, program('test/lab/kernel-records-program'));
  const expected = await pair.lab.exec(fw, ['conntrack', '-L', 'expect']);
  return flows + expected.replace(/^\d+ /gm, '');
}

/** An FTP control connection as the kernel's helper has it, and what it has announced. */
function announce(fw: FirewallName): void {
  const leave = enterNetNamespace(pair.lab.namespace(fw));
  const kernel = Kernel.open({ counters: new CounterMap(), log: () => undefined, eventBufferBytes: 1 << 20 });
  const control = { ...FTP, status: IPS_SEEN_REPLY | IPS_ASSURED, state: 3, timeout: 3000, helper: 'ftp' };
  const batch = new KernelBatch(1);
  batch.add(OP_CREATE, 0, makeRecord(control).m, 0);
  const all = '255.255.255.255';
  const record = recordFromExpectation({
    family: 'ipv4',
    protocol: 'tcp',
    tuple: { source: SERVER, destination: CLIENT, sourcePort: 0, destinationPort: 7777 },
    mask: { source: all, destination: all, sourcePort: 0, destinationPort: 65535 },
    master: { protocol: 'tcp', ...FTP },
    class: 0,
    flags: 0,
  });
  try {
    kernel.execute(batch);
    expect(batch.errno[0]).toBe(0);
    expect(kernel.createExpectation(record, 0)).toBe(0);
  } finally {
    kernel.close();
    leave();
  }
}

/** What a drill foretells: all but when and how long. */
function counts(promote: PromoteReport | null): Partial<PromoteReport> {
  if (promote === null) throw new Error('no report of a promote');
  const { durationMs: _1, flowsPerSecond: _2, longestPauseMs: _3, endedAtMs: _4, ...rest } = promote;
  const byText = (a: { flow: string }, b: { flow: string }): number => (a.flow < b.flow ? -1 : 1);
  return { ...rest, rejectedFlows: [...rest.rejectedFlows].sort(byText) };
}

test('a drill over a mixed table with conflicts says what the promote after it reports', async () => {
  pair = await FirewallPair.create();
  const { fw1, fw2, lab } = pair;
  await makeMixedTable(lab, 'fw1', FLOWS);
  await helpFtp(lab, 'fw1');
  announce('fw1');
  const nat = (n: number) =>
    `-p tcp -s 10.1.8.${n} -d 10.2.0.100 --sport 5000 --dport 80 --state ESTABLISHED ${LIVE}`;
  const udp = (n: number) => `-p udp -s 10.1.8.${n} -d 10.2.0.100 --sport 5000 --dport 80`;
  await make(
    'fw1',
    ...[1, 2, 3, 4].map((n) => `${nat(n)} --src-nat 10.2.0.254:${61_000 + n}`),
    udp(5),
    udp(6),
  );
  await pair.verified(10_000);
  // The backup's kernel has other lives of the same tuples, one holds a port that the replica needs, one is the same.
  await make(
    'fw2',
    `${nat(1)} --src-nat 10.2.0.254:62001`,
    '-p tcp -s 10.1.8.2 -d 10.2.0.100 --sport 5000 --dport 80 --state SYN_SENT --src-nat 10.2.0.254:62002',
    `${nat(9)} --src-nat 10.2.0.254:61003`,
    `${nat(4)} --src-nat 10.2.0.254:61004`,
    `${udp(5)} -m 7`,
  );
  await eventually('the backup has heard of them', { withinMs: 10_000 }, async () => {
    return (await fw2.status()).mirror.flows >= 5;
  });

  const before = await kernelOf('fw2');
  const { code, stdout } = await fw2.cli(['drill', '--json']);
  const drill = JSON.parse(stdout) as FailoverReport;
  expect(await kernelOf('fw2')).toBe(before);
  expect((await fw2.status()).role).toBe('backup');
  expect([code, drill.exitCode, drill.role]).toEqual([0, 0, 'backup']);
  expect(drill.promote).toMatchObject({ rejectedBy: { 'live-here': 1 }, expectations: { total: 1 } });
  // 1,500 of the mixed table, the control connection, six more; pings of the lab may have come on top.
  expect(drill.promote?.total).toBeGreaterThanOrEqual(FLOWS + 7);
  const text = await fw2.cli(['drill']);
  expect(text.stdout).toContain('drill, nothing was changed: backup now');
  expect(text.stdout).toContain('rejected, live-here: tcp');

  const { promote, exitCode } = await fw2.failover('primary');
  expect(exitCode).toBe(0);
  expect(counts(promote)).toEqual(counts(drill.promote));
  expect((await fw2.status()).lastPromote).toEqual(promote);
  await fw2.cli(['drill']);
  await fw1.stop();
});

test('a drill of a hot backup says what the promote after it reports: kept, made anew, refused', async () => {
  pair = await FirewallPair.create({ config: { failover: { standby: 'hot' } } });
  const { fw1, fw2, lab } = pair;
  // A flow of fw2's own holds a port that one of the primary's needs.
  const nat = (n: number) =>
    `-p tcp -s 10.1.8.${n} -d ${SERVER} --sport 5000 --dport 80 --state ESTABLISHED ${LIVE}`;
  await make('fw2', `${nat(9)} --src-nat 10.2.0.254:61003`);
  await eventually(
    "it is fw2's own",
    { withinMs: 10_000 },
    async () => (await fw2.status()).mirror.flows === 1,
  );
  await makeMixedTable(lab, 'fw1', FLOWS);
  await make('fw1', ...[1, 2, 3].map((n) => `${nat(n)} --src-nat 10.2.0.254:${61_000 + n}`));
  await eventually('the kernel has them', { withinMs: 15_000 }, async () => {
    const { standby } = await fw2.status();
    if (standby.waiting === 0 && standby.held >= FLOWS + 2 && standby.refused > 0) return true;
    throw new Error(JSON.stringify(standby));
  });
  await pair.verified(10_000);
  const before = await kernelOf('fw2');
  const { code, stdout } = await fw2.cli(['drill', '--json']);
  const drill = JSON.parse(stdout) as FailoverReport;
  expect(await kernelOf('fw2')).toBe(before);
  expect([code, drill.role]).toEqual([0, 'backup']);
  expect(drill.promote?.kept).toBeGreaterThanOrEqual(FLOWS);
  const { promote, exitCode } = await fw2.failover('primary');
  expect(exitCode).toBe(0);
  expect(counts(promote)).toEqual(counts(drill.promote));
  await fw1.stop();
});
