/** Promotes under fire: traffic between any two requests, events lost, answers lost, rooms full, crashes. */
import { describe, expect, it } from 'vitest';
import { doneOf } from '../../src/failover/commit-report.js';
import type { Promotion } from '../../src/failover/promote.js';
import {
  IPS_ASSURED,
  IPS_EXPECTED,
  IPS_SEEN_REPLY,
  IPS_SRC_NAT,
  TCP_CONNTRACK_CLOSE_WAIT,
  TCP_CONNTRACK_ESTABLISHED,
} from '../../src/flow/conntrack-enums.js';
import { OP_CREATE, OP_GET, OP_UPDATE, SEEN_MARK, SEEN_PROTOINFO } from '../../src/flow/kernel-port.js';
import { findPart, offMark, offState, PART_MASTER } from '../../src/flow/record.js';
import { KERNEL } from '../../src/table/slot-bits.js';
import { FailoverNode, type TestPeer } from './failover-node.js';
import { seededRandom } from './kernel-twin.js';
import { masterKey, type TwinFlow } from './kernel-twin-flows.js';
import { type FlowDescription, makeRecord } from './record-maker.js';

const LIVE = IPS_SEEN_REPLY | IPS_ASSURED;
const PORTS = 400;

/** The world around one node: what its peer said, and the traffic that goes on in its kernel. */
class World {
  readonly random: () => number;
  readonly node: FailoverNode;
  peer: TestPeer;
  readonly replica: FlowDescription[] = [];
  #alive: TwinFlow[] = [];

  constructor(seed: number) {
    this.random = seededRandom(seed);
    this.node = new FailoverNode({
      random: this.random,
      eventBufferBytes: 1280 * 200,
      twiceRate: 0.05,
      dumpRows: 20,
      sameIdRate: 0.9,
      answersMax: this.pick(2) === 0 ? 19 : Number.POSITIVE_INFINITY,
      reliable: this.pick(2) === 0,
      hasLabels: this.pick(2) === 0,
    });
    this.peer = this.node.addPeer('fw1');
  }

  pick(n: number): number {
    return Math.floor(this.random() * n);
  }

  /** Some flow; two of one port differ in everything a kernel can make differ. */
  flow(port = this.pick(PORTS)): FlowDescription {
    const isTranslated = this.pick(3) === 0;
    const status = [0, IPS_SEEN_REPLY, LIVE, LIVE][this.pick(4)];
    return {
      source: '10.0.0.1',
      destination: '10.9.0.1',
      sourcePort: port,
      destinationPort: 80,
      state: this.pick(2) === 0 ? TCP_CONNTRACK_ESTABLISHED : TCP_CONNTRACK_CLOSE_WAIT,
      wscale: this.pick(2) === 0 ? [7, 7] : undefined,
      mark: this.pick(3),
      timeout: [1, 40, 3000][this.pick(3)],
      helper: this.pick(20) === 0 ? ['ftp', 'h323'][this.pick(2)] : undefined,
      labels: this.pick(20) === 0 ? 4 : undefined,
      status: status | (isTranslated ? IPS_SRC_NAT : 0),
      reply: isTranslated
        ? {
            source: '10.9.0.1',
            destination: '192.0.2.1',
            sourcePort: 80,
            destinationPort: 5000 + this.pick(PORTS),
          }
        : undefined,
    };
  }

  /** What the peer had: no two flows of one reply tuple, as in a kernel; some with a master. */
  fillReplica(): void {
    const outside = new Set<number>();
    for (let port = 0; port < PORTS; port++) {
      const flow = this.flow(port);
      const taken = flow.reply?.destinationPort ?? 0;
      if (taken !== 0 && outside.has(taken)) continue;
      if (taken !== 0) outside.add(taken);
      if (port > 300 && this.pick(3) === 0) {
        flow.master = {
          source: '10.0.0.1',
          destination: '10.9.0.1',
          sourcePort: port - 300,
          destinationPort: 80,
        };
        flow.status = (flow.status ?? 0) | IPS_EXPECTED;
      }
      this.replica.push(flow);
    }
  }

  hearReplica(): void {
    for (const flow of this.replica) {
      const slot = this.node.slotOf(flow);
      const isHeld = slot >= 0 && (this.node.table.bits(slot) & KERNEL) !== 0;
      if (slot >= 0 && this.node.role !== 'primary') this.node.table.remove(slot);
      this.node.hear(this.peer, flow, isHeld && this.node.role !== 'primary' ? KERNEL : 0);
    }
  }

