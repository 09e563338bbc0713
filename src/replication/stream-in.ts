/**
 * Takes the streams of peers, strictly in order: a replica is a function of a prefix of its owner's stream. Frames that
 * come before their turn wait; missing ones are asked for; only GONE, or a peer that keeps no ring (modes refresh and
 * best-effort), makes a hole.
 */
import { ACK_FRAMES, DRAIN_FRAMES, REORDER_FRAMES, RING_FRAMES, TICK_MS } from '../limits.js';
import { type Gone, NACK_RANGES_MAX, type Nack, REQUEST_EXPECTATIONS } from '../wire/control-messages.js';
import { bytesEqual, type FrameReader, INCARNATION_BYTES } from '../wire/frame.js';
import { CONTROL_NACK, CONTROL_REQUEST } from '../wire/ops.js';
import type { Declarations } from './declarations.js';
import { truesize } from './frame-ring.js';
import { OpApplier, type Quarantined } from './op-applier.js';
import type { Peer } from './peer.js';
import type { Self } from './self.js';

export class StreamIn {
  readonly #self: Self;
  readonly #applier: OpApplier;
  /** An ACK is due after so many frames: a small receive buffer makes a small window. */
  readonly #ackFrames: number;

  constructor(self: Self, declarations: Declarations) {
    this.#self = self;
    this.#applier = new OpApplier(self, declarations);
    const quarter = Math.floor(self.receiveBufferBytes / 8 / truesize(self.frameBytes));
    this.#ackFrames = Math.max(1, Math.min(ACK_FRAMES, quarter));
  }

  /** The first records that were refused; the rest are only counted. */
  get quarantine(): readonly Quarantined[] {
    return this.#applier.quarantine;
  }

  /** False if this frame of the peer was applied already, or waits: it need not even be opened. */
  isNew(peer: Peer, sequence: number): boolean {
    return sequence > peer.applied && !peer.reorder.has(sequence);
  }

  /** Takes a stream frame of a proven peer. True if it was new, and so a sign of life. */
  receive(peer: Peer, frame: FrameReader, now: number): boolean {
    const { counters } = this.#self.ports;
    const sequence = frame.counter;
    if (!this.isNew(peer, sequence)) {
      counters.count('stream.duplicate');
      return false;
    }
    // A counter out of reach would make every true frame look old. The next heartbeat moves the reach.
    if (sequence > Math.max(peer.applied, peer.sequence) + RING_FRAMES) {
      counters.count('stream.out-of-reach');
      return false;
    }
    if (sequence > peer.sequence) peer.sequence = sequence;
    if (sequence > peer.applied + 1) {
      if (peer.mode === 'reliable') return this.#keep(peer, frame, now);
      this.#jump(peer, sequence - 1, 'stream.gap', now);
    }
    this.#apply(peer, sequence, frame.payload, frame.payloadAt, frame.payloadEnd, now);
    this.#drain(peer, now);
    return true;
  }

  /** True if an ACK is due before its timer. */
  isAckDue(peer: Peer): boolean {
    return peer.unacked >= this.#ackFrames;
  }

  get isAnyAckDue(): boolean {
    const { peers } = this.#self;
    for (let i = 0; i < peers.length; i++) if (this.isAckDue(peers[i])) return true;
    return false;
  }

  /** Timers of all peers' streams, and frames that wait for no other one: to be called often. True if there is more. */
  step(now: number): boolean {
    let isOpen = false;
    const { peers } = this.#self;
    for (let i = 0; i < peers.length; i++) {
      const peer = peers[i];
      if (peer.reorder.count > 0) {
        this.#drain(peer, now);
        isOpen ||= peer.reorder.has(peer.applied + 1);
      }
      if (!peer.isAlive || peer.mode !== 'reliable') continue;
      this.#nack(peer, now);
      isOpen ||= peer.nacks.isOpen;
    }
    return isOpen;
  }

  /** When `step` or `tick` has something to do: a hole and a repair have clocks of their own. */
  dueAt(now: number): number {
    let due = Number.POSITIVE_INFINITY;
    const { peers } = this.#self;
    for (let i = 0; i < peers.length; i++) {
      const peer = peers[i];
      const isHole = peer.reorder.count > 0 || (peer.isAlive && peer.applied < peer.sequence);
      if (isHole && peer.mode === 'reliable') return now;
      if (peer.asker.isOpen || peer.expectations.isOpen) due = now + TICK_MS;
    }
    return due;
  }

