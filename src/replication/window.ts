/**
 * The window: how far the own stream may be ahead of its slowest receiver, in frames and in bytes of its receive
 * buffer. One that holds it shut for a second without advancing, or lags three seconds though it advances, is lagging:
 * it leaves the window until its replica was proven again, each time for longer, so a stuck peer costs the others one
 * second and no more.
 *
 * In the modes without acknowledgements the window is only a pace.
 */
import {
  LAG_BEHIND_MS,
  RECEIVE_BUFFER_MIN_BYTES,
  RING_FRAMES,
  UNPACED_FRAMES_BURST,
  UNPACED_FRAMES_PER_MS,
  WINDOW_FRAMES,
} from '../limits.js';
import type { FrameRing } from './frame-ring.js';
import type { Peer } from './peer.js';
import type { Self } from './self.js';

/** Longest hold-up by one receiver. Milliseconds. */
const LAG_MS = 1000;
/** Longest time out of the window after a lag. Milliseconds. */
const LAG_PENALTY_MAX_MS = 60_000;
/** A pause between two ticks that was a stall of this node: what was acknowledged meanwhile is yet to be read. */
const STALL_MS = 300;

export class Window {
  readonly #self: Self;
  readonly #ring: FrameRing;
  #lastTick: number;
  #judgeFrom = 0;
  #paceTokens = UNPACED_FRAMES_BURST;
  #pacedAt: number;

  constructor(self: Self, ring: FrameRing) {
    this.#self = self;
    this.#ring = ring;
    this.#lastTick = self.startedAt;
    this.#pacedAt = self.startedAt;
  }

  /** True if nobody takes the stream: it is parked, and changes touch only the table. */
  get isParked(): boolean {
    const peers = this.#self.peers;
    for (let i = 0; i < peers.length; i++) if (peers[i].isAlive && peers[i].isReceiver) return false;
    return true;
  }

  /** Frames, full ones, that may be sent now. */
  room(sequence: number, now: number): number {
    if (this.#self.mode !== 'reliable') return this.#pace(now);
    const peers = this.#self.peers;
    let room = WINDOW_FRAMES;
    for (let i = 0; i < peers.length; i++) {
      const peer = peers[i];
      if (!peer.isAlive || !peer.isReceiver || peer.isLagging) continue;
      room = Math.min(room, this.#roomOf(peer, sequence));
    }
    return room;
  }

  /** Every receiver that has nothing to acknowledge is not stuck: its second begins with the next frame. */
  noteSend(sequence: number, now: number): void {
    if (this.#self.mode !== 'reliable') this.#paceTokens--;
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

  /** Finds receivers that hold the stream up, and lets those back in that were proven again. */
  tick(sequence: number, now: number): void {
    const pause = now - this.#lastTick;
    this.#lastTick = now;
    if (pause > STALL_MS) this.#judgeFrom = now + LAG_MS;
    if (this.#self.mode !== 'reliable') return;
    for (const peer of this.#self.peers) {
      if (pause > STALL_MS) peer.lastAdvance += pause;
      if (peer.isLagging) this.#readmit(peer, now);
      else if (peer.isAlive && peer.isReceiver && this.#isStuck(peer, sequence, now)) {
        this.#exclude(peer, sequence, now);
      }
    }
  }

  /** Unacknowledged frames stay below half the ring, and half of what this receiver's socket holds. */
  #roomOf(peer: Peer, sequence: number): number {
    const frames = WINDOW_FRAMES - (sequence - peer.theirApplied);
    if (frames <= 0) return 0;
    const bytes = Math.max(peer.receiveBuffer, RECEIVE_BUFFER_MIN_BYTES) / 2;
    const taken = this.#ring.truesizeBetween(peer.theirApplied, sequence);
    return Math.max(0, Math.min(frames, Math.floor((bytes - taken) / this.#ring.frameTruesize)));
  }

  #isStuck(peer: Peer, sequence: number, now: number): boolean {
    const behind = sequence - peer.theirApplied;
    if (behind <= 0) return false;
    if (now - peer.lastAdvance >= LAG_MS && this.#roomOf(peer, sequence) <= 0) return true;
    if (behind >= RING_FRAMES || now < this.#judgeFrom) return false;
    return now - this.#ring.sentAt(peer.theirApplied + 1) >= LAG_BEHIND_MS;
  }

  #exclude(peer: Peer, sequence: number, now: number): void {
    peer.isLagging = true;
    peer.laggedAt = now;
    peer.laggedSequence = sequence;
    peer.lagCount++;
    this.#self.ports.counters.count('window.lagging');
    const isBack = now - peer.returnedAt < LAG_BEHIND_MS;
    const who = isBack ? 'a receiver that was away catches up' : 'a receiver does not keep up';
    this.#self.ports.log(isBack ? 'info' : 'warn', `${who}: the stream goes on without it`, {
      peer: peer.node,
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
    this.#self.ports.log('info', 'a receiver keeps up again', { peer: peer.node });
  }

  #pace(now: number): number {
    const earned = Math.max(0, now - this.#pacedAt) * UNPACED_FRAMES_PER_MS;
    this.#paceTokens = Math.min(UNPACED_FRAMES_BURST, this.#paceTokens + earned);
    this.#pacedAt = now;
    return Math.floor(this.#paceTokens);
  }
}
