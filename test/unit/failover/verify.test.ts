import { beforeEach, describe, expect, it } from 'vitest';
import { Verification, type VerifyReport } from '../../../src/failover/verify.js';
import { IPS_ASSURED, IPS_SEEN_REPLY, TCP_CONNTRACK_ESTABLISHED } from '../../../src/flow/conntrack-enums.js';
import { SEEN_MARK } from '../../../src/flow/kernel-port.js';
import { offMark } from '../../../src/flow/record.js';
import { KERNEL, OWNER_SELF } from '../../../src/table/slot-bits.js';
import { FailoverNode } from '../../simulation/failover-node.js';
import { seededRandom } from '../../simulation/kernel-twin.js';
import type { TwinFlow } from '../../simulation/kernel-twin-flows.js';
import { type FlowDescription, makeRecord } from '../../simulation/record-maker.js';

const tcp = (port: number, more: Partial<FlowDescription> = {}): FlowDescription => ({
  source: '10.0.0.1',
  destination: '10.9.0.1',
  sourcePort: port,
  destinationPort: 80,
  status: IPS_SEEN_REPLY | IPS_ASSURED,
  state: TCP_CONNTRACK_ESTABLISHED,
  timeout: 1000,
  ...more,
});

let node: FailoverNode;
beforeEach(() => {
  node = new FailoverNode();
});

function born(flow: FlowDescription): TwinFlow {
  const flowOfTwin = node.twin.born(makeRecord(flow).m, 0);
  if (flowOfTwin === undefined) throw new Error('the twin refused the flow');
  return flowOfTwin;
}

function verify(between?: () => void): VerifyReport {
  const verification = new Verification({ ...node.parts, generations: node.generations });
  node.finish(verification, between);
  return verification.report;
}

describe('a verification', () => {
  it('finds no difference where there is none', () => {
    for (let i = 0; i < 1000; i++) born(tcp(i));
    node.drain();
    expect(verify()).toEqual({ flows: 1000, differing: 0, differences: [], isProvable: true });
  });

  it('names what differs, what only the kernel has and what only the table has, and changes nothing', () => {
    const changed = born(tcp(1));
    const gone = born(tcp(2));
    node.drain();
    node.flush();
    node.twin.changeSilently(changed, (m) => {
      m.u32[offMark(4) >>> 2] = 7;
    });
    node.twin.flows.remove(gone);
    node.twin.isBulk = true;
    born(tcp(3));
    const report = verify();
    expect(report.differing).toBe(3);
    expect(report.differences.map(({ kernel, table, fields }) => [!!kernel, !!table, fields])).toEqual([
      [true, true, ['mark']],
      [true, false, []],
      [false, true, []],
    ]);
    expect(node.table.dirtyCount).toBe(0);
    expect(node.table.count).toBe(2);
  });

  it('lists the first 20 and counts the rest', () => {
    node.twin.isBulk = true;
    for (let i = 0; i < 3000; i++) born(tcp(i));
    const report = verify();
    expect(report.differing).toBe(3000);
    expect(report.differences).toHaveLength(20);
  });

  it('says nothing false while flows come, change and go', () => {
    for (let seed = 1; seed <= 20; seed++) {
      const random = seededRandom(seed);
      node = new FailoverNode({ random, dumpRows: 20, twiceRate: 0.05 });
      const alive: TwinFlow[] = [];
      for (let i = 0; i < 500; i++) alive.push(born(tcp(i)));
      node.drain();
      let port = 1000;
      const traffic = (): void => {
        const at = Math.floor(random() * alive.length);
        const kind = random();
        if (kind < 0.4) alive.push(born(tcp(port++)));
        else if (kind < 0.6) node.twin.die(alive.splice(at, 1)[0]);
        else {
          node.twin.change(alive[at], SEEN_MARK, (m) => {
            m.u32[offMark(4) >>> 2] = Math.floor(random() * 100);
          });
        }
      };
      node.twin.beforeCall = () => {
        for (let i = 0; i < 3; i++) traffic();
      };
      const report = verify();
      expect(report, `seed ${seed}`).toMatchObject({ differing: 0, isProvable: true });
    }
  });

  it('does not count a flow that an event touched after the kernel was asked', () => {
    const flow = born(tcp(1));
    node.drain();
    const setMark = (mark: number) => (m: { u32: Uint32Array }) => {
      m.u32[offMark(4) >>> 2] = mark;
    };
    node.twin.changeSilently(flow, setMark(7));
    const verification = new Verification({ ...node.parts, generations: node.generations });
    node.finish(verification, () => {
      if (verification.phase === 'settle-again') node.twin.change(flow, SEEN_MARK, setMark(8));
    });
    expect(verification.report).toMatchObject({ differing: 0, isProvable: true });
  });

  it('does not compare held flows with what their owner says of them', () => {
    const peer = node.addPeer('fw1');
    node.twin.isBulk = true;
    born(tcp(1, { mark: 1 }));
    node.hear(peer, tcp(1, { mark: 2 }), KERNEL);
    expect(verify().differing).toBe(0);
  });

  it('proves nothing when events were lost or the hash table was resized meanwhile', () => {
    born(tcp(1));
    node.drain();
    expect(verify(() => node.twin.queue.drops++).isProvable).toBe(false);
    const start = node.twin.dumpStart.bind(node.twin);
    node.twin.dumpStart = () => {
      start();
      node.twin.resize(1024);
    };
    expect(verify().isProvable).toBe(false);
  });

  it('leaves expired flows that nobody has collected out', () => {
    born(tcp(1, { timeout: 1 }));
    born(tcp(2));
    node.drain();
    node.timeMs += 5000;
    expect(verify()).toMatchObject({ differing: 0, flows: 1 });
    expect(node.table.countOf(OWNER_SELF)).toBe(1);
  });
});
