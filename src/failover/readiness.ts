/**
 * May this node take over now without a loss (PROTOCOL.md, section 6)? For a *weight* of keepalived's, never for its
 * fault state: in a cold pair nobody is ready, and somebody must be master all the same.
 */
import { HOT_LAG_MAX_MS, READY_PROVEN_MS } from '../limits.js';
import type { Role } from './ports.js';

/** A peer, as far as it matters here. */
export interface ReadyPeer {
  readonly node: string;
  readonly role: Role;
  readonly alive: boolean;
  /** Since it was last heard. Milliseconds. */
  readonly silentMs: number;
  /** Our verdict on its replica here. */
  readonly isProven: boolean;
  /** It is or was primary, and nobody has taken that over. */
  readonly wasPrimary: boolean;
  /** Term of its last tenure as primary; 0: none. */
  readonly primaryTerm: number;
}

export interface ReadyView {
  readonly role: Role;
  /** The flows of the first dump are not sorted out yet. */
  readonly isJoining: boolean;
  /** Term of this node's own last tenure, if nobody has taken that over; 0: there is none. */
  readonly ownTerm: number;
  readonly peers: readonly ReadyPeer[];
  /** How far this kernel is behind the replica, where it follows it (standby hot). Milliseconds. */
  readonly hotLagMs: number | undefined;
  /** What else stands against a takeover, in sentences. */
  readonly problems: readonly string[];
}

export interface Verdict {
  readonly isReady: boolean;
  /** Why not, in sentences; empty when ready. */
  readonly reasons: readonly string[];
}

/** How the replica of one node has fared. */
interface Record {
  provenSince: number | undefined;
  provenAt: number;
  /** Proven for READY_PROVEN_MS on end, and never since out of it for as long while frames came. */
  isCaughtUp: boolean;
}

/** To be asked some times a second: it remembers how long each replica was proven. */
export class Readiness {
  readonly #records = new Map<string, Record>();

  look(view: ReadyView, now: number): Verdict {
    for (const peer of view.peers) this.#note(peer, now);
    for (const node of this.#records.keys()) {
      if (!view.peers.some((peer) => peer.node === node)) this.#records.delete(node);
    }
    // Nobody else has what a primary has, also while it sorts out its flows after a restart.
    if (view.role === 'primary') return { isReady: true, reasons: [] };
    const reasons = [...this.#reasons(view, now), ...view.problems];
    return { isReady: reasons.length === 0, reasons };
  }

  #reasons({ role, isJoining, ownTerm, peers, hotLagMs }: ReadyView, now: number): string[] {
    if (role === 'fault') return ['this node is in fault: conntwin failover backup when it is mended'];
    if (isJoining) return ['joining: its flows are not sorted out yet'];
    const last = lastPrimary(peers);
    if (last === undefined) {
      const isAlone = !peers.some(({ alive }) => alive);
      return isAlone && ownTerm === 0 ? ['no other node is heard'] : [];
    }
    const reasons: string[] = [];
    const record = this.#records.get(last.node);
    if (record?.isCaughtUp !== true) {
      const forMs = record?.provenSince === undefined ? 0 : now - record.provenSince;
      const seconds = `${Math.floor(forMs / 1000)} s, ${READY_PROVEN_MS / 1000} s are wanted`;
      reasons.push(
        last.isProven
          ? `the replica of ${last.node} is proven for ${seconds}`
          : `the replica of ${last.node} is not proven`,
      );
    }
    if (hotLagMs !== undefined && hotLagMs >= HOT_LAG_MAX_MS) {
      reasons.push(`this kernel is ${(hotLagMs / 1000).toFixed(1)} s behind the replica`);
    }
    return reasons;
  }

  #note({ node, isProven, silentMs }: ReadyPeer, now: number): void {
    let record = this.#records.get(node);
    if (record === undefined) {
      record = { provenSince: undefined, provenAt: Number.NEGATIVE_INFINITY, isCaughtUp: false };
      this.#records.set(node, record);
    }
    if (isProven) {
      record.provenSince ??= now;
      record.provenAt = now;
      if (now - record.provenSince >= READY_PROVEN_MS) record.isCaughtUp = true;
      return;
    }
    record.provenSince = undefined;
    // A dead primary says nothing that could be missing: its last frame is what counts.
    if (now - silentMs - record.provenAt > READY_PROVEN_MS) record.isCaughtUp = false;
  }
}

/** Whose flows a takeover would be about: the live primary's, else those of the last one that nobody has taken over. */
function lastPrimary(peers: readonly ReadyPeer[]): ReadyPeer | undefined {
  const isLive = ({ alive, role }: ReadyPeer) => alive && role === 'primary';
  const live = peers.filter(isLive);
  const candidates = live.length > 0 ? live : peers.filter(({ wasPrimary }) => wasPrimary);
  return candidates.reduce<ReadyPeer | undefined>(
    (last, peer) => (last === undefined || peer.primaryTerm > last.primaryTerm ? peer : last),
    undefined,
  );
}
