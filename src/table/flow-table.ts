/**
 * The one flow table of a node (PROTOCOL.md, section 2): slots with an owner, bits, a record, and an image hash.
 *
 * Mirror, replica, held flows and the kernel's view are not tables of their own but questions about owner and bits.
 * Two owners may have the same key; each owner has it once. At most one of those slots is *visible*: it is the one
 * that find() gives and that carries KERNEL. The others are SHADOWs, which keep their owners' replicas exact.
 *
 * What the table sees to by itself, so that no caller can break it:
 * - a slot that becomes visible makes the visible slot of its key a SHADOW and takes over its KERNEL bit;
 * - when the visible slot goes, the best shadow (own, then living, then dead) becomes visible and takes KERNEL;
 * - DIRTY means "in the dirty queue", which only slots of OWNER_SELF can be; nextDirty() clears it;
 * - counts, digests and the queue's order follow every change of owner, bits and image.
 */
import { isBeyondUpdate, isNewLife } from '../flow/merge.js';
import {
  addressBytes,
  copyId,
  copyRecord,
  keyBytes,
  lengthOf,
  MAX_TABLE_RECORD_BYTES,
  type Memory,
  OFF_KEY,
} from '../flow/record.js';
import { TABLE_FLOWS_MAX } from '../limits.js';
import { ExpectationTable } from './expectation-table.js';
import type { Taking } from './origins.js';
import { SEGMENTS, SegmentIndex } from './segment-index.js';
import { SLAB_BYTES_MAX } from './slab.js';
import {
  DEAD,
  DIRTY,
  FRESH,
  KEPT,
  KERNEL,
  OWNER_SELF,
  OWNER_UNCLASSIFIED,
  PENDING,
  SHADOW,
  USED,
} from './slot-bits.js';
import { MANAGED_BITS, SlotTable } from './slot-table.js';
import { SLOT_WORDS, WORD_HASH, WORD_RECORD } from './slots.js';
import { Tombstones } from './tombstones.js';

/** Room for records per flow if nothing else is said: IPv6 flows fit, with a part or two. Address space only. */
const RECORD_BYTES_PER_FLOW = 128;

export interface FlowTableOptions {
  /** Four words, the same on every node of a cluster. */
  readonly seed: Uint32Array;
  readonly maxFlows?: number;
  readonly maxRecordBytes?: number;
}

/** All flows a node knows of, off the heap. Nothing here allocates per flow. */
export class FlowTable extends SlotTable {
  /** What the owners expect; it follows every relabelling. */
  readonly expectations: ExpectationTable;
  readonly #index: SegmentIndex;
  readonly #tombstones: Tombstones;
  /** What locate() found, or -1. */
  owned = -1;
  visible = -1;
  /** Key hash of the record that find() or locate() was asked for last. */
  #lookedUp = 0;
  #auditGeneration = 0;
  #scratch = new Int32Array(256);

