/**
 * A cheap cipher for simulations, the twin of the daemon's: a keyed sum and an xor, so that seeds run fast and the
 * same everywhere. It refuses whatever was changed by accident, and is no secret to anybody.
 */
import { type Cipher, type FrameKey, TAG_BYTES } from '../../src/wire/cipher.js';

/** One call of `seal`, for the check that no (key, counter) is ever sealed with two texts. */
export interface Sealing {
  readonly key: number;
  readonly counter: number;
  readonly sum: number;
}

export class CipherTwin implements Cipher {
  sendKeyId: number;
  generation = 1;
  /** Derivations so far: hostile input must not make many. */
  derived = 0;
  /** Told of every frame that is sealed. */
  onSeal: ((sealing: Sealing) => void) | undefined;
  #keys: ReadonlyMap<number, number>;

  /** `keys`: secrets by their ids. */
  constructor(keys: ReadonlyMap<number, number> = new Map([[1, 1]]), sendKeyId = 1) {
    this.#keys = keys;
    this.sendKeyId = sendKeyId;
  }

  replace(keys: ReadonlyMap<number, number>, sendKeyId: number): void {
    this.#keys = keys;
    this.sendKeyId = sendKeyId;
    this.generation++;
  }

  derive(
    keyId: number,
    cluster: Uint8Array,
    node: Uint8Array,
    incarnation: Uint8Array,
    frameClass: number,
  ): FrameKey | undefined {
    const secret = this.#keys.get(keyId);
    if (secret === undefined) return undefined;
    this.derived++;
    let h = 0x811c9dc5 ^ secret;
    for (const part of [cluster, node, incarnation]) h = sum(part, 0, part.length, mix(h ^ part.length));
    return new TwinKey(mix(h ^ (frameClass + 1)), (s) => this.onSeal?.(s));
  }
}

class TwinKey implements FrameKey {
  readonly #key: number;
  readonly #onSeal: (sealing: Sealing) => void;

  constructor(key: number, onSeal: (sealing: Sealing) => void) {
    this.#key = key;
    this.#onSeal = onSeal;
  }

  seal(
    frame: Uint8Array,
    headFrom: number,
    headTo: number,
    payloadAt: number,
    bytes: number,
    counter: number,
  ): void {
    const h = this.#tag(frame, headFrom, headTo, payloadAt, bytes, counter);
    this.#onSeal({ key: this.#key, counter, sum: h });
    this.#cover(frame, payloadAt, frame, payloadAt, bytes, counter);
    writeTag(frame, payloadAt + bytes, h);
  }

  open(
    frame: Uint8Array,
    headFrom: number,
    headTo: number,
    payloadAt: number,
    bytes: number,
    counter: number,
    out: Uint8Array,
  ): number {
    const plain = bytes - TAG_BYTES;
    if (plain < 0 || plain > out.length) return -1;
    this.#cover(frame, payloadAt, out, 0, plain, counter);
    let h = sum(frame, headFrom, headTo, mix(this.#key ^ counter));
    h = sum(out, 0, plain, mix(h ^ plain));
    const tag = new Uint8Array(TAG_BYTES);
    writeTag(tag, 0, h);
    return tag.every((b, i) => b === frame[payloadAt + plain + i]) ? plain : -1;
  }

  #tag(
    u8: Uint8Array,
    headFrom: number,
    headTo: number,
    payloadAt: number,
    bytes: number,
    counter: number,
  ): number {
    const h = sum(u8, headFrom, headTo, mix(this.#key ^ counter));
    return sum(u8, payloadAt, payloadAt + bytes, mix(h ^ bytes));
  }

  #cover(
    from: Uint8Array,
    fromAt: number,
    to: Uint8Array,
    toAt: number,
    bytes: number,
    counter: number,
  ): void {
    let k = mix(this.#key ^ Math.imul(counter, 0x9e3779b1));
    for (let i = 0; i < bytes; i++) {
      k = (Math.imul(k, 1664525) + 1013904223) >>> 0;
      to[toAt + i] = from[fromAt + i] ^ (k >>> 24);
    }
  }
}

function writeTag(u8: Uint8Array, at: number, h: number): void {
  let k = h;
  for (let i = 0; i < TAG_BYTES; i++) {
    k = mix(k + i);
    u8[at + i] = k & 255;
  }
}

function sum(u8: Uint8Array, from: number, to: number, seed: number): number {
  let h = seed;
  for (let i = from; i < to; i++) h = Math.imul(h ^ u8[i], 0x01000193) >>> 0;
  return mix(h);
}

function mix(n: number): number {
  let h = n >>> 0;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}
