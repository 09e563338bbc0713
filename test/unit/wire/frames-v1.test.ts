/**
 * The frames of release 1, kept for the readers of later ones: every control message and every op, in clear and
 * sealed. A line of frames.txt is a name, the frame in hex, and what is read from it; the sealed ones have key 1, which
 * is 32 bytes of 7. Never to be written again once the release is out; until then: npm run fixtures:frames
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { PskCipher } from '../../../src/daemon/cipher.js';
import { recordFromExpectation } from '../../../src/flow/expectation-text.js';
import { allocateMemory, lengthOf, OFF_KEY } from '../../../src/flow/record.js';
import { KEY_BYTES } from '../../../src/limits.js';
import { ControlCodec, type ControlMessage, OWN_VERSIONS } from '../../../src/wire/control-messages.js';
import { CLASS_CONTROL, CLASS_STREAM, FrameReader, FrameWriter } from '../../../src/wire/frame.js';
import { OP_END, OpReader } from '../../../src/wire/op-reader.js';
import { OpWriter } from '../../../src/wire/op-writer.js';
import { FINE_BITS, SEGMENT_BITS, SUMS_WIDTH, WIRE_DELETE, WIRE_UPSERT } from '../../../src/wire/ops.js';
import { writeSample } from '../../simulation/sample-records.js';

const FILE = new URL('../../fixtures/frames-v1/frames.txt', import.meta.url);
const cipher = new PskCipher([{ id: 1, key: new Uint8Array(KEY_BYTES).fill(7) }], 1);
const id = (n: number): Uint8Array => new Uint8Array(16).fill(n);
const hex = (u8: Uint8Array): string => Buffer.from(u8).toString('hex');

const MESSAGES: Record<string, ControlMessage> = {
  hello: { type: 1, nonce: id(1), versions: OWN_VERSIONS },
  welcome: {
    type: 2,
    to: id(1),
    echo: id(2),
    nonce: id(3),
    sequence: 2 ** 33,
    bootId: '9b1a9a3c-0d2a-4b5c-9d7e-1f2a3b4c5d6e',
    isMirrorReady: true,
    role: 1,
    term: 1_700_000_000_000,
    versions: OWN_VERSIONS,
    receiveBuffer: 8 << 20,
    mode: 1,
  },
  heartbeat: {
    type: 4,
    versions: OWN_VERSIONS,
    sequence: 70_000,
    role: 2,
    term: 3,
    isMirrorReady: false,
    opinions: [
      { incarnation: id(1), applied: 300, verdict: 2, verdictAt: 299, silentMs: [12, 65_535] },
      { incarnation: id(2), applied: 0, verdict: 3, verdictAt: 0, silentMs: [0, 200] },
    ],
    receiveBuffer: 212_992,
    mode: 2,
  },
  ack: { type: 5, acks: [{ incarnation: id(1), applied: 2 ** 40 }] },
  'request groups': { type: 6, to: id(1), kind: 1, bitmap: new Uint8Array(0) },
  'request segments': { type: 6, to: id(1), kind: 2, bitmap: new Uint8Array(8).fill(5) },
  'request scopes': { type: 6, to: id(1), kind: 3, bitmap: new Uint8Array(512).fill(0x81) },
  'request fine sums': { type: 6, to: id(1), kind: 4, bitmap: new Uint8Array(512).fill(3) },
  'request fine scopes': { type: 6, to: id(1), kind: 5, bitmap: new Uint8Array(8).fill(2) },
  'request expectations': { type: 6, to: id(1), kind: 6, bitmap: new Uint8Array(0) },
  nack: {
    type: 7,
    to: id(1),
    ranges: [
      [1, 1],
      [5, 2 ** 40],
    ],
  },
  gone: { type: 8, lowest: 2 ** 33 },
  settings: { type: 9, settings: [['nf_conntrack_max', '262144']] },
};

/** A payload written with the op writer. */
function written(write: (ops: OpWriter) => boolean): Uint8Array {
  const ops = new OpWriter();
  ops.bytes.reset(new Uint8Array(2000), 0, 2000);
  expect(write(ops)).toBe(true);
  return ops.bytes.u8.slice(0, ops.bytes.at);
}

function record(n: number, v: number) {
  const m = allocateMemory(1024);
  writeSample(m, 0, n, v);
  return m;
}

const SUMS = new Uint32Array(SUMS_WIDTH * 3).map((_, i) => i * 65_537);

const EXPECTED = recordFromExpectation({
  family: 'ipv4',
  protocol: 'tcp',
  tuple: { source: '10.2.0.100', destination: '10.1.0.9', sourcePort: 0, destinationPort: 40_001 },
  mask: { source: '255.255.255.255', destination: '255.255.255.255', sourcePort: 0, destinationPort: 65_535 },
  master: {
    protocol: 'tcp',
    source: '10.1.0.9',
    destination: '10.2.0.100',
    sourcePort: 33_000,
    destinationPort: 21,
  },
  class: 0,
  flags: 0,
  helper: 'ftp',
  fn: 'nat-follow-master',
  nat: {
    direction: 'reply',
    tuple: { source: '10.1.0.9', destination: '0.0.0.0', sourcePort: 0, destinationPort: 40_000 },
  },
  timeout: 300,
});

