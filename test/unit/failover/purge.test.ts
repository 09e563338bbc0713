import { beforeEach, describe, expect, it } from 'vitest';
import { Purge } from '../../../src/failover/purge.js';
import { IPS_ASSURED, IPS_SEEN_REPLY, TCP_CONNTRACK_ESTABLISHED } from '../../../src/flow/conntrack-enums.js';
import { OP_DELETE, SEEN_STATUS } from '../../../src/flow/kernel-port.js';
import { type Memory, OFF_ORIG_L4 } from '../../../src/flow/record.js';
import { KERNEL, OWNER_SELF } from '../../../src/table/slot-bits.js';
import type { TestPeer } from '../../simulation/failover-node.js';
import { HotNode } from '../../simulation/hot-node.js';
import type { TwinFlow } from '../../simulation/kernel-twin-flows.js';
import { type FlowDescription, makeRecord } from '../../simulation/record-maker.js';

const LOOK_MS = 5000;
const tcp = (port: number, more: Partial<FlowDescription> = {}): FlowDescription => ({
  source: '10.0.0.1',
  destination: '10.9.0.1',
  sourcePort: port,
  destinationPort: 80,
  status: IPS_SEEN_REPLY | IPS_ASSURED,
  state: TCP_CONNTRACK_ESTABLISHED,
  wscale: [7, 7],
  timeout: 3000,
  ...more,
});

let node: HotNode;
let fw1: TestPeer;

beforeEach(() => {
  node = new HotNode();
  fw1 = node.addPeer('fw1', { isAlive: true });
});

/** A flow that this kernel has and that belongs to the peer by now, as after a takeover. */
function held(flow: FlowDescription): TwinFlow {
  node.hear(fw1, flow, KERNEL);
  node.twin.isBulk = true;
  const born = node.twin.born(makeRecord(flow).m, 0);
  node.twin.isBulk = false;
  if (born === undefined) throw new Error('the twin refused the flow');
  return born;
}

function purge(isHot = false, local = -1): Purge {
  const isLocal = (m: Memory, at: number): boolean =>
    (m.u8[at + OFF_ORIG_L4] << 8) + m.u8[at + OFF_ORIG_L4 + 1] === local;
  return new Purge({ ...node.parts, isLocal }, fw1.owner, isHot, LOOK_MS);
}

const inKernel = (flow: FlowDescription): boolean => node.kernelRecord(flow) !== undefined;

