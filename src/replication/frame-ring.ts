/**
 * The last RING_FRAMES frames of the own stream, where they were built: NACKs ask for them, and a resend sends the
 * very same bytes. Memory comes in chunks, as the ring is first gone round.
 */
import { RING_FRAMES } from '../limits.js';
import { CutHistory } from './cut-history.js';

const CHUNK_FRAMES = 64;
/** What the kernel keeps beside a datagram's bytes: struct sk_buff, skb_shared_info, headers (6.18). Bytes. */
const SKB_BYTES = 256;
const SKB_TAIL_BYTES = 448;
/** Network cards give every frame at least half a page. Bytes. */
const SKB_DATA_MIN_BYTES = 2048;

/** What a datagram of this length takes of a receive buffer: the kernel counts memory, not contents. Bytes. */
export function truesize(length: number): number {
  const data = 2 ** Math.ceil(Math.log2(length + SKB_TAIL_BYTES));
  return SKB_BYTES + Math.max(SKB_DATA_MIN_BYTES, data);
}

/** Buffers by sequence, and when each was sent. */
export class FrameRing {
  readonly frameBytes: number;
  /** What a full frame takes of a receive buffer. Bytes. */
  readonly frameTruesize: number;
  readonly #history = new CutHistory();
  readonly #frames: Uint8Array[] = [];
  readonly #sentAt = new Float64Array(RING_FRAMES);
  readonly #stamps = new Float64Array(RING_FRAMES);
  readonly #lengths = new Uint16Array(RING_FRAMES);
  /** What all frames up to and with this one took of a receive buffer. */
  readonly #totals = new Float64Array(RING_FRAMES);

  constructor(frameBytes: number) {
    this.frameBytes = frameBytes;
    this.frameTruesize = truesize(frameBytes);
  }

  /** The buffer of this sequence; what it held before is RING_FRAMES frames old. */
  buffer(sequence: number): Uint8Array {
    const i = sequence % RING_FRAMES;
    while (this.#frames.length <= i) this.#addChunk();
    return this.#frames[i];
  }

  setSent(sequence: number, length: number, now: number, stamp: number): void {
    const i = sequence % RING_FRAMES;
    this.#sentAt[i] = now;
    this.#stamps[i] = stamp;
    this.#history.note(sequence, stamp);
    this.#lengths[i] = length;
    // A frame that is not full takes as much of a receive buffer as a full one, but for jumbo frames.
    const size = this.frameTruesize <= SKB_BYTES + SKB_DATA_MIN_BYTES ? this.frameTruesize : truesize(length);
    this.#totals[i] = this.#totals[(sequence - 1) % RING_FRAMES] + size;
  }

  /** When a frame that is still in the ring was sent. */
  sentAt(sequence: number): number {
    return this.#sentAt[sequence % RING_FRAMES];
  }

  /**
   * The change stamp at which the frame `cut` was sent, when `last` is the last one; of a frame that has left the ring
   * a somewhat older one. -Infinity if it is none of this stream.
   */
  stampOf(cut: number, last: number): number {
    if (!(cut > 0 && cut <= last)) return Number.NEGATIVE_INFINITY;
    return last - cut < RING_FRAMES ? this.#stamps[cut % RING_FRAMES] : this.#history.stampAt(cut);
  }

  /** Bytes of a frame that is still in the ring. */
  lengthOf(sequence: number): number {
    return this.#lengths[sequence % RING_FRAMES];
  }

  /** What the frames after `from`, up to and with `to`, take of a receive buffer. Bytes. */
  truesizeBetween(from: number, to: number): number {
    return this.#totals[to % RING_FRAMES] - this.#totals[from % RING_FRAMES];
  }

  /**
   * The lowest sequence that can be resent when `sequence` was sent last: the buffer of the one after it is the next
   * to be written.
   */
  lowest(sequence: number): number {
    return Math.max(1, sequence + 2 - RING_FRAMES);
  }

  #addChunk(): void {
    const chunk = new Uint8Array(CHUNK_FRAMES * this.frameBytes);
    for (let i = 0; i < CHUNK_FRAMES; i++) {
      this.#frames.push(chunk.subarray(i * this.frameBytes, (i + 1) * this.frameBytes));
    }
  }
}
