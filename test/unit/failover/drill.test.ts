import { beforeEach, describe, expect, it } from 'vitest';
import { CommitReplica } from '../../../src/failover/commit-replica.js';
import { Drill, type DrillParts } from '../../../src/failover/drill.js';
import {
  IPPROTO_SCTP,
  IPS_ASSURED,
  IPS_SEEN_REPLY,
  IPS_SRC_NAT,
  TCP_CONNTRACK_CLOSE_WAIT,
  TCP_CONNTRACK_ESTABLISHED,
} from '../../../src/flow/conntrack-enums.js';
import { recordFromExpectation } from '../../../src/flow/expectation-text.js';
import { seedFromText } from '../../../src/flow/hash.js';
import { OP_CREATE } from '../../../src/flow/kernel-port.js';
import { OFF_PROTOCOL, offState } from '../../../src/flow/record.js';
import { KERNEL } from '../../../src/table/slot-bits.js';
import { FailoverNode, type TestPeer } from '../../simulation/failover-node.js';
import { type FlowDescription, makeRecord } from '../../simulation/record-maker.js';

const LIVE = IPS_SEEN_REPLY | IPS_ASSURED;
const tcp = (port: number, more: Partial<FlowDescription> = {}): FlowDescription => ({
  source: '10.0.0.1',
  destination: '10.9.0.1',
  sourcePort: port,
  destinationPort: 80,
  status: LIVE,
  state: TCP_CONNTRACK_ESTABLISHED,
  wscale: [7, 7],
  timeout: 300,
  ...more,
});
const nat = (port: number, outside: number, more: Partial<FlowDescription> = {}): FlowDescription =>
  tcp(port, {
    status: LIVE | IPS_SRC_NAT,
    reply: { source: '10.9.0.1', destination: '192.0.2.1', sourcePort: 80, destinationPort: outside },
    ...more,
  });
const announced = (port: number, master: FlowDescription) =>
  recordFromExpectation({
    family: 'ipv4',
    protocol: 'tcp',
    tuple: { source: '10.9.0.1', destination: '10.0.0.1', sourcePort: 0, destinationPort: port },
    mask: {
      source: '255.255.255.255',
      destination: '255.255.255.255',
      sourcePort: 0,
      destinationPort: 65535,
    },
    master: { protocol: 'tcp', ...endsOf(master) },
    class: 0,
    flags: 0,
  });
const endsOf = ({ source, destination, sourcePort, destinationPort }: FlowDescription) => ({
  source,
  destination,
  sourcePort,
  destinationPort,
});

let node: FailoverNode;
let peer: TestPeer;
beforeEach(() => {
  node = new FailoverNode();
  peer = node.addPeer('fw1');
});

/** Traffic makes the flow in this kernel, and the table hears of it. */
function inKernel(flow: FlowDescription): void {
  if (node.twin.born(makeRecord(flow).m, 0) === undefined) throw new Error('the twin refused the flow');
  node.drain();
}
function held(replica: FlowDescription, kernel = replica): void {
  node.twin.isBulk = true;
  inKernel(kernel);
  node.twin.isBulk = false;
  node.hear(peer, replica, KERNEL);
}
/** All that the kernel has, and all slots with their bits, as text. */
function everything(): string[] {
  const { table, twin } = node;
  const seen: string[] = [];
  for (const flow of twin.flows) seen.push(`kernel ${Buffer.from(flow.m.u8).toString('hex')}`);
  for (let slot = 0; slot < table.slotLimit; slot++) {
    if (!table.isUsed(slot)) continue;
    const at = table.recordAt(slot);
    const record = Buffer.from(table.memory.u8.subarray(at, at + table.memory.u16[at >>> 1])).toString('hex');
    seen.push(`${slot} ${table.owner(slot)} ${table.bits(slot)} ${table.imageLo(slot)} ${record}`);
  }
  return [...seen, `expected ${twin.expectations.count}`];
}
const drill = (hasCorpses = false, hot?: DrillParts['hot']): NonNullable<Drill['report']> => {
  const before = everything();
  const work = new Drill(
    {
      kernel: node.twin,
      table: node.table,
      seed: seedFromText('test'),
      clock: node.clock,
      timeouts: node.parts.timeouts,
      stream: { sources: () => node.peers, highestTerm: node.highestTerm },
      ...(hot ? { hot } : {}),
    },
    { role: node.role, term: node.term, wasPrimary: false, wallClockMs: 5000 },
  );
  node.finish(work);
  // Whoever looks at a flow that has expired buries it (F11).
  if (!hasCorpses) expect(everything()).toEqual(before);
  expect(node.notes).toEqual([]);
  if (work.report === undefined) throw new Error('no report');
  return work.report;
};
/** A drill, and the promote after it: everything but the durations. */
function compare(hasCorpses = false): NonNullable<Drill['report']> {
  const { durationMs: estimate, rejectedFlows: named, ...rehearsed } = drill(hasCorpses);
  const promotion = node.promotion();
  node.finish(promotion);
  const { durationMs: _took, rejectedFlows, ...done } = promotion.report;
  expect(rehearsed).toEqual(done);
  expect(named.map(({ reason }) => reason).sort()).toEqual(rejectedFlows.map(({ reason }) => reason).sort());
  expect(estimate).toBeGreaterThan(0);
  return { durationMs: estimate, rejectedFlows: named, ...rehearsed };
}

