/**
 * The compliance suite: what Conntwin believes of conntrack and ctnetlink (PROTOCOL.md, section 1, and FACTS.md,
 * section 4), run against the kernel twin and the real kernel. What a test here pins, the simulator may rely on.
 */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  IPS_ASSURED,
  IPS_DST_NAT,
  IPS_EXPECTED,
  IPS_FIXED_TIMEOUT,
  IPS_SEEN_REPLY,
  IPS_SRC_NAT,
  TCP_CONNTRACK_CLOSE_WAIT,
  TCP_CONNTRACK_ESTABLISHED,
  TCP_CONNTRACK_SYN_SENT,
} from '../../src/flow/conntrack-enums.js';
import {
  DUMP_DONE,
  DUMP_MORE,
  EVENT_DESTROY,
  EVENT_NEW,
  EVENT_UPDATE,
  type EventSink,
  KernelBatch,
  type KernelPort,
  OP_CREATE,
  OP_DELETE,
  OP_GET,
  OP_GET_REPLY,
  OP_RETIME,
  OP_UPDATE,
} from '../../src/flow/kernel-port.js';
import { withOwnMaster } from '../../src/flow/master.js';
import { durableEqual } from '../../src/flow/merge.js';
import {
  addressBytes,
  allocateMemory,
  copyRecord,
  lengthOf,
  MAX_RECORD_BYTES,
  type Memory,
  OFF_ID,
  OFF_TIMEOUT,
  offState,
  offStatus,
} from '../../src/flow/record.js';
import { type FlowDescription, makeRecord } from './record-maker.js';

/** A kernel under test. */
export interface ComplianceSubject {
  readonly port: KernelPort;
  /** Another program with ctnetlink: its writes are heard as events. */
  readonly foreign: Pick<KernelPort, 'execute' | 'createExpectation' | 'deleteExpectation'>;
  /** Lets time pass, for flows to expire. */
  pass(ms: number): Promise<void>;
  close(): void;
}

/** How a test wishes its kernel. */
export interface ComplianceWish {
  /** Room for this many events, about. */
  readonly events?: number;
}

const EPERM = 1;
const ENOENT = 2;
const EBUSY = 16;
const EEXIST = 17;
const EOPNOTSUPP = 95;
const LIVE = IPS_SEEN_REPLY | IPS_ASSURED;

const tcp = (port: number, more: Partial<FlowDescription> = {}): FlowDescription => ({
  source: '10.0.0.1',
  destination: '10.9.0.1',
  sourcePort: port,
  destinationPort: 80,
  status: LIVE,
  state: TCP_CONNTRACK_ESTABLISHED,
  wscale: [7, 9],
  timeout: 1000,
  ...more,
});
const snat = (port: number, outside: number): FlowDescription =>
  tcp(port, {
    status: LIVE | IPS_SRC_NAT,
    reply: { source: '10.9.0.1', destination: '192.0.2.1', sourcePort: 80, destinationPort: outside },
  });

/** Flows of every kind that a commit has to bring into a kernel unchanged. */
const KINDS: Record<string, FlowDescription> = {
  'an established TCP flow with window scaling': tcp(1),
  'a half-open TCP flow': tcp(2, { status: 0, state: TCP_CONNTRACK_SYN_SENT, wscale: undefined }),
  'a marked flow': tcp(3, { mark: 0xdeadbeef }),
  'a source-translated flow': snat(4, 40_000),
  'a destination-translated flow': tcp(5, {
    status: LIVE | IPS_DST_NAT,
    reply: { source: '172.16.0.9', destination: '10.0.0.1', sourcePort: 8080, destinationPort: 5 },
  }),
  'a flow translated both ways': tcp(6, {
    status: LIVE | IPS_SRC_NAT | IPS_DST_NAT,
    reply: { source: '172.16.0.9', destination: '192.0.2.1', sourcePort: 8080, destinationPort: 6000 },
  }),
  'a flow in a zone': tcp(7, { zone: 5 }),
  'a UDP flow': tcp(8, { protocol: 'udp', state: undefined, wscale: undefined }),
  'an ICMP flow': tcp(9, {
    protocol: 'icmp',
    destinationPort: 8,
    state: undefined,
    wscale: undefined,
    status: IPS_SEEN_REPLY,
  }),
  'an IPv6 flow': tcp(10, { source: 'fd00::1', destination: 'fd00:9::1' }),
  'a source-translated IPv6 flow': tcp(11, {
    source: 'fd00::1',
    destination: 'fd00:9::1',
    status: LIVE | IPS_SRC_NAT,
    reply: { source: 'fd00:9::1', destination: 'fd00:2::1', sourcePort: 80, destinationPort: 1111 },
  }),
  'a flow with a fixed timeout': tcp(12, { status: LIVE | IPS_FIXED_TIMEOUT }),
  'a flow with sequence adjustment': tcp(13, { seqadj: [1000, 2, 4] }),
};

