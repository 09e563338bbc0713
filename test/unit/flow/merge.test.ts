import { describe, expect, it } from 'vitest';
import { type Flow, flowFromRecord, recordFromFlow } from '../../../src/flow/flow.js';
import {
  SEEN_LABELS,
  SEEN_MARK,
  SEEN_MASTER,
  SEEN_PROTOINFO,
  SEEN_SEQADJ,
  SEEN_STATUS,
  SEEN_SYNPROXY,
} from '../../../src/flow/kernel-port.js';
import {
  durableEqual,
  FREE_FIELDS,
  IMMUTABLE_FIELDS,
  immutableEqual,
  isNewLife,
  joinRecords,
  keyEqual,
  mergeEvent,
  STICKY_FIELDS,
} from '../../../src/flow/merge.js';
import { allocateMemory, type Memory, OFF_IDLE } from '../../../src/flow/record.js';
import { validateRecord } from '../../../src/flow/validate.js';

const EMPTY: Flow = {
  family: 'ipv4',
  protocol: 'tcp',
  original: { source: '10.0.0.1', destination: '192.0.2.9', sourcePort: 1025, destinationPort: 443 },
  reply: { source: '192.0.2.9', destination: '198.51.100.7', sourcePort: 443, destinationPort: 1025 },
  status: [],
};

const MASTER = {
  protocol: 'tcp',
  source: '10.0.0.1',
  destination: '192.0.2.9',
  sourcePort: 1000,
  destinationPort: 21,
};

/** Everything a TCP flow can have. */
const FULL: Flow = {
  ...EMPTY,
  zone: 7,
  status: ['EXPECTED', 'SEEN_REPLY', 'ASSURED', 'SRC_NAT'],
  timeout: 600,
  id: 99,
  mark: 5,
  protoinfo: {
    kind: 'tcp',
    state: 'ESTABLISHED',
    wscaleOriginal: 7,
    wscaleReply: 8,
    flagsOriginal: 3,
    flagsReply: 1,
  },
  labels: [1, 127],
  helper: 'ftp',
  master: MASTER,
  seqadj: { original: { position: 1, before: 2, after: 3 }, reply: { position: 4, before: 5, after: 6 } },
  synproxy: { isn: 1, its: 2, tsoff: 3 },
};

function record(flow: Flow): Memory {
  const m = allocateMemory(1024);
  recordFromFlow(flow, m, 0);
  return m;
}

function merged(table: Flow, event: Flow, seen: number): Flow {
  const out = allocateMemory(1024);
  mergeEvent(record(table), 0, record(event), 0, seen, out, 0);
  return flowFromRecord(out, 0);
}

const without = (flow: Flow, ...fields: (keyof Flow)[]): Flow => {
  const copy = { ...flow };
  for (const field of fields) delete copy[field];
  return copy;
};

const BARE: Flow = { ...EMPTY, zone: 7 };