describe('a drill says what the promote after it does', () => {
  it('to an empty kernel', () => {
    for (let i = 0; i < 1000; i++) node.hear(peer, tcp(1000 + i));
    expect(compare()).toMatchObject({ total: 1000, committed: 1000, exitCode: 0, reasons: [], term: 5001 });
  });

  it('with flows that are held: equal, behind, of another life, touched, expired', () => {
    for (let i = 0; i < 200; i++) held(tcp(1000 + i));
    held(tcp(1, { mark: 5, state: TCP_CONNTRACK_CLOSE_WAIT }), tcp(1, { mark: 1 }));
    held(nat(2, 7002), nat(2, 7102));
    held(tcp(3), tcp(3, { timeout: 2 }));
    node.timeMs += 5000;
    const report = compare(true);
    expect(report.total).toBe(203);
    expect(report.rejected).toEqual({});
  });

  it('with flows of this kernel in the way: of the same tuple, and of the same reply tuple', () => {
    for (let i = 1; i <= 4; i++) node.hear(peer, nat(i, 7000 + i));
    inKernel(nat(1, 9001)); // live
    inKernel(nat(2, 9002, { status: IPS_SRC_NAT })); // one packet seen
    inKernel(nat(3, 7003)); // the same
    inKernel(nat(50, 7004)); // holds the outside port of the fourth
    expect(compare()).toMatchObject({ total: 4, replaced: 3, rejected: { 'live-here': 1 } });
  });

  it('with a live flow that the table knows nothing of and that holds the reply tuple', () => {
    node.hear(peer, nat(1, 7001));
    node.twin.isBulk = true;
    inKernel(nat(50, 7001));
    node.twin.isBulk = false;
    expect(compare()).toMatchObject({ rejected: { 'reply-taken': 1 } });
  });

  it('of two sources that name one reply tuple', () => {
    const older = node.addPeer('fw0', { primaryTerm: 3 });
    node.hear(peer, nat(1, 7001));
    node.hear(older, nat(2, 7001));
    expect(compare()).toMatchObject({ total: 2, committed: 1, rejected: { 'reply-taken': 1 } });
  });

  it('to a kernel that is full, lacks helpers, and refuses what it does not know', () => {
    node.twin.knobs.maxFlows = 62;
    node.twin.knobs.helpers = new Set(['sip']);
    for (let i = 0; i < 10; i++) inKernel(tcp(100 + i));
    node.hear(peer, tcp(1, { helper: 'ftp', mark: 1 }));
    node.hear(peer, tcp(2, { helper: 'sip', mark: 1 }));
    for (let i = 0; i < 60; i++) node.hear(peer, tcp(1000 + i, { status: 0 }));
    expect(compare()).toMatchObject({
      total: 62,
      committed: 52,
      withoutHelper: 1,
      rejected: { 'kernel-full': 10 },
    });
  });

  it('where masters are gone, or come in the same batch, or are in the kernel', () => {
    const master = (port: number): FlowDescription => tcp(port, { destinationPort: 21, helper: 'ftp' });
    const child = (port: number): FlowDescription =>
      tcp(2000 + port, { master: { protocol: 'tcp', ...endsOf(master(port)) } });
    node.hear(peer, child(1));
    node.hear(peer, child(2));
    node.hear(peer, master(2));
    inKernel(master(3));
    node.hear(peer, child(3));
    expect(compare()).toMatchObject({ total: 4, committed: 4, withoutMaster: 1 });
  });

  it('with expectations: of masters that come, that are there, that are refused; and some that are there already', () => {
    const master = (port: number, more = {}): FlowDescription =>
      tcp(port, { destinationPort: 21, helper: 'ftp', mark: 1, ...more });
    for (let i = 1; i <= 3; i++) {
      node.hear(peer, master(i));
      node.table.expectations.put(peer.owner, announced(5000 + i, master(i)), 0);
    }
    node.finish(new CommitReplica(node.parts));
    node.hear(peer, master(4));
    node.table.expectations.put(peer.owner, announced(5004, master(4)), 0);
    node.hear(peer, master(5, { helper: 'none' }));
    node.table.expectations.put(peer.owner, announced(5005, master(5)), 0);
    node.table.expectations.put(peer.owner, announced(5006, master(6)), 0);
    const { expectations } = compare();
    expect(expectations).toEqual({
      total: 6,
      // The first three were there already: their masters, created anew, took them along.
      committed: 4,
      kept: 0,
      rejected: { 'no-helper': 1, 'no-master': 1 },
    });
  });

  it('with reasons and exit code: no source, one that is suspect, nobody ever primary', () => {
    peer.isProven = false;
    node.hear(peer, tcp(1));
    expect(compare()).toMatchObject({ exitCode: 3, reasons: ['the replica of fw1 is not proven'] });
    node = new FailoverNode();
    expect(drill()).toMatchObject({ exitCode: 3, total: 0, reasons: [expect.stringContaining('no source')] });
    node.role = 'primary';
    node.term = 9;
    expect(drill()).toMatchObject({ exitCode: 0, total: 0, term: 9 });
  });

  it('without waiting for a source that lives', () => {
    peer.isAlive = true;
    node.hear(peer, tcp(1));
    const before = node.timeMs;
    expect(drill()).toMatchObject({ committed: 1, sources: [{ isAlive: true }] });
    expect(node.timeMs - before).toBeLessThan(500);
  });
});

