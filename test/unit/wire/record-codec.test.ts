import { decode } from '@msgpack/msgpack';
import { describe, expect, it } from 'vitest';
import { allocateMemory, HAS_TIMEOUT, lengthOf, OFF_HAS, OFF_KEY } from '../../../src/flow/record.js';
import { validateRecord } from '../../../src/flow/validate.js';
import { OP_BAD, OP_END, OP_REFUSED, OP_UNKNOWN, OpReader } from '../../../src/wire/op-reader.js';
import { OpWriter } from '../../../src/wire/op-writer.js';
import { WIRE_DELETE, WIRE_MARK, WIRE_SUMS, WIRE_UPSERT } from '../../../src/wire/ops.js';
import { writeSample } from '../../simulation/sample-records.js';

function writer(bytes = 2000): OpWriter {
  const ops = new OpWriter();
  ops.bytes.reset(new Uint8Array(bytes), 0, bytes);
  return ops;
}
const written = (ops: OpWriter): Uint8Array => ops.bytes.u8.subarray(0, ops.bytes.at);

function reader(bytes: Uint8Array): OpReader {
  const ops = new OpReader();
  ops.start(bytes, 0, bytes.length);
  return ops;
}

describe('the record codec', () => {
  it('writes an untranslated IPv4 TCP flow in 36 bytes', () => {
    const m = allocateMemory(1024);
    writeSample(m, 0, 1, 2);
    const ops = writer();
    expect(ops.upsert(m, 0, true)).toBe(true);
    expect(Buffer.from(written(ops)).toString('hex')).toBe(
      '94' + // array of 4
        '31' + // UPSERT, FRESH, INVERSE
        '66' + // timeout 102
        '00' + // idle
        'c41c' + // bin of 28
        '02060000' +
        '01000050' +
        '0a000000' +
        '0a000001' + // key
        '02000000' +
        '02000000' +
        '03000001', // status, mark, protoinfo
    );
  });

  it.each([1, 3, 4, 7, 28, 35])(
    'gives back what it was given, bit for bit from the key on (flow %i)',
    (n) => {
      for (let v = 0; v < 8; v++) {
        const m = allocateMemory(2048);
        writeSample(m, 256, n, v);
        const ops = writer();
        ops.upsert(m, 256, false);
        ops.delete(m, 256);
        const back = reader(written(ops));
        expect(back.next()).toBe(WIRE_UPSERT);
        const length = lengthOf(m, 256);
        expect(lengthOf(back.record, 0)).toBe(length);
        expect(back.record.u8.slice(OFF_KEY, length)).toEqual(m.u8.slice(256 + OFF_KEY, 256 + length));
        expect(back.record.u8[OFF_HAS]).toBe(HAS_TIMEOUT);
        expect(back.record.u32[1]).toBe(100 + v);
        expect(validateRecord(back.record, 0, 1024)).toBeUndefined();
        expect(back.next()).toBe(WIRE_DELETE);
        expect(back.next()).toBe(OP_END);
      }
    },
  );

  it('is msgpack to the library', () => {
    const m = allocateMemory(1024);
    writeSample(m, 0, 7, 3);
    const ops = writer();
    ops.upsert(m, 0, false);
    const [op, timeout, idle, fixed, ...parts] = decode(written(ops)) as unknown[];
    expect([op, timeout, idle]).toEqual([1, 103, 0]);
    expect(fixed).toHaveLength(40);
    expect(parts).toEqual([
      1,
      new Uint8Array(16).map((_, i) => (i % 4 === 0 ? 3 : 0)),
      2,
      Uint8Array.from(Buffer.from('ftp')),
    ]);
  });

  it('writes nothing where an op does not fit', () => {
    const m = allocateMemory(1024);
    writeSample(m, 0, 7, 3);
    for (let bytes = 0; bytes < 60; bytes++) {
      const ops = writer(bytes);
      if (!ops.upsert(m, 0, false)) expect(ops.bytes.at).toBe(0);
      expect(ops.bytes.at).toBeLessThanOrEqual(bytes);
      for (const say of [
        () => ops.mark({ count: 1, lo: 2, hi: 3 }, { count: 4, lo: 5, hi: 6 }),
        () => ops.scopeEnd(12, 4095, 1, 2, 3),
        () => ops.delete(m, 0),
      ]) {
        say();
        expect(ops.bytes.at).toBeLessThanOrEqual(bytes);
      }
    }
  });
});

describe('the op reader', () => {
  it('steps over ops and elements of a later version', () => {
    const later = Buffer.from('920fa36162639a06010203040506a1620708', 'hex');
    const ops = reader(later);
    expect(ops.next()).toBe(OP_UNKNOWN);
    expect(ops.next()).toBe(WIRE_MARK);
    expect([ops.count, ops.lo, ops.hi]).toEqual([1, 2, 3]);
    expect(ops.next()).toBe(OP_END);
  });

  it.each([
    ['a record of no family', '940100 00c41c'.replace(/ /g, '') + '00'.repeat(28), OP_REFUSED],
    ['a record that is too short', '94010000c40102', OP_REFUSED],
    ['a key of IPv6 length for IPv4', `9202c428${'02'.repeat(40)}`, OP_REFUSED],
    ['a scope past the last', '9203cd1000', OP_REFUSED],
    ['sums of a wrong size', '94050100c40100', OP_REFUSED],
    ['something cut off', '94010000c41c02', OP_BAD],
    ['an empty array', '90', OP_BAD],
    ['no array', '2a', OP_BAD],
    ['a bottomless array', 'dcffff0f', OP_BAD],
  ])('refuses %s', (_what, hex, verdict) => {
    expect(reader(Buffer.from(hex, 'hex')).next()).toBe(verdict);
  });

  it('reads 64 sums and the seeds of a declaration', () => {
    const ops = writer();
    const sums = Uint32Array.from({ length: 192 }, (_, i) => 0xffffffff - i);
    ops.sums(2, 63, sums);
    ops.declare(7, true, [{ node: 'fw1', incarnation: new Uint8Array(16).fill(9), cut: 2 ** 40 }]);
    const back = reader(written(ops));
    expect(back.next()).toBe(WIRE_SUMS);
    expect(back.sums).toEqual(sums);
    expect([back.level, back.index]).toEqual([2, 63]);
    back.next();
    expect(back.seeds).toEqual([{ node: 'fw1', incarnation: new Uint8Array(16).fill(9), cut: 2 ** 40 }]);
    expect([back.term, back.isFormer]).toEqual([7, true]);
  });
});
