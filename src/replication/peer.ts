/** One incarnation of another node that has answered our nonce: everything this node knows about it. */
import { encodeName } from '../wire/frame.js';
import { MODES, type Mode, type Role, type Verdict } from './ports.js';
import { RepairAsker } from './repair-asker.js';

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
  lastHeard: number;
  isAlive = true;
  /** When the newest nonce that it answered was issued here. */
  answeredNonceOf: number;
  /** Highest counter of a heartbeat from it: older ones say nothing. */
  lastHeartbeat = 0;

  // --- its stream, as received here ---
  applied: number;
  /** Last sequence that it told of. */
  sequence: number;
  /** `applied` at its last heartbeats: it cannot have sent less since. */
  readonly appliedAtHeartbeat: [number, number] = [0, 0];
  verdict: Verdict = 'suspect';
  verdictAt = 0;
  /**
   * Its replica was relabelled to somebody who promoted; its MARKs mean nothing until it declares, or this
   * time.
   */
  absorbedUntil = 0;
  /** Whom it has declared to have taken over, and under which term; the last few. */
  readonly takeovers: { term: number; incarnation: Uint8Array }[] = [];
  openScope = -1;
  openScopeStamp = 0;
  readonly asker = new RepairAsker();
  unacked = 0;
  firstUnackedAt = 0;

  // --- this node's stream, as it says it received it ---
  /** It lists this incarnation among its peers, so it takes our frames. */
  isReceiver = false;
  theirApplied = 0;
  theirVerdict: Verdict = 'unknown';
  theirVerdictAt = 0;
  lastAdvance = 0;
  isLagging = false;
  laggedAt = 0;
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
  }

  /** Takes over what a WELCOME or a HEARTBEAT says of itself. */
  describe(message: { receiveBuffer: number; mode: number }): void {
    this.receiveBuffer = message.receiveBuffer;
    this.mode = MODES[message.mode] ?? 'best-effort';
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
