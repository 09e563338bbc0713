import { beforeEach, describe, expect, it } from 'vitest';
import {
  IPS_ASSURED,
  IPS_EXPECTED,
  IPS_FIXED_TIMEOUT,
  IPS_SEEN_REPLY,
  IPS_SRC_NAT,
  TCP_CONNTRACK_CLOSE_WAIT,
  TCP_CONNTRACK_ESTABLISHED,
  TCP_CONNTRACK_SYN_SENT,
} from '../../../src/flow/conntrack-enums.js';
import {
  EVENT_UPDATE,
  KernelBatch,
  OP_CREATE,
  OP_DELETE,
  OP_GET,
  OP_RETIME,
  OP_UPDATE,
  SEEN_MARK,
  SEEN_PROTOINFO,
} from '../../../src/flow/kernel-port.js';
import {
  addressBytes,
  findPart,
  type Memory,
  OFF_TIMEOUT,
  offMark,
  offState,
  PART_MASTER,
} from '../../../src/flow/record.js';
import { HELD_RENEW_S, HELD_TIMEOUT_S, REINJECT_PAUSE_S } from '../../../src/limits.js';
import {
  FRESH,
  KERNEL,
  OWNER_SELF,
  PENDING,
  REJECTED,
  SHADOW,
  TOUCHED,
} from '../../../src/table/slot-bits.js';
import type { TestPeer } from '../../simulation/failover-node.js';
import { HotNode } from '../../simulation/hot-node.js';
import { replyKey } from '../../simulation/kernel-twin-flows.js';
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
const udp = (port: number, more: Partial<FlowDescription> = {}): FlowDescription =>
  tcp(port, { protocol: 'udp', state: undefined, wscale: undefined, timeout: 30, ...more });
const markOf = (m: Memory | undefined): number | undefined => m?.u32[offMark(addressBytes(m, 0)) >>> 2];
const stateOf = (m: Memory | undefined): number | undefined => m?.u8[offState(addressBytes(m, 0))];

let node: HotNode;
let fw1: TestPeer;

beforeEach(() => {
  node = new HotNode();
  fw1 = node.addPeer('fw1', { isAlive: true });
  node.run();
});

const leftOf = (flow: FlowDescription): number =>
  Math.round(((node.twin.find(makeRecord(flow).m, 0)?.expiresAt ?? 0) - node.timeMs) / 1000);

/** Somebody with this port id deletes the flow from the kernel. */
function deleteAs(portId: number, flow: FlowDescription): void {
  const batch = new KernelBatch(1);
  const { m, at } = makeRecord(flow);
  batch.add(OP_DELETE, 0, m, at);
  node.twin.executeAs(portId, batch);
  expect(batch.errno[0]).toBe(0);
}

