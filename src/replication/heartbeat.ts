/**
 * Heartbeats and ACKs: signs of life, and what each side made of the other's stream. They go past the
 * window.
 */
import { ACK_INTERVAL_MS, HEARTBEAT_INTERVAL_MS, PEER_SILENT_MS } from '../limits.js';
import { type Ack, type Heartbeat, type Opinion, OWN_VERSIONS } from '../wire/control-messages.js';
import { CONTROL_ACK, CONTROL_HEARTBEAT } from '../wire/ops.js';
import { LinkChoice } from './link-choice.js';
import { setPeerRole } from './op-applier.js';
import type { Peer } from './peer.js';
import { MODES, ROLES, VERDICTS } from './ports.js';
import type { Self } from './self.js';
import type { Window } from './window.js';

/** Least time between two heartbeats that news cause. Milliseconds. */
const HEARTBEAT_LEAST_MS = 10;
/** So many heartbeats on end that seem old were not overtaken on the way: the one that seemed new was not. */
const STALE_MAX = 8;
/** A pause between two ticks that was a stall of this node, not silence of the others. Milliseconds. */
const STALL_MS = 300;

export class Heartbeats {
  readonly #self: Self;
  readonly #window: Window;
  readonly #sequence: () => number;
  #lastSent = Number.NEGATIVE_INFINITY;
  #nextAt = Number.NEGATIVE_INFINITY;
  #lastTick: number;
  readonly #links: LinkChoice;

  constructor(self: Self, window: Window, sequence: () => number) {
    this.#self = self;
    this.#window = window;
    this.#sequence = sequence;
    this.#lastTick = self.startedAt;
    this.#links = new LinkChoice(self);
  }

