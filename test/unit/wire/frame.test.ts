import { decode, encode } from '@msgpack/msgpack';
import { describe, expect, it } from 'vitest';
import { FRAME_MAX_BYTES, NAME_MAX_BYTES } from '../../../src/limits.js';
import { CLASS_CONTROL, CLASS_STREAM, FrameReader, FrameWriter } from '../../../src/wire/frame.js';

const INCARNATION = Uint8Array.from({ length: 16 }, (_, i) => i);
const frame = (changes: Record<number, unknown> = {}): Uint8Array => {
  const fields: unknown[] = [1, 'edge', 'fw1', INCARNATION, 0, CLASS_STREAM, 5, Uint8Array.of(1, 2)];
  for (const [i, value] of Object.entries(changes)) fields[Number(i)] = value;
  return encode(fields);
};
const read = (bytes: Uint8Array): string | undefined => new FrameReader('edge').read(bytes, 0, bytes.length);

describe('a frame', () => {
  it('is a msgpack array of eight, as the library reads it', () => {
    const w = new FrameWriter('edge', 'fw1', INCARNATION);
    const buffer = new Uint8Array(100);
    buffer.set([7, 8, 9], w.headBytes);
    const length = w.finish(buffer, CLASS_CONTROL, 2 ** 40 + 3, 3);
    expect(decode(buffer.subarray(0, length))).toEqual([
      1,
      'edge',
      'fw1',
      INCARNATION,
      0,
      CLASS_CONTROL,
      2 ** 40 + 3,
      Uint8Array.of(7, 8, 9),
    ]);
    const r = new FrameReader('edge');
    expect(r.read(buffer, 0, length)).toBeUndefined();
    expect([r.frameClass, r.counter, r.payloadEnd - r.payloadAt]).toEqual([CLASS_CONTROL, 2 ** 40 + 3, 3]);
  });

  it('is read from the library in any width of its numbers', () => {
    expect(read(frame())).toBeUndefined();
    expect(read(frame({ 6: 70_000 }))).toBeUndefined();
  });

  it.each([
    ['another version', { 0: 2 }, 'frame.version'],
    ['another cluster', { 1: 'edgy' }, 'frame.cluster'],
    ['a cluster of another length', { 1: 'edge2' }, 'frame.cluster'],
    ['no node name', { 2: '' }, 'frame.malformed'],
    ['a node name one byte too long', { 2: 'n'.repeat(NAME_MAX_BYTES + 1) }, 'frame.malformed'],
    ['a short incarnation', { 3: new Uint8Array(15) }, 'frame.malformed'],
    ['a key id past one byte', { 4: 256 }, 'frame.malformed'],
    ['an unknown class', { 5: 2 }, 'frame.class'],
    ['counter 0', { 6: 0 }, 'frame.malformed'],
    ['a negative counter', { 6: -1 }, 'frame.malformed'],
    ['a counter past 2^53', { 6: 2n ** 60n }, 'frame.malformed'],
    ['a payload that is no bin', { 7: 'ab' }, 'frame.malformed'],
    ['nine elements', { 8: 1 }, 'frame.malformed'],
  ])('is refused with %s', (_what, changes, reason) => {
    const fields: unknown[] = [1, 'edge', 'fw1', INCARNATION, 0, CLASS_STREAM, 5, Uint8Array.of(1, 2)];
    for (const [i, value] of Object.entries(changes)) fields[Number(i)] = value;
    expect(read(encode(fields, { useBigInt64: true }))).toBe(reason);
  });

  it('is refused with anything behind it, cut off anywhere, or one byte past the largest', () => {
    const bytes = frame();
    expect(read(Uint8Array.from([...bytes, 0]))).toBe('frame.malformed');
    for (let n = 0; n < bytes.length; n++) expect(read(bytes.subarray(0, n))).toMatch(/^frame/);
    expect(read(new Uint8Array(FRAME_MAX_BYTES + 1))).toBe('frame.oversized');
  });

  it('is not made with a bad name or incarnation', () => {
    expect(() => new FrameWriter('edge', 'n'.repeat(NAME_MAX_BYTES + 1), INCARNATION)).toThrow(RangeError);
    expect(() => new FrameWriter('', 'fw1', INCARNATION)).toThrow(RangeError);
    expect(() => new FrameWriter('edge', 'fw1', new Uint8Array(3))).toThrow(RangeError);
  });
});
