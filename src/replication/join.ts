/**
 * How a stranger becomes a peer: it answers a nonce that this node has just issued. Before that nothing of
 * it is believed but HELLO and WELCOME, answers to it keep no state, and the list of candidates is bounded.
 *
 * A second incarnation of a known name is either its restart or a second daemon with the same name. The old
 * one is asked too: if it answers, the newcomer is refused and both alarm.
 */
import { JOIN_WAIT_MS, PEERS_MAX, TICK_MS } from '../limits.js';
import { OWNER_SELF } from '../table/slot-bits.js';
import { type Hello, NONCE_BYTES, OWN_VERSIONS, type Welcome } from '../wire/control-messages.js';
import { bytesEqual, type FrameReader, INCARNATION_BYTES } from '../wire/frame.js';
import { CONTROL_HELLO, CONTROL_WELCOME } from '../wire/ops.js';
import type { OrphanSweep } from './orphan-sweep.js';
import { Peer } from './peer.js';
import { MODES, ROLES } from './ports.js';
import type { Self } from './self.js';
import { TokenBuckets } from './token-bucket.js';

/** Candidates remembered at a time. */
export const CANDIDATES_MAX = 32;
/** How long a candidate is remembered. Milliseconds. */
const CANDIDATE_MS = 5000;
/** How long an old incarnation has to answer before a new one takes its place. Milliseconds. */
const DUPLICATE_WAIT_MS = 300;
/** How long a refused newcomer waits before its case is looked at again. Milliseconds. */
const REFUSED_MS = 2000;
/** Time between HELLOs: while starting, while somebody is to be proven, and at rest. Milliseconds. */
const HELLO_START_MS = 250;
const HELLO_CANDIDATE_MS = 100;
const HELLO_REST_MS = 2000;
const HELLO_LEAST_MS = 20;
/** Nonces that may still be answered, and for how long. */
const NONCES_KEPT = 8;
const NONCE_MS = 3000;
/**
 * WELCOMEs a second, and in one burst, in each of the 64 buckets of a TokenBuckets: for those who have answered a
 * nonce, and for all others. A flood of HELLOs is answered 256 times a second at the most.
 */
const KNOWN_WELCOMES_PER_SECOND = 20;
const KNOWN_WELCOMES_BURST = 10;
const WELCOMES_PER_SECOND = 4;
const WELCOMES_BURST = 2;

interface Nonce {
  bytes: Uint8Array;
  issuedAt: number;
}

interface Candidate {
  node: string;
  incarnation: Uint8Array;
  heardAt: number;
  /** Its last WELCOME that answered a nonce of ours. */
  welcome: Welcome | undefined;
  /** The counter of that frame, and the link it came on. */
  counter: number;
  link: number;
  nonceIssuedAt: number;
  challengedAt: number | undefined;
  refusedAt: number | undefined;
}

export class Join {
  readonly #self: Self;
  readonly #sequence: () => number;
  readonly #sweep: OrphanSweep;
  readonly #nonces: Nonce[] = [];
  readonly #candidates: Candidate[] = [];
  #nextHello = Number.NEGATIVE_INFINITY;
  #lastHello = Number.NEGATIVE_INFINITY;
  readonly #knownWelcomes = new TokenBuckets(KNOWN_WELCOMES_PER_SECOND, KNOWN_WELCOMES_BURST);
  readonly #welcomes = new TokenBuckets(WELCOMES_PER_SECOND, WELCOMES_BURST);

  constructor(self: Self, sequence: () => number, sweep: OrphanSweep) {
    this.#self = self;
    this.#sequence = sequence;
    this.#sweep = sweep;
  }

  /** Somebody was heard who is not a peer, and has not been refused just now. */
  get hasCandidates(): boolean {
    return this.#candidates.some((c) => c.refusedAt === undefined);
  }

  /** A frame of an incarnation that is not proven. */
  hearStranger(frame: FrameReader, now: number): void {
    this.#candidate(frame, now);
    this.#nextHello = Math.min(this.#nextHello, this.#lastHello + HELLO_CANDIDATE_MS);
  }

