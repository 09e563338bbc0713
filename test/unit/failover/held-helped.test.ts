import { beforeEach, describe, expect, it } from 'vitest';
import { HeldHelped } from '../../../src/failover/held-helped.js';
import {
  IPS_ASSURED,
  IPS_SEEN_REPLY,
  IPS_SRC_NAT,
  TCP_CONNTRACK_ESTABLISHED,
} from '../../../src/flow/conntrack-enums.js';
import { KERNEL, OWNER_SELF } from '../../../src/table/slot-bits.js';
import { FailoverNode, type TestPeer } from '../../simulation/failover-node.js';
import { type FlowDescription, makeRecord } from '../../simulation/record-maker.js';

const control = (port: number, more: Partial<FlowDescription> = {}): FlowDescription => ({
  source: '10.0.0.1',
  destination: '10.9.0.1',
  sourcePort: port,
  destinationPort: 21,
  status: IPS_SEEN_REPLY | IPS_ASSURED | IPS_SRC_NAT,
  state: TCP_CONNTRACK_ESTABLISHED,
  wscale: [7, 7],
  timeout: 300,
  helper: 'ftp',
  reply: { source: '10.9.0.1', destination: '192.0.2.1', sourcePort: 21, destinationPort: port },
  ...more,
});

let node: FailoverNode;
let peer: TestPeer;
let helped: HeldHelped;
beforeEach(() => {
  node = new FailoverNode();
  peer = node.addPeer('fw1');
  helped = new HeldHelped(node.parts);
});

/** The kernel has it, and the peer speaks of it. */
function held(flow: FlowDescription): number {
  node.twin.isBulk = true;
  node.twin.born(makeRecord(flow).m, 0);
  node.drain();
  node.twin.isBulk = false;
  return node.hear(peer, flow, KERNEL);
}

describe('flows with a helper that a backup holds from its own tenure', () => {
  it('are deleted, and stay in the replica', () => {
    const slots = Array.from({ length: 200 }, (_, i) => held(control(1000 + i)));
    expect(helped.dueAt(0)).toBe(0);
    for (let i = 0; i < 6; i++) {
      helped.step((i + 1) * 100, () => true);
      node.drain();
    }
    expect(node.twin.flows.count).toBe(0);
    for (const slot of slots) {
      expect(node.table.bits(slot) & KERNEL).toBe(0);
      expect(node.table.owner(slot)).toBe(peer.owner);
      expect(node.table.hasImage(slot)).toBe(true);
    }
  });

  it('are deleted where nothing is translated as well: the helper knows the stream as it was', () => {
    const slot = held(control(1000, { status: IPS_SEEN_REPLY | IPS_ASSURED, reply: undefined }));
    // Packets may come here while nobody else is primary.
    for (let i = 0; i < 6; i++) {
      helped.step((i + 1) * 100, () => false);
      node.drain();
    }
    expect(node.twin.flows.count).toBe(1);
    for (let i = 6; i < 12; i++) {
      helped.step((i + 1) * 100, () => true);
      node.drain();
    }
    expect(node.twin.flows.count).toBe(0);
    expect(node.table.hasImage(slot)).toBe(true);
  });

  it('are no work where this kernel holds none: a replica alone wakes nobody', () => {
    node.hear(peer, control(1000), 0);
    node.twin.born(makeRecord(control(1)).m, 0);
    node.drain();
    expect(node.table.helped.length).toBe(2);
    expect(helped.dueAt(0)).toBe(Number.POSITIVE_INFINITY);
    helped.step(100, () => {
      throw new Error('nobody need be asked');
    });
  });

  it('stay if another life of theirs began here when the kernel was about to be asked', () => {
    const slot = held(control(1));
    // Its end and the new life are told after the question, which shows the new life's id.
    const flow = node.twin.find(makeRecord(control(1)).m, 0);
    if (flow !== undefined) node.twin.die(flow);
    node.twin.born(makeRecord(control(1)).m, 0);
    helped.step(100, () => true);
    expect(node.twin.flows.count).toBe(1);
    node.drain();
    helped.step(200, () => true);
    expect(node.twin.flows.count).toBe(1);
    expect(node.table.owner(node.table.find(makeRecord(control(1)).m, 0))).toBe(OWNER_SELF);
    expect(node.table.owner(slot)).toBe(peer.owner);
  });

  it('are not called held when the kernel says that it has none', () => {
    const slot = node.hear(peer, control(1), KERNEL);
    helped.step(100, () => true);
    expect(node.table.bits(slot) & KERNEL).toBe(0);
    expect(node.table.hasImage(slot)).toBe(true);
  });

  it('are left alone if they are own or have no helper', () => {
    node.twin.born(makeRecord(control(1)).m, 0);
    node.drain();
    held(control(2, { helper: undefined }));
    for (const at of [100, 200]) {
      helped.step(at, () => true);
      node.drain();
    }
    expect(node.twin.flows.count).toBe(2);
  });
});
