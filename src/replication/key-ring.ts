/**
 * Opens frames: finds the key of a frame's incarnation, derived once and kept.
 *
 * Keys of peers are kept with the peer. Those of strangers are kept when they opened a frame, so made-up incarnations
 * push out nobody; deriving for them has a rate, since every made-up incarnation would cost a derivation.
 */
import { STRANGER_KEYS_MAX } from '../limits.js';
import type { Cipher, FrameKey } from '../wire/cipher.js';
import { bytesEqual, type FrameReader, INCARNATION_BYTES } from '../wire/frame.js';
import type { Peer } from './peer.js';
import { TokenBuckets } from './token-bucket.js';

/** Derivations for strangers a second, and in one burst, in each of the 64 buckets: 5 % of a core at the worst. */
const DERIVATIONS_PER_SECOND = 20;
const DERIVATIONS_BURST = 4;

/** The keys of one incarnation that were needed so far. */
export class IncarnationKeys {
  readonly node: Uint8Array;
  readonly incarnation: Uint8Array;
  readonly #keys = new Map<number, FrameKey>();
  #generation = -1;

  constructor(node: Uint8Array, incarnation: Uint8Array) {
    this.node = node;
    this.incarnation = incarnation;
  }

  isOf(frame: FrameReader): boolean {
    if (!bytesEqual(frame.u8, frame.incarnationAt, this.incarnation, 0, INCARNATION_BYTES)) return false;
    return (
      this.node.length === frame.nodeBytes &&
      bytesEqual(frame.u8, frame.nodeAt, this.node, 0, frame.nodeBytes)
    );
  }

  /** The key, if it was derived before and the cipher's keys are still those. */
  find(cipher: Cipher, keyId: number, frameClass: number): FrameKey | undefined {
    if (cipher.generation !== this.#generation) {
      this.#keys.clear();
      this.#generation = cipher.generation;
    }
    return this.#keys.get(keyId * 2 + frameClass);
  }

  /** Derives a key; undefined if the cipher has none with this id. At most two are kept for each id it has. */
  derive(cipher: Cipher, cluster: Uint8Array, keyId: number, frameClass: number): FrameKey | undefined {
    const key = cipher.derive(keyId, cluster, this.node, this.incarnation, frameClass);
    if (key !== undefined) this.#keys.set(keyId * 2 + frameClass, key);
    return key;
  }
}

export class KeyRing {
  readonly #cipher: Cipher | undefined;
  /** Most recently used last. */
  readonly #strangers: IncarnationKeys[] = [];
  readonly #derivations = new TokenBuckets(DERIVATIONS_PER_SECOND, DERIVATIONS_BURST);

  constructor(cipher: Cipher | undefined) {
    this.#cipher = cipher;
  }

  /** Opens the frame that was read; returns undefined, or why it is refused (a counter's name). */
  open(frame: FrameReader, peer: Peer | undefined, now: number): string | undefined {
    const cipher = this.#cipher;
    if (cipher === undefined) return frame.keyId === 0 ? undefined : 'frame.key';
    if (frame.keyId === 0) return 'frame.unsealed';
    return peer === undefined
      ? this.#openStranger(cipher, frame, now)
      : this.#openWith(cipher, peer.keys, frame);
  }

  #openWith(cipher: Cipher, keys: IncarnationKeys, frame: FrameReader): string | undefined {
    const { keyId, frameClass } = frame;
    const key = keys.find(cipher, keyId, frameClass) ?? keys.derive(cipher, frame.cluster, keyId, frameClass);
    if (key === undefined) return 'frame.key';
    return frame.open(key) ? undefined : 'frame.forged';
  }

  #openStranger(cipher: Cipher, frame: FrameReader, now: number): string | undefined {
    const at = this.#strangers.findIndex((keys) => keys.isOf(frame));
    const known = at < 0 ? undefined : this.#strangers[at];
    if (known?.find(cipher, frame.keyId, frame.frameClass) === undefined) {
      if (!this.#derivations.take(frame.u8[frame.incarnationAt], now)) return 'frame.derive-limited';
    }
    const keys = known ?? new IncarnationKeys(frame.nodeName, frame.incarnation);
    const refusal = this.#openWith(cipher, keys, frame);
    if (refusal !== undefined) return refusal;
    if (at >= 0) this.#strangers.splice(at, 1);
    else if (this.#strangers.length >= STRANGER_KEYS_MAX) this.#strangers.shift();
    this.#strangers.push(keys);
    return undefined;
  }
}
