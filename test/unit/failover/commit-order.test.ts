import { describe, expect, it } from 'vitest';
import { CommitOrder } from '../../../src/failover/commit-order.js';
import { CommitQueue } from '../../../src/failover/commit-queue.js';
import { CommitReplica } from '../../../src/failover/commit-replica.js';
import {
  IPS_ASSURED,
  IPS_SEEN_REPLY,
  TCP_CONNTRACK_ESTABLISHED,
  TCP_CONNTRACK_SYN_SENT,
  TCP_CONNTRACK_TIME_WAIT,
} from '../../../src/flow/conntrack-enums.js';
import { OFF_IDLE } from '../../../src/flow/record.js';
import { IDLE_LIVE, IDLE_LONG, IDLE_ONCE, IDLE_UNKNOWN } from '../../../src/table/idle-classes.js';
import { DEAD, KERNEL, OWNER_SELF, PENDING, REJECTED } from '../../../src/table/slot-bits.js';
import { FailoverNode } from '../../simulation/failover-node.js';
import { seededRandom } from '../../simulation/kernel-twin.js';
import { type FlowDescription, makeRecord } from '../../simulation/record-maker.js';

const tcp = (port: number, more: Partial<FlowDescription> = {}): FlowDescription => ({
  source: '10.0.0.1',
  destination: '10.9.0.1',
  sourcePort: port,
  destinationPort: 80,
  status: IPS_SEEN_REPLY | IPS_ASSURED,
  state: TCP_CONNTRACK_ESTABLISHED,
  timeout: 300,
  ...more,
});

describe('the order of a commit', () => {
  it('is live ones first, of those masters before children, then the newest', () => {
    const { table } = new FailoverNode();
    const add = (flow: FlowDescription, timeS: number): number => {
      const slot = table.insert(makeRecord(flow).m, 0, OWNER_SELF);
      table.setChangedTime(slot, timeS);
      return slot;
    };
    const grandchild = add(tcp(2, { master: tcp(1) }), 99);
    const child = add(tcp(1, { master: tcp(0) }), 99);
    const ending = add(tcp(10, { state: TCP_CONNTRACK_TIME_WAIT }), 99);
    const young = add(tcp(11, { state: TCP_CONNTRACK_SYN_SENT, status: 0 }), 99);
    const old = add(tcp(12), 1);
    const recent = add(tcp(13), 98);
    const master = add(tcp(0), 50);
    const order = new CommitOrder(table, 10);
    for (let slot = 0; slot < table.slotLimit; slot++) order.add(slot, 100);
    while (!order.sortStep());
    const sorted = Array.from({ length: order.length }, (_, i) => order.slotAt(i));
    expect(sorted).toEqual([recent, master, old, child, grandchild, young, ending]);
  });

  it('follows what the owner saw of the flows, and a master is as live as its liveliest child', () => {
    const { table } = new FailoverNode();
    const add = (flow: FlowDescription, idleClass: number): number => {
      const slot = table.insert(makeRecord(flow).m, 0, OWNER_SELF);
      table.memory.u8[table.recordAt(slot) + OFF_IDLE] = idleClass;
      return slot;
    };
    const idleChild = add(tcp(21, { master: tcp(20) }), IDLE_LONG);
    const liveGrandchild = add(tcp(12, { master: tcp(11) }), IDLE_LIVE);
    const idle = add(tcp(1), IDLE_LONG);
    const once = add(tcp(2), IDLE_ONCE);
    const never = add(tcp(3), IDLE_UNKNOWN);
    const live = add(tcp(4), IDLE_LIVE);
    const middle = add(tcp(11, { master: tcp(10) }), IDLE_LONG);
    const idleMaster = add(tcp(10), IDLE_LONG);
    const masterOfIdle = add(tcp(20), IDLE_LONG);
    const order = new CommitOrder(table, 20);
    for (let slot = 0; slot < table.slotLimit; slot++) order.add(slot, 0);
    while (!order.sortStep());
    const sorted = Array.from({ length: order.length }, (_, i) => order.slotAt(i));
    expect(sorted).toEqual([
      live,
      idleMaster,
      middle,
      liveGrandchild,
      never,
      once,
      idle,
      masterOfIdle,
      idleChild,
    ]);
  });

  it('is found in turns of a few milliseconds, and is the same as a plain sort', () => {
    const { table } = new FailoverNode();
    const random = seededRandom(5);
    for (let i = 0; i < 100_000; i++) {
      const slot = table.insert(makeRecord(tcp(i & 0xffff, { destinationPort: i >>> 16 })).m, 0, OWNER_SELF);
      table.setChangedTime(slot, Math.floor(random() * 70_000));
    }
    const order = new CommitOrder(table, table.slotLimit);
    for (let slot = 0; slot < table.slotLimit; slot++) order.add(slot, 70_000);
    let turns = 1;
    while (!order.sortStep()) turns++;
    expect(turns).toBeGreaterThan(10);
    for (let i = 1; i < order.length; i++) {
      const [a, b] = [order.slotAt(i - 1), order.slotAt(i)].map((slot) =>
        Math.max(table.changedTime(slot), 4465),
      );
      expect(a).toBeGreaterThanOrEqual(b);
    }
  });

  it('refuses more than it has room for', () => {
    const { table } = new FailoverNode();
    const slot = table.insert(makeRecord(tcp(1)).m, 0, OWNER_SELF);
    const order = new CommitOrder(table, 1);
    expect(order.add(slot, 1)).toBe(true);
    expect(order.add(slot, 1)).toBe(false);
  });
});

describe('the queue of a commit', () => {
  it('gives back in order what was put in, however it grew', () => {
    const queue = new CommitQueue();
    const out: number[] = [];
    for (let i = 0; i < 3000; i++) {
      queue.push(i, i & 3);
      if (i % 3 === 0 && queue.shift()) out.push(queue.slot);
    }
    while (queue.shift()) {
      out.push(queue.slot);
      expect(queue.stage).toBe(queue.slot & 3);
    }
    expect(out).toEqual(Array.from({ length: 3000 }, (_, i) => i));
  });
});

describe('conntwin commit', () => {
  it('brings the replica into the kernel, and leaves flows and roles with their owner', () => {
    const node = new FailoverNode();
    const peer = node.addPeer('fw1', { isAlive: true });
    const slots = Array.from({ length: 200 }, (_, i) => node.hear(peer, tcp(i)));
    const refused = node.hear(peer, tcp(999, { state: 12 }));
    const commit = new CommitReplica(node.parts);
    node.finish(commit);
    expect(commit.report).toMatchObject({ committed: 200, rejected: { refused: 1 } });
    for (const slot of slots) {
      expect(node.table.owner(slot)).toBe(peer.owner);
      expect(node.table.bits(slot) & (KERNEL | PENDING)).toBe(KERNEL);
    }
    expect(node.table.bits(refused) & (KERNEL | PENDING | REJECTED | DEAD)).toBe(REJECTED);
    expect(node.table.dirtyCount).toBe(0);
    expect(node.role).toBe('backup');
    const again = new CommitReplica(node.parts);
    node.finish(again);
    expect(again.report).toMatchObject({ committed: 0, kept: 200 });
  });
});