  /** Throws a RangeError if a size is out of range, or if there is no address space for it. */
  constructor(options: FlowTableOptions) {
    const maxFlows = options.maxFlows ?? TABLE_FLOWS_MAX;
    const recordBytes = Math.max(MAX_TABLE_RECORD_BYTES * 2, maxFlows * RECORD_BYTES_PER_FLOW);
    super(options.seed, maxFlows, options.maxRecordBytes ?? Math.min(SLAB_BYTES_MAX, recordBytes));
    this.expectations = new ExpectationTable(options.seed);
    this.owners.onRelease = (owner) => this.expectations.drop(owner);
    this.#index = new SegmentIndex(this.slots, this.memory);
    this.#tombstones = new Tombstones({
      memory: this.memory,
      recordAt: (slot) => this.recordAt(slot),
      isKept: (slot) => (this.bits(slot) & KEPT) !== 0,
      letGo: (slot) => this.#letGo(slot),
    });
  }

  /** The visible slot with the key of this record, tombstones (DEAD) included, or -1. */
  find(m: Memory, at: number): number {
    const index = this.#index;
    this.#lookedUp = this.#keyHash(m, at);
    index.seek(this.#lookedUp);
    for (let slot = index.next(m, at); slot >= 0; slot = index.next(m, at)) {
      if (!this.slots.isShadow(slot)) return slot;
    }
    return -1;
  }

  /** One look-up for two questions: fills `owned` (as findOwned) and `visible` (as find). */
  locate(owner: number, m: Memory, at: number): void {
    const index = this.#index;
    this.owned = -1;
    this.visible = -1;
    this.#lookedUp = this.#keyHash(m, at);
    index.seek(this.#lookedUp);
    for (let slot = index.next(m, at); slot >= 0; slot = index.next(m, at)) {
      if (this.owned < 0 && this.owner(slot) === owner) this.owned = slot;
      if (!this.slots.isShadow(slot)) this.visible = slot;
    }
  }

  /** The slot, visible or SHADOW, in which this owner has the key of this record, or -1. */
  findOwned(owner: number, m: Memory, at: number): number {
    const index = this.#index;
    index.seek(this.#keyHash(m, at));
    for (let slot = index.next(m, at); slot >= 0; slot = index.next(m, at)) {
      if (this.owner(slot) === owner) return slot;
    }
    return -1;
  }

  /**
   * Copies the record in and returns its slot, visible unless `bits` has SHADOW; -1 if the record is too long, or the
   * table or its memory is full. An owner has a key once: if it has it already, that slot takes record and bits (the
   * visible one keeps KERNEL, a queued one DIRTY), and its image stays as it is.
   */
  insert(m: Memory, at: number, owner: number, bits = 0): number {
    const hashLo = this.#keyHash(m, at);
    const index = this.#index;
    let visible = -1;
    index.seek(hashLo);
    for (let slot = index.next(m, at); slot >= 0; slot = index.next(m, at)) {
      if (this.owner(slot) === owner) return this.#insertAgain(slot, m, at, bits);
      if (!this.slots.isShadow(slot)) visible = slot;
    }
    return this.#insertAt(hashLo, visible, m, at, owner, bits);
  }

  /**
   * As insert(), for a key that no slot has, right after a find() or locate() of this very record said so: its hash
   * is known and there is nothing to look for.
   */
  insertNew(m: Memory, at: number, owner: number, bits = 0): number {
    return this.#insertAt(this.#lookedUp, -1, m, at, owner, bits);
  }

  #insertAt(hashLo: number, visible: number, m: Memory, at: number, owner: number, bits: number): number {
    const raw = this.#rawFor(owner);
    const record = this.slab.allocate(lengthOf(m, at));
    if (record === 0) return -1;
    const slot = this.slots.take();
    if (slot < 0) {
      this.slab.release(record, lengthOf(m, at));
      return -1;
    }
    copyRecord(m, at, this.memory, record);
    this.slots.words[slot * SLOT_WORDS + WORD_RECORD] = record;
    this.slots.words[slot * SLOT_WORDS + WORD_HASH] = hashLo;
    this.slots.setRawOwner(slot, raw);
    this.owners.countSlot(raw, USED, 1);
    this.#index.add(slot);
    this.helped.note(slot, record);
    this.live.note(slot, record);
    let kernel = 0;
    if (visible >= 0 && (bits & SHADOW) === 0) {
      this.#giveEnd(visible, slot, this.bits(visible));
      kernel = this.#hide(visible);
    }
    this.change(slot, USED | (bits & ~MANAGED_BITS) | kernel);
    return slot;
  }

  /**
   * Frees the slot and takes its image out of the sums; the best shadow of its key becomes visible. A tombstone that
   * a running audit needs stays, without image and not dirty, until the audit lets go of it.
   */
  remove(slot: number): void {
    const bits = this.slots.bits(slot);
    if ((bits & KEPT) === 0) {
      this.#discard(slot);
      return;
    }
    this.clearImage(slot);
    this.change(slot, bits & ~DIRTY);
  }

  /**
   * Gives the slot to another owner, image and sums with it. If that owner has the key already, its own record and
   * image stand (they are its word) and move into this slot, whose number stays valid.
   */
  setOwner(slot: number, owner: number): void {
    const from = this.owner(slot);
    if (from === owner) return;
    const raw = this.#rawFor(owner);
    let inherited = 0;
    if (this.shadowsIn[this.segmentAt(slot)] > 0) {
      const twin = this.findOwned(owner, this.memory, this.recordAt(slot));
      if (twin >= 0) inherited = this.#takeIn(slot, twin);
    }
    const bits = this.slots.bits(slot);
    if ((bits & DIRTY) !== 0) this.change(slot, bits & ~DIRTY);
    const lo = this.imageLo(slot);
    const hi = this.imageHi(slot);
    this.clearImage(slot);
    this.owners.countSlot(this.slots.rawOwner(slot), this.slots.bits(slot), -1);
    this.slots.setRawOwner(slot, raw);
    this.owners.countSlot(raw, this.slots.bits(slot), 1);
    this.setImage(slot, lo, hi);
    if (inherited !== 0) this.setBits(slot, inherited);
  }

  /**
   * All slots of `from` belong to `to` from now on: O(sums), and O(segments with shadows) where both have a key.
   * There `to`'s slot stays, unless it is a tombstone: then it takes the record of `from`, FRESH and DIRTY. With `taking`
   * it is remembered of the slots where they came from.
   */
  relabel(from: number, to: number, taking?: Taking): void {
    if (from === to) return;
    if (this.shadows > 0) this.#joinTwins(from, to);
    if (from === OWNER_SELF) {
      for (let slot = this.dirty.peek(); slot >= 0; slot = this.dirty.peek()) this.clearBits(slot, DIRTY);
    }
    this.owners.relabel(from, to, taking);
    this.digests.move(from, to);
    this.expectations.relabel(from, to);
  }

  /** Clears bits; clearing SHADOW makes the slot the visible one of its key. */
  clearBits(slot: number, mask: number): void {
    const bits = this.slots.bits(slot);
    let kernel = 0;
    if ((mask & bits & SHADOW) !== 0) {
      const visible = this.find(this.memory, this.recordAt(slot));
      if (visible >= 0) {
        this.#giveId(visible, slot);
        this.#giveEnd(visible, slot, this.bits(visible));
        kernel = this.#hide(visible) & ~mask;
      }
    }
    this.change(slot, (bits & ~(mask & ~MANAGED_BITS)) | kernel);
  }

  /** Generation of the running audit; 0: none runs. Setting it lets go of the tombstones kept for the last one. */
  get auditGeneration(): number {
    return this.#auditGeneration;
  }

  set auditGeneration(generation: number) {
    this.#tombstones.clear();
    this.#auditGeneration = generation;
  }

  /** The audit calls this after each read of its dump: tombstones older than two reads go. */
  auditRead(): void {
    this.#tombstones.advance();
  }

  /** Makes the slot a tombstone that the running audit needs; remove() will not free it before auditRead() does. */
  keepTombstone(slot: number): void {
    this.change(slot, this.slots.bits(slot) | DEAD | KEPT);
    this.slots.setShown(slot, this.#auditGeneration);
    this.#tombstones.add(slot);
  }

  /** Slots in a segment. */
  segmentSize(segment: number): number {
    return this.#index.count(segment);
  }

  /** Copies the slots of a segment, in no order, to `out`, as many as fit; returns how many there are. */
  segmentSlots(segment: number, out: Int32Array): number {
    return this.#index.list(segment, out);
  }

  /** Calls `fn` for each slot of the owner in the segment, shadows and tombstones too; `fn` may change anything. */
  forEachOwnedInSegment(segment: number, owner: number, fn: (slot: number) => void): void {
    const list = this.#listSegment(segment);
    const scratch = this.#scratch;
    // Nested use gets a list of its own.
    this.#scratch = new Int32Array(0);
    for (let i = 0; i < list; i++) {
      const slot = scratch[i];
      if (this.slots.isUsed(slot) && this.owner(slot) === owner) fn(slot);
    }
    this.#scratch = scratch;
  }

  #keyHash(m: Memory, at: number): number {
    const from = (at + OFF_KEY) >>> 2;
    this.hash.words(m.u32, from, from + (keyBytes(addressBytes(m, at)) >>> 2));
    return this.hash.lo;
  }

  /** The owner's byte for slots; walks all slots in the rare case that old relabels hold every byte. */
  #rawFor(owner: number): number {
    const raw = this.owners.rawFor(owner);
    if (raw >= 0) return raw;
    for (let slot = 0; slot < this.slots.limit; slot++) {
      if (this.isUsed(slot)) this.slots.setRawOwner(slot, this.owners.retag(this.slots.rawOwner(slot)));
    }
    return this.owners.rawFor(owner);
  }

  #insertAgain(slot: number, m: Memory, at: number, bits: number): number {
    if (!this.setRecord(slot, m, at)) return -1;
    const before = this.bits(slot);
    // Cleared first, so that the slot becomes visible the usual way. What is queued stays queued.
    if ((bits & SHADOW) === 0 && (before & SHADOW) !== 0) {
      this.clearBits(slot, SHADOW);
      copyId(m, at, this.memory, this.recordAt(slot));
    }
    const kernel = (bits & SHADOW) === 0 ? this.bits(slot) & KERNEL : 0;
    this.change(slot, (before & (MANAGED_BITS | DIRTY)) | (bits & ~MANAGED_BITS) | kernel);
    return slot;
  }

  /**
   * The visible slot becomes a shadow; returns the KERNEL bit that it gives up. A peer's flow of which its stream no
   * longer speaks was there for the kernel alone: as a shadow it would be nobody's, and come back when it is one no more.
   */
  #hide(slot: number): number {
    const bits = this.bits(slot);
    this.change(slot, (bits | SHADOW) & ~KERNEL);
    const isPeers = this.owner(slot) > OWNER_UNCLASSIFIED;
    if (isPeers && !this.hasImage(slot) && (bits & (PENDING | KEPT)) === 0) this.#discard(slot);
    return bits & KERNEL;
  }

  #discard(slot: number): void {
    const bits = this.bits(slot);
    const isVisible = (bits & SHADOW) === 0;
    const heir = isVisible && this.shadowsIn[this.segmentAt(slot)] > 0 ? this.#heirOf(slot) : -1;
    this.clearImage(slot);
    this.change(slot, USED);
    this.owners.countSlot(this.slots.rawOwner(slot), USED, -1);
    this.#index.delete(slot);
    const record = this.recordAt(slot);
    if (heir >= 0) {
      this.#giveId(slot, heir);
      this.#giveEnd(slot, heir, bits);
    }
    this.slab.release(record, lengthOf(this.memory, record));
    this.slots.give(slot);
    if (heir >= 0) this.change(heir, (this.bits(heir) & ~SHADOW) | (bits & KERNEL));
  }

  /** The ct id goes with the KERNEL bit: by it the flow's DESTROY is known. */
  #giveId(from: number, to: number): void {
    copyId(this.memory, this.recordAt(from), this.memory, this.recordAt(to));
  }

  /** That a flow has ended while an audit runs is known of its next visible slot, too: a row may be older (F10). */
  #giveEnd(from: number, to: number, bits: number): void {
    if ((bits & KERNEL) === 0) this.slots.setShown(to, this.slots.shown(from));
  }

  /** Which shadow of the slot's key becomes visible when the slot goes: own, then living, then dead; or -1. */
  #heirOf(slot: number): number {
    const at = this.recordAt(slot);
    let heir = -1;
    let best = 0;
    this.#index.seek(this.#keyHash(this.memory, at));
    for (let s = this.#index.next(this.memory, at); s >= 0; s = this.#index.next(this.memory, at)) {
      if (s === slot) continue;
      const rank = (this.bits(s) & DEAD) !== 0 ? 1 : this.owner(s) === OWNER_SELF ? 3 : 2;
      if (rank <= best) continue;
      best = rank;
      heir = s;
    }
    return heir;
  }

  /**
   * `slot` is about to become `twin`'s owner's: it takes the twin's record and image, and the twin goes. Returns the
   * bits it must have then. Over a tombstone that was still to be told it is a new life; and so it is where the kernel has
   * another one, which no update makes that of the twin.
   */
  #takeIn(slot: number, twin: number): number {
    const [m, at, twinAt] = [this.memory, this.recordAt(slot), this.recordAt(twin)];
    const isHeld = (this.bits(slot) & KERNEL) !== 0;
    const isOther = isHeld && (isNewLife(m, at, m, twinAt) || isBeyondUpdate(m, at, m, twinAt));
    const lo = this.imageLo(twin);
    const hi = this.imageHi(twin);
    const bits = this.bits(twin);
    this.#giveId(slot, twin);
    if ((bits & DEAD) === 0) this.setRecord(slot, this.memory, this.recordAt(twin));
    this.setChangedAt(slot, this.changedAt(twin), this.changedTime(twin));
    this.#discard(twin);
    this.setImage(slot, lo, hi);
    return (bits & (DIRTY | FRESH)) | ((bits & DEAD) !== 0 || isOther ? FRESH : 0);
  }

  #joinTwins(from: number, to: number): void {
    for (let segment = 0; segment < SEGMENTS; segment++) {
      if (this.shadowsIn[segment] === 0) continue;
      const count = this.#listSegment(segment);
      for (let i = 0; i < count; i++) {
        const slot = this.#scratch[i];
        // Of two slots with one key at least one is a shadow.
        if (!this.isUsed(slot) || !this.slots.isShadow(slot)) continue;
        const at = this.recordAt(slot);
        const owner = this.owner(slot);
        if (owner !== from && owner !== to) continue;
        const twin = this.findOwned(owner === from ? to : from, this.memory, at);
        if (twin >= 0) this.#join(owner === from ? twin : slot, owner === from ? slot : twin, to);
      }
    }
  }

  /** `kept` and `gone` are about to have one owner, `to`: `kept`, which is its already, stays. */
  #join(kept: number, gone: number, to: number): void {
    const isRevived = (this.bits(kept) & DEAD) !== 0 && (this.bits(gone) & DEAD) === 0;
    if (isRevived && this.setRecord(kept, this.memory, this.recordAt(gone))) {
      const dirty = to === OWNER_SELF ? DIRTY : 0;
      this.change(kept, (this.bits(kept) & ~DEAD) | FRESH | dirty);
    }
    const waits = this.bits(gone) & PENDING;
    this.#discard(gone);
    // A commit has either of them on its list, and takes the record that stands.
    if (waits !== 0) this.change(kept, this.bits(kept) | waits);
  }

  #letGo(slot: number): void {
    const bits = this.bits(slot) & ~KEPT;
    this.change(slot, bits);
    // What the stream has still to say (DIRTY) keeps it until the flush.
    if ((bits & DIRTY) === 0 && !this.hasImage(slot)) this.#discard(slot);
  }

  /** Fills #scratch with the slots of the segment and returns how many there are. */
  #listSegment(segment: number): number {
    const count = this.#index.count(segment);
    if (this.#scratch.length < count) this.#scratch = new Int32Array(count * 2);
    return this.#index.list(segment, this.#scratch);
  }
}
