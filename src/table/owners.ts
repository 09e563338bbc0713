/**
 * Owners of slots: (node, incarnation) pairs under small numbers, and the raw bytes that stand in slots for them.
 *
 * An owner's slots may carry several raw bytes: relabelling a million slots is one assignment here (the bytes of
 * `from` now mean `to`). A raw byte is used again only when no slot carries it.
 */
import { OWNERS_MAX } from '../limits.js';
import { Origins, type Taking } from './origins.js';
import { DEAD, KERNEL, OWNER_SELF, OWNER_UNCLASSIFIED, SHADOW } from './slot-bits.js';

const RAWS = 256;

/** A limit of limits.ts was reached. */
export class LimitError extends Error {
  override readonly name = 'LimitError';
}

interface Identity {
  readonly node: string;
  readonly incarnation: Uint8Array;
}

const isEqual = (a: Uint8Array, b: Uint8Array): boolean =>
  a.length === b.length && a.every((byte, i) => byte === b[i]);

/** The owners of one table. Numbers 0 and 1 are self and unclassified; others come and go. */
export class Owners {
  /** Called when an owner's number is free again. */
  onRelease: (owner: number) => void = () => undefined;
  /** Where slots come from that were taken over, by their bytes. */
  readonly origins = new Origins(RAWS);
  readonly #identities: (Identity | undefined)[] = [undefined, undefined];
  readonly #ownerOfRaw = new Uint8Array(RAWS);
  /** The byte that new slots of an owner get; -1: none yet. */
  readonly #rawOfOwner = new Int16Array(RAWS).fill(-1);
  readonly #slotsOfRaw = new Uint32Array(RAWS);
  readonly #flows = new Uint32Array(RAWS);
  readonly #visible = new Uint32Array(RAWS);
  readonly #slots = new Uint32Array(RAWS);
  readonly #kernel = new Uint32Array(RAWS);

