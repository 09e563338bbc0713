import { beforeEach, describe, expect, it } from 'vitest';
import { Verification } from '../../../src/failover/verify.js';
import {
  IPPROTO_GRE,
  IPS_ASSURED,
  IPS_EXPECTED,
  IPS_FIXED_TIMEOUT,
  IPS_SEEN_REPLY,
  IPS_SRC_NAT,
  TCP_CONNTRACK_CLOSE_WAIT,
  TCP_CONNTRACK_ESTABLISHED,
} from '../../../src/flow/conntrack-enums.js';
import {
  OP_CREATE,
  OP_DELETE,
  OP_GET,
  OP_UPDATE,
  SEEN_MARK,
  SEEN_PROTOINFO,
} from '../../../src/flow/kernel-port.js';
import {
  addressBytes,
  type Memory,
  OFF_PROTOCOL,
  OFF_TIMEOUT,
  offMark,
  offState,
  offStatus,
  offWscale,
} from '../../../src/flow/record.js';
import { GRE_COMMIT_S, REJECTED_SHOWN } from '../../../src/limits.js';
import { DIRTY, FRESH, KERNEL, OWNER_SELF, PENDING, SHADOW } from '../../../src/table/slot-bits.js';
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
const udp = (port: number, more: Partial<FlowDescription> = {}): FlowDescription =>
  tcp(port, { protocol: 'udp', state: undefined, wscale: undefined, timeout: 120, ...more });
const nat = (port: number, outside: number, more: Partial<FlowDescription> = {}): FlowDescription =>
  tcp(port, {
    status: LIVE | IPS_SRC_NAT,
    reply: { source: '10.9.0.1', destination: '192.0.2.1', sourcePort: 80, destinationPort: outside },
    ...more,
  });
const status = (m: { u32: Uint32Array; u8: Uint8Array; u16: Uint16Array }): number =>
  m.u32[offStatus(addressBytes(m, 0)) >>> 2];

let node: FailoverNode;
let peer: TestPeer;

beforeEach(() => {
  node = new FailoverNode();
  peer = node.addPeer('fw1');
});

/** Puts a flow into the kernel before the promote, by traffic that the table hears of. */
function inKernel(flow: FlowDescription): NonNullable<ReturnType<FailoverNode['twin']['born']>> {
  const born = node.twin.born(makeRecord(flow).m, 0);
  node.drain();
  if (born === undefined) throw new Error('the twin refused the flow');
  return born;
}

/** Makes the flow held: the peer speaks of it, and this kernel has it in this form. */
function held(replica: FlowDescription, kernel: FlowDescription): ReturnType<typeof inKernel> {
  node.twin.isBulk = true;
  const born = inKernel(kernel);
  node.twin.isBulk = false;
  node.hear(peer, replica, KERNEL);
  return born;
}

