/**
 * The protocol core of one node: pure and synchronous. Frames, time and the table's changes go in; frames,
 * events and the table's changes come out. It starts no timer and asks no clock but the injected one.
 *
 *     receive -> Entrance    -> Join       (strangers: HELLO, WELCOME)
 *                            -> Heartbeats (ACK, HEARTBEAT), RepairDesk (REQUEST)
 *                            -> StreamIn   (ops -> table)
 *     flush   -> StreamOut   (table -> ops)
 *     tick    -> everything that time does
 */
import { JOIN_WAIT_MS, NAME_CONFLICT_MS, TICK_MS } from '../limits.js';
import type { ControlMessage } from '../wire/control-messages.js';
import { bytesEqual, CLASS_STREAM, type FrameReader } from '../wire/frame.js';
import type { Seed } from '../wire/op-writer.js';
import {
  CONTROL_ACK,
  CONTROL_GONE,
  CONTROL_HEARTBEAT,
  CONTROL_HELLO,
  CONTROL_NACK,
  CONTROL_REQUEST,
  CONTROL_SETTINGS,
  CONTROL_WELCOME,
} from '../wire/ops.js';
import { Declarations } from './declarations.js';
import { Entrance } from './entrance.js';
import { FrameRing } from './frame-ring.js';
import { Heartbeats } from './heartbeat.js';
import { Join } from './join.js';
import type { Quarantined } from './op-applier.js';
import { OrphanSweep } from './orphan-sweep.js';
import type { Peer } from './peer.js';
import type {
  FormerStatus,
  PeerStatus,
  ReplicatorOptions,
  ReplicatorPorts,
  Role,
  SettingDifference,
  Stage,
} from './ports.js';
import { Resender } from './resender.js';
import { Self } from './self.js';
import { SettingsExchange } from './settings-exchange.js';
import { StreamIn } from './stream-in.js';
import { StreamOut } from './stream-out.js';
import { Window } from './window.js';

/** A joining node waits for a primary whose replica still fills, as long as it fills. Milliseconds. */
const JOIN_PROGRESS_MS = 1000;
/** What a promote, or a start, says: `cut` of a seed may be left out, then it is up to where nothing of it is missing here. */
export interface Declaration {
  seeds: readonly { node: string; incarnation: Uint8Array; cut?: number }[];
  former?: boolean;
  term: number;
  /** "whole" unless told otherwise. */
  stage?: Stage;
}

export class Replicator {
  readonly #self: Self;
  readonly #window: Window;
  readonly #in: StreamIn;
  readonly #out: StreamOut;
  readonly #resender: Resender;
  readonly #join: Join;
  readonly #heartbeats: Heartbeats;
  readonly #declarations: Declarations;
  readonly #sweep: OrphanSweep;
  readonly #ring: FrameRing;
  readonly #entrance: Entrance;
  readonly #settings: SettingsExchange;

  /** Throws a RangeError on a bad name, incarnation or MTU. */
  constructor(ports: ReplicatorPorts, options: ReplicatorOptions) {
    this.#self = new Self(ports, options);
    this.#settings = new SettingsExchange(this.#self);
    this.#ring = new FrameRing(this.#self.frameBytes);
    this.#window = new Window(this.#self, this.#ring);
    this.#out = new StreamOut(this.#self, this.#ring, this.#window);
    const sequence = () => this.#out.sequence;
    this.#declarations = new Declarations(this.#self, this.#ring, sequence);
    this.#in = new StreamIn(this.#self, this.#declarations);
    this.#resender = new Resender(this.#self, this.#ring, sequence);
    this.#sweep = new OrphanSweep(this.#self);
    this.#join = new Join(this.#self, sequence, this.#sweep);
    const isNew = (peer: Peer, sequence: number) => this.#in.isNew(peer, sequence);
    this.#entrance = new Entrance(this.#self, this.#join, options.cluster, isNew);
    this.#heartbeats = new Heartbeats(this.#self, this.#window, sequence);
  }