describe('mergeEvent', () => {
  it('of an update that carries nothing changes nothing but clears the helper', () => {
    expect(merged(FULL, BARE, 0)).toEqual(without(FULL, 'helper'));
  });

  // What the event has, what `seen` says, and which fields of the table's record differ afterwards.
  const TRUTH: [string, Partial<Flow>, number, Partial<Flow>][] = [
    ['a mark', { mark: 9 }, SEEN_MARK, { mark: 9 }],
    ['a mark that was cleared', {}, SEEN_MARK, { mark: undefined }],
    ['a mark that `seen` does not name', { mark: 9 }, 0, {}],
    ['a status', { status: ['SEEN_REPLY'] }, SEEN_STATUS, { status: ['SEEN_REPLY'] }],
    ['a status that `seen` does not name', { status: ['DST_NAT'] }, 0, {}],
    ['a timeout', { timeout: 3 }, 0, { timeout: 3 }],
    ['an id', { id: 100 }, 0, { id: 100 }],
    [
      'a state alone (as a DESTROY has it)',
      { protoinfo: { kind: 'tcp', state: 'CLOSE' } },
      SEEN_PROTOINFO,
      { protoinfo: { ...FULL.protoinfo, kind: 'tcp', state: 'CLOSE' } },
    ],
    [
      'a whole protoinfo',
      { protoinfo: { ...FULL.protoinfo, kind: 'tcp', state: 'LAST_ACK', wscaleReply: 2, flagsReply: 3 } },
      SEEN_PROTOINFO,
      { protoinfo: { ...FULL.protoinfo, kind: 'tcp', state: 'LAST_ACK', wscaleReply: 2, flagsReply: 3 } },
    ],
    ['a protoinfo that `seen` does not name', { protoinfo: { kind: 'tcp', state: 'CLOSE' } }, 0, {}],
    ['labels', { labels: [3] }, SEEN_LABELS, { labels: [3] }],
    ['labels that are all zero', {}, SEEN_LABELS, { labels: undefined }],
    ['a helper', { helper: 'ftp' }, 0, { helper: 'ftp' }],
    ['another helper', { helper: 'sip' }, 0, { helper: 'sip' }],
    [
      'a master',
      { master: { ...MASTER, sourcePort: 7 } },
      SEEN_MASTER,
      { master: { ...MASTER, sourcePort: 7 } },
    ],
    ['no master although `seen` names it', {}, SEEN_MASTER, {}],
    [
      'a seqadj of one direction',
      { seqadj: { reply: { position: 7, before: 8, after: 9 } } },
      SEEN_SEQADJ,
      { seqadj: { reply: { position: 7, before: 8, after: 9 } } },
    ],
    ['a seqadj of zeros', {}, SEEN_SEQADJ, { seqadj: undefined }],
    [
      'a synproxy',
      { synproxy: { isn: 9, its: 9, tsoff: 9 } },
      SEEN_SYNPROXY,
      { synproxy: { isn: 9, its: 9, tsoff: 9 } },
    ],
    ['a synproxy of zeros', {}, SEEN_SYNPROXY, { synproxy: undefined }],
    [
      'another reply tuple',
      { reply: { ...EMPTY.original, sourcePort: 1, destinationPort: 2 } },
      0,
      { reply: { ...EMPTY.original, sourcePort: 1, destinationPort: 2 } },
    ],
  ];
  it.each(TRUTH)('of an update with %s', (_name, event, seen, changed) => {
    const want = { ...without(FULL, 'helper'), ...changed };
    for (const key of Object.keys(want) as (keyof Flow)[]) if (want[key] === undefined) delete want[key];
    expect(merged(FULL, { ...BARE, ...event }, seen)).toEqual(want);
  });

  it('adds what the table did not have yet, parts in order', () => {
    const all =
      SEEN_STATUS | SEEN_MARK | SEEN_PROTOINFO | SEEN_LABELS | SEEN_SEQADJ | SEEN_SYNPROXY | SEEN_MASTER;
    expect(merged(BARE, FULL, all)).toEqual(FULL);
    const event = { ...BARE, seqadj: FULL.seqadj, labels: [9] };
    const table = { ...BARE, master: MASTER, synproxy: FULL.synproxy };
    expect(merged(table, event, SEEN_LABELS | SEEN_SEQADJ)).toEqual({ ...table, ...event });
  });

  it('keeps SCTP vtags and unknown parts that the event does not repeat', () => {
    const table: Flow = {
      ...BARE,
      protocol: 'sctp',
      protoinfo: { kind: 'sctp', state: 'ESTABLISHED', vtagOriginal: 1, vtagReply: 2 },
      unknownParts: [{ type: 9, bytes: 'ab' }],
    };
    const event: Flow = { ...BARE, protocol: 'sctp', protoinfo: { kind: 'sctp', state: 'SHUTDOWN_SENT' } };
    expect(merged(table, event, SEEN_PROTOINFO)).toEqual({
      ...table,
      protoinfo: { kind: 'sctp', state: 'SHUTDOWN_SENT', vtagOriginal: 1, vtagReply: 2 },
    });
  });

  it('takes the DCCP role that the event tells', () => {
    const dccp = (role: 'client' | 'server'): Flow => ({
      ...BARE,
      protocol: 'dccp',
      protoinfo: { kind: 'dccp', state: 'OPEN', role },
    });
    expect(merged(dccp('server'), dccp('client'), SEEN_PROTOINFO)).toEqual(dccp('client'));
    expect(merged(dccp('client'), dccp('server'), SEEN_PROTOINFO)).toEqual(dccp('server'));
  });

  it('keeps the idle class unless the event has one', () => {
    const table = record(BARE);
    const event = record(BARE);
    const out = allocateMemory(1024);
    table.u8[OFF_IDLE] = 3;
    mergeEvent(table, 0, event, 0, 0, out, 0);
    expect(out.u8[OFF_IDLE]).toBe(3);
    event.u8[OFF_IDLE] = 1;
    mergeEvent(table, 0, event, 0, 0, out, 0);
    expect(out.u8[OFF_IDLE]).toBe(1);
  });

  it('leaves the shown parts of an event out', () => {
    const event = record(BARE);
    event.u16.set([0x85, 4, 1, 0], 52 / 2);
    event.u16[0] = 60;
    const out = allocateMemory(1024);
    expect(mergeEvent(record(BARE), 0, event, 0, 0, out, 0)).toBe(52);
  });

  it('works at any offset and touches no input', () => {
    const m = allocateMemory(4096);
    recordFromFlow(FULL, m, 512);
    recordFromFlow({ ...BARE, mark: 9 }, m, 1024);
    const before = m.u8.slice(0, 2048);
    const length = mergeEvent(m, 512, m, 1024, SEEN_MARK, m, 2048);
    expect(m.u16[2048 / 2]).toBe(length);
    expect(flowFromRecord(m, 2048)).toEqual({ ...without(FULL, 'helper'), mark: 9 });
    expect(m.u8.slice(0, 2048)).toEqual(before);
  });
});