const OPS: Record<string, () => Uint8Array> = {
  'upsert, IPv4, no NAT': () => written((ops) => ops.upsert(record(1, 2), 0, false)),
  'upsert, IPv4, NAT, fresh': () => written((ops) => ops.upsert(record(7, 3), 0, true)),
  'upsert, IPv6, parts': () => written((ops) => ops.upsert(record(4, 3), 0, false)),
  delete: () => written((ops) => ops.delete(record(1, 2), 0)),
  'scope begin, segment': () => written((ops) => ops.scopeBegin(SEGMENT_BITS, 4095)),
  'scope end, segment': () => written((ops) => ops.scopeEnd(SEGMENT_BITS, 4095, 3, 0xffffffff, 7)),
  'scope begin, fine': () => written((ops) => ops.scopeBegin(FINE_BITS, 2 ** 18 - 1)),
  'scope end, fine': () => written((ops) => ops.scopeEnd(FINE_BITS, 2 ** 18 - 1, 1, 5, 0xfffffffe)),
  'sums of groups': () => written((ops) => ops.sums(1, 0, SUMS)),
  'sums of a segment’s fine scopes': () => written((ops) => ops.fineSums(4095, SUMS)),
  declare: () => written((ops) => ops.declare(9, false, [{ node: 'fw2', incarnation: id(9), cut: 2 ** 33 }])),
  'declare, former': () => written((ops) => ops.declare(0, true, [])),
  role: () => written((ops) => ops.role(1, 1_700_000_000_000)),
  mark: () =>
    written((ops) => ops.mark({ count: 3, lo: 0xffffffff, hi: 1 }, { count: 1, lo: 2, hi: 0xfffffffe })),
  'expect upsert': () => written((ops) => ops.expectUpsert(EXPECTED, 0)),
  'expect delete': () => written((ops) => ops.expectDelete(EXPECTED, 0)),
};

/** Every frame twice: in clear and sealed. */
function frames(): { name: string; bytes: Uint8Array }[] {
  const codec = new ControlCodec();
  const list = [
    ...Object.entries(MESSAGES).map(
      ([name, m]) => [name, CLASS_CONTROL, Uint8Array.from(codec.encode(m))] as const,
    ),
    ...Object.entries(OPS).map(([name, make]) => [name, CLASS_STREAM, make()] as const),
  ];
  return [undefined, cipher].flatMap((each) =>
    list.map(([name, frameClass, payload], i) => {
      const w = new FrameWriter('edge', 'fw1', id(0xab), each);
      const frame = new Uint8Array(w.headBytes + payload.length + w.tailBytes);
      frame.set(payload, w.headBytes);
      w.finish(frame, frameClass, 2 ** 33 + i, payload.length);
      return { name: `${name}${each === undefined ? '' : ', sealed'}`, bytes: frame };
    }),
  );
}

/** What today's reader reads, as JSON; bytes in hex. */
function reading(bytes: Uint8Array): string {
  const r = new FrameReader('edge');
  expect(r.read(bytes, 0, bytes.length)).toBeUndefined();
  if (r.keyId !== 0) {
    const key = cipher.derive(r.keyId, r.cluster, r.nodeName, r.incarnation, r.frameClass);
    expect(key !== undefined && r.open(key)).toBe(true);
  }
  const payload = r.payload.subarray(r.payloadAt, r.payloadEnd);
  const content = r.frameClass === CLASS_CONTROL ? new ControlCodec().decode(payload) : operations(payload);
  const { node, keyId, counter } = r;
  const read = { node, incarnation: hex(r.incarnation), keyId, counter, content };
  return JSON.stringify(read, (_key, value) =>
    ArrayBuffer.isView(value) ? hex(new Uint8Array(value.buffer, value.byteOffset, value.byteLength)) : value,
  );
}

/** The ops, each with those fields of the reader that it set. */
function operations(payload: Uint8Array): object[] {
  const list: object[] = [];
  const ops = new OpReader();
  const fresh = Object.entries(new OpReader());
  ops.start(payload, 0, payload.length);
  for (let op = ops.next(); op !== OP_END; op = ops.next()) {
    expect(op).toBeGreaterThan(0);
    const now = ops as unknown as Record<string, unknown>;
    const set = fresh.filter(([name, value]) => name !== 'record' && String(now[name]) !== String(value));
    const isRecord = op === WIRE_UPSERT || op === WIRE_DELETE;
    const { u8 } = ops.record;
    const bytes = isRecord ? { record: hex(u8.slice(OFF_KEY, lengthOf(ops.record, 0))) } : {};
    list.push({ op, ...Object.fromEntries(set.map(([name]) => [name, now[name]])), ...bytes });
  }
  return list;
}

if (process.env.WRITE_FRAMES !== undefined) {
  const lines = frames().map(({ name, bytes }) => `${name}\t${hex(bytes)}\t${reading(bytes)}\n`);
  writeFileSync(FILE, lines.join(''));
}

const LINES = readFileSync(FILE, 'utf8')
  .trimEnd()
  .split('\n')
  .map((line) => line.split('\t'));

describe('frames of release 1', () => {
  it.each(LINES)('are read as they were: %s', (_name, bytes, read) => {
    expect(JSON.parse(reading(Uint8Array.from(Buffer.from(bytes, 'hex'))))).toEqual(JSON.parse(read));
  });

  it('are all that this one writes', () => {
    const known = new Map(LINES.map(([name, bytes]) => [name, bytes]));
    for (const { name, bytes } of frames()) expect([name, hex(bytes)]).toEqual([name, known.get(name)]);
    expect(known.size).toBe(frames().length);
  });

  it('cover every control message', () => {
    const types = new Set(Object.values(MESSAGES).map((m) => m.type));
    expect([...types].sort()).toEqual([1, 2, 4, 5, 6, 7, 8, 9]);
  });
});
