import { createDecipheriv, hkdfSync } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { PskCipher } from '../../../src/daemon/cipher.js';
import { KEY_BYTES } from '../../../src/limits.js';
import type { Cipher } from '../../../src/wire/cipher.js';
import { CLASS_CONTROL, CLASS_STREAM, FrameReader, FrameWriter } from '../../../src/wire/frame.js';
import { CipherTwin } from '../../simulation/cipher-twin.js';

const key = (n: number): Uint8Array => new Uint8Array(KEY_BYTES).fill(n);
const INCARNATION = Uint8Array.from({ length: 16 }, (_, i) => i);
const text = (s: string): Uint8Array => new TextEncoder().encode(s);
const NAMES = [text('edge'), text('fw1'), INCARNATION] as const;
const PLAIN = text('some ops of a stream');

function seal(cipher: Cipher, frameClass = CLASS_STREAM, counter = 2 ** 40 + 3): Uint8Array {
  const w = new FrameWriter('edge', 'fw1', INCARNATION, cipher);
  const frame = new Uint8Array(w.headBytes + PLAIN.length + w.tailBytes);
  frame.set(PLAIN, w.headBytes);
  expect(w.finish(frame, frameClass, counter, PLAIN.length)).toBe(frame.length);
  return frame;
}

function open(cipher: Cipher, frame: Uint8Array): string | undefined {
  const r = new FrameReader('edge');
  const refusal = r.read(frame, 0, frame.length);
  if (refusal !== undefined) return refusal;
  const derived = cipher.derive(r.keyId, r.cluster, r.nodeName, r.incarnation, r.frameClass);
  if (derived === undefined) return 'no key';
  if (!r.open(derived)) return 'forged';
  return new TextDecoder().decode(r.payload.subarray(r.payloadAt, r.payloadEnd));
}

describe.each([
  ['the cipher of the daemon', () => new PskCipher([{ id: 200, key: key(7) }], 200)],
  ['its twin', () => new CipherTwin(new Map([[200, 7]]), 200)],
])('%s', (_what, make: () => Cipher) => {
  it('opens what it sealed, and shows no byte of it to who has no key', () => {
    const cipher = make();
    const frame = seal(cipher);
    expect(open(cipher, frame)).toBe('some ops of a stream');
    expect(Buffer.from(frame).includes('some')).toBe(false);
  });

  it('refuses a frame with any one bit changed, payload or head', () => {
    const cipher = make();
    const frame = seal(cipher);
    for (let i = 0; i < frame.length * 8; i++) {
      const changed = frame.slice();
      changed[i >>> 3] ^= 1 << (i & 7);
      expect(open(cipher, changed)).not.toBe('some ops of a stream');
    }
  });

  it('refuses a frame cut off anywhere inside its payload', () => {
    const cipher = make();
    const frame = seal(cipher);
    const r = new FrameReader('edge');
    r.read(frame, 0, frame.length);
    for (let n = 0; n < r.payloadEnd - r.payloadAt; n++) {
      const cut = frame.slice(0, r.payloadAt + n);
      cut[r.payloadAt - 1] = n;
      expect(open(cipher, cut)).toBe('forged');
    }
  });

  it('has another key for each class, node, incarnation and cluster', () => {
    const cipher = make();
    const [cluster, node, incarnation] = NAMES;
    const others = [
      cipher.derive(200, cluster, node, incarnation, CLASS_CONTROL),
      cipher.derive(200, text('edgf'), node, incarnation, CLASS_STREAM),
      cipher.derive(200, cluster, text('fw2'), incarnation, CLASS_STREAM),
      cipher.derive(200, cluster, node, incarnation.toReversed(), CLASS_STREAM),
      cipher.derive(200, text('edgef'), text('w1'), incarnation, CLASS_STREAM),
    ];
    const frame = seal(cipher);
    const r = new FrameReader('edge');
    for (const other of others) {
      r.read(frame, 0, frame.length);
      expect(other !== undefined && r.open(other)).toBe(false);
    }
    expect(cipher.derive(201, ...NAMES, CLASS_STREAM)).toBeUndefined();
  });
});

describe('the cipher of the daemon', () => {
  it('is AES-256-GCM with HKDF-SHA-256, as another implementation would read it', () => {
    const counter = 2 ** 40 + 3;
    const frame = seal(new PskCipher([{ id: 1, key: key(9) }], 1), CLASS_CONTROL, counter);
    const r = new FrameReader('edge');
    r.read(frame, 0, frame.length);
    const info = Buffer.concat([
      Buffer.from('\x04edge\x03fw1\x10', 'latin1'),
      INCARNATION,
      Buffer.from('\x07control', 'latin1'),
    ]);
    const derived = Buffer.from(hkdfSync('sha256', key(9), '', info, 32));
    const nonce = Buffer.from('000000000000010000000003', 'hex');
    const decipher = createDecipheriv('aes-256-gcm', derived, nonce);
    decipher.setAAD(frame.subarray(0, r.payloadAt - 3));
    decipher.setAuthTag(frame.subarray(frame.length - 16));
    const plain = decipher.update(frame.subarray(r.payloadAt, frame.length - 16));
    decipher.final();
    expect(plain.toString()).toBe('some ops of a stream');
  });

  it('refuses bad ids and keys, and keeps what it had', () => {
    const cipher = new PskCipher([{ id: 1, key: key(1) }], 1);
    const bad: [{ id: number; key: Uint8Array }[], number][] = [
      [[{ id: 0, key: key(1) }], 0],
      [[{ id: 256, key: key(1) }], 256],
      [[{ id: 1.5, key: key(1) }], 1.5],
      [[{ id: 1, key: key(1).subarray(1) }], 1],
      [[{ id: 1, key: key(1) }], 2],
      [
        [
          { id: 1, key: key(1) },
          { id: 1, key: key(2) },
        ],
        1,
      ],
    ];
    for (const [keys, send] of bad) expect(() => cipher.replace(keys, send)).toThrow(RangeError);
    expect([cipher.sendKeyId, cipher.generation]).toEqual([1, 1]);
  });

  it('seals with another key from the next frame on when its keys are replaced', () => {
    const one = { id: 1, key: key(1) };
    const two = { id: 2, key: key(2) };
    const cipher = new PskCipher([one], 1);
    const w = new FrameWriter('edge', 'fw1', INCARNATION, cipher);
    const frames = [1, 2].map((counter) => {
      const frame = new Uint8Array(w.headBytes + PLAIN.length + w.tailBytes);
      frame.set(PLAIN, w.headBytes);
      w.finish(frame, CLASS_STREAM, counter, PLAIN.length);
      cipher.replace([one, two], 2);
      return frame;
    });
    expect(frames.map((frame) => open(new PskCipher([one], 1), frame))).toEqual([
      'some ops of a stream',
      'no key',
    ]);
    expect(frames.map((frame) => open(cipher, frame))).toEqual([
      'some ops of a stream',
      'some ops of a stream',
    ]);
  });
});