describe('a hot backup', () => {
  it('has what the primary has: created, updated, deleted as the stream says', () => {
    for (let i = 0; i < 500; i++)
      node.upsert(fw1, tcp(1000 + i, { state: TCP_CONNTRACK_SYN_SENT, status: 0 }));
    node.run();
    expect(node.outOfStep(fw1)).toBeUndefined();
    expect(node.twin.flows.count).toBe(500);
    for (let i = 0; i < 500; i++) node.upsert(fw1, tcp(1000 + i, { mark: i }));
    for (let i = 0; i < 100; i++) node.remove(fw1, tcp(1000 + i));
    node.run();
    expect(node.outOfStep(fw1)).toBeUndefined();
    expect(node.twin.flows.count).toBe(400);
    expect(markOf(node.kernelRecord(tcp(1400)))).toBe(400);
    expect(node.hot.report).toMatchObject({ source: 'fw1', held: 400, waiting: 0, lagMs: 0, created: 500 });
    expect(node.table.countOf(OWNER_SELF)).toBe(0);
  });

  it('costs one request for any number of changes before its turn, and none for a flow born and dead', () => {
    node.upsert(fw1, tcp(1, { state: TCP_CONNTRACK_SYN_SENT, status: 0 }));
    for (let mark = 0; mark < 9; mark++) node.upsert(fw1, tcp(1, { mark }));
    node.upsert(fw1, tcp(2));
    node.remove(fw1, tcp(2));
    node.run();
    expect([...node.twin.requests.subarray(0, 6)]).toEqual([0, 1, 0, 0, 0, 0]);
    expect(markOf(node.kernelRecord(tcp(1)))).toBe(8);
  });

  it('writes nothing when the same is said again', () => {
    node.upsert(fw1, tcp(1));
    node.run();
    node.upsert(fw1, tcp(1));
    node.run();
    expect([...node.twin.requests.subarray(0, 6)]).toEqual([0, 1, 0, 0, 0, 0]);
  });

  it('never follows a mere backup, nor a node whose tenure was taken over', () => {
    const fw3 = node.addPeer('fw3', { isAlive: true, role: 'backup', primaryTerm: 0 });
    const fw4 = node.addPeer('fw4', { isAlive: true, role: 'backup', primaryTerm: 3, isAbsorbed: true });
    node.upsert(fw3, tcp(3));
    node.upsert(fw4, tcp(4));
    node.run(20_000, 100);
    expect(node.twin.flows.count).toBe(0);
  });

  it('follows nobody where nobody ever was primary', () => {
    fw1.role = 'backup';
    fw1.primaryTerm = 0;
    node.upsert(fw1, tcp(1));
    node.run(20_000, 100);
    expect(node.twin.flows.count).toBe(0);
    expect(node.hot.report.source).toBe('');
  });

  it('follows the last primary when it has died, until somebody takes over', () => {
    node.upsert(fw1, tcp(1));
    fw1.isAlive = false;
    node.run();
    expect(node.outOfStep(fw1)).toBeUndefined();
    const fw3 = node.addPeer('fw3', { isAlive: true, primaryTerm: 9 });
    node.upsert(fw3, tcp(3));
    node.run();
    expect(node.kernelRecord(tcp(3))).toBeDefined();
    // The third node's DECLARE: all of it has another label now, and nothing is written for that.
    const before = [...node.twin.requests];
    node.table.relabel(fw1.owner, fw3.owner);
    fw1.isAbsorbed = true;
    node.run();
    expect([...node.twin.requests]).toEqual(before);
    expect(node.outOfStep(fw3)).toBeUndefined();
  });

  it('brings all that is missing into the kernel when it starts to follow', () => {
    node.role = 'primary';
    node.run();
    for (let i = 0; i < 3000; i++) node.upsert(fw1, tcp(1000 + i));
    expect(node.twin.flows.count).toBe(0);
    node.role = 'backup';
    node.run(100);
    expect(node.twin.flows.count).toBe(3000);
    expect(node.outOfStep(fw1)).toBeUndefined();
  });

  it('gives held flows minutes, and gives them again before they are over, so that none expires here', () => {
    node.upsert(fw1, udp(1));
    node.upsert(fw1, tcp(2));
    node.run();
    expect(leftOf(udp(1))).toBe(HELD_TIMEOUT_S);
    expect(leftOf(tcp(2))).toBe(432_000);
    for (let i = 0; i < 40; i++) {
      node.run(50_000, 1000);
      expect(leftOf(udp(1))).toBeGreaterThan(HELD_RENEW_S - 30);
    }
    expect(node.twin.requests[OP_CREATE]).toBe(2);
  });

  it('makes TCP flows anew that were here before it followed: their windows are of the past', () => {
    node.role = 'primary';
    node.run();
    const flows = [tcp(1), udp(2)];
    const lives = flows.map((flow) => node.twin.born(makeRecord(flow).m, 0));
    node.drain();
    node.flush();
    // Another node takes over, and this one is told so.
    node.table.relabel(OWNER_SELF, fw1.owner);
    node.role = 'backup';
    expect(node.hot.isInStep(node.slotOf(tcp(1)))).toBe(false);
    node.run(15_000, 100);
    expect(node.twin.find(makeRecord(tcp(1)).m, 0)).not.toBe(lives[0]);
    expect(node.twin.find(makeRecord(udp(2)).m, 0)).toBe(lives[1]);
    expect(node.outOfStep(fw1)).toBeUndefined();
    for (const flow of flows) expect(node.hot.isInStep(node.slotOf(flow))).toBe(true);
    // Once is enough.
    const deletes = node.twin.requests[OP_DELETE];
    node.run(60_000, 500);
    expect(node.twin.requests[OP_DELETE]).toBe(deletes);
  });

  it('leaves a fixed timeout alone', () => {
    node.upsert(fw1, udp(1, { status: LIVE | IPS_FIXED_TIMEOUT, timeout: 60 }));
    node.run();
    expect(leftOf(udp(1))).toBe(60);
    node.run(40_000, 500);
    expect(node.twin.requests[OP_UPDATE]).toBe(0);
  });
});

