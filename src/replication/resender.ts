/**
 * Answers NACKs: sends frames again from the ring, the same bytes, to all, each at most once in a few milliseconds. What
 * left the ring is GONE. Every receiver has its own allowance, so one that asks for everything, all the time, costs a
 * bounded bandwidth and takes nothing from the others.
 */
import {
  GONE_INTERVAL_MS,
  RESEND_FRAMES,
  RESEND_INTERVAL_MS,
  RESENDS_BURST,
  RESENDS_PER_SECOND,
  RING_FRAMES,
} from '../limits.js';
import type { Nack } from '../wire/control-messages.js';
import { CONTROL_GONE } from '../wire/ops.js';
import type { FrameRing } from './frame-ring.js';
import type { Peer } from './peer.js';
import type { Self } from './self.js';

export class Resender {
  readonly #self: Self;
  readonly #ring: FrameRing;
  readonly #sequence: () => number;
  readonly #resentAt = new Float64Array(RING_FRAMES).fill(Number.NEGATIVE_INFINITY);
  /** Which sequence is wanted again, at its place in the ring; 0: none. */
  readonly #wanted = new Float64Array(RING_FRAMES);
  #wantedCount = 0;
  #next = 0;
  #lastGone = Number.NEGATIVE_INFINITY;
  /** Frames below it were sealed under a key that is no longer there; as of this generation of the keys. */
  #floor = 1;
  #generation = -1;

  constructor(self: Self, ring: FrameRing, sequence: () => number) {
    this.#self = self;
    this.#ring = ring;
    this.#sequence = sequence;
  }

  /** Frames are wanted again: `pump` has something to do. */
  get isAtWork(): boolean {
    return this.#wantedCount > 0;
  }

  /** A proven peer misses frames of this node. What it asks for is sent by `pump`, the first of it at once. */
  receive(peer: Peer, { ranges }: Nack, now: number): void {
    const { counters } = this.#self.ports;
    const sequence = this.#sequence();
    let before = 0;
    for (const [first, last] of ranges) {
      if (first <= before || last > sequence) {
        counters.count('control.nack-beyond');
        return;
      }
      before = last;
    }
    counters.count('nack.received');
    if (!peer.resends.take(now)) {
      counters.count('nack.limited');
      return;
    }
    const lowest = this.#lowest(sequence);
    if (ranges[0][0] < lowest) this.#gone(lowest, now);
    for (const [first, last] of ranges) {
      for (let s = Math.max(first, lowest); s <= last; s++) if (!this.#want(peer, s, now)) return;
    }
    this.pump(now);
  }

  /** Sends some of what is wanted again; true if there is more. */
  pump(now: number): boolean {
    const { ports, dataLink } = this.#self;
    const sequence = this.#sequence();
    const lowest = this.#lowest(sequence);
    for (let frames = 0; this.#wantedCount > 0 && frames < RESEND_FRAMES; ) {
      const i = this.#next;
      this.#next = (i + 1) % RING_FRAMES;
      const wanted = this.#wanted[i];
      if (wanted === 0) continue;
      this.#wanted[i] = 0;
      this.#wantedCount--;
      if (wanted < lowest) continue;
      const frame = this.#ring.buffer(wanted);
      const length = this.#ring.lengthOf(wanted);
      // A frame that is soon written over may have to wait in the socket's queue: then its copy does.
      const isOld = sequence - wanted >= RING_FRAMES / 2;
      ports.send(isOld ? frame.slice(0, length) : frame, length, dataLink);
      this.#resentAt[i] = now;
      ports.counters.count('stream.resent');
      frames++;
    }
    return this.#wantedCount > 0;
  }

  /** False if the peer has used up what it may ask for. */
  #want(peer: Peer, sequence: number, now: number): boolean {
    const i = sequence % RING_FRAMES;
    const last = this.#resentAt[i];
    // What stood in this place of the ring before was resent before this was sent.
    const isRecent = last >= this.#ring.sentAt(sequence) && now - last < RESEND_INTERVAL_MS;
    if (isRecent || this.#wanted[i] === sequence) return true;
    if (!peer.resends.take(now)) {
      this.#self.ports.counters.count('nack.limited');
      return false;
    }
    if (this.#wanted[i] === 0) this.#wantedCount++;
    this.#wanted[i] = sequence;
    return true;
  }

  /** A frame is sealed once: under a key that was removed it opens nowhere, and is as good as gone from the ring. */
  #lowest(sequence: number): number {
    const { ports, frames } = this.#self;
    const lowest = this.#ring.lowest(sequence);
    const generation = ports.cipher?.generation ?? this.#generation;
    if (generation !== this.#generation) {
      this.#generation = generation;
      this.#floor = lowest;
      for (let s = sequence; s >= lowest; s--) {
        const frame = this.#ring.buffer(s);
        // Frames of one key stand together: only where it changes is the cipher asked.
        const isSameKey = s < sequence && frames.isSameKey(frame, this.#ring.buffer(s + 1));
        if (isSameKey || frames.hasKeyOf(frame)) continue;
        this.#floor = s + 1;
        break;
      }
    }
    return Math.max(lowest, this.#floor);
  }

  #gone(lowest: number, now: number): void {
    if (now - this.#lastGone < GONE_INTERVAL_MS) return;
    this.#lastGone = now;
    this.#self.ports.counters.count('stream.gone-said');
    this.#self.say({ type: CONTROL_GONE, lowest });
  }
}

/** How many frames one receiver may have sent again. */
export class ResendAllowance {
  #tokens = RESENDS_BURST;
  #at = 0;

  take(now: number): boolean {
    const earned = (Math.max(0, now - this.#at) * RESENDS_PER_SECOND) / 1000;
    this.#tokens = Math.min(RESENDS_BURST, this.#tokens + earned);
    this.#at = now;
    if (this.#tokens < 1) return false;
    this.#tokens--;
    return true;
  }
}