  /** Questions of the repairs. */
  tick(now: number): void {
    for (const peer of this.#self.peers) {
      peer.reorder.trim(now);
      if (!peer.isAlive || !peer.isMirrorReady || peer.mode === 'refresh') continue;
      if (peer.expectations.due(now)) this.#askExpectations(peer);
      for (let kind = peer.asker.due(now); kind !== 0; kind = peer.asker.due(now)) {
        this.#self.say({ type: CONTROL_REQUEST, to: peer.incarnation, kind, bitmap: peer.asker.bitmap() });
      }
    }
  }

  #askExpectations(peer: Peer): void {
    const bitmap = new Uint8Array(0);
    this.#self.say({ type: CONTROL_REQUEST, to: peer.incarnation, kind: REQUEST_EXPECTATIONS, bitmap });
  }

  /** Frames below `lowest` have left the peer's ring: the only hole that there is, and it makes suspect. */
  gone(peer: Peer, { lowest }: Gone, now: number): void {
    if (lowest - 1 <= peer.applied || peer.mode !== 'reliable') return;
    if (lowest > peer.sequence + 1) {
      this.#self.ports.counters.count('control.gone-beyond');
      return;
    }
    this.#jump(peer, lowest - 1, 'stream.gone', now);
    peer.reorder.releaseBelow(lowest);
    this.#drain(peer, now);
  }

  /** Another receiver asked for frames: if it asked for all that is missing here too, it spoke for this node. */
  hearNack({ to, ranges }: Nack, now: number): void {
    const isIt = (p: Peer) => bytesEqual(p.incarnation, 0, to, 0, INCARNATION_BYTES);
    const peer = this.#self.peers.find(isIt);
    if (peer === undefined || !peer.nacks.isOpen) return;
    const end = Math.min(peer.nacks.known, peer.applied + REORDER_FRAMES);
    let range = 0;
    for (let s = peer.applied + 1; s <= end; s++) {
      if (peer.reorder.has(s)) continue;
      while (range < ranges.length && ranges[range][1] < s) range++;
      if (range === ranges.length || ranges[range][0] > s) return;
    }
    peer.nacks.heard(now, this.#self.ports.random());
  }

  #apply(peer: Peer, sequence: number, u8: Uint8Array, from: number, to: number, now: number): void {
    peer.applied = sequence;
    this.#self.stamp++;
    this.#self.seconds = Math.floor(now / 1000);
    this.#applier.apply(peer, u8, from, to, now);
    if (peer.unacked++ === 0) peer.firstUnackedAt = now;
  }

  #keep(peer: Peer, frame: FrameReader, now: number): boolean {
    const { counters } = this.#self.ports;
    const sequence = frame.counter;
    const isNear = sequence <= peer.applied + REORDER_FRAMES;
    if (isNear && peer.reorder.put(sequence, frame.payload, frame.payloadAt, frame.payloadEnd, now)) {
      counters.count('stream.early');
    } else counters.count('stream.reorder-full');
    return true;
  }

  /** Applies some of the frames whose turn has come. */
  #drain(peer: Peer, now: number): void {
    const { reorder } = peer;
    for (let n = 0; n < DRAIN_FRAMES && reorder.count > 0; n++) {
      const sequence = peer.applied + 1;
      if (!reorder.has(sequence)) return;
      this.#apply(peer, sequence, reorder.payload(sequence), 0, reorder.lengthOf(sequence), now);
      reorder.release(sequence);
    }
  }

  #jump(peer: Peer, applied: number, why: string, now: number): void {
    this.#self.ports.counters.count('stream.lost-frames', applied - peer.applied);
    peer.doubt(peer.applied);
    peer.applied = applied;
    peer.openScope = -1;
    this.#applier.judge.doubt(peer, why, now);
  }

  #nack(peer: Peer, now: number): void {
    const { reorder, nacks, applied } = peer;
    // What is further ahead could not be kept if it came.
    const sequence = Math.min(peer.sequence, applied + REORDER_FRAMES);
    const newest = Math.min(reorder.count > 0 ? reorder.newest : 0, sequence);
    if (!nacks.due(applied, newest, sequence, now, this.#self.ports.random())) return;
    const ranges: Nack['ranges'] = [];
    for (let s = nacks.from; s <= nacks.to; s++) {
      if (reorder.has(s)) continue;
      const last = ranges[ranges.length - 1];
      if (last !== undefined && last[1] === s - 1) last[1] = s;
      else if (ranges.length < NACK_RANGES_MAX) ranges.push([s, s]);
      else break;
    }
    if (ranges.length === 0) return;
    this.#self.ports.counters.count('nack.sent');
    this.#self.say({ type: CONTROL_NACK, to: peer.incarnation, ranges });
  }
}