describe('another life of a tuple', () => {
  it('replaces the held one by key and id, and never updates it', () => {
    node.upsert(fw1, nat(1, 5000));
    node.run();
    const first = node.twin.find(makeRecord(nat(1, 5000)).m, 0);
    // The reply tuple is another: told without FRESH, as by a repair.
    node.upsert(fw1, nat(1, 6000));
    node.run();
    const second = node.twin.find(makeRecord(nat(1, 6000)).m, 0);
    expect(second).not.toBe(first);
    expect(node.twin.requests[OP_UPDATE]).toBe(0);
    expect(node.outOfStep(fw1)).toBeUndefined();
    expect(node.hot.report).toMatchObject({ replaced: 1 });
  });

  it('is made of a flow that has lost its helper or its labels, which no update takes away', () => {
    node.upsert(fw1, tcp(1, { helper: 'ftp' }));
    node.upsert(fw1, tcp(2, { labels: 7 }));
    node.run();
    node.upsert(fw1, tcp(1));
    node.upsert(fw1, tcp(2));
    node.run();
    expect(node.outOfStep(fw1)).toBeUndefined();
    expect(node.hot.report).toMatchObject({ replaced: 2 });
  });

  it('is seen in a DELETE and an UPSERT that come before the injector had its turn', () => {
    node.upsert(fw1, tcp(1));
    node.run();
    const first = node.twin.find(makeRecord(tcp(1)).m, 0);
    node.remove(fw1, tcp(1));
    node.upsert(fw1, tcp(1, { state: TCP_CONNTRACK_SYN_SENT, status: 0 }));
    node.run();
    const second = node.twin.find(makeRecord(tcp(1)).m, 0);
    expect(second === first).toBe(false);
    expect(stateOf(second?.m)).toBe(TCP_CONNTRACK_SYN_SENT);
  });

  it('born here by traffic is not deleted: the event is read before the delete goes out', () => {
    const slot = node.upsert(fw1, tcp(1));
    node.run();
    node.remove(fw1, tcp(1));
    // Between the question for the id and the delete the flow ends and traffic makes a new one, with the same id (F1).
    let isDone = false;
    node.twin.beforeCall = (call) => {
      if (call !== 'drain' || node.twin.requests[OP_GET] === 0 || isDone) return;
      isDone = true;
      const flow = node.twin.find(makeRecord(tcp(1)).m, 0);
      if (flow === undefined) throw new Error('the flow was deleted too early');
      node.twin.die(flow);
      node.twin.born(makeRecord(tcp(1)).m, 0);
    };
    node.run();
    expect(isDone).toBe(true);
    expect(node.twin.requests[OP_DELETE]).toBe(0);
    expect(node.kernelRecord(tcp(1))).toBeDefined();
    expect(node.table.owner(node.slotOf(tcp(1)))).toBe(OWNER_SELF);
    expect(slot).toBeGreaterThanOrEqual(0);
  });
});

describe('a life that begins between two requests', () => {
  it('is not deleted in place of the old one: it has another id', () => {
    node.twin.knobs.sameIdRate = 0;
    node.upsert(fw1, tcp(1));
    node.run();
    node.remove(fw1, tcp(1));
    node.twin.beforeRequest = (verb) => {
      const old = node.twin.find(makeRecord(tcp(1)).m, 0);
      if (verb !== OP_DELETE || old === undefined) return;
      node.twin.beforeRequest = undefined;
      node.twin.die(old);
      node.twin.born(makeRecord(tcp(1)).m, 0);
    };
    node.run();
    expect(node.twin.requests[OP_DELETE]).toBe(1);
    expect(node.kernelRecord(tcp(1))).toBeDefined();
    expect(node.table.owner(node.slotOf(tcp(1)))).toBe(OWNER_SELF);
  });
});

