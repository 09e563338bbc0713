import { beforeEach, describe, expect, it } from 'vitest';
import { Audit } from '../../../src/failover/audit.js';
import { IPS_ASSURED, IPS_SEEN_REPLY, TCP_CONNTRACK_ESTABLISHED } from '../../../src/flow/conntrack-enums.js';
import { OP_GET, SEEN_MARK } from '../../../src/flow/kernel-port.js';
import { type Memory, OFF_IDLE, OFF_ORIG_L4, offMark } from '../../../src/flow/record.js';
import {
  IDLE_LIVE,
  IDLE_LONG,
  IDLE_ONCE,
  IDLE_UNKNOWN,
  IdleClasses,
} from '../../../src/table/idle-classes.js';
import { DEAD, FRESH, KERNEL, OWNER_SELF, OWNER_UNCLASSIFIED } from '../../../src/table/slot-bits.js';
import { FailoverNode } from '../../simulation/failover-node.js';
import { seededRandom } from '../../simulation/kernel-twin.js';
import type { TwinFlow } from '../../simulation/kernel-twin-flows.js';
import { type FlowDescription, makeRecord } from '../../simulation/record-maker.js';

const tcp = (port: number, more: Partial<FlowDescription> = {}): FlowDescription => ({
  source: '10.0.0.1',
  destination: '10.9.0.1',
  sourcePort: port & 0xffff,
  destinationPort: 80 + (port >>> 16),
  status: IPS_SEEN_REPLY | IPS_ASSURED,
  state: TCP_CONNTRACK_ESTABLISHED,
  timeout: 1000,
  ...more,
});
const setMark = (mark: number) => (m: { u32: Uint32Array }) => {
  m.u32[offMark(4) >>> 2] = mark;
};

let node: FailoverNode;
beforeEach(() => {
  node = new FailoverNode();
});

function born(flow: FlowDescription, isHeard = true): TwinFlow {
  node.twin.isBulk = !isHeard;
  const flowOfTwin = node.twin.born(makeRecord(flow).m, 0);
  node.twin.isBulk = false;
  if (flowOfTwin === undefined) throw new Error('the twin refused the flow');
  return flowOfTwin;
}

describe('the first audit', () => {
  it('reads no row before the event queue was read to empty: older events would put back what a row showed', () => {
    let dumps = 0;
    node.twin.beforeCall = (call) => {
      if (call === 'dumpStart') dumps++;
    };
    born(tcp(1));
    const audit = node.audit('first');
    for (let i = 0; i < 5; i++) audit.step(node.timeMs);
    expect([dumps, audit.progress.phase]).toEqual([0, 'drain']);
    node.drain();
    audit.step(node.timeMs);
    expect(dumps).toBe(1);
  });

  it('finds what was there before the daemon, unclassified, with an image that peers can start from', () => {
    for (let i = 0; i < 500; i++) born(tcp(1000 + i), false);
    const audit = node.audit('first');
    node.finish(audit);
    expect(node.table.countOf(OWNER_UNCLASSIFIED)).toBe(500);
    expect(audit.isWhole).toBe(true);
    const slot = node.slotOf(tcp(1000));
    node.table.currentHash(slot);
    expect(node.table.imageLo(slot)).toBe(node.table.hash.lo);
    expect(node.table.dirtyCount).toBe(0);
    expect(node.difference()).toBeUndefined();
  });

  it('finds a live peer’s flow held', () => {
    const peer = node.addPeer('fw1', { isAlive: true });
    const slot = node.hear(peer, tcp(1));
    born(tcp(1), false);
    node.finish(node.audit('first'));
    expect(node.table.owner(slot)).toBe(peer.owner);
    expect(node.table.bits(slot) & KERNEL).toBe(KERNEL);
  });
});

