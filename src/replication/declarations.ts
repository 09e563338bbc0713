/**
 * DECLARE: "my image is now my mirror; you may start from what you hold under these owners". Receivers
 * relabel the seeds' slots to the sender, which is O(1) per owner, and the next MARK proves it or a repair
 * puts it right. What each stage of it means stands in ports.ts.
 *
 * When a declaration names this node, the declaring node takes over its flows. As soon as that is done (a new primary
 * that dies in the middle must find everything here), what did not change since its cut is the new primary's, and held
 * here; what changed later stays ours and is said again (PROTOCOL.md, section 6). While this node is primary itself,
 * the declaration waits for its demote.
 */
import { writeMasterKey } from '../flow/expectation.js';
import { allocateMemory, type Memory } from '../flow/record.js';
import { PEERS_MAX, SLICE_BUDGET_MS, STREAM_BEGIN } from '../limits.js';
import { DEAD, DIRTY, INJECTING, OWNER_SELF, PENDING, TOUCHED } from '../table/slot-bits.js';
import { bytesEqual, INCARNATION_BYTES } from '../wire/frame.js';
import type { Seed } from '../wire/op-writer.js';
import type { FrameRing } from './frame-ring.js';
import type { Peer, Takeover } from './peer.js';
import type { Stage } from './ports.js';
import type { Self } from './self.js';

/** How long the MARKs of a node that is taken over mean nothing, unless it declares before. Milliseconds. */
const ABSORBED_MS = 5000;
/** After a demote, and after each time that flows were given away, there may be more to give. Milliseconds. */
const HANDOVER_MS = 15_000;
/** Slots looked at between two looks at the clock. */
const YIELD_STEP_SLOTS = 2048;

/** A DECLARE as it was heard. */
export interface Heard {
  readonly seeds: readonly Seed[];
  readonly isFormer: boolean;
  readonly stage: Stage;
  readonly term: number;
}

/** A peer takes over this node's flows, and it is not yet time to give them away. */
interface Waiting {
  readonly peer: Peer;
  readonly cut: number;
  /** Slots that changed after it stay own. */
  readonly stamp: number;
  readonly term: number;
  /** Only the demote is missing. */
  readonly isDue: boolean;
}

interface Yield {
  peer: Peer;
  /** What was taken over after this frame was not in the image that the peer has taken over. */
  cut: number;
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
  #waiting: Waiting | undefined;
  #yield: Yield | undefined;
  #begunAt = Number.NEGATIVE_INFINITY;
  /** The last frame in which this node spoke as a primary. */
  #steppedBackAt = 0;
  /** Nodes that this one has taken over in its tenure, and the stamp of each: what did not change since was theirs. */
  readonly #taken = new Map<string, number>();
  /** The key of an expectation's master. */
  readonly #master = allocateMemory(64);

  constructor(self: Self, ring: FrameRing, sequence: () => number) {
    this.#self = self;
    this.#ring = ring;
    this.#sequence = sequence;
  }

  /** Own slots are being given away: the stream must rest, since its image is in between. */
  get isYielding(): boolean {
    return this.#yield !== undefined;
  }

  receive(peer: Peer, { seeds, isFormer, stage, term }: Heard): void {
    const self = this.#self;
    const news = seeds.filter((seed) => isNews(peer, seed, stage, term));
    // It is said again for those who missed it, and must not take what the source has said since.
    if (seeds.length > 0 && news.length === 0) return;
    peer.absorbedUntil = 0;
    for (const seed of news) {
      if (self.isMe(seed.incarnation)) this.#named(peer, seed, stage, term);
      else this.#absorb(peer, seed, stage, term);
      // This node's former run died before it had taken over all. A primary only says again whom it took over.
      const isFormerMe = seed.node === self.node && !self.isMe(seed.incarnation);
      if (isFormerMe && peer.role !== 'primary') peer.lends = true;
      note(peer, seed, stage, term);
    }
    if (isFormer) this.#inherit(peer);
    else if (seeds.length === 0) {
      peer.yields++;
      // What was taken over from it is not its own any more, whoever is primary next.
      self.ports.table.owners.origins.forget(peer.node);
    }
    peer.term = Math.max(peer.term, term);
    self.suspect(peer, 'stream.declared');
    self.tell('declared', peer);
  }