describe('a promote', () => {
  it('creates the flows of a dead primary and makes them own', () => {
    for (let i = 0; i < 1000; i++) node.hear(peer, tcp(1000 + i));
    const promotion = node.promotion();
    node.finish(promotion);
    expect(promotion.report).toMatchObject({
      committed: 1000,
      total: 1000,
      kept: 0,
      rejected: {},
      exitCode: 0,
      reasons: [],
      term: 5001,
    });
    expect(node.twin.flows.count).toBe(1000);
    expect(node.table.countOf(OWNER_SELF)).toBe(1000);
    expect(node.difference()).toBeUndefined();
    // The peers hold the same under the source: not one flow has to be said again.
    expect(node.flush()).toEqual([]);
  });

  it('writes its state before it speaks, and speaks before it writes to the kernel', () => {
    node.hear(peer, tcp(1));
    node.twin.beforeCall = (call) => node.notes.push(call);
    node.finish(node.promotion());
    const first = node.notes.findIndex((note) => note === 'dumpStart' || note === 'execute');
    expect(node.notes.slice(0, first)).toEqual(['persist primary 1', 'role primary', 'begun fw1@100']);
    expect(node.states.at(-1)).toMatchObject({ role: 'primary', sources: [] });
  });

  it('gives an established flow the whole timeout and others at least 30 s', () => {
    node.hear(peer, tcp(1, { timeout: 300 }));
    node.hear(peer, tcp(2, { protocol: 'udp', state: undefined, wscale: undefined, timeout: 3 }));
    node.finish(node.promotion());
    const left = (port: number, more = {}): number =>
      Math.round(((node.twin.find(makeRecord(tcp(port, more)).m, 0)?.expiresAt ?? 0) - node.timeMs) / 1000);
    expect(left(1)).toBeGreaterThan(431_000);
    expect(left(2, { protocol: 'udp', state: undefined, wscale: undefined })).toBeGreaterThan(25);
  });

  it('brings back a held flow that had expired here, also when its DESTROY is read late', () => {
    held(tcp(1), tcp(1, { timeout: 2 }));
    node.timeMs += 5000; // A corpse: the dump reaps it, and only then its DESTROY is sent.
    const promotion = node.promotion();
    node.finish(promotion);
    expect(promotion.report).toMatchObject({ committed: 1 });
    expect(node.difference()).toBeUndefined();
  });

  it('leaves the NEW group for a bulk of creates only, and comes back', () => {
    const calls: string[] = [];
    node.twin.setBulk = (isBulk) => calls.push(`bulk ${isBulk} at ${node.twin.requests[OP_CREATE]}`);
    for (let i = 0; i < 5000; i++) node.hear(peer, tcp(1000 + i));
    node.finish(node.promotion());
    expect(calls).toEqual(['bulk true at 0', 'bulk false at 5000']);
  });

  it('keeps an equal held flow without a write', () => {
    held(udp(1), udp(1));
    const promotion = node.promotion();
    node.finish(promotion);
    expect(promotion.report).toMatchObject({ kept: 1, committed: 0, updated: 0 });
    expect([...node.twin.requests]).toEqual([0, 0, 0, 0, 0, 0, 0, 0]);
    expect(node.difference()).toBeUndefined();
  });

  it('gives a kept flow that was about to expire its time back', () => {
    held(udp(1), udp(1, { timeout: 2 }));
    const promotion = node.promotion();
    node.finish(promotion);
    expect(promotion.report).toMatchObject({ kept: 1, updated: 0 });
    const flow = node.twin.find(makeRecord(udp(1)).m, 0);
    expect((flow?.expiresAt ?? 0) - node.timeMs).toBeGreaterThan(25_000);
  });

  it('updates a held flow that fell behind', () => {
    held(udp(1, { mark: 5 }), udp(1, { mark: 1 }));
    const promotion = node.promotion();
    node.finish(promotion);
    expect(promotion.report).toMatchObject({ updated: 1, kept: 0, committed: 0 });
    expect(node.kernelRecord(udp(1))?.u32[offMark(4) >>> 2]).toBe(5);
    expect(node.difference()).toBeUndefined();
  });

  it('never clears a sticky bit by an update', () => {
    held(udp(1, { status: IPS_SEEN_REPLY, mark: 9 }), udp(1));
    node.finish(node.promotion());
    const m = node.kernelRecord(udp(1));
    expect(m && status(m)).toBe(LIVE);
    expect(m?.u32[offMark(4) >>> 2]).toBe(9);
    expect(node.difference()).toBeUndefined();
  });

  it('creates a held TCP flow anew, for its windows are those of the time before', () => {
    const flow = held(tcp(1), tcp(1));
    const behind = held(tcp(2, { state: TCP_CONNTRACK_CLOSE_WAIT }), tcp(2));
    const promotion = node.promotion();
    node.finish(promotion);
    expect(promotion.report).toMatchObject({ replaced: 2, kept: 0, updated: 0, committed: 0 });
    expect([flow.place, behind.place]).toEqual([-1, -1]);
    expect(node.kernelRecord(tcp(2))?.u8[offState(4)]).toBe(TCP_CONNTRACK_CLOSE_WAIT);
    expect(node.difference()).toBeUndefined();
  });

  it('creates an own TCP flow anew that the new primary speaks of as well', () => {
    const flow = inKernel(tcp(1));
    // As after the return of a primary that was taken over: what the other says stands in the shadow of ours.
    node.role = 'primary';
    node.hear(peer, tcp(1));
    node.role = 'backup';
    const promotion = node.promotion();
    node.finish(promotion);
    expect(promotion.report).toMatchObject({ total: 1, replaced: 1, kept: 0 });
    expect(flow.place).toBe(-1);
    expect(node.difference()).toBeUndefined();
  });

  it('leaves TCP flows alone that a primary has had all along', () => {
    node.role = 'primary';
    node.term = 1;
    const flow = held(tcp(1), tcp(1));
    const promotion = node.promotion();
    node.finish(promotion);
    expect(promotion.report).toMatchObject({ replaced: 0, kept: 1 });
    expect(flow.place).not.toBe(-1);
  });

  it('replaces a held flow whose translation differs', () => {
    const flow = held(nat(1, 7001), nat(1, 7002));
    const promotion = node.promotion();
    node.finish(promotion);
    expect(promotion.report).toMatchObject({ replaced: 1, committed: 0 });
    expect(flow.place).toBe(-1);
    expect(node.twin.find(makeRecord(nat(1, 7001)).m, 0)?.reply).toBe(
      node.twin.flows.byTuple.get(node.twin.find(makeRecord(nat(1, 7001)).m, 0)?.reply ?? '')?.reply,
    );
    expect(node.difference()).toBeUndefined();
  });

  it('joins a flow that was touched here with what the primary said', () => {
    const flow = held(tcp(1), tcp(1, { status: IPS_SEEN_REPLY, mark: 3 }));
    // As a backup's kernel is touched: the record stays the primary's.
    node.twin.change(flow, SEEN_PROTOINFO, (m) => {
      m.u8[offState(4)] = TCP_CONNTRACK_CLOSE_WAIT;
    });
    node.drain();
    const promotion = node.promotion();
    node.finish(promotion);
    expect(promotion.report).toMatchObject({ replaced: 1 });
    const m = node.kernelRecord(tcp(1));
    expect(m && status(m)).toBe(LIVE);
    expect(m?.u8[offState(4)]).toBe(TCP_CONNTRACK_CLOSE_WAIT);
    expect(m?.u32[offMark(4) >>> 2]).toBe(3);
    expect(node.difference()).toBeUndefined();
  });

  it('commits a flow that a backup speaks of between the first look at it and the takeover', () => {
    node.hear(peer, tcp(1));
    const other = node.addPeer('fw3', { role: 'backup', primaryTerm: 0, isAlive: true });
    let isSaid = false;
    const leaves = () => {
      if (!isSaid) node.hear(other, tcp(1, { mark: 9 }));
      isSaid = true;
      return { sources: [] };
    };
    const promotion = node.promotion({ leaves });
    node.finish(promotion);
    expect(promotion.report).toMatchObject({ total: 1, committed: 1 });
    expect(node.kernelRecord(tcp(1))).toBeDefined();
    expect(node.table.owner(node.slotOf(tcp(1)))).toBe(OWNER_SELF);
    expect(node.difference()).toBeUndefined();
  });

  it('lets a live flow that was born here meanwhile live, and replaces one that has seen one packet', () => {
    node.hear(peer, nat(1, 7001));
    node.hear(peer, nat(2, 7002));
    const promotion = node.promotion();
    // Traffic is faster than the commit, and picks other ports.
    const later = (port: number, status: number): void => {
      node.twin.born(makeRecord(nat(port, 9000 + port, { status })).m, 0);
    };
    node.twin.beforeRequest = (verb) => {
      if (verb !== OP_CREATE) return;
      node.twin.beforeRequest = undefined;
      later(1, LIVE | IPS_SRC_NAT);
      later(2, IPS_SRC_NAT);
    };
    node.finish(promotion);
    expect(promotion.report.rejected).toEqual({ 'live-here': 1 });
    expect(promotion.report.replaced).toBe(1);
    node.drain();
    expect(node.difference()).toBeUndefined();
  });

  it('takes the reply tuple from a flow that holds it, unless that is live and new', () => {
    // A backup's own flow, born before, holds outside port 7001.
    inKernel(nat(50, 7001));
    node.hear(peer, nat(1, 7001));
    const promotion = node.promotion();
    node.finish(promotion);
    expect(promotion.report).toMatchObject({ replaced: 1, rejected: {} });
    expect(node.kernelRecord(nat(50, 7001))).toBeUndefined();
    expect(node.slotOf(nat(50, 7001))).toBe(-1);
    expect(node.difference()).toBeUndefined();
  });

  it('gives way to a live new flow that holds the reply tuple', () => {
    node.hear(peer, nat(1, 7001));
    const promotion = node.promotion();
    node.twin.beforeRequest = (verb) => {
      if (verb === OP_CREATE) node.twin.born(makeRecord(nat(50, 7001)).m, 0);
    };
    node.finish(promotion);
    expect(promotion.report.rejected).toEqual({ 'reply-taken': 1 });
    expect(node.slotOf(nat(1, 7001))).toBe(-1);
    expect(node.flush()).toContain('delete');
    expect(node.difference()).toBeUndefined();
  });

  it('creates again when only a corpse held the reply tuple', () => {
    node.twin.born(makeRecord(nat(50, 7001, { timeout: 1 })).m, 0, { isDeaf: true });
    node.timeMs += 5000;
    node.hear(peer, nat(1, 7001));
    // The dump would reap it: it has to become a corpse in between.
    node.twin.dumpStart = () => {};
    node.twin.dumpNext = () => 1;
    const promotion = node.promotion();
    node.finish(promotion);
    expect(promotion.report).toMatchObject({ committed: 1, rejected: {} });
  });

  it('creates a child after its master', () => {
    const master = tcp(21);
    const child = tcp(2021, { destinationPort: 2000, master, status: LIVE | IPS_EXPECTED });
    // The child changed last, and would come first.
    node.table.setChangedAt(node.hear(peer, child), 9, 1001);
    node.table.setChangedAt(node.hear(peer, master), 1, 1);
    const promotion = node.promotion();
    node.finish(promotion);
    expect(promotion.report).toMatchObject({ committed: 2, withoutMaster: 0 });
    const m = node.kernelRecord(child);
    expect(m && status(m) & IPS_EXPECTED).toBe(IPS_EXPECTED);
  });

  it('replaces a child that the kernel has in another life after its master, too', () => {
    const master = tcp(21);
    const child = tcp(2021, { destinationPort: 2000, master, status: LIVE | IPS_EXPECTED });
    held(child, tcp(2021, { destinationPort: 2000, status: 0 }));
    node.hear(peer, master);
    for (let port = 3000; port < 3040; port++) inKernel(tcp(port));
    const promotion = node.promotion();
    node.finish(promotion);
    expect(promotion.report).toMatchObject({ committed: 1, replaced: 1, withoutMaster: 0 });
    expect(node.difference()).toBeUndefined();
  });

  it('tells the peers of a child without its master as of another life', () => {
    const child = tcp(2021, { destinationPort: 2000, master: tcp(21), status: LIVE | IPS_EXPECTED });
    const slot = node.hear(peer, child);
    node.finish(node.promotion());
    expect(node.table.bits(slot) & FRESH).toBe(FRESH);
  });

  it('takes a higher term when it takes over from a higher one, also as a primary', () => {
    const promotion = node.promotion({ role: 'primary', term: 5 });
    expect(promotion.term).toBeGreaterThan(7);
  });

  it('takes a higher term than who becomes primary while it is at work', () => {
    node.hear(peer, tcp(1));
    const promotion = node.promotion();
    peer.primaryTerm = node.highestTerm = 9000;
    node.finish(promotion);
    expect([node.term, promotion.report.term, node.states.at(-1)?.term]).toEqual([9001, 9001, 9001]);
    peer.primaryTerm = node.highestTerm = 9500;
    peer.isAbsorbed = false;
    node.finish(node.promotion({ only: [peer.node] }));
    expect(node.term).toBe(9501);
  });

  it('as a primary stays at its term, and rises above a source that was promoted while it is at work', () => {
    node.hear(peer, tcp(1));
    node.role = 'primary';
    node.term = 8;
    node.highestTerm = 9000;
    node.finish(node.promotion());
    expect(node.states.at(-1)?.term).toBe(8);
    node.hear(peer, tcp(2));
    peer.isAbsorbed = false;
    const promotion = node.promotion();
    peer.primaryTerm = 9500;
    node.highestTerm = 9500;
    node.finish(promotion);
    expect([node.term, node.states.at(-1)?.term]).toEqual([9501, 9501]);
  });

  it('creates a child whose master is gone without it, and says so', () => {
    const child = tcp(2021, { destinationPort: 2000, master: tcp(21), status: LIVE | IPS_EXPECTED });
    const slot = node.hear(peer, child);
    const promotion = node.promotion();
    node.finish(promotion);
    expect(promotion.report).toMatchObject({ committed: 1, withoutMaster: 1, rejected: {} });
    expect(node.table.bits(slot) & (KERNEL | DIRTY | PENDING)).toBe(KERNEL | DIRTY);
    expect(node.difference()).toBeUndefined();
  });

  it('creates a flow whose helper this kernel lacks without it', () => {
    node.hear(peer, tcp(1, { helper: 'h323' }));
    const promotion = node.promotion();
    node.finish(promotion);
    expect(promotion.report).toMatchObject({ committed: 1, withoutHelper: 1 });
    expect(node.difference()).toBeUndefined();
  });

  it('tries once more at the end where the kernel had no room, then leaves the flow out', () => {
    for (let i = 0; i < 5; i++) node.hear(peer, tcp(1000 + i));
    node.twin.knobs.maxFlows = 2;
    const promotion = node.promotion();
    node.twin.beforeRequest = () => {
      if (node.twin.requests[OP_CREATE] === 5) node.twin.knobs.maxFlows = 4;
    };
    node.finish(promotion);
    expect(promotion.report).toMatchObject({
      committed: 4,
      rejected: { 'kernel-full': 1 },
      exitCode: 3,
      reasons: ["this kernel's table is full, flows without room: 1; raise nf_conntrack_max"],
    });
    expect(node.flush()).toEqual(['delete']);
    expect(node.difference()).toBeUndefined();
  });

  it('leaves out what the kernel never takes', () => {
    node.hear(peer, tcp(1, { state: 12 }));
    const promotion = node.promotion();
    node.finish(promotion);
    expect(promotion.report.rejected).toEqual({ refused: 1 });
    expect(node.slotOf(tcp(1))).toBe(-1);
  });

  it('asks when answers were lost, and creates nothing twice', () => {
    for (let i = 0; i < 20; i++) node.hear(peer, tcp(1000 + i));
    node.twin.forced.push({ verb: OP_CREATE, errno: -1, times: 20 });
    const promotion = node.promotion();
    node.finish(promotion);
    expect(promotion.report).toMatchObject({ committed: 20, rejected: {} });
    expect(node.twin.flows.count).toBe(20);
    expect(node.difference()).toBeUndefined();
  });

  it('takes a lost answer for no answer, not for a success', () => {
    node.hear(peer, nat(1, 7001));
    node.twin.beforeRequest = () => {
      node.twin.beforeRequest = undefined;
      node.twin.born(makeRecord(nat(1, 9001, { status: IPS_SRC_NAT })).m, 0, { isDeaf: true });
    };
    node.twin.forced.push({ verb: OP_CREATE, errno: -1, times: 1 });
    const promotion = node.promotion();
    node.finish(promotion);
    expect(promotion.report).toMatchObject({ replaced: 1, rejected: {} });
    expect(node.difference()).toBeUndefined();
  });

  it('follows a flow that traffic changes right after it was created', () => {
    node.hear(peer, tcp(1));
    const promotion = node.promotion();
    let isChanged = false;
    node.finish(promotion, () => {
      const flow = node.twin.find(makeRecord(tcp(1)).m, 0);
      if (isChanged || flow === undefined) return;
      isChanged = true;
      node.twin.change(flow, SEEN_PROTOINFO, (m) => {
        m.u8[offState(4)] = TCP_CONNTRACK_CLOSE_WAIT;
      });
    });
    expect(promotion.report).toMatchObject({ committed: 1, total: 1 });
    expect(node.difference()).toBeUndefined();
    expect(node.flush()).toEqual(['upsert']);
  });

  it('believes the end of a flow it created, whatever id the source’s kernel had given it', () => {
    node.hear(peer, tcp(1, { id: 123 }));
    node.finish(node.promotion());
    const flow = node.twin.find(makeRecord(tcp(1)).m, 0);
    if (flow !== undefined) node.twin.die(flow);
    node.drain();
    expect(node.slotOf(tcp(1))).toBe(-1);
  });

  it('survives a storm of EEXIST of which most answers get lost', () => {
    const flows = Array.from({ length: 300 }, (_, i) => i);
    for (const i of flows) node.hear(peer, nat(1000 + i, 7000 + i));
    // Born here behind the dump, with other outside ports: each one is a conflict.
    node.twin.knobs.answersMax = 19;
    node.twin.beforeRequest = (verb) => {
      if (verb !== OP_CREATE) return;
      node.twin.beforeRequest = undefined;
      for (const i of flows) {
        node.twin.born(makeRecord(nat(1000 + i, 20_000 + i, { status: IPS_SRC_NAT })).m, 0);
      }
    };
    const promotion = node.promotion();
    node.finish(promotion);
    expect(promotion.report.rejected).toEqual({});
    node.drain();
    for (const i of flows) expect(node.kernelRecord(nat(1000 + i, 7000 + i))).toBeDefined();
    expect(node.difference()).toBeUndefined();
  });

  it('gives up after three tries where traffic is always faster', () => {
    node.hear(peer, nat(1, 7001));
    let port = 20_000;
    node.twin.beforeRequest = (verb) => {
      if (verb === OP_CREATE) node.twin.born(makeRecord(nat(1, port++, { status: IPS_SRC_NAT })).m, 0);
    };
    const promotion = node.promotion();
    node.finish(promotion);
    expect(promotion.report.rejected).toEqual({ conflict: 1 });
    expect(node.twin.requests[OP_DELETE]).toBe(3);
  });

  it('follows the kernel where an update failed half way', () => {
    node.twin.knobs.hasLabels = false;
    held(udp(1, { labels: 4, mark: 8 }), udp(1));
    const promotion = node.promotion();
    node.finish(promotion);
    expect(promotion.report).toMatchObject({ updated: 1 });
    expect(node.twin.requests[OP_UPDATE]).toBe(1);
    expect(node.difference()).toBeUndefined();
  });

  it('says nothing about flows that ended on the primary and only wait here for their purge', () => {
    held(tcp(1), tcp(1));
    node.table.clearImage(node.slotOf(tcp(1)));
    const promotion = node.promotion();
    node.finish(promotion);
    expect(promotion.report.total).toBe(0);
  });

  it('does not build on what the primary said last of a flow that ended there and lives here', () => {
    // The kernel has it as it was at the last takeover; an event tells only what changes.
    const kernel = held(tcp(1, { state: TCP_CONNTRACK_CLOSE_WAIT }), tcp(1));
    node.table.clearImage(node.slotOf(tcp(1)));
    node.finish(node.promotion());
    node.twin.change(kernel, SEEN_MARK, (m) => {
      m.u32[offMark(4) >>> 2] = 5;
    });
    node.drain();
    expect(node.difference()).toBeUndefined();
    expect(node.twin.requests[OP_GET]).toBe(1);
    node.twin.change(kernel, SEEN_MARK, (m) => {
      m.u32[offMark(4) >>> 2] = 6;
    });
    node.drain();
    expect(node.difference()).toBeUndefined();
    expect(node.twin.requests[OP_GET]).toBe(1);
  });

  it('does so neither while it waits for what a source that lives still says', () => {
    peer.isAlive = true;
    const kernel = held(tcp(1, { state: TCP_CONNTRACK_CLOSE_WAIT }), tcp(1));
    node.table.clearImage(node.slotOf(tcp(1)));
    let isChanged = false;
    const promotion = node.promotion();
    node.finish(promotion, () => {
      if (isChanged || promotion.phase !== 'linger') return;
      isChanged = true;
      node.twin.change(kernel, SEEN_MARK, (m) => {
        m.u32[offMark(4) >>> 2] = 5;
      });
    });
    expect(isChanged).toBe(true);
    expect(node.difference()).toBeUndefined();
  });
});

