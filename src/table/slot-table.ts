/**
 * Slots one by one: record, owner, bits, image, last change, place in the dirty queue. What is true of a single slot
 * is kept here, with the counts and sums that follow from it; what is true of a key is in flow-table.ts.
 */
import { KeyedHash } from '../flow/hash.js';
import { copyRecord, lengthOf, type Memory, OFF_KEY, OFF_TIMEOUT } from '../flow/record.js';
import { Digests } from './digests.js';
import { DirtyQueue } from './dirty-queue.js';
import { HelpedFlows } from './helped-flows.js';
import { LiveFlows } from './live-flows.js';
import { Owners } from './owners.js';
import { SEGMENTS, segmentOf } from './segment-index.js';
import { Slab } from './slab.js';
import { AGED, DEAD, DIRTY, FRESH, KEPT, KERNEL, OWNER_SELF, SHADOW, USED, YOUNG } from './slot-bits.js';
import {
  SLOT_WORDS,
  Slots,
  WORD_HASH,
  WORD_IMAGE_HI,
  WORD_IMAGE_LO,
  WORD_RECORD,
  WORD_TIME,
} from './slots.js';

/** Bits that only the table itself sets. */
export const MANAGED_BITS = USED | KEPT;
/** Bits from which counts, the queue or other bits follow. */
const FOLLOWED = DIRTY | DEAD | KEPT | SHADOW | KERNEL | FRESH;

/** The part of the flow table that needs no lookup by key. */
export abstract class SlotTable {
  readonly memory: Memory;
  readonly hash: KeyedHash;
  readonly owners = new Owners();
  readonly digests = new Digests();
  /** Flows whose sequence numbers the kernel may adjust. */
  readonly helped: HelpedFlows;
  /** Flows that are known to be live. */
  readonly live: LiveFlows;
  protected readonly slots: Slots;
  protected readonly slab: Slab;
  protected readonly dirty: DirtyQueue;
  protected readonly shadowsIn = new Uint32Array(SEGMENTS);
  protected shadows = 0;
  #kernelCount = 0;

  constructor(seed: Uint32Array, maxFlows: number, maxRecordBytes: number) {
    this.hash = new KeyedHash(seed);
    this.slots = new Slots(maxFlows);
    this.slab = new Slab(maxRecordBytes);
    this.memory = this.slab.memory;
    this.dirty = new DirtyQueue(this.slots);
    this.helped = new HelpedFlows(this.memory, this.slots.capacity);
    this.live = new LiveFlows(this.memory, this.slots.capacity);
  }

  /** Slots with KERNEL: the kernel's table as far as this node has heard. */
  get kernelCount(): number {
    return this.#kernelCount;
  }

  /** Slots in use, shadows and tombstones included. */
  get count(): number {
    return this.slots.used;
  }

  /** Slots with SHADOW. */
  get shadowCount(): number {
    return this.shadows;
  }

  /** Every slot in use has a number below this (for paced scans). */
  get slotLimit(): number {
    return this.slots.limit;
  }

  /** Most slots the table can have. */
  get capacity(): number {
    return this.slots.capacity;
  }

  /** Bytes of the blocks that hold records. */
  get recordBytes(): number {
    return this.slab.usedBytes;
  }

  isUsed(slot: number): boolean {
    return this.slots.isUsed(slot);
  }

  /** Offset of the slot's record in `memory`; valid until the slot's record is set or the slot is removed. */
  recordAt(slot: number): number {
    return this.slots.words[slot * SLOT_WORDS + WORD_RECORD];
  }

  /** Segment of the slot's key. */
  segmentAt(slot: number): number {
    return segmentOf(this.slots.words[slot * SLOT_WORDS + WORD_HASH]);
  }

  /** Fine scope of the slot's key: the top 18 bits of its hash. */
  fineAt(slot: number): number {
    return this.slots.words[slot * SLOT_WORDS + WORD_HASH] >>> 14;
  }

  /** Replaces the slot's record by one with the same key and any length; false if memory is full. */
  setRecord(slot: number, m: Memory, at: number): boolean {
    const word = slot * SLOT_WORDS + WORD_RECORD;
    const old = this.slots.words[word];
    const oldLength = lengthOf(this.memory, old);
    const length = lengthOf(m, at);
    const stamp = this.memory.u32[(old + OFF_TIMEOUT) >>> 2];
    let record = old;
    if (!Slab.isSameClass(length, oldLength)) {
      record = this.slab.allocate(length);
      if (record === 0) return false;
    }
    copyRecord(m, at, this.memory, record);
    if ((this.slots.bits(slot) & KEPT) !== 0) this.memory.u32[(record + OFF_TIMEOUT) >>> 2] = stamp;
    if (record !== old) {
      this.slots.words[word] = record;
      this.slab.release(old, oldLength);
    }
    this.helped.note(slot, record);
    this.live.note(slot, record);
    return true;
  }

  owner(slot: number): number {
    return this.owners.ofRaw(this.slots.rawOwner(slot));
  }

  /** True if the flow was taken over from this run of a node's kernel, which may ask for it back, and has not changed since. */
  isFrom(slot: number, node: string, bootId: string): boolean {
    return this.owners.origins.isFrom(this.slots.rawOwner(slot), node, bootId, this.changedAt(slot));
  }

  /** The frame of the own stream after which the flow was taken over; -1: it was not. */
  takenAt(slot: number): number {
    return this.owners.origins.takenAt(this.slots.rawOwner(slot));
  }

  /** The owner has the very flow of this own slot: when it is taken over, the flow counts as taken from it. */
  shareWith(slot: number, owner: number): void {
    const raw = this.owners.rawSharedWith(owner);
    if (raw < 0) return;
    this.owners.countSlot(this.slots.rawOwner(slot), this.slots.bits(slot), -1);
    this.slots.setRawOwner(slot, raw);
    this.owners.countSlot(raw, this.slots.bits(slot), 1);
  }

