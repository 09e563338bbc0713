/**
 * The frame: one datagram on a link, a msgpack array of eight.
 *
 *     +----+---------+---------+------+-------------+-------+-------+---------+---------------------+
 *     | 98 | version | cluster | node | incarnation | keyId | class | counter | payload             |
 *     +----+---------+---------+------+-------------+-------+-------+---------+---------------------+
 *       1    uint      str       str    bin 16        uint    uint    uint      bin
 *            1                                        0: not  0: stream  sequence of the stream frame;
 *                                                     sealed  1: control  of the control frame, from 1
 *
 * Stream payload: ops back to back (ops.ts). Control payload: one msgpack array (control-messages.ts). In a sealed
 * frame the payload is the sealed text with its tag, and everything before the payload's bin head is the associated
 * data: cipher.ts.
 */
import { FRAME_MAX_BYTES, NAME_MAX_BYTES, NAME_PATTERN } from '../limits.js';
import { ByteCursor } from './byte-cursor.js';
import { ByteWriter } from './byte-writer.js';
import { type Cipher, type FrameKey, KEY_ID_MAX, TAG_BYTES } from './cipher.js';

export const FRAME_VERSION = 1;
export const CLASS_STREAM = 0;
export const CLASS_CONTROL = 1;
/** Bytes of an incarnation: 128 random bits that name one run of a node's daemon. */
export const INCARNATION_BYTES = 16;

/** Writes frames of one node: everything but counter and payload is the same in all of them. */
export class FrameWriter {
  readonly #head: Uint8Array;
  readonly #w = new ByteWriter();
  readonly #keyIdAt: number;
  readonly #classAt: number;
  readonly #cipher: Cipher | undefined;
  readonly #names: readonly [cluster: Uint8Array, node: Uint8Array, incarnation: Uint8Array];
  /** The cipher's keys that the next ones were derived from. */
  #generation = -1;
  #keys: (FrameKey | undefined)[] = [];
  /** Bytes before the payload. */
  readonly headBytes: number;
  /** Bytes behind the payload: a frame needs that much more room. */
  readonly tailBytes: number;

