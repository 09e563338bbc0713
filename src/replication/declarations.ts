/**
 * DECLARE: "my image is now my mirror; you may start from what you hold under these owners". Receivers
 * relabel the seeds' slots to the sender, which is O(1) per owner, and the next MARK proves it or a repair
 * puts it right.
 *
 * When a declaration names this node, the declaring node took over its flows. What did not change here since
 * its cut is then the new primary's, and held here; what changed later stays ours and is said again
 * (PROTOCOL.md, section 6). While this node is primary itself, the declaration waits for its demote.
 */
import { PEERS_MAX, RING_FRAMES, SLICE_BUDGET_MS } from '../limits.js';
import { DEAD, DIRTY, OWNER_SELF } from '../table/slot-bits.js';
import { bytesEqual, INCARNATION_BYTES } from '../wire/frame.js';
import type { Seed } from '../wire/op-writer.js';
import type { FrameRing } from './frame-ring.js';
import type { Peer } from './peer.js';
import type { Self } from './self.js';

/** How long the MARKs of a node that was taken over mean nothing, unless it declares before. Milliseconds. */
const ABSORBED_MS = 5000;
/** Slots looked at between two looks at the clock. */
const YIELD_STEP_SLOTS = 2048;

interface Yield {
  peer: Peer;
  /** Slots that changed after this stamp stay own. */
  stamp: number;
  next: number;
  /** The table's slot limit when it began: later slots are later flows. */
  limit: number;
}

export class Declarations {
  readonly #self: Self;
  readonly #ring: FrameRing;
  readonly #sequence: () => number;
  #waiting: { peer: Peer; cut: number; stamp: number } | undefined;
  #yield: Yield | undefined;

  constructor(self: Self, ring: FrameRing, sequence: () => number) {
    this.#self = self;
    this.#ring = ring;
    this.#sequence = sequence;
  }

  /** Own slots are being given away: the stream must rest, since its image is in between. */
  get isYielding(): boolean {
    return this.#yield !== undefined;
  }

  receive(peer: Peer, seeds: readonly Seed[], isFormer: boolean, term: number): void {
    const self = this.#self;
    const news = seeds.filter((seed) => isNews(peer, seed, term));
    // It is said again for those who missed it, and must not take what the source has said since.
    if (seeds.length > 0 && news.length === 0) return;
    peer.absorbedUntil = 0;
    for (const seed of news) this.#absorb(peer, seed, term);
    if (isFormer) this.#inherit(peer);
    peer.term = Math.max(peer.term, term);
    self.suspect(peer, 'stream.declared');
    self.tell('declared', peer);
  }

  /** The sources of an own promote: their replicas are own now, and what they still say is judged anew. */
  noteSources(seeds: readonly Seed[]): void {
    for (const seed of seeds) {
      const source = this.#find(seed.incarnation);
      if (source !== undefined) this.#markAbsorbed(source);
    }
  }

  /** To be called when this node stopped being primary. */
  demoted(): void {
    const waiting = this.#waiting;
    this.#waiting = undefined;
    if (waiting !== undefined) waiting.peer.absorbedUntil = 0;
    if (waiting !== undefined) this.#begin(waiting.peer, waiting.cut, waiting.stamp);
  }

