import { beforeEach, describe, expect, it } from 'vitest';
import { CommitReplica } from '../../../src/failover/commit-replica.js';
import { IPS_ASSURED, IPS_SEEN_REPLY } from '../../../src/flow/conntrack-enums.js';
import { EXP_OFF_TIMEOUT } from '../../../src/flow/expectation.js';
import { type Expectation, recordFromExpectation } from '../../../src/flow/expectation-text.js';
import type { Memory } from '../../../src/flow/record.js';
import { OWNER_SELF } from '../../../src/table/slot-bits.js';
import { FailoverNode, type TestPeer } from '../../simulation/failover-node.js';
import { type FlowDescription, makeRecord } from '../../simulation/record-maker.js';

const call = (n: number, more: Partial<FlowDescription> = {}): FlowDescription => ({
  protocol: 'udp',
  source: '10.0.0.1',
  destination: '10.9.0.1',
  sourcePort: n,
  destinationPort: 5060,
  status: IPS_SEEN_REPLY | IPS_ASSURED,
  timeout: 600,
  helper: 'sip',
  ...more,
});

/** A stream that call `n` announces; the SIP helper allows four of them a call, for 180 s. */
const expected = (port: number, n = 1, more: Partial<Expectation> = {}): Memory =>
  recordFromExpectation({
    family: 'ipv4',
    protocol: 'udp',
    tuple: { source: '10.9.0.1', destination: '10.0.0.1', sourcePort: 0, destinationPort: port },
    mask: {
      source: '255.255.255.255',
      destination: '255.255.255.255',
      sourcePort: 0,
      destinationPort: 65535,
    },
    master: {
      protocol: 'udp',
      source: '10.0.0.1',
      destination: '10.9.0.1',
      sourcePort: n,
      destinationPort: 5060,
    },
    class: 1,
    flags: 0,
    ...more,
  });

let node: FailoverNode;
let peer: TestPeer;
beforeEach(() => {
  node = new FailoverNode();
  peer = node.addPeer('fw1');
});

const hear = (record: Memory): void => {
  node.table.expectations.put(peer.owner, record, 0, (node.timeMs / 1000) >>> 0);
};
/** What the kernel expects, and for how many seconds, by port. */
function inKernel(): Map<number, number> {
  const rows = new Map<number, number>();
  node.twin.expectations.dumpStart();
  while (
    node.twin.expectations.dumpNext((m, at) => {
      rows.set(m.u8[at + 18] * 256 + m.u8[at + 19], m.u16[(at + EXP_OFF_TIMEOUT) >>> 1]);
    }) === 0
  );
  return rows;
}
function promote() {
  const promotion = node.promotion();
  node.finish(promotion);
  return promotion.report;
}