describe('what this kernel does by itself', () => {
  it('a flow that ends while its delete is on the way is replaced all the same, and its DESTROY is not the new one’s', () => {
    const slot = node.upsert(fw1, nat(1, 5000));
    node.run();
    node.upsert(fw1, nat(1, 6000));
    node.twin.beforeRequest = (verb) => {
      if (verb !== OP_DELETE) return;
      node.twin.beforeRequest = undefined;
      deleteAs(4711, nat(1, 5000));
    };
    node.run();
    expect(node.kernelRecord(nat(1, 6000))).toBeDefined();
    expect(node.table.bits(slot) & KERNEL).toBe(KERNEL);
  });

  it('a life that came and went while the delete was on the way does not hide the one that was made', () => {
    const slot = node.upsert(fw1, nat(1, 5000));
    node.run();
    // An audit runs: what ends leaves a tombstone.
    node.generations.begin();
    node.upsert(fw1, nat(1, 6000));
    node.twin.beforeRequest = (verb) => {
      if (verb !== OP_DELETE) return;
      node.twin.beforeRequest = undefined;
      deleteAs(4711, nat(1, 5000));
      node.twin.born(makeRecord(nat(1, 7000)).m, 0);
      deleteAs(4711, nat(1, 7000));
    };
    node.run();
    expect(node.kernelRecord(nat(1, 6000))).toBeDefined();
    expect(node.table.bits(slot) & (KERNEL | SHADOW)).toBe(KERNEL);
  });

  it('a change that waits does not overwrite what traffic has done since', () => {
    node.upsert(fw1, tcp(1));
    node.run();
    node.upsert(fw1, tcp(1, { mark: 5 }));
    const flow = node.twin.find(makeRecord(tcp(1)).m, 0);
    if (flow === undefined) throw new Error('not injected');
    node.twin.change(flow, SEEN_PROTOINFO, (m, at) => {
      m.u8[at + offState(4)] = TCP_CONNTRACK_CLOSE_WAIT;
    });
    node.run();
    expect(stateOf(node.kernelRecord(tcp(1)))).toBe(TCP_CONNTRACK_CLOSE_WAIT);
    expect(markOf(node.kernelRecord(tcp(1)))).toBe(0);
  });

  it('a flow that traffic touches is left alone until its owner speaks again', () => {
    node.upsert(fw1, tcp(1));
    node.run();
    const flow = node.twin.find(makeRecord(tcp(1)).m, 0);
    if (flow === undefined) throw new Error('not injected');
    node.twin.change(flow, SEEN_PROTOINFO, (m, at) => {
      m.u8[at + offState(4)] = TCP_CONNTRACK_CLOSE_WAIT;
    });
    node.run(30_000, 500);
    expect(stateOf(node.kernelRecord(tcp(1)))).toBe(TCP_CONNTRACK_CLOSE_WAIT);
    expect(node.hot.isInStep(node.slotOf(tcp(1)))).toBe(false);
    node.upsert(fw1, tcp(1, { mark: 5 }));
    node.run();
    expect(node.outOfStep(fw1)).toBeUndefined();
  });

  it('a life that traffic begins while a conflict is settled is not made to give way', () => {
    const slot = node.upsert(fw1, nat(1, 5000));
    let isDone = false;
    // Another flow has the tuple already: that one is replaced, and then packets begin a third one.
    node.twin.beforeRequest = (verb) => {
      if (verb !== OP_CREATE) return;
      node.twin.beforeRequest = undefined;
      node.twin.born(makeRecord(nat(1, 7000, { status: IPS_SRC_NAT })).m, 0);
    };
    node.twin.afterRequest = (verb, _m, _at, errno) => {
      if (verb !== OP_CREATE || errno !== 0 || isDone) return;
      isDone = true;
      deleteAs(4711, nat(1, 5000));
      node.twin.born(makeRecord(nat(1, 8000, { status: IPS_SRC_NAT })).m, 0);
    };
    node.run();
    expect(isDone).toBe(true);
    const now = node.kernelRecord(nat(1, 8000));
    expect(now && replyKey(now, 0)).toBe(replyKey(makeRecord(nat(1, 8000)).m, 0));
    expect(node.table.bits(slot) & (KERNEL | TOUCHED)).toBe(KERNEL | TOUCHED);
    node.upsert(fw1, nat(1, 5000, { mark: 5 }));
    node.run();
    expect(node.outOfStep(fw1)).toBeUndefined();
  });

  it('a conflict is settled also where its slot gives way to another one of its key meanwhile', () => {
    const fw2 = node.addPeer('fw2', { isAlive: true, role: 'backup', primaryTerm: 0 });
    const gone = node.upsert(fw1, nat(1, 5000));
    const kept = node.upsert(fw2, nat(1, 5000));
    // The kernel has the tuple already, and nobody knew.
    node.twin.born(makeRecord(nat(1, 7000, { status: IPS_SRC_NAT })).m, 0);
    while (node.hot.step(node.timeMs) === 'more');
    expect(node.table.bits(gone) & PENDING).toBe(PENDING);
    node.table.relabel(fw1.owner, fw2.owner);
    Object.assign(fw1, { role: 'backup', isAbsorbed: true });
    Object.assign(fw2, { role: 'primary', primaryTerm: 8 });
    expect([node.table.isUsed(gone), node.table.bits(kept) & PENDING]).toEqual([false, PENDING]);
    node.run(200);
    expect(node.table.bits(kept) & (KERNEL | PENDING)).toBe(KERNEL);
    expect(node.outOfStep(fw2)).toBeUndefined();
    expect(node.hot.report).toMatchObject({ source: 'fw2', waiting: 0, lagMs: 0 });
    node.upsert(fw2, nat(1, 5000, { mark: 3 }));
    node.run();
    expect(markOf(node.kernelRecord(nat(1, 5000)))).toBe(3);
  });

  it('flows that a promote had marked before it was stopped are followed as before', () => {
    for (let i = 1; i <= 3; i++) node.upsert(fw1, udp(i));
    node.run();
    for (let i = 1; i <= 3; i++) node.table.setBits(node.slotOf(udp(i)), PENDING);
    node.upsert(fw1, udp(1, { mark: 9 }));
    node.remove(fw1, udp(2));
    node.upsert(fw1, udp(4));
    node.table.setBits(node.slotOf(udp(4)), PENDING);
    node.run(15_000, 50);
    expect(node.outOfStep(fw1)).toBeUndefined();
    expect([1, 2, 3, 4].map((i) => markOf(node.kernelRecord(udp(i))))).toEqual([9, undefined, 0, 0]);
    expect(node.hot.isInStep(node.slotOf(udp(3)))).toBe(true);
    expect(node.hot.report).toMatchObject({ waiting: 0, lagMs: 0 });
  });

  it('a flow that ends here comes back, once in ten seconds', () => {
    node.upsert(fw1, tcp(1));
    node.run();
    let returns = 0;
    for (let i = 0; i < 60; i++) {
      const flow = node.twin.find(makeRecord(tcp(1)).m, 0);
      if (flow !== undefined) {
        returns++;
        node.twin.die(flow);
      }
      node.run(1000, 100);
    }
    expect(returns).toBeGreaterThanOrEqual(3);
    expect(returns).toBeLessThanOrEqual(60 / REINJECT_PAUSE_S + 1);
    expect(node.hot.report.reinjected).toBe(returns - 1);
  });

  it("a foreign program's delete is respected until the owner speaks of the flow", () => {
    node.upsert(fw1, tcp(1));
    node.run();
    deleteAs(4711, tcp(1));
    node.run(60_000, 500);
    expect(node.kernelRecord(tcp(1))).toBeUndefined();
    // Its idle class alone will do: the owner still has it.
    node.upsert(fw1, tcp(1));
    node.run();
    expect(node.outOfStep(fw1)).toBeUndefined();
  });

  it('an expired flow of which no event came is made anew, and its late DESTROY is not taken for the new one', () => {
    const slot = node.upsert(fw1, udp(1));
    node.run();
    const flow = node.twin.find(makeRecord(udp(1)).m, 0);
    if (flow === undefined) throw new Error('not injected');
    flow.expiresAt = node.timeMs; // a corpse (F11)
    node.upsert(fw1, udp(1, { mark: 3 }));
    node.run();
    expect(markOf(node.kernelRecord(udp(1)))).toBe(3);
    expect(node.table.bits(slot) & KERNEL).toBe(KERNEL);
    expect(node.outOfStep(fw1)).toBeUndefined();
  });

  it('a flow of its own stays its own, and the peer gets its place when that has ended', () => {
    const own = node.twin.born(makeRecord(tcp(1, { mark: 1 })).m, 0);
    node.drain();
    fw1.isAlive = false; // a dead primary's word takes nothing away
    node.upsert(fw1, tcp(1, { mark: 2 }));
    node.run(1000, 100);
    expect(markOf(node.kernelRecord(tcp(1)))).toBe(1);
    if (own === undefined) throw new Error('not born');
    node.twin.die(own);
    node.drain();
    node.flush();
    node.run(30_000, 500);
    expect(markOf(node.kernelRecord(tcp(1)))).toBe(2);
  });
});

