import { beforeEach, describe, expect, it } from 'vitest';
import {
  IPPROTO_GRE,
  IPS_ASSURED,
  IPS_EXPECTED,
  IPS_SEEN_REPLY,
  TCP_CONNTRACK_ESTABLISHED,
  TCP_CONNTRACK_FIN_WAIT,
} from '../../../src/flow/conntrack-enums.js';
import { OFF_IDLE, OFF_PROTOCOL } from '../../../src/flow/record.js';
import { CHANGE_SLICE_MS, LIVE_FLOWS_MAX } from '../../../src/limits.js';
import { IDLE_LIVE, IDLE_ONCE } from '../../../src/table/idle-classes.js';
import { LiveFlows } from '../../../src/table/live-flows.js';
import { DEAD, KERNEL, OWNER_SELF, PENDING } from '../../../src/table/slot-bits.js';
import { FailoverNode, type TestPeer } from '../../simulation/failover-node.js';
import { type FlowDescription, makeRecord } from '../../simulation/record-maker.js';

const tcp = (port: number, more: Partial<FlowDescription> = {}): FlowDescription => ({
  source: '10.0.0.1',
  destination: '10.9.0.1',
  sourcePort: port,
  destinationPort: 80,
  status: IPS_SEEN_REPLY | IPS_ASSURED,
  state: TCP_CONNTRACK_ESTABLISHED,
  wscale: [7, 7],
  timeout: 300,
  ...more,
});

let node: FailoverNode;
let peer: TestPeer;

beforeEach(() => {
  node = new FailoverNode();
  // A slice ends after each turn.
  Object.assign(node, { clock: () => (node.timeMs += CHANGE_SLICE_MS) });
  peer = node.addPeer('fw1');
});

/** The peer says the flow, and that it is live, or what else the class is. */
function hear(flow: FlowDescription, idleClass = IDLE_LIVE, bits = 0): number {
  const { m } = makeRecord(flow);
  m.u8[OFF_IDLE] = idleClass;
  const slot = node.table.insert(m, 0, peer.owner, bits);
  node.table.currentHash(slot);
  node.table.setImage(slot, node.table.hash.lo, node.table.hash.hi);
  return slot;
}

/** A live GRE flow of the peer: as TCP, but for the protocol. */
function gre(port: number): void {
  const { m } = makeRecord(tcp(port));
  m.u8[OFF_IDLE] = IDLE_LIVE;
  m.u8[OFF_PROTOCOL] = IPPROTO_GRE;
  const slot = node.table.insert(m, 0, peer.owner);
  node.table.setImage(slot, 1, 1);
}

/** Steps until the phase is over; what the kernel has then. */
function runEarly(promotion: ReturnType<FailoverNode['promotion']>): number {
  while (promotion.phase === 'early') promotion.step(node.clock());
  return node.twin.flows.count;
}

describe('flows known to be live', () => {
  it('are in the kernel before the others were looked at, the state being written', () => {
    for (let i = 0; i < 20_000; i++) node.hear(peer, tcp(1000 + i));
    for (let i = 0; i < 300; i++) hear(tcp(40_000 + i));
    const promotion = node.promotion();
    expect(runEarly(promotion)).toBe(300);
    expect(node.notes).toEqual(['persist primary 1']);
    node.finish(promotion);
    expect(promotion.report).toMatchObject({ committed: 20_300, total: 20_300, kept: 0, rejected: {} });
    expect(node.table.countOf(OWNER_SELF)).toBe(20_300);
    expect(node.difference()).toBeUndefined();
    expect(node.notes.filter((note) => note.startsWith('persist'))).toHaveLength(3);
  });

  it('are only simple ones of the sources that the kernel does not have', () => {
    hear(tcp(1), IDLE_ONCE);
    hear(tcp(2, { state: TCP_CONNTRACK_FIN_WAIT }));
    hear(tcp(3, { master: tcp(4), status: IPS_SEEN_REPLY | IPS_ASSURED | IPS_EXPECTED }));
    gre(5);
    hear(tcp(6), IDLE_LIVE, KERNEL);
    node.table.setOwner(hear(tcp(7)), OWNER_SELF);
    hear(tcp(8));
    expect(runEarly(node.promotion())).toBe(1);
  });

  it('that the kernel does not take at once wait for their turn, and are counted once', () => {
    const slot = hear(tcp(1));
    hear(tcp(2));
    node.twin.born(makeRecord(tcp(1, { mark: 9 })).m, 0);
    const promotion = node.promotion();
    runEarly(promotion);
    expect(node.table.bits(slot) & PENDING).toBe(0);
    node.finish(promotion);
    const { total, committed, kept, updated, replaced } = promotion.report;
    expect([total, committed + kept + updated + replaced]).toEqual([2, 2]);
    expect(node.difference()).toBeUndefined();
  });

  it('of which the source says more before it is relabelled become what it said', () => {
    const slot = hear(tcp(1));
    const promotion = node.promotion();
    runEarly(promotion);
    const { m } = makeRecord(tcp(1, { state: TCP_CONNTRACK_FIN_WAIT }));
    node.table.setRecord(slot, m, 0);
    node.table.currentHash(slot);
    node.table.setImage(slot, node.table.hash.lo, node.table.hash.hi);
    node.finish(promotion);
    expect(promotion.report.total).toBe(1);
    expect(node.difference()).toBeUndefined();
  });

  it('stay held and the peer’s when the promote is stopped before the role has changed', () => {
    const slot = hear(tcp(1));
    const promotion = node.promotion();
    runEarly(promotion);
    promotion.stop();
    expect(node.table.owner(slot)).toBe(peer.owner);
    expect(node.table.bits(slot) & (KERNEL | PENDING | DEAD)).toBe(KERNEL);
  });
});

describe('the list of live flows', () => {
  it('has each slot once, the last one first, and forgets the oldest when it is full', () => {
    const memory = makeRecord(tcp(1)).m;
    memory.u8[OFF_IDLE] = IDLE_LIVE;
    const live = new LiveFlows(memory, LIVE_FLOWS_MAX + 10);
    live.note(3, 0);
    live.note(4, 0);
    live.note(3, 0);
    expect([live.length, live.at(0), live.at(1)]).toEqual([2, 4, 3]);
    for (let slot = 10; slot < LIVE_FLOWS_MAX + 10; slot++) live.note(slot, 0);
    expect([live.length, live.at(0), live.at(LIVE_FLOWS_MAX - 1)]).toEqual([
      LIVE_FLOWS_MAX,
      LIVE_FLOWS_MAX + 9,
      10,
    ]);
    live.note(3, 0);
    expect([live.length, live.at(0)]).toEqual([LIVE_FLOWS_MAX, 3]);
  });
});
