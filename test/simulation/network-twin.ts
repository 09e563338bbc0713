/**
 * A link in memory, the twin of `channel/`: every datagram goes to every other node, or is lost, doubled,
 * delayed, overtaken or cut off by a partition, as a seed decides. Time is what the simulation says it is.
 */
import type { Random } from './random.js';

/** What the link does to a datagram; probabilities in [0, 1], times in milliseconds. */
export interface NetworkFaults {
  loss: number;
  duplication: number;
  /** Share of datagrams that take up to `reorderMs` longer. */
  reordering: number;
  reorderMs: number;
  delayMs: number;
  corruption: number;
}

export const NO_FAULTS: Readonly<NetworkFaults> = {
  loss: 0,
  duplication: 0,
  reordering: 0,
  reorderMs: 0,
  delayMs: 0.2,
  corruption: 0,
};

type Receiver = (u8: Uint8Array, length: number) => void;

interface Datagram {
  at: number;
  order: number;
  to: string;
  bytes: Uint8Array;
}

export class NetworkTwin {
  faults: NetworkFaults = { ...NO_FAULTS };
  now = 0;
  sentFrames = 0;
  sentBytes = 0;
  readonly #random: Random;
  readonly #receivers = new Map<string, Receiver>();
  readonly #cuts = new Set<string>();
  readonly #queue: Datagram[] = [];
  #order = 0;

  constructor(random: Random) {
    this.#random = random;
  }

  attach(name: string, receiver: Receiver): void {
    this.#receivers.set(name, receiver);
  }

  detach(name: string): void {
    this.#receivers.delete(name);
  }

  /** What `from` sends no longer reaches `to`. */
  cut(from: string, to: string): void {
    this.#cuts.add(`${from}>${to}`);
  }

  /** Cuts both ways between a node and all others. */
  isolate(name: string): void {
    for (const other of this.#receivers.keys()) {
      if (other === name) continue;
      this.cut(name, other);
      this.cut(other, name);
    }
  }

  heal(): void {
    this.#cuts.clear();
  }

  /** The sender's buffer may be used again at once: the datagram is copied. */
  send(from: string, frame: Uint8Array, length: number): void {
    this.sentFrames++;
    this.sentBytes += length;
    const f = this.faults;
    for (const to of this.#receivers.keys()) {
      if (to === from || this.#cuts.has(`${from}>${to}`)) continue;
      if (this.#random.chance(f.loss)) continue;
      this.#put(to, frame, length);
      if (this.#random.chance(f.duplication)) this.#put(to, frame, length);
    }
  }

  /** Delivers what is due up to `now`, in the order of its time. */
  run(now: number): void {
    this.now = now;
    while (this.#queue.length > 0 && this.#queue[0].at <= now) {
      const datagram = this.#queue.shift() as Datagram;
      this.#receivers.get(datagram.to)?.(datagram.bytes, datagram.bytes.length);
    }
  }

  #put(to: string, frame: Uint8Array, length: number): void {
    const f = this.faults;
    const bytes = frame.slice(0, length);
    if (this.#random.chance(f.corruption)) bytes[this.#random.below(length)] ^= 1 << this.#random.below(8);
    const extra = this.#random.chance(f.reordering) ? this.#random.next() * f.reorderMs : 0;
    const datagram = { at: this.now + f.delayMs + extra, order: this.#order++, to, bytes };
    let i = this.#queue.length;
    while (i > 0 && this.#queue[i - 1].at > datagram.at) i--;
    this.#queue.splice(i, 0, datagram);
  }
}
