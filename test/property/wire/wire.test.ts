import { encode } from '@msgpack/msgpack';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { allocateMemory, lengthOf, OFF_KEY } from '../../../src/flow/record.js';
import { ByteCursor } from '../../../src/wire/byte-cursor.js';
import { ControlCodec } from '../../../src/wire/control-messages.js';
import { FrameReader } from '../../../src/wire/frame.js';
import { OP_BAD, OP_END, OpReader } from '../../../src/wire/op-reader.js';
import { OpWriter } from '../../../src/wire/op-writer.js';
import { writeSample } from '../../simulation/sample-records.js';

const flow = fc.record({ n: fc.nat(100_000), v: fc.nat(255), isFresh: fc.boolean() });

function payload(flows: { n: number; v: number; isFresh: boolean }[]): Uint8Array {
  const m = allocateMemory(1024);
  const ops = new OpWriter();
  ops.bytes.reset(new Uint8Array(9000), 0, 9000);
  for (const f of flows) {
    writeSample(m, 0, f.n, f.v);
    ops.upsert(m, 0, f.isFresh);
    if (f.isFresh) ops.delete(m, 0);
    ops.mark({ count: f.n, lo: f.v, hi: 0 }, { count: f.v, lo: 1, hi: f.n });
  }
  return ops.bytes.u8.slice(0, ops.bytes.at);
}

/** Reads a payload to its end; throws if it takes more ops than it has bytes. */
function readAll(bytes: Uint8Array): void {
  const ops = new OpReader();
  ops.start(bytes, 0, bytes.length);
  for (let i = 0; i <= bytes.length; i++) {
    const op = ops.next();
    if (op === OP_END || op === OP_BAD) return;
  }
  throw new Error('more ops than bytes');
}

describe('the wire', () => {
  it('gives back every record', () => {
    fc.assert(
      fc.property(flow, ({ n, v, isFresh }) => {
        const m = allocateMemory(1024);
        writeSample(m, 0, n, v);
        const ops = new OpReader();
        const bytes = payload([{ n, v, isFresh }]);
        ops.start(bytes, 0, bytes.length);
        ops.next();
        const length = lengthOf(m, 0);
        expect(ops.isFresh).toBe(isFresh);
        expect(ops.record.u8.slice(OFF_KEY, length)).toEqual(m.u8.slice(OFF_KEY, length));
      }),
    );
  });

  it('never throws on random bytes', () => {
    const reader = new FrameReader('edge');
    const codec = new ControlCodec();
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
        reader.read(bytes, 0, bytes.length);
        codec.decode(bytes);
        readAll(bytes);
      }),
      { numRuns: 2000 },
    );
  });

  it('never throws on a valid payload with bytes changed', () => {
    const changes = fc.array(fc.tuple(fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 4 });
    fc.assert(
      fc.property(fc.array(flow, { minLength: 1, maxLength: 5 }), changes, (flows, edits) => {
        const bytes = payload(flows);
        for (const [at, value] of edits) bytes[at % bytes.length] = value;
        readAll(bytes);
      }),
      { numRuns: 2000 },
    );
  });

  it('steps over every value that the library writes', () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        const bytes = encode(value);
        const c = new ByteCursor();
        c.reset(bytes, 0, bytes.length);
        expect(c.skip()).toBe(true);
        expect(c.at).toBe(bytes.length);
      }),
    );
  });
});