describe('the report of a promote', () => {
  it('names the first flows that were rejected, and why', () => {
    node.twin.knobs.maxFlows = 5;
    for (let i = 0; i < 5 + REJECTED_SHOWN + 1; i++) node.hear(peer, tcp(1000 + i));
    const promotion = node.promotion();
    node.finish(promotion);
    const { rejected, rejectedFlows } = promotion.report;
    expect(rejected).toEqual({ 'kernel-full': REJECTED_SHOWN + 1 });
    expect(rejectedFlows).toHaveLength(REJECTED_SHOWN);
    for (const { reason, record } of rejectedFlows) {
      expect(reason).toBe('kernel-full');
      expect(node.twin.find(record, 0)).toBeUndefined();
    }
  });

  it('says of each source how much there was, and whether it was proven and alive', () => {
    const other = node.addPeer('fw0', { primaryTerm: 3, isProven: false });
    node.hear(peer, tcp(1));
    node.hear(other, tcp(2));
    node.hear(other, tcp(3));
    const promotion = node.promotion();
    node.finish(promotion);
    expect(promotion.report.sources).toMatchObject([
      { node: 'fw1', term: 7, flows: 1, expectations: 0, isProven: true, isAlive: false },
      { node: 'fw0', term: 3, flows: 2, isProven: false },
    ]);
  });
});