  /** Goes on with giving away own slots for about a millisecond. True when it has just ended. */
  step(): boolean {
    const y = this.#yield;
    if (y === undefined) return false;
    // A restart of the peer meanwhile has made another incarnation of it, with the old one's slots.
    y.peer = this.#self.peerOfNode(y.peer.node) ?? y.peer;
    const until = this.#self.ports.now() + SLICE_BUDGET_MS;
    do {
      const end = Math.min(y.next + YIELD_STEP_SLOTS, y.limit);
      while (y.next < end) this.#yieldSlot(y, y.next++);
    } while (y.next < y.limit && this.#self.ports.now() < until);
    if (y.next < y.limit) return false;
    this.#yield = undefined;
    this.#yieldExpectations(y.peer);
    this.#self.tell('yielded', y.peer);
    return true;
  }

  #absorb(peer: Peer, seed: Seed, term: number): void {
    if (this.#self.isMe(seed.incarnation)) {
      // Of a time before this node became primary again.
      if (term < this.#self.term) return;
      // The cut is placed now: by the time of the demote its frame may have left the ring.
      const stamp = this.#stampOf(seed.cut);
      if (this.#self.role !== 'primary') this.#begin(peer, seed.cut, stamp);
      else {
        this.#waiting = { peer, cut: seed.cut, stamp };
        // Its image is our own flows, which this node gives it at the demote that mostly follows: not worth a bulk.
        peer.absorbedUntil = this.#self.ports.now() + ABSORBED_MS;
      }
      return;
    }
    const source = this.#find(seed.incarnation);
    if (source === undefined || source === peer) return;
    this.#self.ports.table.relabel(source.owner, peer.owner);
    this.#markAbsorbed(source);
  }

  /** What former incarnations of the peer (same boot only) had is the peer's. */
  #inherit(peer: Peer): void {
    const formers = this.#self.formers;
    for (let i = formers.length - 1; i >= 0; i--) {
      const former = formers[i];
      if (former.node !== peer.node || former.bootId !== peer.bootId) continue;
      this.#self.ports.table.relabel(former.owner, peer.owner);
      this.#forget(i);
    }
  }

  #markAbsorbed(source: Peer): void {
    source.wasPrimary = false;
    source.absorbedUntil = this.#self.ports.now() + ABSORBED_MS;
    source.asker.finish();
    this.#self.suspect(source, 'stream.absorbed');
    const former = this.#self.formers.indexOf(source);
    if (former >= 0) this.#forget(former);
  }

  #forget(index: number): void {
    const [former] = this.#self.formers.splice(index, 1);
    if (!this.#self.ports.table.owners.release(former.owner)) this.#self.formers.splice(index, 0, former);
  }

  #find(incarnation: Uint8Array): Peer | undefined {
    const isIt = (p: Peer) => bytesEqual(p.incarnation, 0, incarnation, 0, INCARNATION_BYTES);
    return this.#self.peers.find(isIt) ?? this.#self.formers.find(isIt);
  }

  /** The change stamp at which the frame `cut` was sent; a cut that cannot be placed means that all is said again. */
  #stampOf(cut: number): number {
    const sequence = this.#sequence();
    const isKnown = cut > 0 && cut <= sequence && sequence - cut < RING_FRAMES;
    return isKnown ? this.#ring.stampOf(cut) : Number.NEGATIVE_INFINITY;
  }

  #begin(peer: Peer, cut: number, stamp: number): void {
    const sequence = this.#sequence();
    const { table, log } = this.#self.ports;
    log('info', 'a peer took over flows of this node', { node: peer.node, cut, sequence });
    this.#yield = { peer, stamp, next: 0, limit: table.slotLimit };
  }

  /** What was said is in the peer's image now; the rest is said anew, or ends at the next audit with its master. */
  #yieldExpectations(peer: Peer): void {
    const { expectations } = this.#self.ports.table;
    for (const entry of expectations.list(OWNER_SELF)) {
      if (entry.isLive && expectations.isSaid(entry)) expectations.move(entry, peer.owner);
      else expectations.clearImage(entry);
    }
  }

  #yieldSlot(y: Yield, slot: number): void {
    const table = this.#self.ports.table;
    if (!table.isUsed(slot) || table.owner(slot) !== OWNER_SELF) return;
    const bits = table.bits(slot);
    if ((bits & DEAD) !== 0) {
      table.remove(slot);
      return;
    }
    if (table.hasImage(slot) && (bits & DIRTY) === 0 && table.changedAt(slot) <= y.stamp) {
      table.setOwner(slot, y.peer.owner);
      return;
    }
    table.clearImage(slot);
    table.markDirty(slot);
  }
}

/** Notes that the peer has taken over a seed under a term; false if that was known. */
function isNews(peer: Peer, { incarnation }: Seed, term: number): boolean {
  const { takeovers } = peer;
  const isIt = (t: Peer['takeovers'][number]) =>
    t.term === term && bytesEqual(t.incarnation, 0, incarnation, 0, INCARNATION_BYTES);
  if (takeovers.some(isIt)) return false;
  takeovers.push({ term, incarnation: incarnation.slice() });
  if (takeovers.length > PEERS_MAX) takeovers.shift();
  return true;
}
