/** The compliance suite's part about expectations: what the kernel does with them, on twin and real kernel alike. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { IPS_ASSURED, IPS_SEEN_REPLY, TCP_CONNTRACK_ESTABLISHED } from '../../src/flow/conntrack-enums.js';
import { cloneExpectation } from '../../src/flow/expectation.js';
import {
  type Expectation,
  expectationFromRecord,
  recordFromExpectation,
} from '../../src/flow/expectation-text.js';
import {
  DUMP_DONE,
  DUMP_MORE,
  EVENT_DESTROY,
  EVENT_NEW,
  KernelBatch,
  OP_CREATE,
  OP_DELETE,
} from '../../src/flow/kernel-port.js';
import type { ComplianceSubject, ComplianceWish } from './compliance.js';
import { type FlowDescription, makeRecord } from './record-maker.js';

const ENOENT = 2;
const EEXIST = 17;
const EINVAL = 22;
const EOPNOTSUPP = 95;

const FTP: FlowDescription = {
  source: '10.0.0.1',
  destination: '10.9.0.1',
  sourcePort: 1000,
  destinationPort: 21,
  status: IPS_SEEN_REPLY | IPS_ASSURED,
  state: TCP_CONNTRACK_ESTABLISHED,
  timeout: 600,
  helper: 'ftp',
};
const SIP: FlowDescription = {
  ...FTP,
  protocol: 'udp',
  state: undefined,
  sourcePort: 5060,
  destinationPort: 5060,
  helper: 'sip',
};

/** What the master announces: its server may connect to this port of its client. */
const expected = (port: number, master = FTP, more: Partial<Expectation> = {}): Expectation => ({
  family: 'ipv4',
  protocol: master.protocol ?? 'tcp',
  tuple: { source: '10.9.0.1', destination: '10.0.0.1', sourcePort: 0, destinationPort: port },
  mask: { source: '255.255.255.255', destination: '255.255.255.255', sourcePort: 0, destinationPort: 65535 },
  master: {
    protocol: master.protocol ?? 'tcp',
    source: '10.0.0.1',
    destination: '10.9.0.1',
    sourcePort: master.sourcePort,
    destinationPort: master.destinationPort,
  },
  class: 0,
  flags: 0,
  ...more,
});

interface Heard {
  readonly kind: number;
  readonly port: number | undefined;
  readonly portId: number;
  readonly expectation: Expectation;
}