describe('sweeps and losses', () => {
  it('what a repair did not name is deleted when the replica is proven, not before', () => {
    node.upsert(fw1, tcp(1));
    node.upsert(fw1, tcp(2));
    node.run();
    fw1.isProven = false;
    node.hot.lookAgain();
    node.remove(fw1, tcp(1), true);
    node.remove(fw1, tcp(2)); // said by name: that counts at once
    node.run(30_000, 500);
    expect(node.kernelRecord(tcp(1))).toBeDefined();
    expect(node.kernelRecord(tcp(2))).toBeUndefined();
    fw1.isProven = true;
    node.run();
    expect(node.kernelRecord(tcp(1))).toBeUndefined();
    expect(node.table.count).toBe(0);
  });

  it('nothing is deleted while events were lost and no clean audit has followed', () => {
    node.upsert(fw1, tcp(1));
    node.run();
    node.twin.queue.drops++;
    node.remove(fw1, tcp(1));
    node.run(30_000, 500);
    expect(node.kernelRecord(tcp(1))).toBeDefined();
    expect(node.hot.isInStep(0)).toBe(false);
    node.hot.audited();
    node.run(12_000, 100);
    expect(node.kernelRecord(tcp(1))).toBeUndefined();
  });

  it('an audit that sees another content has it put right', () => {
    const slot = node.upsert(fw1, tcp(1));
    node.run();
    const flow = node.twin.find(makeRecord(tcp(1)).m, 0);
    if (flow === undefined) throw new Error('not injected');
    node.twin.changeSilently(flow, (m, at) => {
      m.u32[(at + offMark(4)) >>> 2] = 99;
    });
    node.hot.seen(slot, flow.m, 0, false);
    node.run();
    expect(node.outOfStep(fw1)).toBeUndefined();
  });
});

describe('an audit', () => {
  it('has a flow made anew that the kernel shows as no update can make it', () => {
    const slot = node.upsert(fw1, tcp(1));
    node.run();
    node.hot.seen(slot, makeRecord(tcp(1, { labels: 7, timeout: 800 })).m, 0, false);
    node.run();
    expect(node.twin.requests[OP_DELETE]).toBe(1);
    expect(node.outOfStep(fw1)).toBeUndefined();
  });

  it('leaves a child alone that has come without its master', () => {
    const slot = node.upsert(fw1, tcp(4000, { status: LIVE | IPS_EXPECTED, master: { ...tcp(21) } }));
    node.run();
    const kernel = node.twin.find(makeRecord(tcp(4000)).m, 0);
    if (kernel === undefined) throw new Error('not injected');
    const before = [...node.twin.requests];
    node.hot.seen(slot, kernel.m, 0, false);
    node.run();
    expect([...node.twin.requests]).toEqual(before);
    expect(node.table.bits(slot) & FRESH).toBe(0);
  });
});