  tick(now: number): void {
    const pause = now - this.#lastTick;
    this.#lastTick = now;
    const { peers } = this.#self;
    for (let i = peers.length - 1; i >= 0; i--) {
      const peer = peers[i];
      if (pause > STALL_MS) peer.stalled(pause);
      if (peer.isAlive && now - peer.lastHeard > PEER_SILENT_MS) this.#silent(peer);
    }
    if (pause > STALL_MS) this.#links.stalled(pause);
    this.#links.tick(now);
    this.#ackLate(now);
    const isNews = this.#self.isHeartbeatSoon && now - this.#lastSent >= HEARTBEAT_LEAST_MS;
    if (isNews || now >= this.#nextAt) this.#send(now);
  }

  /** When `tick` has something to do: to say that this node lives, to acknowledge, or to find that a peer is silent. */
  dueAt(): number {
    let due = this.#nextAt;
    if (this.#self.isHeartbeatSoon) due = Math.min(due, this.#lastSent + HEARTBEAT_LEAST_MS);
    const { peers } = this.#self;
    for (let i = 0; i < peers.length; i++) {
      const { unacked, firstUnackedAt, isAlive, lastHeard } = peers[i];
      if (unacked > 0) due = Math.min(due, firstUnackedAt + ACK_INTERVAL_MS);
      if (isAlive) due = Math.min(due, lastHeard + PEER_SILENT_MS);
    }
    return due;
  }

  /** A peer always heartbeats: who never did, and has no flow here, was only a WELCOME under a forged name. */
  #silent(peer: Peer): void {
    peer.isAlive = false;
    this.#self.tell('silent', peer);
    if (peer.lastHeartbeat > 0 || this.#self.ports.table.owners.slots(peer.owner) > 0) return;
    if (this.#self.isPinned(peer.owner)) return;
    this.#self.ports.counters.count('join.never-heard');
    this.#self.forget(peer);
  }

  /** A valid, new frame of the peer came. */
  heard(peer: Peer, now: number): void {
    peer.lastHeard = now;
    if (peer.isAlive) return;
    peer.isAlive = true;
    peer.returnedAt = now;
    this.#self.tell('heard', peer);
  }

  /** Acknowledges what was applied of all peers. */
  ack(): void {
    const peers = this.#self.peers.filter((p) => p.unacked > 0);
    if (peers.length === 0) return;
    for (const peer of peers) peer.unacked = 0;
    const acks = peers.map((p) => ({ incarnation: p.incarnation, applied: p.applied }));
    this.#self.say({ type: CONTROL_ACK, acks });
  }

  receiveAck(peer: Peer, message: Ack, now: number): void {
    const mine = message.acks.find((a) => this.#self.isMe(a.incarnation));
    if (mine === undefined || !peer.isReceiver) return;
    this.#window.noteAck(peer, mine.applied, this.#sequence(), now);
  }

  /** False if it is older than one that was heard already. */
  receive(peer: Peer, counter: number, message: Heartbeat, now: number): boolean {
    const { counters, cipher } = this.#self.ports;
    if (counter <= peer.lastHeartbeat && !(cipher === undefined && ++peer.staleHeartbeats > STALE_MAX)) {
      counters.count('control.stale');
      return false;
    }
    if (ROLES[message.role] === undefined || !this.#self.seeTerm(message.term)) {
      counters.count('control.invalid');
      return false;
    }
    peer.lastHeartbeat = counter;
    peer.staleHeartbeats = 0;
    peer.isMirrorReady = message.isMirrorReady;
    peer.describe(message);
    this.#noteSequence(peer, message.sequence, now);
    // While its stream is still on the way here, the ROLE in the stream says it at the right place.
    if (peer.applied >= message.sequence) setPeerRole(this.#self, peer, ROLES[message.role], message.term);
    this.#noteOpinion(
      peer,
      message.opinions.find((o) => this.#self.isMe(o.incarnation)),
      now,
    );
    return true;
  }

  /**
   * What was applied cannot be more than was sent, if it was so at two heartbeats: then a frame was forged.
   */
  #noteSequence(peer: Peer, sequence: number, now: number): void {
    if (sequence < peer.appliedAtHeartbeat[0]) {
      peer.doubt();
      peer.applied = sequence;
      peer.appliedAtHeartbeat[1] = sequence;
      this.#self.suspect(peer, 'stream.ahead');
      peer.asker.start(now);
    }
    peer.sequence = Math.max(sequence, peer.applied);
    peer.appliedAtHeartbeat[0] = peer.appliedAtHeartbeat[1];
    peer.appliedAtHeartbeat[1] = peer.applied;
  }

  #noteOpinion(peer: Peer, mine: Opinion | undefined, now: number): void {
    if (mine !== undefined) peer.noteHearing(mine.silentMs, now);
    if (mine === undefined) {
      peer.isReceiver = false;
      peer.theirVerdict = 'unknown';
      return;
    }
    if (mine.applied > this.#sequence()) {
      this.#self.ports.counters.count('control.ack-beyond');
      return;
    }
    if (!peer.isReceiver) {
      peer.isReceiver = true;
      peer.theirApplied = mine.applied;
      peer.lastAdvance = now;
      this.#self.isMarkSoon = true;
      if (this.#self.openTenure > 0 || this.#self.isTenureOver) this.#self.isTenureSoon = true;
    } else this.#window.noteAck(peer, mine.applied, this.#sequence(), now);
    if (mine.verdictAt > this.#sequence()) return;
    const verdict = VERDICTS[mine.verdict] ?? 'unknown';
    // It is ready again as soon as a MARK has proven it: after a takeover that would be a second later, twice.
    const isNews = verdict !== peer.theirVerdict || mine.verdictAt !== peer.theirVerdictAt;
    if (verdict === 'suspect' && isNews) this.#self.isMarkSoon = true;
    peer.theirVerdict = verdict;
    peer.theirVerdictAt = mine.verdictAt;
  }

  #ackLate(now: number): void {
    for (const peer of this.#self.peers) {
      if (peer.unacked === 0 || now - peer.firstUnackedAt < ACK_INTERVAL_MS) continue;
      this.ack();
      return;
    }
  }

  #send(now: number): void {
    const self = this.#self;
    self.isHeartbeatSoon = false;
    this.#lastSent = now;
    this.#nextAt = now + HEARTBEAT_INTERVAL_MS * (0.9 + 0.2 * self.ports.random());
    // A role counts where the stream tells of it; while there is no stream, at once.
    const hasStream = self.isMirrorReady && !this.#window.isParked;
    self.say({
      type: CONTROL_HEARTBEAT,
      versions: OWN_VERSIONS,
      sequence: this.#sequence(),
      role: ROLES.indexOf(hasStream ? self.statedRole : self.role),
      term: self.term,
      isMirrorReady: self.isMirrorReady,
      opinions: self.peers.map((p) => ({
        incarnation: p.incarnation,
        applied: p.applied,
        verdict: VERDICTS.indexOf(p.verdict),
        verdictAt: p.verdictAt,
        silentMs: Array.from({ length: self.links }, (_, link) => p.silentMs(link, now)),
      })),
      receiveBuffer: self.receiveBufferBytes,
      mode: MODES.indexOf(self.mode),
    });
  }
}