describe('the expectations of a promote', () => {
  it('are created after their masters, with the time they have left, and are own without a word', () => {
    for (let n = 1; n <= 50; n++) {
      node.hear(peer, call(n));
      for (let i = 0; i < 4; i++) hear(expected(20_000 + n * 4 + i, n, { timeout: 3600 }));
    }
    node.timeMs += 600_000;
    expect(promote().expectations).toEqual({ total: 200, committed: 200, kept: 0, rejected: {} });
    const kernel = inKernel();
    expect(kernel.size).toBe(200);
    for (const left of kernel.values()) {
      expect(left).toBeGreaterThan(2990);
      expect(left).toBeLessThanOrEqual(3000);
    }
    const { expectations } = node.table;
    expect(expectations.countOf(OWNER_SELF)).toBe(200);
    // The peers have them under the source, and relabel: nothing is to be said.
    expect(expectations.dirtyCount).toBe(0);
  });

  it('whose time is not known get the policy’s, and one that is over gets a second', () => {
    node.hear(peer, call(1));
    hear(expected(1001));
    hear(expected(1002, 1, { timeout: 30 }));
    node.timeMs += 60_000;
    promote();
    expect(inKernel()).toEqual(
      new Map([
        [1001, 180],
        [1002, 1],
      ]),
    );
  });

  it('of a master whose packets have passed here all along are old, and put nothing out', () => {
    node.role = 'primary';
    node.term = 1;
    const own = (port: number): Memory => expected(port, 1);
    node.twin.born(makeRecord(call(1)).m, 0);
    node.drain();
    node.twin.createExpectation(own(2001), 0);
    node.drain();
    node.hear(peer, call(1));
    hear(own(1001));
    expect(promote().expectations).toEqual({ total: 0, committed: 0, kept: 0, rejected: {} });
    expect([...inKernel().keys()]).not.toContain(1001);
    expect(node.table.expectations.find(OWNER_SELF, own(1001), 0)?.isLive).toBe(false);
  });

  it('are old where the connection has announced another one here meanwhile, and the helper has room for one', () => {
    const ftp = (port: number): Memory => expected(port, 1, { class: 0, helper: 'ftp' });
    node.hear(peer, call(1, { helper: 'ftp' }));
    hear(ftp(1001));
    const { twin } = node;
    node.finish(node.promotion(), () => {
      // The master is in the kernel, and its packets pass.
      if (twin.flows.count > 0 && twin.expectations.count === 0) twin.expectations.announce(ftp(2001), 0);
    });
    expect([...inKernel().keys()]).toEqual([2001]);
    const { expectations } = node.table;
    expect(expectations.find(OWNER_SELF, ftp(1001), 0)?.isLive).toBe(false);
    expect(expectations.find(OWNER_SELF, ftp(2001), 0)?.isLive).toBe(true);
  });

  it('that the kernel has already are kept', () => {
    node.hear(peer, call(1));
    hear(expected(1001));
    node.finish(new CommitReplica(node.parts));
    expect(promote().expectations).toEqual({ total: 1, committed: 0, kept: 1, rejected: {} });
  });

  it('end with a reason, and the stream says so, where the kernel has no such helper or no master', () => {
    node.twin.knobs.helpers = new Set(['ftp']);
    node.twin.knobs.maxFlows = 1;
    node.hear(peer, call(1));
    hear(expected(1001, 1));
    node.hear(peer, call(2, { status: 0 }));
    hear(expected(1002, 2));
    expect(promote()).toMatchObject({
      committed: 1,
      withoutHelper: 2,
      rejected: { 'kernel-full': 1 },
      expectations: { total: 2, committed: 0, kept: 0, rejected: { 'no-helper': 1, 'no-master': 1 } },
    });
    const { expectations } = node.table;
    expect(expectations.countOf(OWNER_SELF)).toBe(0);
    expect(expectations.ended.size).toBe(2);
  });

  it('of which the policy has no room for let the oldest go', () => {
    node.hear(peer, call(1));
    for (let i = 0; i < 6; i++) hear(expected(1001 + i));
    expect(promote().expectations).toMatchObject({ total: 6, committed: 6 });
    expect([...inKernel().keys()]).toEqual([1003, 1004, 1005, 1006]);
    expect(node.table.expectations.countOf(OWNER_SELF)).toBe(4);
  });

  it('are asked for again when an answer was lost', () => {
    node.hear(peer, call(1));
    hear(expected(1001));
    hear(expected(1002));
    const { twin } = node;
    const create = twin.createExpectation.bind(twin);
    let asked = 0;
    twin.createExpectation = (m, at) => {
      const errno = create(m, at);
      return ++asked === 1 ? -1 : errno;
    };
    expect(promote().expectations).toMatchObject({ total: 2, committed: 2, rejected: {} });
    twin.createExpectation = () => -1;
    hear(expected(1003));
    peer.isAbsorbed = false;
    node.role = 'backup';
    expect(promote().expectations).toMatchObject({ rejected: { unanswered: 1 } });
  });

  it('of a source that still lives are followed, and our own stream says the late ones', () => {
    peer.isAlive = true;
    node.hear(peer, call(1));
    hear(expected(1001));
    const promotion = node.promotion();
    node.finish(promotion, () => {
      if (promotion.phase !== 'linger' || peer.role === 'backup') return;
      hear(expected(1002));
      peer.role = 'backup';
    });
    expect(promotion.report.expectations).toMatchObject({ total: 2, committed: 2 });
    expect([...inKernel().keys()]).toEqual([1001, 1002]);
    expect([...node.table.expectations.dirty].map((entry) => entry.record.u8[19])).toEqual([1002 & 255]);
  });

  it('are not forgotten by a promote that was stopped before it reached them', () => {
    for (let n = 1; n <= 500; n++) node.hear(peer, call(n));
    hear(expected(1001, 7));
    const stopped = node.promotion();
    node.twin.beforeRequest = () => stopped.stop();
    node.finish(stopped);
    expect(inKernel().size).toBe(0);
    node.role = 'backup';
    expect(promote().expectations).toMatchObject({ total: 1, committed: 1 });
  });
});

describe('the expectations of a commit', () => {
  it('go into the kernel and stay the peer’s', () => {
    node.hear(peer, call(1));
    hear(expected(1001));
    const commit = new CommitReplica(node.parts);
    node.finish(commit);
    expect(commit.report.expectations).toEqual({ total: 1, committed: 1, kept: 0, rejected: {} });
    expect(inKernel().size).toBe(1);
    expect(node.table.expectations.countOf(peer.owner)).toBe(1);
    expect(node.table.expectations.countOf(OWNER_SELF)).toBe(0);
  });
});
