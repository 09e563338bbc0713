/** One incarnation of another node that has answered our nonce: everything this node knows about it. */
import { OWN_VERSIONS, SILENT_NEVER_MS, type Versions } from '../wire/control-messages.js';
import { encodeName } from '../wire/frame.js';
import { ExpectationAsker } from './expectation-asker.js';
import { IncarnationKeys } from './key-ring.js';
import { NackAsker } from './nack-asker.js';
import { MODES, type Mode, type Role, type Stage, type Verdict } from './ports.js';
import { ReorderBuffer } from './reorder.js';
import { RepairAsker } from './repair-asker.js';
import { ReplayWindow } from './replay-window.js';
import { ResendAllowance } from './resender.js';

/** Control frames that may overtake an answer: as many as a replay window remembers. */
const OVERTAKEN_FRAMES = 1024;

/** What a peer has said of one seed. */
export interface Takeover {
  readonly term: number;
  readonly incarnation: Uint8Array;
  cut: number;
  stage: Stage;
}

export class Peer {
  readonly node: string;
  readonly nodeBytes: Uint8Array;
  readonly incarnation: Uint8Array;
  readonly owner: number;
  readonly bootId: string;

  role: Role = 'backup';
  term = 0;
  /** It was primary in this incarnation or in one it inherited from, and nobody has absorbed that yet. */
  wasPrimary = false;
  /** Term of its last known tenure as primary; 0: it was none. */
  primaryTerm = 0;
  isMirrorReady = false;
  /** The smallest receive buffer of its links, as it says. Bytes. */
  receiveBuffer = 0;
  /** Its replication mode, as it says. */
  mode: Mode = 'reliable';
  /** What it can read. */
  versions: Versions = OWN_VERSIONS;
  /** Settings of its kernel, as it says; at most SETTINGS_MAX. */
  readonly settings = new Map<string, string>();
  readonly keys: IncarnationKeys;
  /** Which of its sealed control frames were taken. */
  readonly window: ReplayWindow;
  lastHeard: number;
  isAlive = true;
  /** When the newest nonce that it answered was issued here. */
  answeredNonceOf: number;
  /** Highest counter of a heartbeat from it: older ones say nothing. */
  lastHeartbeat = 0;
  /** Heartbeats on end that seemed old. In clear a bit error can have raised the counter of the last new one. */
  staleHeartbeats = 0;

  // --- by link ---
  /** When it was last heard on each link. */
  readonly #heardAt: Float64Array;
  /** Its highest control counter heard on each link: a copy of an older frame is no sign of life there. */
  readonly #counters: Float64Array;
  /** Since it heard this node on each link, as it said at `#saidAt`. Milliseconds. */
  readonly #hearsUs: Float64Array;
  #saidAt: number;

  // --- its stream, as received here ---
  applied: number;
  /** Last sequence that it told of. */
  sequence: number;
  /** `applied` at its last heartbeats: it cannot have sent less since. */
  readonly appliedAtHeartbeat: [number, number] = [0, 0];
  verdict: Verdict = 'suspect';
  verdictAt = 0;
  /** Something of its stream may be missing here: a hole in it, or a MARK that differed, since the last proof. */
  #isDoubtful = true;
  #provenUpTo = 0;
  /**
   * Its replica was relabelled to somebody who promoted; its MARKs mean nothing until it declares, or this
   * time.
   */
  absorbedUntil = 0;
  /** Whom it has declared to have taken over, under which term and up to where; the last few. */
  readonly takeovers: Takeover[] = [];
  /** It holds flows of a former incarnation of this node, for this one to take over. */
  lends = false;
  /** DECLAREs without seeds: each ends its giving away of flows. */
  yields = 0;
  /** The scope whose run is being received (scopeId), -1: none, or it has a gap. */
  openScope = -1;
  openScopeStamp = 0;
  readonly asker = new RepairAsker();
  readonly expectations = new ExpectationAsker();
  /** Frames that came before their turn, and the question for the missing ones. */
  readonly reorder = new ReorderBuffer();
  readonly nacks = new NackAsker();
  unacked = 0;
  firstUnackedAt = 0;

  // --- this node's stream, as it says it received it ---
  /** It lists this incarnation among its peers, so it takes our frames. */
  isReceiver = false;
  theirApplied = 0;
  theirVerdict: Verdict = 'unknown';
  theirVerdictAt = 0;
  lastAdvance = 0;
  readonly resends = new ResendAllowance();
  isLagging = false;
  laggedAt = 0;
  /** When it was heard again after a silence. */
  returnedAt = Number.NEGATIVE_INFINITY;
  laggedSequence = 0;
  lagCount = 0;

