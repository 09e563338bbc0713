import { SEND_QUEUE_FRAMES } from '../limits.js';

const NOTHING = new Uint8Array(0);

/** Datagrams that the kernel had no room for, first in first out; by reference, for nobody copies 512 frames to lose time. */
export class SendQueue {
  readonly #frames = new Array<Uint8Array>(SEND_QUEUE_FRAMES).fill(NOTHING);
  readonly #targets = new Array<Uint8Array>(SEND_QUEUE_FRAMES).fill(NOTHING);
  readonly #lengths = new Int32Array(SEND_QUEUE_FRAMES);
  #first = 0;
  #count = 0;

  get isEmpty(): boolean {
    return this.#count === 0;
  }

  /** The datagram that is next; only while there is one. */
  get frame(): Uint8Array {
    return this.#frames[this.#first];
  }
  get length(): number {
    return this.#lengths[this.#first];
  }
  get target(): Uint8Array {
    return this.#targets[this.#first];
  }

  /** False when the queue is full: the datagram is lost, as on any link. */
  push(frame: Uint8Array, length: number, target: Uint8Array): boolean {
    if (this.#count === SEND_QUEUE_FRAMES) return false;
    const at = (this.#first + this.#count) % SEND_QUEUE_FRAMES;
    this.#frames[at] = frame;
    this.#targets[at] = target;
    this.#lengths[at] = length;
    this.#count++;
    return true;
  }

  /** Takes the next one away. */
  shift(): void {
    this.#frames[this.#first] = NOTHING;
    this.#targets[this.#first] = NOTHING;
    this.#first = (this.#first + 1) % SEND_QUEUE_FRAMES;
    this.#count--;
  }
}