interface Heard {
  readonly kind: number;
  readonly m: Memory;
  readonly seen: number;
  readonly portId: number;
}

function cloned(m: Memory, at: number): Memory {
  const copy = allocateMemory(lengthOf(m, at));
  copyRecord(m, at, copy, 0);
  return copy;
}

/** Declares the suite for one kernel. */
export function testCompliance(
  name: string,
  open: (wish: ComplianceWish) => Promise<ComplianceSubject>,
): void {
  describe(`${name} keeps the facts`, () => {
    let subject: ComplianceSubject;
    let port: KernelPort;

    beforeEach(async () => {
      subject = await open({});
      port = subject.port;
    });
    afterEach(() => subject.close());

    const run = (
      verb: number,
      flows: readonly FlowDescription[],
      by: { execute(batch: KernelBatch): void } = port,
      edit?: (m: Memory, at: number) => void,
    ): KernelBatch => {
      const batch = new KernelBatch(Math.max(1, flows.length));
      for (const flow of flows) {
        const at = batch.add(verb, 0, makeRecord(flow).m, 0);
        edit?.(batch.memory, at);
      }
      by.execute(batch);
      return batch;
    };
    const errno = (verb: number, flow: FlowDescription, by = port as { execute(b: KernelBatch): void }) =>
      run(verb, [flow], by).errno[0];
    const get = (flow: FlowDescription): Memory | undefined => {
      const batch = run(OP_GET, [flow]);
      return batch.errno[0] === 0 ? cloned(batch.found, batch.foundAt[0]) : undefined;
    };
    const hear = (): Heard[] => {
      const heard: Heard[] = [];
      const sink: EventSink = {
        event: (kind, m, at, seen, portId) => heard.push({ kind, m: cloned(m, at), seen, portId }),
      };
      while (port.drain(sink, 1));
      return heard;
    };
    const dump = (): Memory[] => {
      const rows: Memory[] = [];
      port.dumpStart();
      let state = DUMP_MORE;
      while (state === DUMP_MORE) state = port.dumpNext((m, at) => rows.push(cloned(m, at)));
      expect(state).toBe(DUMP_DONE);
      return rows;
    };

    for (const [kind, flow] of Object.entries(KINDS)) {
      it(`${kind} comes back from the kernel as it was created, by GET, dump and event`, () => {
        expect(errno(OP_CREATE, flow, subject.foreign)).toBe(0);
        const { m } = makeRecord(flow);
        const found = get(flow);
        expect(found && durableEqual(found, 0, m, 0)).toBe(true);
        expect(dump().filter((row) => durableEqual(row, 0, m, 0))).toHaveLength(1);
        const heard = hear();
        expect(heard.map((event) => event.kind)).toEqual([EVENT_NEW]);
        expect(durableEqual(heard[0].m, 0, m, 0)).toBe(true);
      });
    }

    it('F1: a second life of a tuple is told by the order of events, not by an id that differs', () => {
      expect(errno(OP_CREATE, tcp(1), subject.foreign)).toBe(0);
      expect(errno(OP_DELETE, tcp(1), subject.foreign)).toBe(0);
      expect(errno(OP_CREATE, tcp(1), subject.foreign)).toBe(0);
      const heard = hear();
      expect(heard.map((event) => event.kind)).toEqual([EVENT_NEW, EVENT_DESTROY, EVENT_NEW]);
      for (const event of heard) expect(event.m.u32[OFF_ID >>> 2]).not.toBe(0);
    });

    it('F3: an overrun is counted exactly and leaves no black-out behind', async () => {
      subject.close();
      subject = await open({ events: 100 });
      port = subject.port;
      const flows = Array.from({ length: 1000 }, (_, i) => tcp(1000 + i));
      for (let i = 0; i < flows.length; i += 50) run(OP_CREATE, flows.slice(i, i + 50), subject.foreign);
      const heard = hear();
      expect(heard.length).toBeGreaterThan(0);
      expect(port.eventsLost()).toBeGreaterThan(0);
      expect(heard.length + port.eventsLost()).toBe(1000);
      expect(errno(OP_CREATE, tcp(1), subject.foreign)).toBe(0);
      expect(hear().map((event) => event.kind)).toEqual([EVENT_NEW]);
    });

    it('F4: an update that names another reply tuple succeeds and changes nothing of it', () => {
      expect(errno(OP_CREATE, tcp(1))).toBe(0);
      expect(errno(OP_UPDATE, { ...snat(1, 40_000), status: LIVE, mark: 3 })).toBe(0);
      const found = get(tcp(1));
      expect(found && durableEqual(found, 0, makeRecord(tcp(1, { mark: 3 })).m, 0)).toBe(true);
    });

    it('a new timeout touches nothing else, whatever the record says', () => {
      expect(errno(OP_CREATE, tcp(1, { mark: 7, status: LIVE, timeout: 900 }))).toBe(0);
      expect(errno(OP_RETIME, tcp(1, { mark: 1, state: 9, timeout: 60 }))).toBe(0);
      const found = get(tcp(1));
      expect(found && durableEqual(found, 0, makeRecord(tcp(1, { mark: 7, status: LIVE })).m, 0)).toBe(true);
      expect(found?.u32[OFF_TIMEOUT >>> 2]).toBeGreaterThan(50);
      expect(found?.u32[OFF_TIMEOUT >>> 2]).toBeLessThanOrEqual(60);
      expect(errno(OP_RETIME, tcp(2))).toBe(ENOENT);
    });

    it('F5: ASSURED cannot be cleared, and a TCP state can go back', () => {
      expect(errno(OP_CREATE, tcp(1, { state: TCP_CONNTRACK_CLOSE_WAIT }))).toBe(0);
      expect(errno(OP_UPDATE, tcp(1, { status: IPS_SEEN_REPLY }))).toBe(EBUSY);
      expect(errno(OP_UPDATE, tcp(1))).toBe(0);
      const found = get(tcp(1));
      expect(found?.u8[offState(4)]).toBe(TCP_CONNTRACK_ESTABLISHED);
      expect(found?.u32[offStatus(4) >>> 2]).toBe(LIVE);
    });

    it('F6: a taken reply tuple is EEXIST, and only its own tuple finds the holder', () => {
      expect(errno(OP_CREATE, snat(50, 40_000))).toBe(0);
      expect(errno(OP_CREATE, snat(1, 40_000))).toBe(EEXIST);
      expect(errno(OP_GET, snat(1, 40_000))).toBe(ENOENT);
      const batch = run(OP_GET_REPLY, [snat(1, 40_000)]);
      expect(batch.errno[0]).toBe(0);
      expect(durableEqual(batch.found, batch.foundAt[0], makeRecord(snat(50, 40_000)).m, 0)).toBe(true);
    });

    it('F7: a child needs its master at birth only, and a delete by a wrong id is ENOENT', () => {
      const child = tcp(2000, { master: tcp(21), status: LIVE | IPS_EXPECTED });
      expect(errno(OP_CREATE, child)).toBe(ENOENT);
      expect(errno(OP_CREATE, tcp(21))).toBe(0);
      expect(errno(OP_CREATE, child)).toBe(0);
      expect(errno(OP_DELETE, tcp(21))).toBe(0);
      const found = get(child);
      expect(found && durableEqual(found, 0, makeRecord(child).m, 0)).toBe(true);
      const id = found?.u32[OFF_ID >>> 2] ?? 0;
      expect(errno(OP_DELETE, { ...child, id: (id ^ 1) >>> 0 })).toBe(ENOENT);
      expect(errno(OP_DELETE, { ...child, id })).toBe(0);
    });

    it('F7: an update of a child has to repeat that it is one', () => {
      const child = tcp(2000, { master: tcp(21), status: LIVE | IPS_EXPECTED });
      run(OP_CREATE, [tcp(21), child]);
      expect(errno(OP_UPDATE, { ...child, status: LIVE })).toBe(EBUSY);
      expect(errno(OP_UPDATE, { ...child, mark: 4 })).toBe(0);
    });

    it('F8: no refusal looks like a success, however many there are', () => {
      const flows = Array.from({ length: 128 }, (_, i) => tcp(1000 + i));
      expect([...new Set(run(OP_CREATE, flows).errno)]).toEqual([0]);
      for (const answer of run(OP_CREATE, flows).errno) expect([EEXIST, -1]).toContain(answer);
    });

    it('F11: a corpse is buried by who looks for it, and only then its DESTROY is heard', async () => {
      expect(errno(OP_CREATE, tcp(1, { timeout: 1 }), subject.foreign)).toBe(0);
      hear();
      await subject.pass(2100);
      expect(dump()).toEqual([]);
      expect(errno(OP_GET, tcp(1))).toBe(ENOENT);
      expect(hear().map((event) => event.kind)).toEqual([EVENT_DESTROY]);
    });

    it('F11: a corpse that holds a reply tuple gives way once it was asked for', async () => {
      expect(errno(OP_CREATE, { ...snat(50, 40_000), timeout: 1 })).toBe(0);
      await subject.pass(2100);
      const first = errno(OP_CREATE, snat(1, 40_000));
      // The kernel's own collector may have been there before.
      if (first !== 0) {
        expect(first).toBe(EEXIST);
        expect(errno(OP_GET_REPLY, snat(1, 40_000))).toBe(ENOENT);
        expect(errno(OP_CREATE, snat(1, 40_000))).toBe(0);
      }
      expect(get(snat(1, 40_000))).toBeDefined();
    });

    it('F12: the size of the hash table can be asked for', () => {
      expect(port.buckets()).toBeGreaterThan(0);
      expect(port.buckets()).toBe(port.buckets());
    });

    it('a lookup finds a flow by either of its tuples', () => {
      expect(errno(OP_CREATE, tcp(1))).toBe(0);
      const backwards = tcp(80, { source: '10.9.0.1', destination: '10.0.0.1', destinationPort: 1 });
      const found = get(backwards);
      expect(found && durableEqual(found, 0, makeRecord(tcp(1)).m, 0)).toBe(true);
      expect(errno(OP_CREATE, backwards)).toBe(EEXIST);
    });

    it('flows of one tuple in two zones are two flows', () => {
      const [here, there] = [tcp(1, { mark: 1 }), tcp(1, { zone: 5, mark: 2 })];
      expect([...run(OP_CREATE, [here, there]).errno]).toEqual([0, 0]);
      expect(dump()).toHaveLength(2);
      expect(errno(OP_DELETE, there)).toBe(0);
      expect(get(there)).toBeUndefined();
      expect(get(here)).toBeDefined();
    });

    it('own writes are not heard, another program’s are', () => {
      run(OP_CREATE, [tcp(1), tcp(2)]);
      run(OP_UPDATE, [tcp(1, { mark: 2 })]);
      run(OP_DELETE, [tcp(2)]);
      expect(hear()).toEqual([]);
      run(OP_UPDATE, [tcp(1, { mark: 3 })], subject.foreign);
      run(OP_DELETE, [tcp(1)], subject.foreign);
      const heard = hear();
      expect(heard.map((event) => event.kind)).toEqual([EVENT_UPDATE, EVENT_DESTROY]);
      for (const event of heard) expect(event.portId).not.toBe(0);
    });

    it('in bulk no births are heard, and nothing of that counts as lost', () => {
      port.setBulk(true);
      run(OP_CREATE, [tcp(1)], subject.foreign);
      run(OP_DELETE, [tcp(1)], subject.foreign);
      expect(hear().map((event) => event.kind)).toEqual([EVENT_DESTROY]);
      port.setBulk(false);
      run(OP_CREATE, [tcp(2)], subject.foreign);
      expect(hear().map((event) => event.kind)).toEqual([EVENT_NEW]);
      expect(port.eventsLost()).toBe(0);
    });

    it('a create that names the flow itself as its master says what is against it, and never succeeds', () => {
      const own = (flow: FlowDescription): number => {
        const record = allocateMemory(MAX_RECORD_BYTES);
        withOwnMaster(makeRecord(flow).m, 0, record);
        const batch = new KernelBatch(1);
        batch.add(OP_CREATE, 0, record, 0);
        port.execute(batch);
        return batch.errno[0];
      };
      expect(own(tcp(1))).toBe(ENOENT);
      expect(own(tcp(2, { helper: 'ftp', labels: 3, seqadj: [1, 2, 3] }))).toBe(ENOENT);
      expect(own(tcp(3, { helper: 'no-such-helper' }))).toBe(EOPNOTSUPP);
      expect(own(tcp(4, { source: 'fd00::1', destination: 'fd00:9::1', zone: 3 }))).toBe(ENOENT);
      for (let i = 1; i <= 4; i++) expect(errno(OP_GET, tcp(i))).toBe(ENOENT);
      expect(errno(OP_CREATE, tcp(5))).toBe(0);
      expect(own(tcp(5))).toBe(EEXIST);
    });

    it('what is created takes of the room', () => {
      const before = port.room();
      expect(errno(OP_CREATE, tcp(1))).toBe(0);
      expect(port.room()).toBe(before - 1);
    });

    it('an unknown helper is EOPNOTSUPP', () => {
      expect(errno(OP_CREATE, tcp(1, { helper: 'no-such-helper' }))).toBe(EOPNOTSUPP);
    });

    it('a fixed timeout stays fixed: an update with another one is EPERM, one without succeeds', () => {
      expect(errno(OP_CREATE, tcp(1, { status: LIVE | IPS_FIXED_TIMEOUT }))).toBe(0);
      expect(errno(OP_UPDATE, tcp(1, { timeout: 50 }))).toBe(EPERM);
      expect(errno(OP_UPDATE, tcp(1, { status: LIVE | IPS_FIXED_TIMEOUT, mark: 1 }))).toBe(0);
      const found = get(tcp(1));
      expect(found?.u32[OFF_TIMEOUT >>> 2]).toBeGreaterThan(900);
    });

    it('update and delete of a flow that is not there are ENOENT, a second create is EEXIST', () => {
      expect(errno(OP_UPDATE, tcp(1))).toBe(ENOENT);
      expect(errno(OP_DELETE, tcp(1))).toBe(ENOENT);
      expect(errno(OP_CREATE, tcp(1))).toBe(0);
      expect(errno(OP_CREATE, tcp(1))).toBe(EEXIST);
    });

    it('a request that fails stops none of the others in its batch', () => {
      run(OP_CREATE, [tcp(2)]);
      expect([...run(OP_CREATE, [tcp(1), tcp(2), tcp(3)]).errno]).toEqual([0, EEXIST, 0]);
    });

    it('a dump shows each of many flows once, of both families', () => {
      const flows = Array.from({ length: 600 }, (_, i) =>
        tcp(1000 + i, i % 2 === 0 ? {} : { source: 'fd00::1', destination: 'fd00:9::1' }),
      );
      for (let i = 0; i < flows.length; i += 50) run(OP_CREATE, flows.slice(i, i + 50));
      const rows = dump();
      expect(rows).toHaveLength(600);
      expect(rows.filter((row) => addressBytes(row, 0) === 16)).toHaveLength(300);
    });
  });
}