  hearHello(message: Hello, peer: Peer | undefined, frame: FrameReader, now: number): void {
    const isKnown = peer !== undefined || this.#find(frame)?.welcome !== undefined;
    this.#welcome(frame.incarnation, message.nonce, this.#nonces.at(-1)?.bytes, isKnown, now);
    if (peer === undefined) this.hearStranger(frame, now);
  }

  /** A frame of another run under this node's own name. Whether that one lives, only an answer to a nonce shows. */
  hearNamesake(hello: Hello | undefined, frame: FrameReader, now: number): void {
    if (hello !== undefined) this.#welcome(frame.incarnation, hello.nonce, undefined, false, now);
    this.#nextHello = Math.min(this.#nextHello, this.#lastHello + HELLO_CANDIDATE_MS);
  }

  /** When the nonce was issued here that this WELCOME answers; undefined if it is none that may still be answered. */
  nonceAnswered(message: Welcome, now: number): number | undefined {
    if (!this.#self.isMe(message.to)) return undefined;
    const nonce = this.#nonces.find((n) => bytesEqual(n.bytes, 0, message.echo, 0, NONCE_BYTES));
    if (nonce !== undefined && now - nonce.issuedAt <= NONCE_MS) return nonce.issuedAt;
    this.#self.ports.counters.count('join.echo');
    return undefined;
  }

  /** Returns true if it answers a nonce of ours: then its sender lives. */
  hearWelcome(
    message: Welcome,
    peer: Peer | undefined,
    frame: FrameReader,
    link: number,
    now: number,
  ): boolean {
    const issuedAt = this.nonceAnswered(message, now);
    if (issuedAt === undefined) return false;
    if (ROLES[message.role] === undefined || !this.#self.seeTerm(message.term)) {
      this.#self.ports.counters.count('control.invalid');
      return false;
    }
    if (peer !== undefined) peer.answeredNonceOf = Math.max(peer.answeredNonceOf, issuedAt);
    else this.#proved(message, frame, link, issuedAt, now);
    if (message.nonce.some((b) => b !== 0) && !(peer?.isReceiver ?? false)) {
      this.#welcome(frame.incarnation, message.nonce, undefined, true, now);
    }
    return true;
  }

  tick(now: number): void {
    for (let i = this.#candidates.length - 1; i >= 0; i--) {
      const c = this.#candidates[i];
      if (c.challengedAt !== undefined && now - c.challengedAt >= DUPLICATE_WAIT_MS) this.#decide(c, now);
      if (now - c.heardAt > CANDIDATE_MS) this.#drop(c);
    }
    if (now < this.#nextHello || now - this.#lastHello < HELLO_LEAST_MS) return;
    this.#hello(now);
  }

  /** When `tick` has something to do. */
  dueAt(now: number): number {
    const helloAt = Math.max(this.#nextHello, this.#lastHello + HELLO_LEAST_MS);
    return this.#candidates.length > 0 ? Math.min(helloAt, now + TICK_MS) : helloAt;
  }

  #hello(now: number): void {
    const bytes = this.#self.ports.randomBytes(NONCE_BYTES);
    this.#nonces.push({ bytes, issuedAt: now });
    if (this.#nonces.length > NONCES_KEPT) this.#nonces.shift();
    this.#self.say({ type: CONTROL_HELLO, nonce: bytes, versions: OWN_VERSIONS });
    this.#lastHello = now;
    const isStarting = now - this.#self.startedAt < JOIN_WAIT_MS;
    const rest = isStarting ? HELLO_START_MS : HELLO_REST_MS;
    const interval = this.hasCandidates ? HELLO_CANDIDATE_MS : rest;
    this.#nextHello = now + interval * (0.9 + 0.2 * this.#self.ports.random());
  }

  #welcome(
    to: Uint8Array,
    echo: Uint8Array,
    nonce: Uint8Array | undefined,
    isKnown: boolean,
    now: number,
  ): void {
    if (!(isKnown ? this.#knownWelcomes : this.#welcomes).take(to[0], now)) {
      this.#self.ports.counters.count('join.welcome-limited');
      return;
    }
    this.#self.say({
      type: CONTROL_WELCOME,
      to,
      echo,
      nonce: nonce ?? new Uint8Array(NONCE_BYTES),
      sequence: this.#sequence(),
      bootId: this.#self.bootId,
      isMirrorReady: this.#self.isMirrorReady,
      role: ROLES.indexOf(this.#self.role),
      term: this.#self.term,
      versions: OWN_VERSIONS,
      receiveBuffer: this.#self.receiveBufferBytes,
      mode: MODES.indexOf(this.#self.mode),
    });
  }

  #candidate(frame: FrameReader, now: number): Candidate {
    const known = this.#find(frame);
    if (known !== undefined) {
      known.heardAt = now;
      return known;
    }
    if (this.#candidates.length >= CANDIDATES_MAX) {
      // Those who have answered a nonce stay before those who have only been heard.
      const victim = this.#candidates.findIndex((c) => c.welcome === undefined);
      this.#candidates.splice(Math.max(victim, 0), 1);
      this.#self.ports.counters.count('join.candidates-full');
    }
    const candidate: Candidate = {
      node: frame.node,
      incarnation: frame.incarnation,
      heardAt: now,
      welcome: undefined,
      counter: 0,
      link: 0,
      nonceIssuedAt: 0,
      challengedAt: undefined,
      refusedAt: undefined,
    };
    this.#candidates.push(candidate);
    return candidate;
  }

  #find(frame: FrameReader): Candidate | undefined {
    const at = frame.incarnationAt;
    return this.#candidates.find((c) => bytesEqual(frame.u8, at, c.incarnation, 0, INCARNATION_BYTES));
  }

  #proved(welcome: Welcome, frame: FrameReader, link: number, nonceIssuedAt: number, now: number): void {
    if (!frame.isNodeText) {
      this.#self.ports.counters.count('frame.malformed');
      return;
    }
    const c = this.#candidate(frame, now);
    c.welcome = welcome;
    c.counter = frame.counter;
    c.link = link;
    c.nonceIssuedAt = nonceIssuedAt;
    if (c.refusedAt !== undefined && now - c.refusedAt < REFUSED_MS) return;
    c.refusedAt = undefined;
    const old = this.#self.peerOfNode(c.node);
    if (old === undefined) {
      this.#admit(c, welcome, undefined, now);
      return;
    }
    if (c.challengedAt !== undefined) return;
    c.challengedAt = now;
    this.#nextHello = now;
  }