  /** Throws a RangeError on names that are empty or longer than NAME_MAX_BYTES. */
  constructor(cluster: string, node: string, incarnation: Uint8Array, cipher?: Cipher) {
    const w = new ByteWriter();
    w.reset(new Uint8Array(256), 0, 256);
    w.array(8);
    w.uint(FRAME_VERSION);
    this.#names = [encodeName(cluster), encodeName(node), incarnation.slice()];
    w.str(this.#names[0]);
    w.str(this.#names[1]);
    if (incarnation.length !== INCARNATION_BYTES) throw new RangeError('an incarnation has 16 bytes');
    w.bin(incarnation);
    // Two bytes for every key id: the payload begins at the same place before and after another key.
    w.byte(0xcc);
    this.#keyIdAt = w.at;
    w.byte(0);
    this.#classAt = w.at;
    w.uint(CLASS_STREAM);
    this.#head = w.u8.slice(0, w.at);
    this.headBytes = w.at + 9 + 3;
    this.#cipher = cipher;
    this.tailBytes = cipher === undefined ? 0 : TAG_BYTES;
  }

  /**
   * Fills in everything around a payload that already stands at `headBytes`, and seals it where there is a cipher;
   * returns the bytes of the frame. To be called once for a class and counter. `version` is what all who are to read
   * it can.
   */
  finish(
    frame: Uint8Array,
    frameClass: number,
    counter: number,
    payloadBytes: number,
    version = FRAME_VERSION,
  ): number {
    const cipher = this.#cipher;
    if (cipher !== undefined && cipher.generation !== this.#generation) this.#derive(cipher);
    const sealedBytes = payloadBytes + this.tailBytes;
    const w = this.#w;
    w.reset(frame, 0, frame.length);
    w.bytes(this.#head, 0, this.#head.length);
    frame[1] = version;
    frame[this.#classAt] = frameClass;
    w.uint64(counter);
    const headTo = w.at;
    w.byte(0xc5);
    w.byte(sealedBytes >>> 8);
    w.byte(sealedBytes & 255);
    this.#keys[frameClass]?.seal(frame, 0, headTo, this.headBytes, payloadBytes, counter);
    return this.headBytes + sealedBytes;
  }

  /** True if this node sealed both frames under one key. */
  isSameKey(a: Uint8Array, b: Uint8Array): boolean {
    return a[this.#keyIdAt] === b[this.#keyIdAt];
  }

  /** True if the cipher still has the key under which this node sealed a frame. */
  hasKeyOf(frame: Uint8Array): boolean {
    const keyId = frame[this.#keyIdAt];
    const [cluster, node, incarnation] = this.#names;
    return keyId === 0 || this.#cipher?.derive(keyId, cluster, node, incarnation, CLASS_STREAM) !== undefined;
  }

  #derive(cipher: Cipher): void {
    const [cluster, node, incarnation] = this.#names;
    const { sendKeyId, generation } = cipher;
    this.#keys = [CLASS_STREAM, CLASS_CONTROL].map((c) =>
      cipher.derive(sendKeyId, cluster, node, incarnation, c),
    );
    // Never in clear because of a cipher without its own key.
    if (this.#keys.includes(undefined)) throw new RangeError(`the cipher does not know its key ${sendKeyId}`);
    this.#head[this.#keyIdAt] = sendKeyId;
    this.#generation = generation;
  }
}

const TEXT = new TextDecoder('utf-8', { ignoreBOM: true });

/** Reads a frame's head into its own fields, without an allocation. */
export class FrameReader {
  u8: Uint8Array = new Uint8Array(0);
  version = 0;
  nodeAt = 0;
  nodeBytes = 0;
  incarnationAt = 0;
  /** 0: not sealed. */
  keyId = 0;
  frameClass = 0;
  counter = 0;
  /** What the payload's places count in: the datagram itself, or, once opened, a buffer of this reader. */
  payload: Uint8Array = new Uint8Array(0);
  payloadAt = 0;
  payloadEnd = 0;
  readonly cluster: Uint8Array;
  readonly #c = new ByteCursor();
  readonly #opened = new Uint8Array(FRAME_MAX_BYTES);
  #from = 0;
  #headTo = 0;
  #clusterAt = 0;
  #clusterBytes = 0;

  constructor(cluster: string) {
    this.cluster = encodeName(cluster);
  }

  /** The other cluster's name in the frame that was refused for it (anybody may have written it); '?': it is none. */
  otherCluster(): string {
    if (this.#clusterBytes > NAME_MAX_BYTES) return '?';
    const name = String.fromCharCode(
      ...this.u8.subarray(this.#clusterAt, this.#clusterAt + this.#clusterBytes),
    );
    return NAME_PATTERN.test(name) ? name : '?';
  }

  /** Returns undefined, or why the frame is refused (a counter's name). */
  read(u8: Uint8Array, from: number, to: number): string | undefined {
    if (to - from > FRAME_MAX_BYTES) return 'frame.oversized';
    const c = this.#c;
    this.u8 = u8;
    this.#from = from;
    c.reset(u8, from, to);
    if (c.array() !== 8) return 'frame.malformed';
    this.version = c.uint();
    if (this.version < 0) return 'frame.malformed';
    if (this.version !== FRAME_VERSION) return 'frame.version';
    const clusterBytes = c.str();
    if (clusterBytes < 0) return 'frame.malformed';
    if (clusterBytes !== this.cluster.length || !bytesEqual(u8, c.at, this.cluster, 0, clusterBytes)) {
      this.#clusterAt = c.at;
      this.#clusterBytes = clusterBytes;
      return 'frame.cluster';
    }
    c.at += clusterBytes;
    this.nodeBytes = c.str();
    if (this.nodeBytes < 1 || this.nodeBytes > NAME_MAX_BYTES) return 'frame.malformed';
    this.nodeAt = c.at;
    c.at += this.nodeBytes;
    if (c.bin() !== INCARNATION_BYTES) return 'frame.malformed';
    this.incarnationAt = c.at;
    c.at += INCARNATION_BYTES;
    return this.#tail(to);
  }

  #tail(to: number): string | undefined {
    const c = this.#c;
    this.keyId = c.uint();
    if (this.keyId < 0 || this.keyId > KEY_ID_MAX) return 'frame.malformed';
    this.frameClass = c.uint();
    this.counter = c.uint();
    this.#headTo = c.at;
    const payload = c.bin();
    if (this.counter < 0 || payload < 0) return 'frame.malformed';
    if (this.counter === 0 || c.at + payload !== to) return 'frame.malformed';
    if (this.frameClass !== CLASS_STREAM && this.frameClass !== CLASS_CONTROL) return 'frame.class';
    this.payload = this.u8;
    this.payloadAt = c.at;
    this.payloadEnd = to;
    return undefined;
  }

  /** Opens a sealed payload; false if it is forged. What the last frame's payload was is gone. */
  open(key: FrameKey): boolean {
    const sealed = this.payloadEnd - this.payloadAt;
    const { u8, payloadAt, counter } = this;
    const bytes = key.open(u8, this.#from, this.#headTo, payloadAt, sealed, counter, this.#opened);
    if (bytes < 0) return false;
    this.payload = this.#opened;
    this.payloadAt = 0;
    this.payloadEnd = bytes;
    return true;
  }

  /** The node's name as text, for a log line. */
  get node(): string {
    return TEXT.decode(this.u8.subarray(this.nodeAt, this.nodeAt + this.nodeBytes));
  }

  /** True if the node's name is text: one that is not would come back as other bytes. */
  get isNodeText(): boolean {
    const bytes = new TextEncoder().encode(this.node);
    return bytes.length === this.nodeBytes && bytesEqual(this.u8, this.nodeAt, bytes, 0, bytes.length);
  }

  get nodeName(): Uint8Array {
    return this.u8.slice(this.nodeAt, this.nodeAt + this.nodeBytes);
  }

  get incarnation(): Uint8Array {
    return this.u8.slice(this.incarnationAt, this.incarnationAt + INCARNATION_BYTES);
  }
}

/** A name as it stands in a frame. Throws a RangeError when it is empty or longer than NAME_MAX_BYTES. */
export function encodeName(name: string): Uint8Array {
  const bytes = new TextEncoder().encode(name);
  if (bytes.length < 1 || bytes.length > NAME_MAX_BYTES) {
    throw new RangeError(`name "${name}": ${bytes.length} bytes, want 1 to ${NAME_MAX_BYTES}`);
  }
  return bytes;
}

/** True if `n` bytes are the same. */
export function bytesEqual(a: Uint8Array, at: number, b: Uint8Array, bt: number, n: number): boolean {
  for (let i = 0; i < n; i++) if (a[at + i] !== b[bt + i]) return false;
  return true;
}