  /** What the owner has is this node's own from now on. */
  take(owner: number): void {
    this.#moveTo(OWNER_SELF, this.#self.peerOfOwner(owner), owner);
  }

  /** Whose the flows were is remembered: that node may ask for what has not changed since. */
  #moveTo(to: number, source: Peer | undefined, from: number): void {
    const { table } = this.#self.ports;
    const origin = source && { node: source.node, bootId: source.bootId, stamp: this.#self.stamp };
    table.relabel(from, to, { origin, sequence: this.#sequence() });
  }

  /** What this node has declared itself: the sources' replicas are own now, and what they still say is judged anew. */
  noteSources(seeds: readonly Seed[], stage: Stage, term: number): void {
    for (const { node, incarnation } of seeds) {
      if (this.#waiting?.peer.node === node) this.#waiting = undefined;
      if (stage === 'begun' || stage === 'whole') this.#noteTaken(node);
      const source = this.#find(incarnation);
      if (source === undefined || stage === 'asked') continue;
      this.#judgeAnew(source);
      if (stage === 'begun') continue;
      source.lends = false;
      // One that was promoted since this takeover began has a tenure of which nobody has taken anything (seed 411).
      if (term >= source.primaryTerm) this.#endTenure(source);
    }
  }

  /** To be called when the flows that this node has found in its kernel are known: later changes have later stamps. */
  begins(): void {
    this.#begunAt = this.#self.stamp++;
  }

  /** The change stamp at which this node took over another one in its tenure; -Infinity if it did not. */
  takenAt(node: string): number {
    return this.#taken.get(node) ?? Number.NEGATIVE_INFINITY;
  }

  /** To be called when this node became primary under a term: what was declared under lower ones is over. */
  promoted(term: number): void {
    const waiting = this.#waiting;
    if (waiting !== undefined && waiting.term < term) {
      waiting.peer.absorbedUntil = 0;
      this.#waiting = undefined;
    }
    this.#taken.clear();
  }

  /** To be called when this node stopped being primary. */
  demoted(): void {
    this.#handOver();
    this.#steppedBackAt = this.#sequence();
    const waiting = this.#waiting;
    if (waiting === undefined || !waiting.isDue) return;
    this.#waiting = undefined;
    waiting.peer.absorbedUntil = 0;
    // What it has changed since that cut, as a primary, is still to be taken over, by whoever is primary then.
    this.#begin(waiting.peer, waiting.cut, waiting.stamp, false);
  }

  /** Goes on with giving away own slots for about a millisecond. True when it has just ended. */
  step(): boolean {
    this.#wait();
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
    this.#judgeNow(y.peer);
    this.#self.tell('yielded', y.peer);
    return true;
  }

  /** The peer takes over this node's own flows. */
  #named(peer: Peer, { cut }: Seed, stage: Stage, term: number): void {
    const self = this.#self;
    // Of a time before this node became primary again.
    if (term < self.term) return;
    // The cut is placed now: by the time of the demote its frame may have left the ring.
    const stamp = stage === 'asked' ? this.#stampAsked(peer, cut) : this.#ring.stampOf(cut, this.#sequence());
    // What this node has changed as a primary after that is still to be taken over, by whoever is primary then.
    const endsTenure = (stage === 'done' || stage === 'whole') && cut >= this.#steppedBackAt;
    if (stage !== 'begun' && self.role !== 'primary') {
      this.#waiting = undefined;
      this.#begin(peer, cut, stamp, endsTenure);
      return;
    }
    this.#waiting = { peer, cut, stamp, term, isDue: stage !== 'begun' };
    // Its image is our own flows, which this node gives it in a moment: not worth a bulk.
    peer.absorbedUntil = self.ports.now() + ABSORBED_MS;
  }

  /** 0: only what this node took from the peer; STREAM_BEGIN: what it found at its start, though nobody may have listened since. */
  #stampAsked(peer: Peer, cut: number): number {
    const { owners } = this.#self.ports.table;
    if (cut === 0) return owners.hasFrom(peer.node, peer.bootId) ? Number.NEGATIVE_INFINITY : Number.NaN;
    return cut === STREAM_BEGIN ? this.#begunAt : this.#ring.stampOf(cut, this.#sequence());
  }

  /** A backup waits as long as the new primary's commit lasts. */
  #wait(): void {
    const waiting = this.#waiting;
    if (waiting !== undefined && !waiting.isDue && waiting.peer.role !== 'primary') {
      // It stepped back in the middle, and will never say that it is done.
      this.#waiting = undefined;
      waiting.peer.absorbedUntil = 0;
      return;
    }
    if (waiting === undefined || this.#self.role === 'primary' || !waiting.peer.isAlive) return;
    // Where nothing is sent again its last word may be lost, and nobody waits for it for ever.
    if (waiting.peer.mode !== 'reliable') return;
    waiting.peer.absorbedUntil = this.#self.ports.now() + ABSORBED_MS;
  }

  #absorb(peer: Peer, seed: Seed, stage: Stage, term: number): void {
    const source = this.#find(seed.incarnation);
    if (source === undefined || source === peer || stage === 'asked') return;
    // What this node's own promote reads stays where it is until it declares, in a moment.
    if (this.#self.isPinned(source.owner)) return;
    // A word that is read late, after a cut, is of a tenure before: the source was promoted again since, and has its flows
    // (seed 139).
    if (term < source.primaryTerm) return;
    // Who has heard of the beginning has what was there then; the rest is the source's later word.
    if (stage !== 'done' || known(peer, seed.incarnation, false)?.stage !== 'begun') {
      this.#moveTo(peer.owner, source, source.owner);
      // What is missing of the source is missing of the peer from here on.
      if (source.wholeUpTo < source.applied) peer.doubt();
    }
    this.#judgeAnew(source);
    if (stage !== 'begun') this.#endTenure(source);
  }

  /** What former incarnations of the peer (same boot only) had is the peer's. */
  #inherit(peer: Peer): void {
    const formers = this.#self.formers;
    for (let i = formers.length - 1; i >= 0; i--) {
      const former = formers[i];
      if (former.node !== peer.node || former.bootId !== peer.bootId) continue;
      if (this.#self.isPinned(former.owner)) continue;
      this.#self.ports.table.relabel(former.owner, peer.owner);
      this.#forget(i);
    }
  }

  /** The replica was moved: what the source still says is compared when it has declared. */
  #judgeAnew(source: Peer): void {
    source.absorbedUntil = this.#self.ports.now() + ABSORBED_MS;
    source.asker.finish();
    this.#self.suspect(source, 'stream.absorbed');
  }