describe('an offloaded TCP flow', () => {
  const offload = (flow: FlowDescription): void => {
    inKernel(flow).isOffloaded = true;
  };
  const state = (m: Memory, at: number): number => m.u8[at + offState(4)];

  it('shows no state in a dump: an audit keeps what is known, and verify sees no difference', () => {
    node.role = 'primary';
    offload(tcp(1));
    node.flush();
    const audit = node.audit('repair');
    node.finish(audit);
    expect(audit.progress).toMatchObject({ repaired: 0, added: 0, removed: 0 });
    expect(state(node.table.memory, node.table.recordAt(node.slotOf(tcp(1))))).toBe(
      TCP_CONNTRACK_ESTABLISHED,
    );
    const verification = new Verification({ ...node.parts, generations: node.generations });
    node.finish(verification);
    expect(verification.report).toMatchObject({ flows: 1, differing: 0 });
    expect(node.flush()).toEqual([]);
  });

  it('of which no state was ever told is committed as established, with the widest windows', () => {
    const unknown = tcp(1, { state: undefined, wscale: undefined, timeout: undefined });
    node.hear(peer, unknown);
    node.finish(node.promotion());
    const flow = node.twin.find(makeRecord(unknown).m, 0);
    expect(flow && [state(flow.m, 0), flow.m.u8[offWscale(4)]]).toEqual([TCP_CONNTRACK_ESTABLISHED, 0xee]);
    expect((flow?.expiresAt ?? 0) - node.timeMs).toBeGreaterThan(400_000_000);
    expect(node.difference()).toBeUndefined();
  });
});

