/**
 * The window: how far the own stream may be ahead of its slowest receiver. One that holds it shut for a
 * second without advancing is lagging: it leaves the window until its replica was proven again, each time
 * for longer, so a stuck peer costs the others one second and no more.
 */
import { WINDOW_FRAMES } from '../limits.js';
import type { Peer } from './peer.js';
import type { Self } from './self.js';

/** Longest hold-up by one receiver. Milliseconds. */
const LAG_MS = 1000;
/** Longest time out of the window after a lag. Milliseconds. */
const LAG_PENALTY_MAX_MS = 60_000;

export class Window {
  readonly #self: Self;

  constructor(self: Self) {
    this.#self = self;
  }

  /** True if nobody takes the stream: it is parked, and changes touch only the table. */
  get isParked(): boolean {
    const peers = this.#self.peers;
    for (let i = 0; i < peers.length; i++) if (peers[i].isAlive && peers[i].isReceiver) return false;
    return true;
  }

  /** Frames that may be sent now. */
  room(sequence: number): number {
    const peers = this.#self.peers;
    let low = sequence;
    for (let i = 0; i < peers.length; i++) {
      const peer = peers[i];
      if (!peer.isAlive || !peer.isReceiver || peer.isLagging) continue;
      if (peer.theirApplied < low) low = peer.theirApplied;
    }
    return WINDOW_FRAMES - (sequence - low);
  }

  /** Every receiver that has nothing to acknowledge is not stuck: its second begins with the next frame. */
  noteSend(sequence: number, now: number): void {
    const peers = this.#self.peers;
    for (let i = 0; i < peers.length; i++) if (peers[i].theirApplied >= sequence) peers[i].lastAdvance = now;
  }

  /** A receiver acknowledged up to `applied`. False when that is beyond what was sent. */
  noteAck(peer: Peer, applied: number, sequence: number, now: number): boolean {
    if (applied > sequence) {
      this.#self.ports.counters.count('control.ack-beyond');
      return false;
    }
    if (applied > peer.theirApplied) {
      peer.theirApplied = applied;
      peer.lastAdvance = now;
    }
    return true;
  }

  /** Finds receivers that hold the window shut, and lets those back in that were proven again. */
  tick(sequence: number, now: number): void {
    const isShut = this.room(sequence) <= 0;
    for (const peer of this.#self.peers) {
      if (peer.isLagging) this.#readmit(peer, now);
      else if (isShut && peer.isReceiver && sequence - peer.theirApplied >= WINDOW_FRAMES) {
        if (now - peer.lastAdvance >= LAG_MS) this.#exclude(peer, sequence, now);
      }
    }
  }

  #exclude(peer: Peer, sequence: number, now: number): void {
    peer.isLagging = true;
    peer.laggedAt = now;
    peer.laggedSequence = sequence;
    peer.lagCount++;
    this.#self.ports.counters.count('window.lagging');
    this.#self.ports.log('warn', 'a receiver does not advance: the stream goes on without it', {
      node: peer.node,
      applied: peer.theirApplied,
      sequence,
    });
  }

  #readmit(peer: Peer, now: number): void {
    const penalty = Math.min(LAG_MS * 2 ** (peer.lagCount - 1), LAG_PENALTY_MAX_MS);
    if (now - peer.laggedAt < penalty || peer.theirVerdict !== 'proven') return;
    if (peer.theirVerdictAt <= peer.laggedSequence) return;
    peer.isLagging = false;
    peer.lastAdvance = now;
  }
}