describe('conflicts', () => {
  it('a child never comes before its master, in whatever order they are said', () => {
    const master = tcp(21, { helper: 'ftp' });
    const child = tcp(4000, { status: LIVE | IPS_EXPECTED, master: { ...master } });
    node.upsert(fw1, child);
    node.upsert(fw1, master);
    node.run();
    const kernel = node.kernelRecord(child);
    expect(kernel && findPart(kernel, 0, PART_MASTER)).toBeGreaterThan(0);
    expect(node.outOfStep(fw1)).toBeUndefined();
  });

  it('a child that is said right behind its master has it, also where the master is in a conflict first', () => {
    const masters = [tcp(21, { helper: 'ftp' }), nat(22, 5000, { helper: 'ftp' })];
    const children = masters.map((master, i) =>
      tcp(4000 + i, { status: LIVE | IPS_EXPECTED, master: { ...master } }),
    );
    // Another flow has the second one's tuple, and nobody knows.
    const batch = new KernelBatch(1);
    batch.add(OP_CREATE, 0, makeRecord(nat(22, 7000, { status: IPS_SRC_NAT })).m, 0);
    node.twin.execute(batch);
    for (const flow of [...masters, ...children]) node.upsert(fw1, flow);
    node.run(200);
    for (const child of children) {
      const kernel = node.kernelRecord(child);
      expect(kernel && findPart(kernel, 0, PART_MASTER)).toBeGreaterThan(0);
    }
    expect(node.outOfStep(fw1)).toBeUndefined();
  });

  it('a child whose master may still come waits until the replica is proven; then it comes without', () => {
    fw1.isProven = false;
    node.hot.lookAgain();
    const child = tcp(4000, { status: LIVE | IPS_EXPECTED, master: { ...tcp(21) } });
    node.upsert(fw1, child);
    node.run(30_000, 500);
    expect(node.kernelRecord(child)).toBeUndefined();
    fw1.isProven = true;
    node.run();
    const kernel = node.kernelRecord(child);
    expect(kernel && findPart(kernel, 0, PART_MASTER)).toBe(-1);
  });

  it('a reply tuple that an ended flow still holds here is freed for its next user', () => {
    node.upsert(fw1, nat(1, 5000));
    node.run();
    node.remove(fw1, nat(1, 5000));
    node.upsert(fw1, nat(2, 5000));
    node.run();
    expect(node.kernelRecord(nat(1, 5000))).toBeUndefined();
    expect(node.outOfStep(fw1)).toBeUndefined();
  });

  it('a reply tuple that an own flow holds stays with it, and the refused one is tried again', () => {
    const own = node.twin.born(makeRecord(nat(1, 5000)).m, 0);
    node.drain();
    const slot = node.upsert(fw1, nat(2, 5000));
    node.run(20_000, 500);
    expect(node.kernelRecord(nat(2, 5000))).toBeUndefined();
    expect(node.table.bits(slot) & REJECTED).toBe(REJECTED);
    expect(node.hot.report.refused).toBe(1);
    if (own === undefined) throw new Error('not born');
    node.twin.die(own);
    node.run(90_000, 500);
    expect(node.kernelRecord(nat(2, 5000))).toBeDefined();
  });

  it('a helper that this kernel does not have is left out', () => {
    node.upsert(fw1, tcp(1, { helper: 'pptp' }));
    node.run();
    expect(node.kernelRecord(tcp(1))).toBeDefined();
  });

  it('a flow made anew by the judge ends like any other: its DESTROY is not taken for that of another life', () => {
    node.twin.knobs.sameIdRate = 0;
    node.twin.knobs.helpers = new Set();
    const slot = node.upsert(fw1, udp(1));
    node.run();
    // The id that the audit has read is that of the flow before.
    node.finish(node.audit('repair'));
    node.upsert(fw1, udp(1, { helper: 'ftp' }));
    node.run();
    const flow = node.twin.find(makeRecord(udp(1)).m, 0);
    if (flow === undefined) throw new Error('not made anew');
    expect(node.hot.report).toMatchObject({ replaced: 1 });
    node.twin.die(flow);
    node.drain();
    expect(node.table.bits(slot) & KERNEL).toBe(0);
  });

  it('a full kernel table stops it, is told, and is filled when there is room', () => {
    node.twin.knobs.maxFlows = 100;
    for (let i = 0; i < 300; i++) node.upsert(fw1, tcp(1000 + i));
    node.run(3000, 50);
    expect(node.twin.flows.count).toBe(100);
    const tried = node.twin.requests[OP_CREATE];
    expect(node.hot.report).toMatchObject({ isFull: true });
    expect(node.hot.lagMs).toBeGreaterThan(1000);
    expect(tried).toBeLessThan(400);
    node.twin.knobs.maxFlows = 1000;
    node.run(12_000, 50);
    expect(node.outOfStep(fw1)).toBeUndefined();
    expect(node.hot.report).toMatchObject({ isFull: false, lagMs: 0 });
  });

  it('answers that get lost cost nothing in the end', () => {
    node.twin.forced.push(
      { verb: OP_CREATE, errno: -1, times: 20 },
      { verb: OP_UPDATE, errno: -1, times: 20 },
    );
    for (let i = 0; i < 50; i++) node.upsert(fw1, tcp(1000 + i));
    node.run();
    for (let i = 0; i < 50; i++) node.upsert(fw1, tcp(1000 + i, { mark: 7 }));
    node.run(200);
    expect(node.outOfStep(fw1)).toBeUndefined();
  });
});