  get role(): Role {
    return this.#self.role;
  }
  get term(): number {
    return this.#self.term;
  }
  /** The highest term that anybody has shown. */
  get highestTerm(): number {
    return Math.max(this.#self.highestTerm, this.#self.term);
  }
  get isMirrorReady(): boolean {
    return this.#self.isMirrorReady;
  }
  /** Last sequence of the own stream. */
  get sequence(): number {
    return this.#out.sequence;
  }
  /** Nobody takes the stream: changes touch only the table. */
  get isParked(): boolean {
    return this.#window.isParked;
  }
  /** Records of peers that were refused; the first few. */
  get quarantine(): readonly Quarantined[] {
    return this.#in.quarantine;
  }

  /** The link that data goes to. */
  get dataLink(): number {
    return this.#self.dataLink;
  }
  /** The highest version of frames that all live receivers read: it is spoken. */
  get frameVersion(): number {
    return this.#self.frameVersion;
  }
  /** Another daemon with this node's name was proven to live, not long ago. */
  get isNameInUse(): boolean {
    return this.#self.ports.now() - this.#entrance.namesakeAt < NAME_CONFLICT_MS;
  }
  /** A frame came just now that no key of this node opens: forged, or of a node that has another key. */
  get isLinkForeign(): boolean {
    return this.#self.ports.now() - this.#entrance.unopenedAt < NAME_CONFLICT_MS;
  }
  /** The cluster of which a frame came not long ago, while no peer was heard. */
  get otherCluster(): string | undefined {
    const { otherCluster, otherClusterAt } = this.#entrance;
    return this.#self.ports.now() - otherClusterAt < NAME_CONFLICT_MS ? otherCluster : undefined;
  }
  /** The version of a frame or message that came not long ago and is not read here. */
  get otherVersion(): number | undefined {
    const { otherVersion, otherVersionAt } = this.#entrance;
    return this.#self.ports.now() - otherVersionAt < NAME_CONFLICT_MS ? otherVersion : undefined;
  }
  /** Settings of live peers' kernels that are not this one's. */
  settingsDiffering(): SettingDifference[] {
    return this.#settings.differing();
  }

  /** Takes one datagram that came on a link (its number). Hostile input is counted and never throws. */
  receive(u8: Uint8Array, from: number, to: number, link: number, now: number): void {
    if (!this.#entrance.admit(u8, from, to, now)) return;
    const { frame } = this.#entrance;
    const peer = this.#self.peerOf(frame);
    if (frame.frameClass !== CLASS_STREAM) {
      this.#control(peer, frame, link, now);
      return;
    }
    if (peer === undefined) {
      this.#self.ports.counters.count('frame.unproven');
      this.#join.hearStranger(frame, now);
      return;
    }
    if (this.#in.receive(peer, frame, now)) {
      peer.heardOn(link, now);
      this.#heartbeats.heard(peer, now);
    }
    if (this.#in.isAckDue(peer)) this.#heartbeats.ack();
  }

  /** Timers. To be called every few milliseconds, after the socket was read to empty. */
  tick(now: number): void {
    this.#join.tick(now);
    const { lent, term } = this.#self;
    if (lent.length > 0) this.#out.declare(lent.splice(0), false, term, 'whole');
    this.#heartbeats.tick(now);
    this.#settings.tick(now);
    this.#window.tick(this.#out.sequence, now);
    this.#sweep.tick();
    if (this.#declarations.step()) this.#out.declare([], false, this.#self.term, 'whole');
    this.#in.step(now);
    this.#in.tick(now);
  }

  /** Sends what there is to say, for about a millisecond. True if there is more. */
  flush(now: number): boolean {
    const isOpen = this.#in.step(now);
    if (this.#in.isAnyAckDue) this.#heartbeats.ack();
    if (this.#declarations.isYielding) return true;
    const hasMore = this.#out.flush(now);
    return this.#resender.pump(now) || hasMore || isOpen;
  }

  /**
   * When this node has something to do next if nothing comes: then a tick and a flush are due, or, where it is not after
   * `now`, at once. Looks that have no time of their own (lagging receivers, links, settings) are not in it.
   */
  dueAt(now: number): number {
    if (this.#resender.isAtWork) return now;
    let due = Math.min(this.#heartbeats.dueAt(), this.#join.dueAt(now));
    due = Math.min(due, this.#in.dueAt(now), this.#out.dueAt(now));
    const isMoving = this.#declarations.isYielding || this.#sweep.isAtWork || this.#self.lent.length > 0;
    return isMoving ? Math.min(due, now + TICK_MS) : due;
  }

  /** While true, receivers wait for repairs (deltas and MARKs go on): what takes the time of this node goes first. */
  set isRepairDeferred(isDeferred: boolean) {
    this.#out.isRepairDeferred = isDeferred;
  }

  /** The term under which this node was primary last, while nobody has taken that over; else 0. */
  get openTenure(): number {
    return this.#self.openTenure;
  }

  /** As it was before a restart. */
  set openTenure(term: number) {
    this.#self.openTenure = term;
  }

  setRole(role: Role, term: number): void {
    const self = this.#self;
    const wasPrimary = self.role === 'primary';
    self.role = role;
    self.term = term;
    self.seeTerm(term);
    self.isHeartbeatSoon = true;
    this.#out.stateRole(role, term);
    if (role === 'primary') {
      self.openTenure = term;
      self.isTenureOver = false;
      this.#declarations.promoted(term);
    } else if (wasPrimary) {
      // Who took it over while they could not hear each other may be gone, and its successor thinks that nothing is left.
      self.isTenureSoon = true;
      this.#declarations.demoted();
    }
  }

  /** The first dump is whole and its flows are classified: from now on the stream speaks. */
  setMirrorReady(): void {
    const self = this.#self;
    if (self.isMirrorReady) return;
    self.isMirrorReady = true;
    self.isHeartbeatSoon = true;
    this.#declarations.begins();
    this.#out.declare([], true, self.term, 'whole');
  }

  /** All flows of this owner, a peer or a former incarnation, are this node's own from now on; `declare` has to follow. */
  take(owner: number): void {
    this.#declarations.take(owner);
  }

  /** To be called in the same turn in which the seeds' flows were taken. */
  declare(declaration: Declaration): void {
    const seeds: Seed[] = declaration.seeds.map((s) => ({
      node: s.node,
      incarnation: s.incarnation,
      cut: s.cut ?? this.#source(s.incarnation)?.wholeUpTo ?? 0,
    }));
    const stage = declaration.stage ?? 'whole';
    this.#declarations.noteSources(seeds, stage, declaration.term);
    this.#out.declare(seeds, declaration.former ?? false, declaration.term, stage);
  }

  /** What these owners have stays as it is, but for their own streams' ops, until `unpin`: a promote reads it. */
  pin(owners: readonly number[]): void {
    for (const owner of owners) this.#self.pinned.add(owner);
  }

  unpin(): void {
    this.#self.pinned.clear();
  }

  /** Asks a peer (by node name) for all it has; false if it is not known. */
  requestRepair(node: string): boolean {
    const peer = this.#self.peerOfNode(node);
    peer?.asker.startAll(this.#self.ports.now());
    peer?.expectations.wantAgain();
    return peer !== undefined;
  }

  /** Says everything again to everybody. */
  resendAll(): void {
    this.#out.desk.addAll();
  }

  /** Everybody who answered is proven, or nobody did for JOIN_WAIT_MS: a start may go on. */
  isJoined(now: number): boolean {
    const { peers, startedAt } = this.#self;
    const isOpen = (p: Peer) =>
      p.isAlive && p.isMirrorReady && p.verdict !== 'proven' && p.verdict !== 'diverged';
    const open = peers.filter(isOpen);
    const isLate = now - startedAt >= JOIN_WAIT_MS;
    if (!isLate) return peers.length > 0 && open.length === 0 && !this.#join.hasCandidates;
    return !open.some((p) => p.role === 'primary' && now - p.asker.lastProgress < JOIN_PROGRESS_MS);
  }

  /** Everybody who answered, in no order. */
  peers(): PeerStatus[] {
    const now = this.#self.ports.now();
    return this.#self.peers.map((p) => this.#status(p, now));
  }

  /** Former incarnations that were primary, whose machine was booted again, and that nobody has absorbed. */
  formers(): FormerStatus[] {
    return this.#self.formers.map((p) => ({
      node: p.node,
      incarnation: p.incarnation,
      owner: p.owner,
      term: p.primaryTerm,
      appliedSequence: p.applied,
    }));
  }

  #status(p: Peer, now: number): PeerStatus {
    const isBehind = p.theirApplied < this.#out.sequence;
    return {
      node: p.node,
      incarnation: p.incarnation,
      owner: p.owner,
      role: p.role,
      term: p.term,
      alive: p.isAlive,
      proven: true,
      sequence: p.sequence,
      receivedSequence: p.applied,
      wholeUpTo: p.wholeUpTo,
      appliedSequence: p.theirApplied,
      verdict: p.theirVerdict,
      verdictSequence: p.theirVerdictAt,
      myVerdict: p.verdict,
      myVerdictSequence: p.verdictAt,
      lagMs: isBehind ? Math.max(0, now - this.#ring.sentAt(p.theirApplied + 1)) : 0,
      silentMs: Math.max(0, now - p.lastHeard),
      isLagging: p.isLagging,
      mirrorReady: p.isMirrorReady,
      bootId: p.bootId,
      wasPrimary: p.wasPrimary,
      primaryTerm: p.primaryTerm,
      yields: p.yields,
      lends: p.lends,
      takenAt: this.#declarations.takenAt(p.node),
      links: Array.from({ length: this.#self.links }, (_, link) => ({
        silentMs: p.silentMs(link, now),
        hearsUsMs: p.hearsUsMs(link, now),
      })),
    };
  }

  #source(incarnation: Uint8Array): Peer | undefined {
    const isIt = (p: Peer) => bytesEqual(p.incarnation, 0, incarnation, 0, incarnation.length);
    return this.#self.peers.find(isIt) ?? this.#self.formers.find(isIt);
  }

  #control(peer: Peer | undefined, frame: FrameReader, link: number, now: number): void {
    const { counters, cipher } = this.#self.ports;
    if (peer !== undefined && cipher !== undefined) {
      peer.heardControlOn(link, frame.counter, now);
      if (!peer.window.take(frame.counter)) {
        // A copy from another link, or one that somebody sends again: it says nothing twice.
        counters.count('control.duplicate');
        return;
      }
      this.#heartbeats.heard(peer, now);
    }
    const message = this.#entrance.decode(now);
    if (message === undefined) return;
    if (message.type === CONTROL_HELLO) {
      this.#join.hearHello(message, peer, frame, now);
      return;
    }
    if (message.type === CONTROL_WELCOME) {
      if (!this.#join.hearWelcome(message, peer, frame, link, now) || peer === undefined) return;
      // A fresh answer shows where its counters really are, whatever somebody has forged in clear.
      if (cipher === undefined) peer.lowerCounters(frame.counter);
      peer.describe(message);
      this.#heartbeats.heard(peer, now);
      return;
    }
    if (peer !== undefined) {
      if (cipher === undefined) peer.heardControlOn(link, frame.counter, now);
      this.#fromPeer(peer, message, frame.counter, now);
      return;
    }
    counters.count('frame.unproven');
    this.#join.hearStranger(frame, now);
  }

  #fromPeer(peer: Peer, message: ControlMessage, counter: number, now: number): void {
    switch (message.type) {
      case CONTROL_HEARTBEAT:
        if (this.#heartbeats.receive(peer, counter, message, now)) this.#heartbeats.heard(peer, now);
        break;
      case CONTROL_ACK:
        this.#heartbeats.receiveAck(peer, message, now);
        break;
      case CONTROL_REQUEST:
        if (this.#self.isMe(message.to)) this.#out.desk.add(message);
        break;
      case CONTROL_NACK:
        if (this.#self.isMe(message.to)) this.#resender.receive(peer, message, now);
        else this.#in.hearNack(message, now);
        break;
      case CONTROL_GONE:
        this.#in.gone(peer, message, now);
        break;
      case CONTROL_SETTINGS:
        this.#settings.receive(peer, message);
        break;
    }
  }
}
