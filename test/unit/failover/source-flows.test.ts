import { beforeEach, describe, expect, it } from 'vitest';
import { CommitWork } from '../../../src/failover/commit-work.js';
import { SourceFlows } from '../../../src/failover/source-flows.js';
import { IPS_ASSURED, IPS_SEEN_REPLY, TCP_CONNTRACK_ESTABLISHED } from '../../../src/flow/conntrack-enums.js';
import { KERNEL, OWNER_SELF, PENDING, SHADOW } from '../../../src/table/slot-bits.js';
import { FailoverNode, type TestPeer } from '../../simulation/failover-node.js';
import { type FlowDescription, makeRecord } from '../../simulation/record-maker.js';

const tcp = (port: number): FlowDescription => ({
  source: '10.0.0.1',
  destination: '10.9.0.1',
  sourcePort: port,
  destinationPort: 80,
  status: IPS_SEEN_REPLY | IPS_ASSURED,
  state: TCP_CONNTRACK_ESTABLISHED,
  timeout: 300,
});

let node: FailoverNode;
let peer: TestPeer;
let flows: SourceFlows;

beforeEach(() => {
  node = new FailoverNode();
  peer = node.addPeer('fw1');
  flows = new SourceFlows(new CommitWork(node.parts, true, true), [peer], undefined);
});

function markAll(): void {
  for (let slot = 0; slot < node.table.slotLimit; slot++) if (node.table.isUsed(slot)) flows.mark(slot);
}

describe('the flows of a source', () => {
  it('are listed as they are marked, each once, and none that is not to be committed', () => {
    for (let port = 1; port <= 50; port++) node.hear(peer, tcp(port));
    const other = node.addPeer('fw3');
    node.hear(other, tcp(60));
    node.table.insert(makeRecord(tcp(61)).m, 0, OWNER_SELF, KERNEL);
    markAll();
    const { order } = flows;
    const listed = Array.from({ length: order?.length ?? 0 }, (_, i) => order!.slotAt(i));
    const pending = [...Array(node.table.slotLimit).keys()].filter(
      (slot) => (node.table.bits(slot) & PENDING) !== 0,
    );
    expect(pending).toHaveLength(50);
    expect(listed).toEqual(pending);
  });

  it('leave the commit to look for itself where two slots of a key have become one, or may yet', () => {
    node.hear(peer, tcp(1));
    const own = node.table.insert(makeRecord(tcp(2)).m, 0, OWNER_SELF, KERNEL);
    const shadow = node.table.insert(makeRecord({ ...tcp(2), mark: 9 }).m, 0, peer.owner, SHADOW);
    node.table.setImage(shadow, 1, 1);
    expect(flows.order).toBeUndefined();
    markAll();
    expect(node.table.shadowCount).toBe(0);
    expect(node.table.bits(own) & PENDING).toBe(PENDING);
    expect(flows.order).toBeUndefined();
  });

  it('leave it so as well when more were found than there were slots', () => {
    node.hear(peer, tcp(1));
    markAll();
    expect(flows.order?.length).toBe(1);
    flows.mark(node.hear(peer, tcp(2)));
    expect(flows.order).toBeUndefined();
  });
});