describe('a promote of a hot backup', () => {
  it('changes labels only, and asks the kernel nothing', () => {
    for (let i = 0; i < 2000; i++) node.upsert(fw1, tcp(1000 + i));
    node.run();
    fw1.isAlive = false;
    const before = [...node.twin.requests];
    const calls: string[] = [];
    node.twin.beforeCall = (call) => calls.push(call);
    const promotion = node.promotion({}, node.hot);
    node.finish(promotion);
    expect(promotion.report).toMatchObject({
      total: 2000,
      kept: 2000,
      committed: 0,
      updated: 0,
      exitCode: 0,
    });
    expect([...node.twin.requests]).toEqual(before);
    expect(calls.filter((call) => call !== 'drain' && !call.startsWith('expectation'))).toEqual([]);
    expect(node.table.countOf(OWNER_SELF)).toBe(2000);
    expect(node.difference()).toBeUndefined();
    expect(node.flush()).toEqual([]);
  });

  it('commits what waits, was touched, is missing or was not trusted, whatever state hot standby is in', () => {
    for (let i = 0; i < 1000; i++) node.upsert(fw1, tcp(1000 + i));
    node.run();
    for (let i = 0; i < 50; i++) node.upsert(fw1, tcp(1000 + i, { mark: 9 })); // waiting
    for (let i = 0; i < 50; i++) node.upsert(fw1, tcp(5000 + i)); // waiting, new
    for (let i = 100; i < 120; i++) {
      const flow = node.twin.find(makeRecord(tcp(1000 + i)).m, 0);
      if (flow) node.twin.die(flow); // missing
    }
    deleteAs(99, tcp(1200)); // missing, by hand
    node.drain();
    fw1.isAlive = false;
    const promotion = node.promotion({}, node.hot);
    node.finish(promotion);
    expect(promotion.report).toMatchObject({
      total: 1050,
      kept: 929,
      updated: 50,
      committed: 71,
      exitCode: 0,
    });
    expect(node.difference()).toBeUndefined();
    expect(node.twin.flows.count).toBe(1050);
  });

  it('gives the flows that nobody used the timeouts of their states afterwards, and touches no other', () => {
    node.upsert(fw1, udp(1));
    node.upsert(fw1, udp(2));
    node.upsert(fw1, tcp(3));
    node.run();
    fw1.isAlive = false;
    node.finish(node.promotion({}, node.hot));
    expect(leftOf(udp(1))).toBeGreaterThan(800);
    // A packet of this one has come since: the kernel gave it 120 s, and it must keep them.
    const used = node.twin.find(makeRecord(udp(2)).m, 0);
    if (used) used.expiresAt = node.timeMs + 120_000;
    node.run(1000, 20);
    expect([leftOf(udp(1)), leftOf(udp(2)), leftOf(tcp(3))]).toEqual([29, 119, 431_999]);
    expect(node.twin.requests[OP_RETIME]).toBe(1);
    expect(node.difference()).toBeUndefined();
  });

  it('leaves alone the mark that a packet is given between the look and the change', () => {
    node.upsert(fw1, udp(1));
    node.run();
    fw1.isAlive = false;
    node.finish(node.promotion({}, node.hot));
    const flow = node.twin.find(makeRecord(udp(1)).m, 0);
    node.twin.beforeCall = (call) => {
      if (flow === undefined || call !== 'execute' || node.twin.requests[OP_GET] === 0) return;
      node.twin.beforeCall = undefined;
      flow.m = makeRecord(udp(1, { mark: 5 })).m;
      node.twin.emit(EVENT_UPDATE, flow, SEEN_MARK, 0);
    };
    node.run(1000, 20);
    expect(markOf(flow?.m)).toBe(5);
    expect(node.difference()).toBeUndefined();
    expect(leftOf(udp(1))).toBe(29);
  });

  it('does so too when an audit has shown the held timeouts first, and when a commit has judged the flow', () => {
    const seen = node.upsert(fw1, udp(1));
    const judged = node.upsert(fw1, udp(2));
    node.run();
    node.table.setBits(judged, TOUCHED);
    fw1.isAlive = false;
    node.finish(node.promotion({}, node.hot));
    node.finish(node.audit('repair'));
    const { memory } = node.table;
    const told = [seen, judged].map((slot) => memory.u32[(node.table.recordAt(slot) + OFF_TIMEOUT) >>> 2]);
    expect(told).toEqual([30, 30]);
    node.run(1000, 20);
    expect([leftOf(udp(1)), leftOf(udp(2))]).toEqual([29, 29]);
  });

  it('asks to be called for that, where nothing else happens any more, and no longer when it is done', () => {
    node.upsert(fw1, udp(1));
    node.run();
    expect(node.hot.isAtWork(node.timeMs)).toBe(true);
    fw1.isAlive = false;
    node.finish(node.promotion({}, node.hot));
    for (let i = 0; i < 100 && node.hot.isAtWork(node.timeMs); i++) {
      node.hot.step(node.timeMs);
      node.timeMs += 10;
    }
    expect(leftOf(udp(1))).toBeLessThanOrEqual(30);
    expect(node.hot.isAtWork(node.timeMs + 1000)).toBe(false);
  });

  it('judges what a living source says between the scan and the relabel', () => {
    const slots = Array.from({ length: 100 }, (_, i) => node.upsert(fw1, tcp(1000 + i)));
    node.run(200);
    const promotion = node.promotion(
      {},
      {
        isInStep: (slot) => {
          const isIt = node.hot.isInStep(slot);
          // The scan has passed the first slot by now.
          if (slot === slots[99]) node.upsert(fw1, tcp(1000, { mark: 4 }));
          return isIt;
        },
        hasNewWindows: (slot) => node.hot.hasNewWindows(slot),
        forEachWaiting: (fn) => node.hot.forEachWaiting(fn),
      },
    );
    fw1.isAlive = false;
    node.finish(promotion);
    expect(promotion.report).toMatchObject({ total: 100, kept: 99, updated: 1 });
    expect(markOf(node.kernelRecord(tcp(1000)))).toBe(4);
    expect(node.difference()).toBeUndefined();
  });

  it('does as a cold one after lost events: it dumps, and judges', () => {
    for (let i = 0; i < 500; i++) node.upsert(fw1, tcp(1000 + i));
    node.run();
    const flow = node.twin.find(makeRecord(tcp(1007)).m, 0);
    if (flow) node.twin.flows.remove(flow); // an end of which nobody heard
    node.twin.queue.drops++;
    fw1.isAlive = false;
    const promotion = node.promotion({}, node.hot);
    node.finish(promotion);
    expect(promotion.report).toMatchObject({ total: 500, kept: 499, committed: 1 });
    expect(node.difference()).toBeUndefined();
  });
});