  /** Flows of the owner, tombstones not counted; with `visible` shadows are not counted either. */
  countOf(owner: number, options?: { readonly visible?: boolean }): number {
    return options?.visible ? this.owners.visibleFlows(owner) : this.owners.flows(owner);
  }

  bits(slot: number): number {
    return this.slots.bits(slot);
  }

  setBits(slot: number, mask: number): void {
    this.change(slot, this.slots.bits(slot) | (mask & ~MANAGED_BITS));
  }

  /** Clears bits, SHADOW not among them, and sets others, in one go. */
  changeBits(slot: number, clear: number, set: number): void {
    this.change(slot, (this.slots.bits(slot) & ~(clear & ~MANAGED_BITS)) | (set & ~MANAGED_BITS));
  }

  /** The lanes of the image's hash, int32 as KeyedHash gives them. */
  imageLo(slot: number): number {
    return this.slots.words[slot * SLOT_WORDS + WORD_IMAGE_LO] | 0;
  }

  imageHi(slot: number): number {
    return this.slots.words[slot * SLOT_WORDS + WORD_IMAGE_HI] | 0;
  }

  /** True if the owner's stream has said something about the flow. */
  hasImage(slot: number): boolean {
    return (this.imageLo(slot) | this.imageHi(slot)) !== 0;
  }

  /** Notes what the owner's stream has said (the hash of it); 0/0 is clearImage. The sums follow. */
  setImage(slot: number, lo: number, hi: number): void {
    const at = slot * SLOT_WORDS;
    const words = this.slots.words;
    const segment = this.segmentAt(slot);
    const owner = this.owner(slot);
    if (this.hasImage(slot)) {
      this.digests.subtract(owner, segment, this.imageLo(slot), this.imageHi(slot));
    }
    words[at + WORD_IMAGE_LO] = lo;
    words[at + WORD_IMAGE_HI] = hi;
    if ((lo | hi) !== 0) {
      this.digests.add(owner, segment, lo, hi);
    }
  }

  clearImage(slot: number): void {
    this.setImage(slot, 0, 0);
  }

  /** Hashes the slot's record as it is now into hash.lo and hash.hi; never 0/0. */
  currentHash(slot: number): void {
    const at = this.recordAt(slot);
    this.hash.words(this.memory.u32, (at + OFF_KEY) >>> 2, (at + lengthOf(this.memory, at)) >>> 2);
    if ((this.hash.lo | this.hash.hi) === 0) this.hash.lo = 1;
  }

  /** Sequence at which the last change was said, as setChangedAt noted it. */
  changedAt(slot: number): number {
    return this.slots.sequence(slot);
  }

  /** Time of the last change, seconds. */
  changedTime(slot: number): number {
    return this.slots.words[slot * SLOT_WORDS + WORD_TIME];
  }

  setChangedAt(slot: number, sequence: number, timeS: number): void {
    this.slots.setSequence(slot, sequence);
    this.slots.words[slot * SLOT_WORDS + WORD_TIME] = timeS;
  }

  setChangedTime(slot: number, timeS: number): void {
    this.slots.words[slot * SLOT_WORDS + WORD_TIME] = timeS;
  }

  /** Queues an own slot, once; does nothing for a slot of another owner. */
  markDirty(slot: number): void {
    this.setBits(slot, DIRTY);
  }

  /** Slots in the dirty queue. */
  get dirtyCount(): number {
    return this.dirty.count;
  }

  /** Takes the next slot out of the dirty queue (clears DIRTY), tombstones first; -1 if it is empty. */
  nextDirty(): number {
    const slot = this.dirty.peek();
    if (slot >= 0) this.change(slot, this.slots.bits(slot) & ~DIRTY);
    return slot;
  }

  /** Generation (1..255) of the last audit that was shown the flow: dumped, or an event, or written by us. */
  shown(slot: number): number {
    return this.slots.shown(slot);
  }

  setShown(slot: number, generation: number): void {
    this.slots.setShown(slot, generation);
  }

  /** Sets the slot's bits to `next` and lets counts and queue follow. */
  protected change(slot: number, next: number): void {
    const before = this.slots.bits(slot);
    // A commit sets and clears the others a million times.
    if (((before ^ next) & FOLLOWED) === 0) {
      this.slots.setBits(slot, next);
      return;
    }
    if ((next & DIRTY) !== 0 && this.owner(slot) !== OWNER_SELF) next &= ~DIRTY;
    if ((next & DEAD) === 0) next &= ~KEPT;
    if ((next & SHADOW) !== 0) next &= ~KERNEL;
    // Another life: its age begins again.
    if ((~before & next & (FRESH | DEAD)) !== 0) next &= ~(YOUNG | AGED);
    const changed = before ^ next;
    if (changed === 0) return;
    const moves = (changed & (DIRTY | DEAD)) !== 0;
    if (moves && (before & DIRTY) !== 0) this.dirty.delete(slot);
    if ((changed & (DEAD | SHADOW | KERNEL)) !== 0) {
      const raw = this.slots.rawOwner(slot);
      this.owners.countBits(raw, before, -1);
      this.owners.countBits(raw, next, 1);
    }
    if ((changed & KERNEL) !== 0) this.#kernelCount += (next & KERNEL) !== 0 ? 1 : -1;
    if ((changed & SHADOW) !== 0) {
      const by = (next & SHADOW) !== 0 ? 1 : -1;
      this.shadows += by;
      this.shadowsIn[this.segmentAt(slot)] += by;
    }
    this.slots.setBits(slot, next);
    if (moves && (next & DIRTY) !== 0) this.dirty.add(slot);
  }
}
