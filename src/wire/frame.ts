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
 * Stream payload: ops back to back (ops.ts). Control payload: one msgpack array (control-messages.ts).
 * Everything before the payload is the associated data once frames are sealed.
 */
import { FRAME_MAX_BYTES, NAME_MAX_BYTES } from '../limits.js';
import { ByteCursor } from './byte-cursor.js';
import { ByteWriter } from './byte-writer.js';

export const FRAME_VERSION = 1;
export const CLASS_STREAM = 0;
export const CLASS_CONTROL = 1;
/** Bytes of an incarnation: 128 random bits that name one run of a node's daemon. */
export const INCARNATION_BYTES = 16;

/** Writes frames of one node: everything but counter and payload is the same in all of them. */
export class FrameWriter {
  readonly #head: Uint8Array;
  readonly #w = new ByteWriter();
  readonly #classAt: number;
  /** Bytes before the payload. */
  readonly headBytes: number;

  /** Throws a RangeError on names that are empty or longer than NAME_MAX_BYTES. */
  constructor(cluster: string, node: string, incarnation: Uint8Array) {
    const w = new ByteWriter();
    w.reset(new Uint8Array(256), 0, 256);
    w.array(8);
    w.uint(FRAME_VERSION);
    w.str(encodeName(cluster));
    w.str(encodeName(node));
    if (incarnation.length !== INCARNATION_BYTES) throw new RangeError('an incarnation has 16 bytes');
    w.bin(incarnation);
    w.uint(0);
    this.#classAt = w.at;
    w.uint(CLASS_STREAM);
    this.#head = w.u8.slice(0, w.at);
    this.headBytes = w.at + 9 + 3;
  }

  /**
   * Fills in everything around a payload that already stands at `headBytes`; returns the bytes of the
   * frame.
   */
  finish(frame: Uint8Array, frameClass: number, counter: number, payloadBytes: number): number {
    const w = this.#w;
    w.reset(frame, 0, frame.length);
    w.bytes(this.#head, 0, this.#head.length);
    frame[this.#classAt] = frameClass;
    w.uint64(counter);
    w.byte(0xc5);
    w.byte(payloadBytes >>> 8);
    w.byte(payloadBytes & 255);
    return this.headBytes + payloadBytes;
  }
}

/** Reads a frame's head into its own fields, without an allocation. */
export class FrameReader {
  u8: Uint8Array = new Uint8Array(0);
  nodeAt = 0;
  nodeBytes = 0;
  incarnationAt = 0;
  frameClass = 0;
  counter = 0;
  payloadAt = 0;
  payloadEnd = 0;
  readonly #cluster: Uint8Array;
  readonly #c = new ByteCursor();

  constructor(cluster: string) {
    this.#cluster = encodeName(cluster);
  }

  /** Returns undefined, or why the frame is refused (a counter's name). */
  read(u8: Uint8Array, from: number, to: number): string | undefined {
    if (to - from > FRAME_MAX_BYTES) return 'frame.oversized';
    const c = this.#c;
    this.u8 = u8;
    c.reset(u8, from, to);
    if (c.array() !== 8) return 'frame.malformed';
    if (c.uint() !== FRAME_VERSION) return 'frame.version';
    const clusterBytes = c.str();
    if (clusterBytes < 0) return 'frame.malformed';
    if (clusterBytes !== this.#cluster.length || !bytesEqual(u8, c.at, this.#cluster, 0, clusterBytes)) {
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
    if (c.uint() !== 0) return 'frame.key';
    this.frameClass = c.uint();
    this.counter = c.uint();
    const payload = c.bin();
    if (this.counter < 0 || payload < 0) return 'frame.malformed';
    if (this.counter === 0 || c.at + payload !== to) return 'frame.malformed';
    if (this.frameClass !== CLASS_STREAM && this.frameClass !== CLASS_CONTROL) return 'frame.class';
    this.payloadAt = c.at;
    this.payloadEnd = to;
    return undefined;
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