describe('an audit', () => {
  it('heals a table that lost news, changes and ends, and says so on the stream', () => {
    born(tcp(1));
    const changed = born(tcp(2));
    const ended = born(tcp(3));
    node.drain();
    node.flush();
    born(tcp(4), false);
    node.twin.changeSilently(changed, setMark(9));
    node.twin.flows.remove(ended);
    const audit = node.audit('repair');
    node.finish(audit);
    expect(audit.progress).toMatchObject({ added: 1, repaired: 1, removed: 1, attempts: 1 });
    expect(node.difference()).toBeUndefined();
    expect(node.flush().sort()).toEqual(['delete', 'upsert', 'upsert']);
  });

  it('does not believe a row that is older than the DESTROY that was read', () => {
    const flow = born(tcp(1));
    node.drain();
    const audit = node.audit('repair');
    // The dump fills its first buffer when it starts; then the flow ends, and its end is read.
    const start = node.twin.dumpStart.bind(node.twin);
    node.twin.dumpStart = () => {
      start();
      node.twin.die(flow);
      node.drain();
    };
    node.finish(audit);
    expect(node.slotOf(tcp(1))).toBe(-1);
    expect(audit.progress).toMatchObject({ added: 0, removed: 0 });
  });

  it('does not believe such a row where a peer has spoken of the flow since', () => {
    const flow = born(tcp(1));
    node.drain();
    node.flush();
    const peer = node.addPeer('fw2', { role: 'primary', primaryTerm: 1, isAlive: true });
    const start = node.twin.dumpStart.bind(node.twin);
    node.twin.dumpStart = () => {
      start();
      node.twin.die(flow);
      node.drain();
      node.hear(peer, tcp(1));
    };
    const audit = node.audit('repair');
    node.finish(audit);
    expect(node.table.owner(node.slotOf(tcp(1)))).toBe(peer.owner);
    expect(node.table.bits(node.slotOf(tcp(1))) & KERNEL).toBe(0);
    expect(audit.progress.added).toBe(0);
  });

  it('does not believe a row that is older than the UPDATE that was read', () => {
    const flow = born(tcp(1));
    node.drain();
    const start = node.twin.dumpStart.bind(node.twin);
    node.twin.dumpStart = () => {
      start();
      node.twin.change(flow, SEEN_MARK, setMark(4));
      node.drain();
    };
    const audit = node.audit('repair');
    node.finish(audit);
    expect(audit.progress.repaired).toBe(0);
    expect(node.difference()).toBeUndefined();
  });

  it('asks about a tombstone from before it began, and finds another life', () => {
    node.twin.knobs.sameIdRate = 1;
    const flow = born(tcp(1));
    node.drain();
    node.flush();
    node.twin.die(flow);
    node.drain();
    born(tcp(1), false);
    node.finish(node.audit('repair'));
    const slot = node.slotOf(tcp(1));
    expect(slot).toBeGreaterThanOrEqual(0);
    expect(node.table.bits(slot) & (FRESH | KERNEL | DEAD)).toBe(FRESH | KERNEL);
    expect(node.difference()).toBeUndefined();
  });

  it('runs again, with growing pauses, until no event was lost meanwhile', () => {
    for (let i = 0; i < 50; i++) born(tcp(i));
    node.drain();
    const audit = node.audit('repair');
    const start = node.twin.dumpStart.bind(node.twin);
    const starts: number[] = [];
    node.twin.dumpStart = () => {
      start();
      starts.push(node.timeMs);
      if (starts.length <= 3) node.twin.queue.drops++;
    };
    node.finish(audit);
    expect(audit.progress).toMatchObject({ attempts: 4, lost: 3 });
    const pauses = starts.slice(1).map((at, i) => at - starts[i]);
    expect(pauses[1]).toBeGreaterThan(pauses[0] * 1.5);
    expect(pauses[2]).toBeGreaterThan(pauses[1] * 1.5);
  });

  it('sweeps nothing when the hash table was resized meanwhile, and runs again', () => {
    for (let i = 0; i < 400; i++) born(tcp(i));
    node.drain();
    const start = node.twin.dumpStart.bind(node.twin);
    node.twin.dumpStart = () => {
      node.twin.dumpStart = start;
      start();
      node.twin.resize(131_072);
    };
    const audit = node.audit('repair');
    node.finish(audit);
    expect(audit.progress).toMatchObject({ attempts: 2, removed: 0 });
    expect(node.difference()).toBeUndefined();
  });

  it('is not whole when the dump broke off', () => {
    for (let i = 0; i < 400; i++) born(tcp(i));
    node.drain();
    const start = node.twin.dumpStart.bind(node.twin);
    let starts = 0;
    node.twin.dumpStart = () => {
      start();
      if (starts++ === 0) node.twin.interruptDump();
    };
    const audit = node.audit('repair');
    node.finish(audit);
    expect(audit.progress).toMatchObject({ attempts: 2, removed: 0 });
  });

  it('removes nothing when the answers to its questions get lost', () => {
    const flow = born(tcp(1));
    node.drain();
    node.twin.flows.remove(flow);
    node.twin.forced.push({ verb: OP_GET, errno: -1, times: 1 });
    const audit = node.audit('repair');
    node.finish(audit);
    expect(audit.progress).toMatchObject({ attempts: 2, removed: 1 });
  });

  it('makes a held flow that differs own on a primary, and leaves the peer’s word on a backup', () => {
    const peer = node.addPeer('fw1', { isAlive: true });
    born(tcp(1, { mark: 1 }), false);
    const slot = node.hear(peer, tcp(1, { mark: 2 }), KERNEL);
    node.finish(node.audit('repair'));
    expect(node.table.owner(node.slotOf(tcp(1)))).toBe(peer.owner);
    node.role = 'primary';
    node.finish(node.audit('repair'));
    expect(node.table.owner(node.slotOf(tcp(1)))).toBe(OWNER_SELF);
    expect(node.table.owner(slot)).toBe(peer.owner);
    expect(node.difference()).toBeUndefined();
  });

  it('knows a held flow by the id that the kernel shows, so that its end is believed', () => {
    const peer = node.addPeer('fw1', { isAlive: true });
    const slot = node.hear(peer, tcp(1, { id: 5 }), KERNEL);
    const flow = born(tcp(1), false);
    node.finish(node.audit('repair'));
    node.twin.die(flow);
    node.drain();
    expect(node.table.bits(slot) & KERNEL).toBe(0);
  });

  it('works more often than there are numbers for audits', () => {
    const peer = node.addPeer('fw1', { isAlive: true });
    const flow = born(tcp(1), false);
    const slot = node.hear(peer, tcp(1), KERNEL);
    node.finish(node.audit('repair'));
    node.twin.die(flow);
    node.drain();
    for (let i = 0; i < 254; i++) node.finish(node.audit('repair'));
    // The slot still carries the first audit's number, and the next audit has the same one.
    node.table.setBits(slot, KERNEL);
    node.finish(node.audit('repair'));
    expect(node.table.kernelCount).toBe(0);
  });

  it('does not go on before the event queue was read to empty', () => {
    born(tcp(1));
    node.drain();
    const audit = node.audit('repair');
    for (const phase of ['drain', 'settle']) {
      for (let i = 0; i < 100; i++) expect(audit.step(node.timeMs)).toBe(false);
      expect(audit.progress.phase).toBe(phase);
      node.drain();
    }
    expect(audit.step(node.timeMs)).toBe(true);
  });

  it('lets go of a tombstone after two reads, and believes what the dump shows then', () => {
    node.twin.knobs.dumpRows = 1;
    for (let i = 0; i < 8; i++) born(tcp(i));
    const last = born(tcp(99));
    node.drain();
    const audit = node.audit('repair');
    const start = node.twin.dumpStart.bind(node.twin);
    node.twin.dumpStart = () => {
      start();
      node.twin.die(last);
      node.drain();
      born(tcp(99), false);
    };
    node.finish(audit);
    expect(audit.progress).toMatchObject({ attempts: 1 });
    expect(node.slotOf(tcp(99))).toBeGreaterThanOrEqual(0);
    expect(node.difference()).toBeUndefined();
  });

  it('lets flows leave that are no longer replicated, and leaves a peer’s word about them alone', () => {
    const peer = node.addPeer('fw1', { isAlive: true });
    for (const port of [1, 2, 3]) born(tcp(port), port < 3);
    const theirs = node.hear(peer, tcp(3));
    node.drain();
    node.flush();
    const ports = new Set<number>();
    const ignore = (m: Memory) => ports.has((m.u8[OFF_ORIG_L4] << 8) | m.u8[OFF_ORIG_L4 + 1]);
    const audit = () => {
      const one = new Audit(
        {
          ...node.parts,
          rules: node.rules,
          generations: node.generations,
          isPrimary: () => true,
          ignore: (m, at) => at === 0 && ignore(m),
        },
        'repair',
      );
      node.finish(one);
      return one.progress;
    };
    expect(audit()).toMatchObject({ added: 0, left: 0, removed: 0 });
    ports.add(2).add(3);
    expect(audit()).toMatchObject({ added: 0, left: 1, removed: 0 });
    expect(node.flush()).toEqual(['delete']);
    expect(node.slotOf(tcp(1))).toBeGreaterThanOrEqual(0);
    expect(node.slotOf(tcp(2))).toBe(-1);
    expect(node.table.bits(theirs) & KERNEL).toBe(KERNEL);
    ports.clear();
    expect(audit()).toMatchObject({ added: 1, left: 0 });
    expect(node.difference()).toBeUndefined();
  });

  it('finds flows idle that had no packet since the last one, and tells them once', () => {
    const [busy, quiet] = [born(tcp(1)), born(tcp(2))];
    node.drain();
    node.flush();
    const idle = new IdleClasses(node.table);
    const classes = () => {
      const parts = { ...node.parts, rules: node.rules, generations: node.generations };
      node.finish(new Audit({ ...parts, isPrimary: () => true, idle }, 'repair'));
      return [tcp(1), tcp(2)].map(
        (f) => node.table.memory.u8[node.table.recordAt(node.slotOf(f)) + OFF_IDLE],
      );
    };
    expect(classes()).toEqual([IDLE_UNKNOWN, IDLE_UNKNOWN]);
    for (const expected of [IDLE_ONCE, IDLE_LONG, IDLE_LONG]) {
      node.timeMs += 60_000;
      busy.expiresAt = node.timeMs + 990_000;
      expect(classes()).toEqual([IDLE_LIVE, expected]);
    }
    // A row that repairs the record keeps what is known of its packets.
    node.twin.changeSilently(quiet, setMark(3));
    node.timeMs += 60_000;
    expect(classes()).toEqual([IDLE_ONCE, IDLE_LONG]);
    expect(idle.waiting).toBe(4);
    // Nor does an audit that judges nothing forget it.
    node.finish(node.audit('repair'));
    expect(node.table.memory.u8[node.table.recordAt(node.slotOf(tcp(2))) + OFF_IDLE]).toBe(IDLE_LONG);
  });

  it('heals a corrupted table beside traffic that loses events, whatever the order', () => {
    for (let seed = 1; seed <= 20; seed++) {
      const random = seededRandom(seed);
      const pick = (n: number): number => Math.floor(random() * n);
      node = new FailoverNode({
        random,
        eventBufferBytes: 1280 * 60,
        swapRate: 0,
        twiceRate: 0.05,
        dumpRows: 20,
        sameIdRate: 0.9,
        reliable: seed % 2 === 0,
      });
      const alive: TwinFlow[] = [];
      const traffic = (): void => {
        const kind = pick(4);
        const flow = alive[pick(alive.length)];
        if (kind < 2 || flow === undefined) {
          const fresh = node.twin.born(makeRecord(tcp(pick(600))).m, 0);
          if (fresh !== undefined) alive.push(fresh);
        } else if (kind === 2) node.twin.change(flow, SEEN_MARK, setMark(pick(1000)));
        else {
          node.twin.die(flow);
          alive.splice(alive.indexOf(flow), 1);
        }
      };
      for (let i = 0; i < 500; i++) traffic(); // most of it is lost
      const audit = node.audit('repair');
      let left = 3000;
      node.finish(audit, () => {
        for (let i = pick(left > 2000 ? 90 : 40); i > 0 && left-- > 0; i--) traffic();
      });
      expect(node.difference(), `seed ${seed}`).toBeUndefined();
    }
  });
});