describe('a drill on a hot standby', () => {
  it('keeps what is in step, told by the slots of the table itself, and judges the rest', () => {
    inKernel(tcp(99));
    for (let i = 1; i <= 3; i++) held(tcp(i));
    // Other slots in the copy than in the table.
    node.table.remove(node.slotOf(tcp(99)));
    const behind = node.slotOf(tcp(2));
    const report = drill(false, {
      isInStep: (slot) => slot !== behind,
      hasNewWindows: () => false,
      forEachWaiting: () => undefined,
    });
    expect(report).toMatchObject({ total: 3, kept: 2, replaced: 1 });
  });
});

describe('the kernel of a drill', () => {
  it('asks the real one about unusual flows with a create that cannot succeed, and never where it is full', () => {
    const { m } = makeRecord(tcp(1));
    m.u8[OFF_PROTOCOL] = IPPROTO_SCTP;
    m.u8[offState(4)] = 3;
    const slot = node.table.insert(m, 0, peer.owner);
    node.table.currentHash(slot);
    node.table.setImage(slot, node.table.hash.lo, node.table.hash.hi);
    node.hear(peer, tcp(2, { helper: 'ftp' }));
    node.hear(peer, tcp(3));
    drill();
    expect(node.twin.requests[OP_CREATE]).toBe(2);
    node.twin.knobs.maxFlows = 0;
    drill();
    expect(node.twin.requests[OP_CREATE]).toBe(2);
  });
});