describe('a GRE flow', () => {
  it('gets a fixed timeout, which the own record says as well', () => {
    const gre = tcp(1, { protocol: 'udp', state: undefined, wscale: undefined, timeout: 20 });
    const { m } = makeRecord(gre);
    m.u8[OFF_PROTOCOL] = IPPROTO_GRE;
    const slot = node.table.insert(m, 0, peer.owner);
    node.table.currentHash(slot);
    node.table.setImage(slot, node.table.hash.lo, node.table.hash.hi);
    node.finish(node.promotion());
    const flow = node.twin.find(m, 0);
    expect(flow && status(flow.m)).toBe(LIVE | IPS_FIXED_TIMEOUT);
    expect((flow?.expiresAt ?? 0) - node.timeMs).toBeGreaterThan(GRE_COMMIT_S * 999);
    expect(node.difference()).toBeUndefined();
    expect(node.flush()).toEqual(['upsert']);
  });

  it('that is held with a fixed timeout is created anew when much of that has passed, and when it would be fixed short', () => {
    const fixed = IPS_SEEN_REPLY | IPS_FIXED_TIMEOUT;
    const gre = (port: number, status: number, timeout: number) => {
      const { m } = makeRecord(
        tcp(port, { protocol: 'udp', state: undefined, wscale: undefined, status, timeout }),
      );
      m.u8[OFF_PROTOCOL] = IPPROTO_GRE;
      return m;
    };
    const heldSo = (port: number, status: number, kernelStatus: number, left: number): void => {
      node.twin.isBulk = true;
      node.twin.born(gre(port, kernelStatus, left), 0);
      node.twin.isBulk = false;
      const slot = node.table.insert(gre(port, status, 20), 0, peer.owner, KERNEL);
      node.table.currentHash(slot);
      node.table.setImage(slot, node.table.hash.lo, node.table.hash.hi);
    };
    heldSo(1, fixed, fixed, GRE_COMMIT_S - 100);
    heldSo(2, fixed, fixed, 100);
    heldSo(3, fixed, IPS_SEEN_REPLY, 30);
    heldSo(4, IPS_SEEN_REPLY, IPS_SEEN_REPLY, 30);
    const promotion = node.promotion();
    node.finish(promotion);
    expect(promotion.report).toMatchObject({ total: 4, kept: 2, replaced: 2 });
    const left = [1, 2, 3].map((port) => (node.twin.find(gre(port, 0, 1), 0)?.expiresAt ?? 0) - node.timeMs);
    for (const ms of left) expect(ms).toBeGreaterThan((GRE_COMMIT_S - 1000) * 1000);
    expect(node.difference()).toBeUndefined();
  });
});

