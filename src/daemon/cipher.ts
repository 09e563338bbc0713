/**
 * AES-256-GCM by node:crypto under keys from key files.
 *
 * A frame's key is HKDF-SHA-256 of the key file's key with no salt; `info` is cluster, node, incarnation and the class
 * ("stream" or "control"), each behind its length in one byte, so that no two of them give the same text.
 */
import { createCipheriv, createDecipheriv, createSecretKey, hkdfSync, type KeyObject } from 'node:crypto';
import { KEY_BYTES } from '../limits.js';
import { type Cipher, type FrameKey, KEY_ID_MAX, TAG_BYTES } from '../wire/cipher.js';
import { CLASS_STREAM } from '../wire/frame.js';

const ALGORITHM = 'aes-256-gcm';
const OPTIONS = { authTagLength: TAG_BYTES };
/** A nonce is four zero bytes and the frame's counter. */
const NONCE_BYTES = 12;

/** One key of the cluster, under the number that frames name it by. */
export interface NumberedKey {
  readonly id: number;
  readonly key: Uint8Array;
}

/** Seals and opens frames under pre-shared keys, which can be replaced while it runs. */
export class PskCipher implements Cipher {
  #sendKeyId = 0;
  #generation = 0;
  #keys = new Map<number, KeyObject>();

  /** Throws a RangeError on a bad or doubled id, a key that has not KEY_BYTES, or an unknown sending id. */
  constructor(keys: readonly NumberedKey[], sendKeyId: number) {
    this.replace(keys, sendKeyId);
  }

  get sendKeyId(): number {
    return this.#sendKeyId;
  }

  get generation(): number {
    return this.#generation;
  }

  /**
   * Other keys from now on; peers and their streams stay. Rotation: add the new key on every node, then send with it
   * everywhere, then remove the old one. Throws as the constructor does, and then nothing has changed.
   */
  replace(keys: readonly NumberedKey[], sendKeyId: number): void {
    const next = new Map<number, KeyObject>();
    for (const { id, key } of keys) {
      if (!Number.isInteger(id) || id < 1 || id > KEY_ID_MAX) {
        throw new RangeError(`key id ${id}: want 1..${KEY_ID_MAX}`);
      }
      if (next.has(id)) throw new RangeError(`key id ${id} is given twice`);
      if (key.length !== KEY_BYTES) throw new RangeError(`key ${id}: ${key.length} bytes, want ${KEY_BYTES}`);
      next.set(id, createSecretKey(key));
    }
    if (!next.has(sendKeyId)) throw new RangeError(`key id ${sendKeyId} is to be sent with and not given`);
    this.#keys = next;
    this.#sendKeyId = sendKeyId;
    this.#generation++;
  }

  derive(
    keyId: number,
    cluster: Uint8Array,
    node: Uint8Array,
    incarnation: Uint8Array,
    frameClass: number,
  ): FrameKey | undefined {
    const key = this.#keys.get(keyId);
    if (key === undefined) return undefined;
    const purpose = Buffer.from(frameClass === CLASS_STREAM ? 'stream' : 'control');
    const info = Buffer.concat(
      [cluster, node, incarnation, purpose].flatMap((part) => [Uint8Array.of(part.length), part]),
    );
    const bytes = new Uint8Array(hkdfSync('sha256', key, '', info, KEY_BYTES));
    const derived = new GcmKey(createSecretKey(bytes));
    bytes.fill(0);
    return derived;
  }
}

class GcmKey implements FrameKey {
  readonly #key: KeyObject;
  readonly #nonce = Buffer.alloc(NONCE_BYTES);

  constructor(key: KeyObject) {
    this.#key = key;
  }

  seal(
    frame: Uint8Array,
    headFrom: number,
    headTo: number,
    payloadAt: number,
    bytes: number,
    counter: number,
  ): void {
    const cipher = createCipheriv(ALGORITHM, this.#key, this.#nonceOf(counter), OPTIONS);
    cipher.setAAD(frame.subarray(headFrom, headTo));
    frame.set(cipher.update(frame.subarray(payloadAt, payloadAt + bytes)), payloadAt);
    cipher.final();
    frame.set(cipher.getAuthTag(), payloadAt + bytes);
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
    const tagAt = payloadAt + plain;
    try {
      const decipher = createDecipheriv(ALGORITHM, this.#key, this.#nonceOf(counter), OPTIONS);
      decipher.setAAD(frame.subarray(headFrom, headTo));
      decipher.setAuthTag(frame.subarray(tagAt, tagAt + TAG_BYTES));
      const opened = decipher.update(frame.subarray(payloadAt, tagAt));
      decipher.final();
      // Not before the tag was found right: forged bytes never stand where somebody reads.
      out.set(opened);
      return plain;
    } catch {
      return -1;
    }
  }

  #nonceOf(counter: number): Buffer {
    this.#nonce.writeUInt32BE(Math.floor(counter / 0x1_0000_0000), 4);
    this.#nonce.writeUInt32BE(counter >>> 0, 8);
    return this.#nonce;
  }
}