  /** Nobody has to take over its tenure any more. */
  #endTenure(source: Peer): void {
    source.wasPrimary = false;
    const former = this.#self.formers.indexOf(source);
    if (former >= 0) this.#forget(former);
  }

  /** A MARK that came meanwhile would have judged what the replica was before; the peer says the next when it hears of this. */
  #judgeNow(peer: Peer): void {
    peer.absorbedUntil = 0;
    this.#self.suspect(peer, 'stream.declared');
    peer.verdictAt = peer.applied;
    this.#self.isHeartbeatSoon = true;
  }

  #handOver(): void {
    this.#self.handsOverUntil = this.#self.ports.now() + HANDOVER_MS;
  }

  #noteTaken(node: string): void {
    if (this.#taken.has(node) || this.#taken.size >= PEERS_MAX) return;
    this.#taken.set(node, this.#self.stamp);
  }

  #forget(index: number): void {
    const [former] = this.#self.formers.splice(index, 1);
    if (!this.#self.ports.table.owners.release(former.owner)) this.#self.formers.splice(index, 0, former);
  }

  #find(incarnation: Uint8Array): Peer | undefined {
    const isIt = (p: Peer) => bytesEqual(p.incarnation, 0, incarnation, 0, INCARNATION_BYTES);
    return this.#self.peers.find(isIt) ?? this.#self.formers.find(isIt);
  }

  /** `stamp` -Infinity: all is said again; NaN: nothing was taken from the peer, so nothing goes back. */
  #begin(peer: Peer, cut: number, stamp: number, endsTenure: boolean): void {
    if (this.#self.openTenure > 0) {
      // Who has heard of the takeover thinks that nothing is left.
      this.#self.isTenureSoon = true;
      this.#self.isTenureOver = endsTenure;
      if (endsTenure) this.#self.openTenure = 0;
    }
    const sequence = this.#sequence();
    const { table, log } = this.#self.ports;
    log('info', 'a peer took over flows of this node', { node: peer.node, cut, sequence });
    // It may have gone on for long since it declared (this node had to be demoted first): a MARK is to prove it, when the
    // flows are given away. One that differs before asks for what comes of itself.
    this.#self.suspect(peer, 'stream.declared');
    peer.absorbedUntil = this.#self.ports.now() + ABSORBED_MS;
    this.#taken.clear();
    if (this.#self.ports.now() < this.#self.handsOverUntil) this.#handOver();
    this.#yield = { peer, cut, stamp, next: 0, limit: Number.isNaN(stamp) ? 0 : table.slotLimit };
  }

  /** What was said is in the peer's image now; the rest is said anew, unless its master went to the peer. */
  #yieldExpectations(peer: Peer): void {
    const { expectations } = this.#self.ports.table;
    for (const entry of expectations.list(OWNER_SELF)) {
      if (entry.isLive && expectations.isSaid(entry)) expectations.move(entry, peer.owner);
      else if (this.#isMasterOwn(entry.record)) expectations.clearImage(entry);
      else expectations.remove(entry);
    }
  }

  #isMasterOwn(expectation: Memory): boolean {
    const { table } = this.#self.ports;
    writeMasterKey(expectation, 0, this.#master);
    const slot = table.find(this.#master, 0);
    return slot >= 0 && table.owner(slot) === OWNER_SELF;
  }

  /** The peer has the flow as it is: it was taken over from it, or stood in the image that it took over. */
  #isPeers({ peer, cut, stamp }: Yield, slot: number): boolean {
    const { table } = this.#self.ports;
    if (table.isFrom(slot, peer.node, peer.bootId)) return true;
    return table.changedAt(slot) <= stamp && table.takenAt(slot) < cut;
  }

  #yieldSlot(y: Yield, slot: number): void {
    const table = this.#self.ports.table;
    if (!table.isUsed(slot) || table.owner(slot) !== OWNER_SELF) return;
    const bits = table.bits(slot);
    if ((bits & DEAD) !== 0) {
      table.remove(slot);
      return;
    }
    if (table.hasImage(slot) && (bits & DIRTY) === 0 && this.#isPeers(y, slot)) {
      // What touched it here was before the cut, and a promote that was stopped owes it nothing any more.
      table.clearBits(slot, TOUCHED | PENDING | INJECTING);
      table.setOwner(slot, y.peer.owner);
      return;
    }
    table.clearImage(slot);
    table.markDirty(slot);
  }
}

