/**
 * The last RING_FRAMES frames of the own stream, where they were built: node:dgram reads them until they are
 * sent, and NACKs will ask for them. Memory comes in chunks, as the ring is first gone round.
 */
import { RING_FRAMES } from '../limits.js';

const CHUNK_FRAMES = 64;

/** Buffers by sequence, and when each was sent. */
export class FrameRing {
  readonly frameBytes: number;
  readonly #frames: Uint8Array[] = [];
  readonly #sentAt = new Float64Array(RING_FRAMES);
  readonly #stamps = new Float64Array(RING_FRAMES);

  constructor(frameBytes: number) {
    this.frameBytes = frameBytes;
  }

  /** The buffer of this sequence; what it held before is RING_FRAMES frames old. */
  buffer(sequence: number): Uint8Array {
    const i = sequence % RING_FRAMES;
    while (this.#frames.length <= i) this.#addChunk();
    return this.#frames[i];
  }

  setSent(sequence: number, now: number, stamp: number): void {
    this.#sentAt[sequence % RING_FRAMES] = now;
    this.#stamps[sequence % RING_FRAMES] = stamp;
  }

  /** When a frame that is still in the ring was sent. */
  sentAt(sequence: number): number {
    return this.#sentAt[sequence % RING_FRAMES];
  }

  /** The change stamp at which a frame that is still in the ring was sent. */
  stampOf(sequence: number): number {
    return this.#stamps[sequence % RING_FRAMES];
  }

  #addChunk(): void {
    const chunk = new Uint8Array(CHUNK_FRAMES * this.frameBytes);
    for (let i = 0; i < CHUNK_FRAMES; i++) {
      this.#frames.push(chunk.subarray(i * this.frameBytes, (i + 1) * this.frameBytes));
    }
  }
}