const OTHER: Record<(typeof IMMUTABLE_FIELDS | typeof FREE_FIELDS)[number], Partial<Flow>> = {
  zone: { zone: 8 },
  reply: { reply: { ...FULL.original, destinationPort: 9 } },
  master: { master: { ...MASTER, destinationPort: 22 } },
  status: { status: [...FULL.status, 'FIXED_TIMEOUT'] },
  mark: { mark: 6 },
  protoinfo: { protoinfo: { kind: 'tcp', state: 'SYN_SENT' } },
  labels: { labels: [2] },
  helper: { helper: 'sip' },
  seqadj: { seqadj: undefined },
  synproxy: { synproxy: undefined },
  timeout: { timeout: 1 },
};

describe('the three lists of fields', () => {
  it.each(IMMUTABLE_FIELDS)('%s is immutable: another value is another life', (field) => {
    const a = record(FULL);
    const b = record({ ...FULL, ...OTHER[field] });
    expect(isNewLife(a, 0, b, 0)).toBe(true);
    expect(immutableEqual(a, 0, b, 0)).toBe(false);
    expect(durableEqual(a, 0, b, 0)).toBe(false);
  });

  it.each(STICKY_FIELDS)('status bit %s is sticky: gone means another life, new does not', (bit) => {
    const a = record(FULL);
    const b = record({ ...FULL, status: FULL.status.filter((name) => name !== bit) });
    expect(isNewLife(a, 0, b, 0)).toBe(true);
    expect(isNewLife(b, 0, a, 0)).toBe(false);
    expect(immutableEqual(a, 0, b, 0)).toBe(true);
  });

  it.each(FREE_FIELDS)('%s is free: it changes within a life', (field) => {
    const a = record(FULL);
    const b = record({ ...FULL, ...OTHER[field] });
    expect(isNewLife(a, 0, b, 0)).toBe(false);
    expect(immutableEqual(a, 0, b, 0)).toBe(true);
    expect(durableEqual(a, 0, b, 0)).toBe(field === 'timeout');
  });

  it('a master that an update omits says nothing; one that appears is another life', () => {
    const a = record(FULL);
    const b = record(without(FULL, 'master'));
    expect(isNewLife(a, 0, b, 0)).toBe(false);
    expect(isNewLife(b, 0, a, 0)).toBe(true);
    expect(immutableEqual(a, 0, b, 0)).toBe(false);
    expect(immutableEqual(b, 0, b, 0)).toBe(true);
  });

  it('timeout, idle class and id are not durable', () => {
    const a = record(FULL);
    const b = record({ ...without(FULL, 'timeout'), id: 1 });
    b.u8[2] = 9;
    expect(durableEqual(a, 0, b, 0)).toBe(true);
  });

  it('the key is family, protocol, zone with direction and original tuple', () => {
    const a = record(FULL);
    expect(keyEqual(a, 0, record({ ...EMPTY, zone: 7, reply: OTHER.reply.reply }), 0)).toBe(true);
    const others: Partial<Flow>[] = [
      { zone: 8 },
      { zoneDirection: 'reply' },
      { protocol: 'udp' },
      { original: { ...EMPTY.original, destinationPort: 444 } },
      { original: { ...EMPTY.original, destination: '192.0.2.8' } },
    ];
    for (const other of others) expect(keyEqual(a, 0, record({ ...BARE, ...other }), 0)).toBe(false);
  });
});