/** What the peer has last said of a seed: a question is something else than a takeover. */
function known(peer: Peer, incarnation: Uint8Array, isAsked: boolean, term?: number): Takeover | undefined {
  return peer.takeovers.findLast(
    (t) =>
      (t.stage === 'asked') === isAsked &&
      (term === undefined || t.term === term) &&
      bytesEqual(t.incarnation, 0, incarnation, 0, INCARNATION_BYTES),
  );
}

/** False if that, or a later stage of it, was heard already. */
function isNews(peer: Peer, { incarnation, cut }: Seed, stage: Stage, term: number): boolean {
  const before = known(peer, incarnation, stage === 'asked', term);
  if (before === undefined || cut > before.cut) return true;
  return before.stage === 'begun' && (stage === 'done' || stage === 'whole');
}

function note(peer: Peer, { incarnation, cut }: Seed, stage: Stage, term: number): void {
  const { takeovers } = peer;
  const before = known(peer, incarnation, stage === 'asked', term);
  if (before !== undefined) {
    before.cut = cut;
    before.stage = stage;
  } else takeovers.push({ term, incarnation: incarnation.slice(), cut, stage });
  // It may be asked again after that: it can have been primary again.
  const answered = stage === 'asked' ? undefined : known(peer, incarnation, true, term);
  if (answered !== undefined) takeovers.splice(takeovers.indexOf(answered), 1);
  if (takeovers.length > PEERS_MAX) takeovers.shift();
}