describe('the sources of a promote', () => {
  it('are the peers that were primary, the highest term first', () => {
    const older = node.addPeer('fw0', { primaryTerm: 3 });
    const backup = node.addPeer('fw9', { primaryTerm: 0, role: 'backup' });
    node.hear(older, tcp(1, { mark: 3 }));
    node.hear(backup, tcp(2));
    node.hear(peer, tcp(1, { mark: 7 }));
    const promotion = node.promotion();
    node.finish(promotion);
    expect(promotion.report.sources.map((source) => source.node)).toEqual(['fw1', 'fw0']);
    expect(node.kernelRecord(tcp(2))).toBeUndefined();
    expect(node.kernelRecord(tcp(1))?.u32[offMark(4) >>> 2]).toBe(7);
  });

  it('that are absorbed are none, and a promote without source says so with exit code 3', () => {
    peer.isAbsorbed = true;
    node.hear(peer, tcp(1));
    const promotion = node.promotion();
    node.finish(promotion);
    expect(promotion.report).toMatchObject({ exitCode: 3, committed: 0, sources: [] });
    expect(node.role).toBe('primary');
  });

  it('are all peers when nobody ever was primary, with exit code 3', () => {
    peer.primaryTerm = 0;
    peer.role = 'backup';
    node.hear(peer, tcp(1));
    const promotion = node.promotion();
    node.finish(promotion);
    expect(promotion.report).toMatchObject({
      committed: 1,
      exitCode: 3,
      reasons: ['no peer was ever primary'],
    });
  });

  it('that are suspect are committed all the same, with exit code 3', () => {
    peer.isProven = false;
    node.hear(peer, tcp(1));
    const promotion = node.promotion();
    node.finish(promotion);
    expect(promotion.report).toMatchObject({
      committed: 1,
      exitCode: 3,
      reasons: ['the replica of fw1 is not proven'],
    });
  });

  it('that still live are followed until they step back', () => {
    peer.isAlive = true;
    node.hear(peer, tcp(1, { mark: 1 }));
    const promotion = node.promotion();
    let turns = 0;
    node.finish(promotion, () => {
      turns++;
      if (promotion.phase !== 'linger' || peer.role === 'backup') return;
      node.hear(peer, tcp(2));
      node.hear(peer, tcp(1, { mark: 1, state: TCP_CONNTRACK_CLOSE_WAIT }));
      peer.role = 'backup';
    });
    expect(turns).toBeLessThan(100);
    expect(node.kernelRecord(tcp(2))).toBeDefined();
    expect(node.kernelRecord(tcp(1))?.u8[offState(4)]).toBe(TCP_CONNTRACK_CLOSE_WAIT);
    // Our stream has not spoken of it yet, whatever the source's has said.
    expect(node.table.hasImage(node.slotOf(tcp(2)))).toBe(false);
    expect(node.flush()).toEqual(['upsert', 'upsert']);
    expect(node.difference()).toBeUndefined();
  });

  it('that speak late of a flow that a third node has as well have it taken over, and the third keeps its word', () => {
    peer.isAlive = true;
    const third = node.addPeer('fw3', { primaryTerm: 0, role: 'backup', isAlive: true });
    const theirs = node.hear(third, tcp(2, { mark: 3 }));
    const promotion = node.promotion();
    node.finish(promotion, () => {
      if (promotion.phase !== 'linger' || peer.role === 'backup') return;
      const { m } = makeRecord(tcp(2, { mark: 4 }));
      node.table.setImage(node.table.insert(m, 0, peer.owner, SHADOW), 1, 1);
      peer.role = 'backup';
    });
    const own = node.slotOf(tcp(2));
    expect([node.table.owner(own), node.table.owner(theirs)]).toEqual([OWNER_SELF, third.owner]);
    expect(node.table.bits(theirs) & PENDING).toBe(0);
    expect(node.difference()).toBeUndefined();
  });

  it('that live and stay primary are followed for a second', () => {
    peer.isAlive = true;
    const promotion = node.promotion();
    const before = node.timeMs;
    node.finish(promotion);
    expect(node.timeMs - before).toBeGreaterThanOrEqual(1000);
    expect(node.timeMs - before).toBeLessThan(1200);
  });
});