describe('joinRecords', () => {
  const joined = (a: Flow, b: Flow): Flow => {
    const out = allocateMemory(1024);
    const length = joinRecords(record(a), 0, record(b), 0, out, 0);
    expect(validateRecord(out, 0, length)).toBeUndefined();
    return flowFromRecord(out, 0);
  };
  const tcp = (state: string): Flow => ({ ...EMPTY, protoinfo: { kind: 'tcp', state } });

  it('takes the status bits of both and everything else from the newer', () => {
    const b = { ...FULL, mark: 6, labels: [9], status: ['DST_NAT' as const, 'FIXED_TIMEOUT' as const] };
    expect(joined(FULL, b)).toEqual({
      ...FULL,
      status: ['EXPECTED', 'SEEN_REPLY', 'ASSURED', 'SRC_NAT', 'DST_NAT', 'FIXED_TIMEOUT'],
    });
  });

  const LIFE = [
    'NONE',
    'SYN_SENT',
    'SYN_SENT2',
    'SYN_RECV',
    'ESTABLISHED',
    'FIN_WAIT',
    'CLOSE_WAIT',
    'LAST_ACK',
    'TIME_WAIT',
    'CLOSE',
  ];
  it('never moves a TCP state backwards, whichever record is the newer', () => {
    for (const [i, first] of LIFE.entries()) {
      for (const second of LIFE.slice(i)) {
        expect(joined(tcp(first), tcp(second)).protoinfo?.state).toBe(second);
        expect(joined(tcp(second), tcp(first)).protoinfo?.state).toBe(second);
      }
    }
  });

  it('keeps window scales that the newer record does not know, as after a mid-stream pickup', () => {
    const pickup: Flow = {
      ...EMPTY,
      protoinfo: {
        kind: 'tcp',
        state: 'ESTABLISHED',
        wscaleOriginal: 0,
        wscaleReply: 0,
        flagsOriginal: 0,
        flagsReply: 0,
      },
    };
    expect(joined(pickup, { ...EMPTY, protoinfo: FULL.protoinfo }).protoinfo).toEqual(FULL.protoinfo);
  });

  it('keeps SCTP vtags that the newer record does not have', () => {
    const b: Flow = {
      ...EMPTY,
      protocol: 'sctp',
      protoinfo: { kind: 'sctp', state: 'ESTABLISHED', vtagOriginal: 1, vtagReply: 2 },
    };
    const a: Flow = { ...EMPTY, protocol: 'sctp', protoinfo: { kind: 'sctp', state: 'SHUTDOWN_SENT' } };
    expect(joined(a, b).protoinfo).toEqual({ ...b.protoinfo, state: 'SHUTDOWN_SENT' });
    // Behind a part of a higher type there is no place for them: the order of parts matters more.
    const unknown = { ...a, unknownParts: [{ type: 9, bytes: 'ab' }] };
    expect(joined(unknown, b)).toEqual(unknown);
  });
});
