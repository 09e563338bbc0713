/**
 * Frames of one peer that came before their turn: copies of their payloads, opened, until the frames before them are
 * there. Bounded in frames and bytes; what does not fit is dropped and asked for again later.
 */
import { FRAME_MAX_BYTES, REORDER_FRAMES, REORDER_MAX_BYTES } from '../limits.js';

/** Buffers are this long, or twice, four times ... as long: what one frame left the next can use. Bytes. */
const BUFFER_BYTES = 2048;
/** Memory of a buffer that nothing was kept in for this long is given back. Milliseconds. */
const IDLE_MS = 10_000;

export class ReorderBuffer {
  /** Frames kept. */
  count = 0;
  /** Highest sequence that was ever kept. */
  newest = 0;
  /** Memory taken, in use or not. Bytes. */
  bytes = 0;
  #sequences = new Float64Array(0);
  #lengths = new Uint16Array(0);
  #buffers: (Uint8Array | undefined)[] = [];
  #free: Uint8Array[] = [];
  #usedAt = 0;

  has(sequence: number): boolean {
    return this.count > 0 && this.#sequences[sequence % REORDER_FRAMES] === sequence;
  }

  /** Keeps a copy of the bytes; false if there is no room, or something else stands in its place. */
  put(sequence: number, u8: Uint8Array, from: number, to: number, now: number): boolean {
    if (this.#sequences.length === 0) this.#prepare();
    const i = sequence % REORDER_FRAMES;
    const length = to - from;
    if (length > FRAME_MAX_BYTES || this.#buffers[i] !== undefined) return false;
    const buffer = this.#take(length);
    if (buffer === undefined) return false;
    buffer.set(u8.subarray(from, to));
    this.#sequences[i] = sequence;
    this.#lengths[i] = length;
    this.#buffers[i] = buffer;
    this.count++;
    if (sequence > this.newest) this.newest = sequence;
    this.#usedAt = now;
    return true;
  }

  /** The payload of a frame that is kept; it stays until `release`. */
  payload(sequence: number): Uint8Array {
    return this.#buffers[sequence % REORDER_FRAMES] as Uint8Array;
  }

  lengthOf(sequence: number): number {
    return this.#lengths[sequence % REORDER_FRAMES];
  }

  /** Lets go of a frame, if it is kept. */
  release(sequence: number): void {
    const i = sequence % REORDER_FRAMES;
    if (!this.has(sequence)) return;
    this.#free.push(this.#buffers[i] as Uint8Array);
    this.#buffers[i] = undefined;
    this.#sequences[i] = 0;
    this.count--;
  }

  /** Lets go of all frames below `sequence`. */
  releaseBelow(sequence: number): void {
    for (let i = 0; i < this.#sequences.length && this.count > 0; i++) {
      if (this.#sequences[i] > 0 && this.#sequences[i] < sequence) this.release(this.#sequences[i]);
    }
  }

  /** Gives memory back that was not used for a while. */
  trim(now: number): void {
    if (this.count > 0 || this.bytes === 0 || now - this.#usedAt < IDLE_MS) return;
    this.#free = [];
    this.#buffers = [];
    this.#sequences = new Float64Array(0);
    this.bytes = 0;
  }

  #prepare(): void {
    this.#sequences = new Float64Array(REORDER_FRAMES);
    this.#lengths = new Uint16Array(REORDER_FRAMES);
    this.#buffers = new Array<Uint8Array | undefined>(REORDER_FRAMES).fill(undefined);
  }

  #take(length: number): Uint8Array | undefined {
    const free = this.#free.pop();
    if (free !== undefined && free.length >= length) return free;
    if (free !== undefined) this.bytes -= free.length;
    let size = BUFFER_BYTES;
    while (size < length) size *= 2;
    if (this.bytes + size > REORDER_MAX_BYTES) return undefined;
    this.bytes += size;
    return new Uint8Array(size);
  }
}