  /** A number for the pair (its old one if it is known). Throws a LimitError when OWNERS_MAX are known. */
  add(node: string, incarnation: Uint8Array): number {
    const known = this.find(node, incarnation);
    if (known >= 0) return known;
    for (let owner = OWNER_UNCLASSIFIED + 1; owner < OWNERS_MAX; owner++) {
      if (this.#identities[owner] !== undefined) continue;
      this.#identities[owner] = { node, incarnation: Uint8Array.from(incarnation) };
      return owner;
    }
    throw new LimitError(`table: ${OWNERS_MAX} owners are known, no room for ${node}`);
  }

  /** Number of the pair, or -1. */
  find(node: string, incarnation: Uint8Array): number {
    for (let owner = OWNER_UNCLASSIFIED + 1; owner < this.#identities.length; owner++) {
      const identity = this.#identities[owner];
      if (identity?.node === node && isEqual(identity.incarnation, incarnation)) return owner;
    }
    return -1;
  }

  /** Forgets the owner; false (and nothing happens) while slots belong to it or for self and unclassified. */
  release(owner: number): boolean {
    if (owner <= OWNER_UNCLASSIFIED || this.#slots[owner] !== 0) return false;
    this.#identities[owner] = undefined;
    this.#rawOfOwner[owner] = -1;
    this.onRelease(owner);
    return true;
  }

  /** Node name of an owner; undefined for self, unclassified and unknown numbers. */
  node(owner: number): string | undefined {
    return this.#identities[owner]?.node;
  }

  /** Incarnation of an owner; undefined for self, unclassified and unknown numbers. */
  incarnation(owner: number): Uint8Array | undefined {
    return this.#identities[owner]?.incarnation;
  }

  isKnown(owner: number): boolean {
    return owner === OWNER_SELF || owner === OWNER_UNCLASSIFIED || this.#identities[owner] !== undefined;
  }

  /** Numbers of all owners but self and unclassified. */
  list(): number[] {
    const known: number[] = [];
    for (let owner = 2; owner < this.#identities.length; owner++) {
      if (this.#identities[owner] !== undefined) known.push(owner);
    }
    return known;
  }

  /** Flows of the owner: tombstones are not counted, shadows are. */
  flows(owner: number): number {
    return this.#flows[owner];
  }

  /** Flows of the owner that are neither tombstones nor shadows. */
  visibleFlows(owner: number): number {
    return this.#visible[owner];
  }

  /** Flows of the owner that this node's kernel has. */
  kernelFlows(owner: number): number {
    return this.#kernel[owner];
  }

  /** Slots of the owner, tombstones and shadows included. */
  slots(owner: number): number {
    return this.#slots[owner];
  }

  /** The owner that a slot's byte stands for. */
  ofRaw(raw: number): number {
    return this.#ownerOfRaw[raw];
  }

  /** The byte for new slots of the owner, or -1 if all are taken: compact the slots' bytes, then ask again. */
  rawFor(owner: number): number {
    const raw = this.#rawOfOwner[owner];
    return raw >= 0 ? raw : this.#chooseRaw(owner);
  }

  /** Counts a slot in (`by` 1) or out (-1). */
  countSlot(raw: number, bits: number, by: number): void {
    this.#slotsOfRaw[raw] += by;
    this.#slots[this.#ownerOfRaw[raw]] += by;
    this.countBits(raw, bits, by);
  }

  /** Counts in (`by` 1) or out (-1) what the bits of a slot say about it. */
  countBits(raw: number, bits: number, by: number): void {
    if ((bits & DEAD) !== 0) return;
    const owner = this.#ownerOfRaw[raw];
    this.#flows[owner] += by;
    if ((bits & SHADOW) === 0) this.#visible[owner] += by;
    if ((bits & KERNEL) !== 0) this.#kernel[owner] += by;
  }

  /** All slots of `from` belong to `to` from now on. `from` stays known, without slots. */
  relabel(from: number, to: number, taking?: Taking): void {
    for (let raw = 0; raw < RAWS; raw++) {
      const owner = this.#ownerOfRaw[raw];
      if (owner === from) this.#ownerOfRaw[raw] = to;
      if (taking === undefined) continue;
      if (owner === from) this.origins.taken(raw, taking);
      else if (owner === to && this.origins.isSharedWith(raw, from)) this.origins.shared(raw, taking.origin);
    }
    // What `to` has of its own must not look as if it had been taken over.
    if (this.#rawOfOwner[to] < 0 && taking === undefined) this.#rawOfOwner[to] = this.#rawOfOwner[from];
    this.#rawOfOwner[from] = -1;
    for (const counts of [this.#flows, this.#visible, this.#slots, this.#kernel]) {
      counts[to] += counts[from];
      counts[from] = 0;
    }
  }

  /**
   * The byte for own slots of which `from` has the very same, so that they count as taken over from it when it is; or -1 if
   * all bytes are taken.
   */
  rawSharedWith(from: number): number {
    for (let raw = 0; raw < RAWS; raw++) {
      if (this.#ownerOfRaw[raw] === OWNER_SELF && this.origins.isSharedWith(raw, from)) return raw;
    }
    const raw = this.#freeRaw();
    if (raw < 0) return -1;
    this.#ownerOfRaw[raw] = OWNER_SELF;
    this.origins.clear(raw, from);
    return raw;
  }

  /** True if own slots may have come from this run of a node's kernel. */
  hasFrom(node: string, bootId: string): boolean {
    for (let raw = 0; raw < RAWS; raw++) {
      if (this.#ownerOfRaw[raw] !== OWNER_SELF || this.#slotsOfRaw[raw] === 0) continue;
      if (this.origins.mayBeFrom(raw, node, bootId)) return true;
    }
    return false;
  }

  /** The byte that a slot with this byte should carry instead, so that old bytes come free; counts it over. Where it came from is forgotten. */
  retag(raw: number): number {
    const owner = this.#ownerOfRaw[raw];
    if (this.#rawOfOwner[owner] < 0) {
      this.#rawOfOwner[owner] = raw;
      this.origins.clear(raw);
    }
    const current = this.#rawOfOwner[owner];
    this.#slotsOfRaw[raw]--;
    this.#slotsOfRaw[current]++;
    return current;
  }

  #chooseRaw(owner: number): number {
    const raw = this.#freeRaw();
    if (raw < 0) return -1;
    this.#ownerOfRaw[raw] = owner;
    this.#rawOfOwner[owner] = raw;
    this.origins.clear(raw);
    return raw;
  }

  #freeRaw(): number {
    for (let raw = 0; raw < RAWS; raw++) {
      if (this.#slotsOfRaw[raw] === 0 && this.#rawOfOwner[this.#ownerOfRaw[raw]] !== raw) return raw;
    }
    return -1;
  }
}