/** Declares the suite for one kernel. */
export function testExpectationCompliance(
  name: string,
  open: (wish: ComplianceWish) => Promise<ComplianceSubject>,
): void {
  describe(`${name} treats expectations as ours do`, () => {
    let subject: ComplianceSubject;

    beforeEach(async () => {
      subject = await open({});
      expect([flow(OP_CREATE, FTP), flow(OP_CREATE, SIP)]).toEqual([0, 0]);
      hear();
    });
    afterEach(() => subject.close());

    const flow = (verb: number, description: FlowDescription): number => {
      const batch = new KernelBatch(1);
      batch.add(verb, 0, makeRecord(description).m, 0);
      subject.port.execute(batch);
      return batch.errno[0];
    };
    const create = (e: Expectation, by: ComplianceSubject['foreign'] = subject.foreign): number =>
      by.createExpectation(recordFromExpectation(e), 0);
    const hear = (): Heard[] => {
      const heard: Heard[] = [];
      const sink = {
        event: () => undefined,
        expectation: (
          kind: number,
          m: Parameters<typeof cloneExpectation>[0],
          at: number,
          portId: number,
        ) => {
          const expectation = expectationFromRecord(cloneExpectation(m, at), 0);
          heard.push({ kind, portId, expectation, port: expectation.tuple.destinationPort });
        },
      };
      while (subject.port.drain(sink, 1));
      return heard;
    };
    const dump = (): Expectation[] => {
      const rows: Expectation[] = [];
      subject.port.expectationDumpStart();
      let state = DUMP_MORE;
      while (state === DUMP_MORE) {
        state = subject.port.expectationDumpNext((m, at) => {
          rows.push(expectationFromRecord(cloneExpectation(m, at), 0));
        });
      }
      expect(state).toBe(DUMP_DONE);
      return rows;
    };

    it('one comes back by event and dump as it was created, with the policy’s timeout and the helper', () => {
      const e = expected(5001, FTP, { timeout: 20 });
      expect(create(e)).toBe(0);
      const [heard, ...others] = hear();
      expect(others).toEqual([]);
      expect(heard).toMatchObject({ kind: EVENT_NEW, expectation: { ...e, timeout: 300, helper: 'ftp' } });
      expect(heard.portId).not.toBe(0);
      const { timeout, ...row } = dump()[0];
      expect(row).toEqual({ ...expected(5001), helper: 'ftp' });
      expect(timeout).toBeGreaterThan(250);
    });

    it('one that is to be translated keeps its translation and its function', () => {
      const tuple = { ...expected(7001).tuple, source: '192.168.0.9', sourcePort: 4000 };
      const given = { direction: 'reply' as const, tuple };
      expect(create(expected(5001, FTP, { nat: given, fn: 'nat-follow-master' }))).toBe(0);
      // The source only: the kernel has no room for the rest.
      const nat = { ...given, tuple: { ...tuple, destination: '0.0.0.0', destinationPort: 0 } };
      const rows = [hear()[0].expectation, dump()[0]];
      for (const row of rows) expect(row).toMatchObject({ nat, fn: 'nat-follow-master', helper: 'ftp' });
    });

    it('it needs a master with a helper, a class that the helper has, and a tuple that is free', () => {
      const other = { ...FTP, sourcePort: 1001, helper: undefined };
      expect(create(expected(5001, other))).toBe(ENOENT);
      expect(flow(OP_CREATE, other)).toBe(0);
      expect(create(expected(5001, other))).toBe(EOPNOTSUPP);
      expect(create(expected(5001, FTP, { class: 1 }))).toBe(EINVAL);
      expect(create(expected(5001, FTP, { flags: 4 }))).toBe(0);
      expect(dump()[0].flags).toBe(0);
      expect(subject.port.deleteExpectation(recordFromExpectation(expected(5001)), 0)).toBe(0);
      expect(create(expected(5001))).toBe(0);
      expect(create(expected(5001))).toBe(EEXIST);
    });

    it('where the helper’s policy has no room the older one goes, without an errno', () => {
      expect([create(expected(5001)), create(expected(5002))]).toEqual([0, 0]);
      expect(hear().map(({ kind, port }) => [kind, port])).toEqual([
        [EVENT_NEW, 5001],
        [EVENT_DESTROY, 5001],
        [EVENT_NEW, 5002],
      ]);
      expect(dump()).toHaveLength(1);
      const audio = [5003, 5004, 5005, 5006, 5007].map((port) => create(expected(port, SIP, { class: 1 })));
      expect(audio).toEqual([0, 0, 0, 0, 0]);
      expect(dump()).toHaveLength(1 + 4);
    });

    it('an update gives it another timeout, of which no event tells', async () => {
      const record = (timeout: number) => recordFromExpectation(expected(5001, FTP, { timeout }));
      expect(subject.port.updateExpectation(record(20), 0)).toBe(ENOENT);
      expect(create(expected(5001, FTP, { timeout: 20 }))).toBe(0);
      hear();
      expect(subject.port.updateExpectation(record(900), 0)).toBe(0);
      const { timeout, ...row } = dump()[0];
      expect(timeout).toBeGreaterThan(880);
      expect(timeout).toBeLessThanOrEqual(900);
      expect(row).toEqual({ ...expected(5001), helper: 'ftp' });
      expect(hear()).toEqual([]);
      expect(subject.port.updateExpectation(record(1), 0)).toBe(0);
      await subject.pass(1300);
      expect(dump()).toEqual([]);
      expect(hear()).toMatchObject([{ kind: EVENT_DESTROY, port: 5001 }]);
    });

    it('the end of its master ends it, and is heard even if our own delete ended the master', () => {
      expect(create(expected(5001))).toBe(0);
      hear();
      expect(flow(OP_DELETE, FTP)).toBe(0);
      expect(hear()).toMatchObject([{ kind: EVENT_DESTROY, port: 5001, portId: 0 }]);
      expect(dump()).toEqual([]);
    });

    it('own creates and deletes are not heard, another program’s are', () => {
      expect(create(expected(5001, SIP), subject.port)).toBe(0);
      expect(subject.port.deleteExpectation(recordFromExpectation(expected(5001, SIP)), 0)).toBe(0);
      expect(hear()).toEqual([]);
      expect(create(expected(5002, SIP))).toBe(0);
      expect(subject.foreign.deleteExpectation(recordFromExpectation(expected(5002, SIP)), 0)).toBe(0);
      const heard = hear();
      expect(heard.map(({ kind }) => kind)).toEqual([EVENT_NEW, EVENT_DESTROY]);
      for (const { portId } of heard) expect(portId).not.toBe(0);
      expect(subject.port.deleteExpectation(recordFromExpectation(expected(5002, SIP)), 0)).toBe(ENOENT);
    });

    it('events of expectations count among the lost ones', async () => {
      subject.close();
      subject = await open({ events: 20 });
      expect([flow(OP_CREATE, FTP), flow(OP_CREATE, SIP)]).toEqual([0, 0]);
      for (let i = 0; i < 100; i++) create(expected(2000 + i));
      const heard = hear().length;
      expect(heard).toBeGreaterThan(0);
      // The first has nothing to evict.
      expect(heard + subject.port.eventsLost()).toBe(199);
    });
  });
}
