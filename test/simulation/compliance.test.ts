/** The compliance suite on the kernel twin, and the facts that only a twin can be made to show. */
import { describe, expect, it } from 'vitest';
import { IPS_NAT_CLASH } from '../../src/flow/conntrack-enums.js';
import {
  DUMP_INTERRUPTED,
  EVENT_DESTROY,
  EVENT_NEW,
  EVENT_UPDATE,
  KernelBatch,
  OP_CREATE,
  SEEN_MARK,
  SEEN_PROTOINFO,
} from '../../src/flow/kernel-port.js';
import { offMark, offProtoBits } from '../../src/flow/record.js';
import { type ComplianceSubject, type ComplianceWish, testCompliance } from './compliance.js';
import { testExpectationCompliance } from './expectation-compliance.js';
import { KernelTwin, type TwinOptions } from './kernel-twin.js';
import { type FlowDescription, makeRecord } from './record-maker.js';

const openTwin = async ({ events }: ComplianceWish): Promise<ComplianceSubject> => {
  let timeMs = 1_000_000;
  const port = new KernelTwin({
    now: () => timeMs,
    eventBufferBytes: events === undefined ? 64 << 20 : events * 1280,
  });
  return {
    port,
    foreign: {
      execute: (batch) => port.executeAs(4242, batch),
      createExpectation: (m, at) => port.expectations.create(m, at, 4242),
      deleteExpectation: (m, at) => port.expectations.delete(m, at, 4242),
    },
    pass: async (ms) => {
      timeMs += ms;
    },
    close: () => undefined,
  };
};

testCompliance('the kernel twin', openTwin);
testExpectationCompliance('the kernel twin', openTwin);

const tcp = (port: number, more: Partial<FlowDescription> = {}): FlowDescription => ({
  source: '10.0.0.1',
  destination: '10.9.0.1',
  sourcePort: port,
  destinationPort: 80,
  state: 3,
  timeout: 100,
  ...more,
});

function makeTwin(options: Partial<TwinOptions> = {}): {
  twin: KernelTwin;
  born: (flow: FlowDescription) => NonNullable<ReturnType<KernelTwin['born']>>;
  hear: () => { kind: number; seen: number; status: number; mark: number; protoBits: number }[];
  pass: (ms: number) => void;
} {
  let timeMs = 0;
  const twin = new KernelTwin({ now: () => timeMs, ...options });
  return {
    twin,
    born: (flow) => {
      const made = twin.born(makeRecord(flow).m, 0);
      if (made === undefined) throw new Error('refused');
      return made;
    },
    hear: () => {
      const heard: ReturnType<ReturnType<typeof makeTwin>['hear']> = [];
      const sink = {
        event: (
          kind: number,
          m: { u32: Uint32Array; u8: Uint8Array },
          _at: number,
          seen: number,
          _p: number,
          status: number,
        ) => {
          heard.push({ kind, seen, status, mark: m.u32[offMark(4) >>> 2], protoBits: m.u8[offProtoBits(4)] });
        },
      };
      while (twin.drain(sink, 1));
      return heard;
    },
    pass: (ms) => {
      timeMs += ms;
    },
  };
}

