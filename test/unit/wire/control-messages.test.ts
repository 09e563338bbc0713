import { decode, encode } from '@msgpack/msgpack';
import { describe, expect, it } from 'vitest';
import { ControlCodec, type ControlMessage, OWN_VERSIONS } from '../../../src/wire/control-messages.js';

const id = (n: number): Uint8Array => new Uint8Array(16).fill(n);
const opinion = { incarnation: id(1), applied: 7, verdict: 2, verdictAt: 6, silentMs: [3, 9] };
const MESSAGES: ControlMessage[] = [
  { type: 1, nonce: id(1), versions: OWN_VERSIONS },
  {
    type: 2,
    to: id(1),
    echo: id(2),
    nonce: id(3),
    sequence: 9,
    bootId: 'boot',
    isMirrorReady: true,
    role: 1,
    term: 4,
    versions: OWN_VERSIONS,
    receiveBuffer: 1 << 20,
    mode: 1,
  },
  {
    type: 4,
    versions: OWN_VERSIONS,
    sequence: 9,
    role: 1,
    term: 4,
    isMirrorReady: false,
    opinions: [opinion],
    receiveBuffer: 1 << 20,
    mode: 2,
  },
  { type: 5, acks: [{ incarnation: id(1), applied: 2 ** 40 }] },
  { type: 6, to: id(1), kind: 1, bitmap: new Uint8Array(0) },
  { type: 6, to: id(1), kind: 2, bitmap: new Uint8Array(8).fill(5) },
  { type: 6, to: id(1), kind: 3, bitmap: new Uint8Array(512).fill(255) },
  { type: 6, to: id(1), kind: 4, bitmap: new Uint8Array(512).fill(3) },
  { type: 6, to: id(1), kind: 5, bitmap: new Uint8Array(512).fill(3) },
  { type: 6, to: id(1), kind: 6, bitmap: new Uint8Array(0) },
  {
    type: 7,
    to: id(1),
    ranges: [
      [1, 1],
      [5, 2 ** 40],
    ],
  },
  { type: 8, lowest: 2 ** 33 },
  { type: 9, settings: [['nf_conntrack_max', '262144']] },
];

describe('control messages', () => {
  it.each(MESSAGES)('come back as they were (type $type)', (message) => {
    const codec = new ControlCodec();
    expect(codec.decode(codec.encode(message).slice())).toEqual(message);
  });

  it.each(MESSAGES)('may have further elements of a later version (type $type)', (message) => {
    const codec = new ControlCodec();
    const elements = decode(codec.encode(message)) as unknown[];
    expect(codec.decode(encode([...elements, 'later', [1, 2]]))).toEqual(message);
  });

  it.each(MESSAGES)('are refused with any element of another type (type $type)', (message) => {
    const codec = new ControlCodec();
    const elements = decode(codec.encode(message)) as unknown[];
    for (let i = 0; i < elements.length; i++) {
      for (const wrong of [null, -1, 1.5, 'x', [1], id(1).subarray(1)]) {
        const verdict = codec.decode(encode(elements.with(i, wrong)));
        if (typeof verdict !== 'string') expect([i, wrong]).toEqual([5, 'x']); // a boot id is any text
      }
    }
  });

  it('are refused where they list more peers than a cluster can have', () => {
    const codec = new ControlCodec();
    const acks = (n: number) => codec.decode(encode([5, Array.from({ length: n }, () => [id(1), 1])]));
    expect(typeof acks(32)).toBe('object');
    expect(acks(33)).toBe('control.invalid');
    expect(acks(65)).toBe('control.malformed');
  });

  it('of versions that this one cannot read are refused', () => {
    const codec = new ControlCodec();
    const hello = (...versions: number[]) => codec.decode(encode([1, id(1), versions]));
    expect(hello(2, 3, 1, 1)).toBe('control.version');
    expect(codec.refusedVersion).toBe(3);
    expect(hello(1, 1, 5, 7)).toBe('control.version');
    expect(codec.refusedVersion).toBe(7);
    expect(hello(1, 3, 1, 2)).toEqual({ type: 1, nonce: id(1), versions: [1, 3, 1, 2] });
    expect(hello(3, 1, 1, 1)).toBe('control.invalid');
  });
});