  /** The old incarnation had its time to answer. */
  #decide(c: Candidate, now: number): void {
    const challengedAt = c.challengedAt ?? now;
    c.challengedAt = undefined;
    const old = this.#self.peerOfNode(c.node);
    if (c.welcome === undefined) return;
    // A promote reads the old one's flows. The newcomer goes on answering, and is looked at again.
    if (old !== undefined && this.#self.isPinned(old.owner)) return;
    if (old === undefined || old.answeredNonceOf < challengedAt) {
      this.#admit(c, c.welcome, old, now);
      return;
    }
    c.refusedAt = now;
    this.#self.ports.counters.count('join.duplicate-name');
    this.#self.ports.log('error', 'two daemons use one node name: the newcomer is refused', { node: c.node });
    this.#self.ports.onPeer({ type: 'refused', node: c.node, owner: old.owner });
  }

  /** It may be gone already: who was admitted a moment ago may also have been silent for too long. */
  #drop(c: Candidate): void {
    const at = this.#candidates.indexOf(c);
    if (at >= 0) this.#candidates.splice(at, 1);
  }

  #admit(c: Candidate, welcome: Welcome, old: Peer | undefined, now: number): void {
    this.#drop(c);
    const self = this.#self;
    if (!this.#isIncarnationFree(c)) {
      self.ports.counters.count('join.incarnation-taken');
      return;
    }
    const owner = old !== undefined || this.#makeRoom() ? this.#newOwner(c) : -1;
    if (owner < 0) {
      self.ports.counters.count('join.too-many-peers');
      return;
    }
    const { sequence, bootId } = welcome;
    const { links } = self;
    const { nonceIssuedAt, counter } = c;
    const peer = new Peer(c.node, c.incarnation, owner, bootId, sequence, now, nonceIssuedAt, links, counter);
    peer.heardControlOn(c.link, counter, now);
    peer.role = ROLES[welcome.role];
    peer.term = welcome.term;
    peer.wasPrimary = peer.role === 'primary';
    peer.primaryTerm = peer.wasPrimary ? peer.term : 0;
    peer.isMirrorReady = welcome.isMirrorReady;
    peer.describe(welcome);
    if (old !== undefined) this.#replace(old, peer);
    self.peers.push(peer);
    self.isHeartbeatSoon = true;
    if (sequence > 0 && peer.isMirrorReady) peer.asker.start(now);
    self.tell(old === undefined ? 'proven' : 'replaced', peer);
  }

  /**
   * An incarnation has one name. Who has it under another one and is silent was never there: its name was
   * forged.
   */
  #isIncarnationFree(c: Candidate): boolean {
    const { peers, ports } = this.#self;
    const ghost = peers.find((p) => bytesEqual(p.incarnation, 0, c.incarnation, 0, INCARNATION_BYTES));
    if (ghost === undefined) return true;
    if (ghost.isAlive || ports.table.owners.slots(ghost.owner) > 0) return false;
    this.#self.forget(ghost);
    return true;
  }

  #newOwner(c: Candidate): number {
    try {
      return this.#self.ports.table.owners.add(c.node, c.incarnation);
    } catch {
      return -1;
    }
  }

  /**
   * The same boot: the kernel went on, so its slots are the new incarnation's, unproven. Else they wait
   * here.
   */
  #replace(old: Peer, peer: Peer): void {
    const { peers, formers, ports } = this.#self;
    peers.splice(peers.indexOf(old), 1);
    // The old one's answers to nonces that are still open may have been captured: nobody is to bring it back.
    this.#nonces.length = 0;
    if (old.bootId === peer.bootId) {
      if (isCutShort(this.#self, old)) this.#lend(old);
      ports.table.relabel(old.owner, peer.owner);
      ports.table.owners.release(old.owner);
      // A tenure that was taken over is over, also when a restart goes on calling itself primary in it.
      if (!old.wasPrimary && peer.primaryTerm <= old.primaryTerm) peer.wasPrimary = false;
      peer.wasPrimary ||= old.wasPrimary;
      peer.primaryTerm = Math.max(peer.primaryTerm, old.primaryTerm);
      return;
    }
    if (old.wasPrimary) formers.push(old);
    else this.#sweep.add(old.owner, peer);
  }

  /**
   * The old incarnation died in the middle of taking over a third node, and this one holds what it had said of that. The
   * new incarnation has only what had reached its kernel, and would sweep the rest here: so it becomes this node's own
   * word for a while, until the new incarnation has taken it over.
   */
  #lend(old: Peer): void {
    const { node, incarnation, applied, owner } = old;
    this.#self.ports.log('warn', 'a primary died while it took over: its flows are kept for it', { node });
    // Its next run has not got them: it may not ask for them as its own.
    this.#self.ports.table.relabel(owner, OWNER_SELF, { origin: undefined, sequence: this.#sequence() });
    this.#self.lent.push({ node, incarnation, cut: applied });
  }

  #makeRoom(): boolean {
    const { peers, ports } = this.#self;
    if (peers.length < PEERS_MAX) return true;
    const isIdle = (p: Peer) => !p.isAlive && ports.table.owners.slots(p.owner) === 0;
    const victim = peers.find((p) => isIdle(p) && !this.#self.isPinned(p.owner));
    if (victim === undefined) return false;
    this.#self.forget(victim);
    return true;
  }
}

/**
 * True if the last that the peer said of some other node's flows is that it had begun to take them over. That of an
 * earlier tenure was stopped, and means nothing since; and nobody waits for the flows of a tenure that was taken over.
 */
function isCutShort(self: Self, peer: Peer): boolean {
  if (self.role === 'primary' || !peer.wasPrimary) return false;
  return peer.takeovers.some(
    ({ stage, incarnation, term }) =>
      stage === 'begun' && term >= peer.primaryTerm && !self.isMe(incarnation),
  );
}