describe('the kernel twin', () => {
  it('F1: gives a tuple’s second life the same id', () => {
    const { twin, born } = makeTwin();
    const first = born(tcp(1));
    twin.die(first);
    expect(born(tcp(1)).id).toBe(first.id);
    twin.knobs.sameIdRate = 0;
    const second = twin.find(makeRecord(tcp(1)).m, 0);
    if (second) twin.die(second);
    expect(born(tcp(1)).id).not.toBe(first.id);
  });

  it('F2: without NO_ENOBUFS is deaf after an overrun until it was read to empty', () => {
    const { twin, born, hear } = makeTwin({ eventBufferBytes: 10 * 1280, noEnobufs: false });
    for (let i = 0; i < 11; i++) born(tcp(i));
    twin.drain({ event: () => undefined }, 0.001);
    born(tcp(100));
    expect(twin.eventsLost()).toBe(2);
    expect(hear()).toHaveLength(9);
    born(tcp(101));
    expect(hear()).toHaveLength(1);
  });

  it('F10: shows in a dump what ended after the buffer was filled', () => {
    const { twin, born } = makeTwin();
    const flow = born(tcp(1));
    twin.dumpStart();
    twin.die(flow);
    let rows = 0;
    twin.dumpNext(() => rows++);
    expect(rows).toBe(1);
  });

  it('F12: misses flows in a dump across a resize, shows some twice, and can break off', () => {
    const { twin, born } = makeTwin({ dumpRows: 10, twiceRate: 0.3 });
    for (let i = 0; i < 100; i++) born(tcp(i));
    const rows: number[] = [];
    twin.dumpStart();
    twin.dumpNext((m) => rows.push(m.u32[4]));
    twin.resize(1024);
    while (twin.dumpNext((m) => rows.push(m.u32[4])) === 0);
    expect(new Set(rows).size).toBeLessThan(100);
    expect(rows.length).toBeGreaterThan(new Set(rows).size);
    twin.interruptDump();
    expect(twin.dumpNext(() => undefined)).toBe(DUMP_INTERRUPTED);
  });

  it('F12: can swap two events of a flow', () => {
    const { twin, born, hear } = makeTwin({ swapRate: 1 });
    const flow = born(tcp(1));
    hear();
    twin.change(flow, SEEN_MARK, () => undefined);
    twin.die(flow);
    expect(hear().map((event) => event.kind)).toEqual([EVENT_DESTROY, EVENT_UPDATE]);
  });

  it('F13: hides the loser of a clash and ends it a second later', () => {
    const { twin, born, hear, pass } = makeTwin();
    const winner = born(tcp(1));
    hear();
    const loser = tcp(1, {
      reply: { source: '10.9.0.1', destination: '10.0.0.1', sourcePort: 80, destinationPort: 777 },
    });
    twin.clash(winner, makeRecord(loser).m, 0);
    let rows = 0;
    twin.dumpStart();
    twin.dumpNext(() => rows++);
    expect(rows).toBe(1);
    pass(1000);
    twin.collect();
    const [event] = hear();
    expect(event.kind).toBe(EVENT_DESTROY);
    expect(event.status & IPS_NAT_CLASH).toBe(IPS_NAT_CLASH);
    expect(twin.find(makeRecord(tcp(1)).m, 0)).toBe(winner);
  });

  it('tells in an update only what has changed, and in a DESTROY the state only', () => {
    const { twin, born, hear } = makeTwin();
    const flow = born(tcp(1, { wscale: [7, 7], helper: 'ftp' }));
    hear();
    twin.change(flow, SEEN_MARK, (m) => {
      m.u32[offMark(4) >>> 2] = 5;
    });
    twin.die(flow);
    const [update, destroy] = hear();
    expect(update).toMatchObject({ kind: EVENT_UPDATE, mark: 5, protoBits: 0 });
    expect(update.seen & SEEN_PROTOINFO).toBe(0);
    expect(destroy).toMatchObject({ kind: EVENT_DESTROY, protoBits: 1 });
  });

  it('with reliable delivery repeats each DESTROY that did not arrive, and folds a lost NEW into what comes next', () => {
    const { twin, born, hear } = makeTwin({ eventBufferBytes: 10 * 1280, reliable: true });
    const flows = Array.from({ length: 30 }, (_, i) => born(tcp(i)));
    expect(hear()).toHaveLength(10);
    twin.change(flows[29], SEEN_MARK, () => undefined);
    expect(hear().map((event) => event.kind)).toEqual([EVENT_NEW]);
    for (const flow of flows) twin.die(flow);
    expect(hear()).toHaveLength(30);
  });

  it('says nothing of a flow that was born while nobody listened', () => {
    const { twin, hear } = makeTwin();
    const deaf = twin.born(makeRecord(tcp(1)).m, 0, { isDeaf: true });
    if (deaf) twin.die(deaf);
    expect(hear()).toEqual([]);
  });

  it('F8: loses the answers that do not fit, also those of requests that were carried out', () => {
    const { twin, born } = makeTwin({ answersMax: 2 });
    for (let i = 0; i < 5; i++) born(tcp(i));
    const batch = new KernelBatch(6);
    for (let i = 0; i < 6; i++) batch.add(OP_CREATE, i, makeRecord(tcp(i)).m, 0);
    twin.execute(batch);
    expect([...batch.errno]).toEqual([17, 17, -1, -1, -1, -1]);
    expect(twin.find(makeRecord(tcp(5)).m, 0)).toBeDefined();
  });
});