  constructor(
    node: string,
    incarnation: Uint8Array,
    owner: number,
    bootId: string,
    sequence: number,
    now: number,
    nonceIssuedAt: number,
    links: number,
    counter: number,
  ) {
    this.node = node;
    this.nodeBytes = encodeName(node);
    this.incarnation = incarnation;
    this.owner = owner;
    this.bootId = bootId;
    this.applied = sequence;
    this.sequence = sequence;
    this.lastHeard = now;
    this.answeredNonceOf = nonceIssuedAt;
    this.keys = new IncarnationKeys(this.nodeBytes, incarnation);
    this.window = new ReplayWindow(counter);
    this.#heardAt = new Float64Array(links).fill(Number.NEGATIVE_INFINITY);
    this.#counters = new Float64Array(links);
    this.#hearsUs = new Float64Array(links).fill(SILENT_NEVER_MS);
    this.#saidAt = now;
  }

  /** Up to where nothing of its stream is missing here: what it has changed since is to be had from it alone. */
  get wholeUpTo(): number {
    return this.#isDoubtful ? this.#provenUpTo : this.applied;
  }

  /** What was applied is not all that was said from here on. */
  doubt(upTo = this.#provenUpTo): void {
    if (!this.#isDoubtful) this.#provenUpTo = upTo;
    this.#isDoubtful = true;
  }

  /** The replica is what the peer said it is. */
  prove(): void {
    this.#isDoubtful = false;
    this.#provenUpTo = this.applied;
  }

  /** Takes over what a WELCOME or a HEARTBEAT says of itself. */
  describe(message: { receiveBuffer: number; mode: number; versions: Versions }): void {
    this.versions = message.versions;
    this.receiveBuffer = message.receiveBuffer;
    this.mode = MODES[message.mode] ?? 'best-effort';
  }

  /** A valid new frame of its stream came on this link. */
  heardOn(link: number, now: number): void {
    this.#heardAt[link] = now;
  }

  /** A valid control frame of it came on this link, the first time or as a copy of what came on another one. */
  heardControlOn(link: number, counter: number, now: number): void {
    if (counter <= this.#counters[link]) return;
    this.#counters[link] = counter;
    this.#heardAt[link] = now;
  }

  /**
   * Its counters cannot be far beyond this one: what was heard in clear may have been forged. A little beyond they are
   * when the answer was overtaken, and lowering them then would let old heartbeats in.
   */
  lowerCounters(counter: number): void {
    if (this.lastHeartbeat - counter > OVERTAKEN_FRAMES) this.lastHeartbeat = counter;
    for (let i = 0; i < this.#counters.length; i++) {
      if (this.#counters[i] - counter > OVERTAKEN_FRAMES) this.#counters[i] = counter;
    }
  }

  /** It says since when it has not heard this node, by link. */
  noteHearing(silentMs: readonly number[], now: number): void {
    for (let i = 0; i < this.#hearsUs.length; i++) {
      this.#hearsUs[i] = Math.min(silentMs[i] ?? SILENT_NEVER_MS, SILENT_NEVER_MS);
    }
    this.#saidAt = now;
  }

  /** This node did nothing for so long: that was no silence of the peer. */
  stalled(pause: number): void {
    this.lastHeard += pause;
    this.#saidAt += pause;
    for (let i = 0; i < this.#heardAt.length; i++) this.#heardAt[i] += pause;
  }

  /** Since it was heard on a link. Milliseconds, at most SILENT_NEVER_MS. */
  silentMs(link: number, now: number): number {
    return Math.min(SILENT_NEVER_MS, Math.max(0, Math.floor(now - this.#heardAt[link])));
  }

  /** Since it heard this node on a link, as far as it is known here. Milliseconds, at most SILENT_NEVER_MS. */
  hearsUsMs(link: number, now: number): number {
    return Math.min(SILENT_NEVER_MS, Math.floor(this.#hearsUs[link] + Math.max(0, now - this.#saidAt)));
  }

  /** True if it is a primary that is heard. */
  get isLivePrimary(): boolean {
    return this.isAlive && this.role === 'primary';
  }
}

/** True if `a`'s word about a flow counts more than `b`'s: primary, then higher term, then node name. */
export function outranks(a: Peer, b: Peer): boolean {
  if (a.isLivePrimary !== b.isLivePrimary) return a.isLivePrimary;
  const aPrimary = a.role === 'primary';
  if (aPrimary !== (b.role === 'primary')) return aPrimary;
  if (a.term !== b.term) return a.term > b.term;
  return a.node > b.node;
}