  traffic(): void {
    const { twin } = this.node;
    this.#alive = this.#alive.filter((flow) => flow.place >= 0);
    const flow = this.#alive[this.pick(this.#alive.length)];
    const kind = this.pick(5);
    if (kind < 2 || flow === undefined) {
      const { m } = makeRecord({ ...this.flow(), helper: undefined, labels: undefined });
      const born = twin.born(m, 0);
      if (born !== undefined) this.#alive.push(born);
    } else if (kind === 2) {
      twin.change(flow, SEEN_MARK, (m) => {
        m.u32[offMark(4) >>> 2] = this.pick(5);
      });
    } else if (kind === 3) {
      twin.change(flow, SEEN_PROTOINFO, (m) => {
        m.u8[offState(4)] = TCP_CONNTRACK_CLOSE_WAIT;
      });
    } else twin.die(flow);
  }

  /** After it, and one audit: the table shows the kernel, and each of the peer's flows is accounted for. */
  check(promotion: Promotion, seed: number): void {
    const { node } = this;
    node.twin.beforeRequest = undefined;
    node.twin.knobs.answersMax = Number.POSITIVE_INFINITY;
    node.twin.forced.length = 0;
    expect(doneOf(promotion.report), `seed ${seed}`).toBe(promotion.report.total);
    node.finish(node.audit('repair'));
    expect(node.difference(), `seed ${seed}`).toBeUndefined();
  }
}

describe('a promote', () => {
  it('accounts for each flow, and leaves table and kernel equal, whatever happens meanwhile', () => {
    let rejected = 0;
    for (let seed = 1; seed <= 60; seed++) {
      const world = new World(seed);
      const { node } = world;
      for (let i = 0; i < 200; i++) world.traffic();
      node.drain();
      world.fillReplica();
      world.hearReplica();
      if (seed % 3 === 0) node.twin.knobs.maxFlows = 300;
      const promotion = node.promotion();
      node.twin.beforeRequest = (verb, m, at) => {
        if (world.pick(4) === 0) world.traffic();
        if (world.pick(200) === 0)
          node.twin.forced.push({ verb: world.pick(2) ? OP_CREATE : OP_GET, errno: -1, times: 1 });
        if (world.pick(300) === 0) node.twin.forced.push({ verb: OP_UPDATE, errno: 28, times: 1 });
        const part = verb === OP_CREATE ? findPart(m, at, PART_MASTER) : -1;
        if (part >= 0) mastersSeen.add(node.twin.flows.byTuple.has(masterKey(m, at, part)));
      };
      node.finish(promotion, () => {
        for (let i = world.pick(20); i > 0; i--) world.traffic();
        node.timeMs += world.pick(50);
      });
      world.check(promotion, seed);
      for (const count of Object.values(promotion.report.rejected)) rejected += count;
    }
    expect(rejected).toBeGreaterThan(0);
    expect(mastersSeen.has(true)).toBe(true);
  });

  it('leaves out no flow without a reason when nothing is in the way', () => {
    for (let seed = 1; seed <= 20; seed++) {
      const world = new World(seed);
      const { node } = world;
      world.fillReplica();
      world.hearReplica();
      const promotion = node.promotion();
      node.finish(promotion);
      world.check(promotion, seed);
      expect(promotion.report.rejected, `seed ${seed}`).toEqual({});
      for (const flow of world.replica) {
        expect(node.kernelRecord(flow), `seed ${seed} port ${flow.sourcePort}`).toBeDefined();
      }
    }
  });

  it('that crashes anywhere, amid traffic, ends well when it is made again', () => {
    for (let seed = 1; seed <= 40; seed++) {
      const world = new World(seed);
      const { node } = world;
      for (let i = 0; i < 100; i++) world.traffic();
      node.drain();
      world.fillReplica();
      world.hearReplica();
      let left = world.pick(900);
      node.twin.beforeRequest = () => {
        if (left-- === 0) throw new Crash();
        if (world.pick(10) === 0) world.traffic();
      };
      try {
        node.finish(node.promotion());
      } catch (error) {
        if (!(error instanceof Crash)) throw error;
      }
      node.twin.beforeRequest = undefined;
      const state = node.states.at(-1);
      node.restart();
      node.drain();
      node.role = state?.role ?? 'backup';
      node.finish(node.audit('repair'));
      node.flush();
      world.peer = node.addPeer('fw1');
      world.hearReplica();
      const again = node.promotion({ resumed: state?.sources ?? [] });
      node.finish(again);
      world.check(again, seed);
    }
  });
});

const mastersSeen = new Set<boolean>();

class Crash extends Error {}