describe('promoting again', () => {
  it('changes nothing when all is taken over', () => {
    node.hear(peer, tcp(1));
    node.finish(node.promotion());
    const term = node.term;
    node.notes.length = 0;
    const again = node.promotion();
    node.finish(again);
    expect(again.report).toMatchObject({ exitCode: 0, committed: 0, kept: 0, term });
    expect(node.notes).toEqual([]);
  });

  it('after a stop goes on where it was stopped', () => {
    for (let i = 0; i < 500; i++) node.hear(peer, tcp(1000 + i));
    const promotion = node.promotion();
    node.twin.beforeRequest = () => {
      if (node.twin.requests[OP_CREATE] === 200) promotion.stop();
    };
    node.finish(promotion);
    expect(promotion.phase).toBe('stopped');
    expect(node.twin.flows.count).toBeLessThan(300);
    node.role = 'backup';
    const again = node.promotion();
    node.finish(again);
    expect(node.twin.flows.count).toBe(500);
    expect(again.report.committed).toBeLessThan(301);
    const { committed, kept, replaced } = again.report;
    expect(committed + kept + replaced).toBe(again.report.total);
    expect(node.difference()).toBeUndefined();
  });

  it('after a crash at any kernel call ends as one promote does', () => {
    const flows = [
      ...Array.from({ length: 150 }, (_, i) => tcp(1000 + i)),
      ...Array.from({ length: 50 }, (_, i) => nat(3000 + i, 7000 + i)),
    ];
    // Found by a run without a crash.
    const calls = crashAt(flows, Number.POSITIVE_INFINITY);
    expect(calls).toBeGreaterThan(100);
    for (let at = 1; at < calls; at += 7) crashAt(flows, at);
  });
});

