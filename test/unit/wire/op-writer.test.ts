import { describe, expect, it } from 'vitest';
import { recordFromExpectation } from '../../../src/flow/expectation-text.js';
import { allocateMemory, type Memory, PART_SHOWN } from '../../../src/flow/record.js';
import { OpWriter } from '../../../src/wire/op-writer.js';
import { FINE_BITS, SUMS_WIDTH } from '../../../src/wire/ops.js';
import { writeSample } from '../../simulation/sample-records.js';

const MAX = 0xffffffff;
const SEQUENCE_MAX = 2 ** 52;
const HEAD_BYTES = 43;
const GUARD = 0xee;

const largest = { count: MAX, lo: MAX, hi: MAX };
const seed = { node: 'n'.repeat(64), incarnation: new Uint8Array(16), cut: SEQUENCE_MAX };
const tuple = {
  source: '255.255.255.255',
  destination: '255.255.255.255',
  sourcePort: 65_535,
  destinationPort: 65_535,
};
const expectation = recordFromExpectation({
  family: 'ipv4',
  protocol: 'tcp',
  tuple,
  mask: tuple,
  master: { protocol: 'tcp', ...tuple },
  class: 255,
  flags: 7,
  helper: 'ftp',
});

function sample(n: number): Memory {
  const m = allocateMemory(1024);
  writeSample(m, 0, n, 3);
  return m;
}

/** An IPv6 flow with an unknown part of the highest number, long enough for the longest head on the wire. */
function withLargePart(): Memory {
  const m = sample(4);
  const at = m.u16[0];
  m.u16[at >>> 1] = PART_SHOWN - 1;
  m.u16[(at >>> 1) + 1] = 300;
  m.u16[0] = at + 304;
  return m;
}

const OPS: Record<string, (ops: OpWriter) => boolean> = {
  'upsert, IPv4': (ops) => ops.upsert(sample(1), 0, true),
  'upsert, IPv4 with NAT': (ops) => ops.upsert(sample(7), 0, true),
  'upsert, IPv6 with parts': (ops) => ops.upsert(sample(4), 0, true),
  'upsert, a large part': (ops) => ops.upsert(withLargePart(), 0, true),
  delete: (ops) => ops.delete(sample(4), 0),
  'scope begin': (ops) => ops.scopeBegin(FINE_BITS, 2 ** FINE_BITS - 1),
  'scope end': (ops) => ops.scopeEnd(FINE_BITS, 2 ** FINE_BITS - 1, MAX, MAX, MAX),
  sums: (ops) => ops.sums(2, 63, new Uint32Array(SUMS_WIDTH * 3).fill(MAX)),
  'fine sums': (ops) => ops.fineSums(4095, new Uint32Array(SUMS_WIDTH * 3).fill(MAX)),
  mark: (ops) => ops.mark(largest, largest),
  declare: (ops) =>
    ops.declare(
      SEQUENCE_MAX,
      true,
      Array.from({ length: 17 }, () => seed),
    ),
  role: (ops) => ops.role(255, SEQUENCE_MAX),
  'expect upsert': (ops) => ops.expectUpsert(expectation, 0),
  'expect delete': (ops) => ops.expectDelete(expectation, 0),
};

describe('an op with the largest numbers', () => {
  it.each(Object.entries(OPS))(
    'never goes beyond the end of its frame, whatever room there is: %s',
    (_name, write) => {
      let accepted = -1;
      for (let room = 0; room < 2600; room++) {
        const frame = new Uint8Array(HEAD_BYTES + room + 64).fill(GUARD);
        const ops = new OpWriter();
        ops.bytes.reset(frame, HEAD_BYTES, HEAD_BYTES + room);
        const isWritten = write(ops);
        expect(frame.subarray(HEAD_BYTES + room).every((byte) => byte === GUARD)).toBe(true);
        if (!isWritten) expect(ops.bytes.at).toBe(HEAD_BYTES);
        else if (accepted < 0) accepted = room;
      }
      expect(accepted).toBeGreaterThan(0);
    },
  );
});