it('a flow that the kernel did not take at once has a known deadline as soon as it is held', () => {
  const flows = [tcp(1), udp(2), tcp(3)];
  const slots = flows.map((flow) => node.upsert(fw1, flow));
  node.run();
  // The kernel has them already, with and without a timeout to match, and the table does not know it.
  for (const slot of slots) node.table.clearBits(slot, KERNEL);
  const short = node.twin.find(makeRecord(tcp(3)).m, 0);
  if (short) short.expiresAt = node.timeMs + 20_000;
  for (const flow of flows) node.upsert(fw1, flow);
  node.run();
  // Nor does it say what became of these.
  node.twin.forced.push({ verb: OP_CREATE, errno: -1, times: 2 });
  flows.push(tcp(4), udp(5));
  for (const flow of flows.slice(3)) slots.push(node.upsert(fw1, flow));
  node.run();
  expect(node.outOfStep(fw1)).toBeUndefined();
  for (const slot of slots) {
    expect(node.hot.times.left(slot, (node.timeMs / 1000) >>> 0)).toBeGreaterThanOrEqual(HELD_RENEW_S);
    expect(node.hot.isInStep(slot)).toBe(true);
  }
});

it('FRESH and TOUCHED flows are not in step, nor those of which a change waits', () => {
  const slot = node.upsert(fw1, tcp(1));
  node.run();
  expect(node.hot.isInStep(slot)).toBe(true);
  for (const bit of [FRESH, TOUCHED]) {
    node.table.setBits(slot, bit);
    expect(node.hot.isInStep(slot)).toBe(false);
    node.table.clearBits(slot, bit);
  }
  node.upsert(fw1, tcp(1, { mark: 1 }));
  expect(node.hot.isInStep(slot)).toBe(false);
});