class Crash extends Error {}

/** Promotes and crashes at the n-th kernel call or request, restarts, promotes again, and checks what came out. */
function crashAt(flows: readonly FlowDescription[], at: number): number {
  node = new FailoverNode();
  let calls = 0;
  const tick = (): void => {
    if (++calls === at) throw new Crash();
  };
  const join = (): void => {
    peer = node.addPeer('fw1', { isAlive: false });
    for (const flow of flows) node.hear(peer, flow);
  };
  for (const flow of flows.slice(0, 20)) node.twin.born(makeRecord({ ...flow, mark: 77 }).m, 0);
  node.drain();
  join();
  node.twin.beforeRequest = tick;
  node.twin.beforeCall = tick;
  try {
    node.finish(node.promotion());
  } catch (error) {
    if (!(error instanceof Crash)) throw error;
    node.restart();
  }
  const total = calls;
  node.twin.beforeRequest = undefined;
  node.twin.beforeCall = undefined;
  if (total < at) return total;
  // The first dump of a restored primary: all is own. Then a living peer fills the replica again.
  const state = node.states.at(-1);
  node.role = state?.role ?? 'backup';
  node.term = state?.term ?? 0;
  node.finish(node.audit('repair'));
  node.flush();
  join();
  node.finish(node.promotion({ resumed: state?.sources ?? [] }));
  node.drain();
  expect(node.twin.flows.count).toBe(flows.length);
  expect(node.difference()).toBeUndefined();
  return total;
}

describe('the timeout field', () => {
  it('of a committed flow is never the one an event told for an established flow', () => {
    node.hear(peer, tcp(1, { timeout: 299 }));
    let told = 0;
    node.twin.beforeRequest = (verb, m, at) => {
      if (verb === OP_CREATE) told = m.u32[(at + OFF_TIMEOUT) >>> 2];
    };
    node.finish(node.promotion());
    expect(told).toBe(432_000);
  });
});