describe('a purge', () => {
  it('of a cold backup deletes all held flows, and the replica stays', () => {
    for (let i = 0; i < 500; i++) held(tcp(1000 + i));
    const work = purge();
    node.finish(work);
    expect(work.report).toEqual({ total: 500, purged: 500, skipped: {} });
    expect(node.twin.flows.count).toBe(0);
    expect(node.table.countOf(fw1.owner)).toBe(500);
    expect(node.table.kernelCount).toBe(0);
  });

  it('of a hot backup deletes only what the primary does not speak of', () => {
    const slots = [1, 2, 3].map((port) => {
      held(tcp(port));
      return node.slotOf(tcp(port));
    });
    node.table.clearImage(slots[1]);
    const old = node.addPeer('fw3', { role: 'backup' });
    node.table.setOwner(slots[2], old.owner);
    const work = purge(true);
    node.finish(work);
    expect(work.report).toMatchObject({ total: 2, purged: 2 });
    expect([1, 2, 3].map((port) => inKernel(tcp(port)))).toEqual([true, false, false]);
  });

  it('never takes own flows, local ones, touched ones, nor ones whose timer moves', () => {
    node.twin.born(makeRecord(tcp(1)).m, 0);
    node.drain();
    for (const port of [2, 3, 4, 5]) held(tcp(port));
    const touched = node.twin.find(makeRecord(tcp(3)).m, 0);
    if (touched) node.twin.change(touched, SEEN_STATUS, () => {});
    const refreshed = node.twin.find(makeRecord(tcp(4)).m, 0);
    const work = purge(false, 2);
    node.finish(work, () => {
      // Packets pass here all the time.
      if (refreshed) refreshed.expiresAt = node.timeMs + 3_000_000;
    });
    expect(work.report).toEqual({ total: 4, purged: 1, skipped: { local: 1, touched: 1, refreshed: 1 } });
    expect([1, 2, 3, 4, 5].map((port) => inKernel(tcp(port)))).toEqual([true, true, true, true, false]);
    expect(node.table.owner(node.slotOf(tcp(1)))).toBe(OWNER_SELF);
  });

  it('sees a timer that was pulled forward as well: unacknowledged data does that', () => {
    const flow = held(tcp(1));
    const work = purge();
    node.finish(work, () => {
      if (work.phase === 'wait') flow.expiresAt = node.timeMs + 300_000;
    });
    expect(work.report.skipped).toEqual({ refreshed: 1 });
  });

  it('leaves a flow that came after the first look to the next purge', () => {
    held(tcp(1));
    const work = purge();
    let isLate = false;
    node.finish(work, () => {
      if (work.phase === 'wait' && !isLate) held(tcp(2));
      isLate ||= work.phase === 'wait';
    });
    expect(work.report).toEqual({ total: 2, purged: 1, skipped: { new: 1 } });
    expect(inKernel(tcp(2))).toBe(true);
  });

  it('leaves another life, though its owner has spoken of the flow since and nothing tells that it was touched', () => {
    node.twin.knobs.sameIdRate = 0;
    const flow = held(tcp(1));
    const slot = node.slotOf(tcp(1));
    const work = purge();
    let isOther = false;
    node.finish(work, () => {
      if (work.phase !== 'wait' || isOther) return;
      isOther = true;
      node.twin.die(flow);
      node.twin.born(makeRecord(tcp(1)).m, 0);
      node.drain();
      // As a live primary's word leaves it: the flow of before, and the own one is gone.
      const own = node.slotOf(tcp(1));
      expect(node.table.owner(own)).toBe(OWNER_SELF);
      node.table.remove(own);
      expect(node.slotOf(tcp(1))).toBe(slot);
      node.table.setBits(slot, KERNEL);
    });
    expect(isOther).toBe(true);
    expect(work.report).toMatchObject({ purged: 0, skipped: { new: 1 } });
    expect(inKernel(tcp(1))).toBe(true);
  });

  it('does not hit a life that began between its question and its delete, though it has the same id', () => {
    const flow = held(tcp(1));
    const work = purge();
    let isDone = false;
    node.finish(work, () => {
      if (work.phase !== 'delete' || isDone) return;
      isDone = true;
      node.twin.die(flow);
      node.twin.born(makeRecord(tcp(1)).m, 0);
    });
    expect(isDone).toBe(true);
    expect(node.twin.requests[OP_DELETE]).toBe(0);
    expect(inKernel(tcp(1))).toBe(true);
    expect(work.report).toMatchObject({ purged: 0, skipped: { ended: 1 } });
  });

  it('does not hit one that begins at the very last moment: it has another id', () => {
    node.twin.knobs.sameIdRate = 0;
    const flow = held(tcp(1));
    node.twin.beforeRequest = (verb) => {
      if (verb !== OP_DELETE || flow.place < 0) return;
      node.twin.die(flow);
      node.twin.born(makeRecord(tcp(1)).m, 0);
    };
    const work = purge();
    node.finish(work);
    expect(work.report).toMatchObject({ purged: 0, skipped: { ended: 1 } });
    expect(inKernel(tcp(1))).toBe(true);
  });

  it('that is stopped leaves what it had not reached, and another one goes on', () => {
    for (let i = 0; i < 1000; i++) held(tcp(1000 + i));
    const first = purge();
    node.finish(first, () => {
      if (first.report.purged > 0) first.stop();
    });
    expect(first.phase).toBe('stopped');
    expect(node.twin.flows.count).toBe(1000 - first.report.purged);
    expect(node.table.kernelCount).toBe(node.twin.flows.count);
    const second = purge();
    node.finish(second);
    expect(first.report.purged + second.report.purged).toBe(1000);
    expect(node.twin.flows.count).toBe(0);
  });

  it('counts what the kernel refuses, and a lost answer', () => {
    for (const port of [1, 2, 3]) held(tcp(port));
    node.twin.forced.push({ verb: OP_DELETE, errno: 1, times: 1 }, { verb: OP_DELETE, errno: -1, times: 1 });
    const work = purge();
    node.finish(work);
    expect(work.report).toMatchObject({ total: 3, purged: 1, skipped: { refused: 2 } });
  });
});
