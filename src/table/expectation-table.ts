/**
 * The expectations that a node knows of, by owner and key: its own, and the replicas of its peers'. They are few, so
 * maps and small objects are fine here; EXPECTATIONS_MAX bounds each owner's.
 *
 * As with flows an entry has an image: the hash of what its owner's stream has said. Per owner count and sum of the
 * images are kept, so a MARK costs nothing. Own entries that changed are queued; one that ended stays, without a
 * record, until the stream has said so.
 */
import {
  cloneExpectation,
  EXP_OFF_CLASS,
  EXP_OFF_KEY,
  expectationBytes,
  expectationKey,
  expectationsEqual,
  writeMasterKey,
} from '../flow/expectation.js';
import { KeyedHash } from '../flow/hash.js';
import { addressBytes, allocateMemory, keyBytes, type Memory, OFF_KEY } from '../flow/record.js';
import { EXPECTATIONS_MAX } from '../limits.js';
import { OWNER_SELF } from './slot-bits.js';

/** One expectation of one owner. */
export interface ExpectationEntry {
  readonly key: string;
  /** The packed expectation at 0; of an entry that has ended, its last one. */
  record: Memory;
  owner: number;
  /** Not ended. */
  isLive: boolean;
  /** What the owner's stream has said; both 0: nothing. */
  imageLo: number;
  imageHi: number;
  /** Hash of the master's key, to find the entries of a master. */
  readonly master: number;
  /** Number of the run or audit that named it last. */
  shown: number;
  /** When its owner told of it, seconds of this node's clock; 0: not noted. */
  heardS: number;
}

interface Holding {
  readonly entries: Map<string, ExpectationEntry>;
  live: number;
  /** Count and sum of the images. */
  count: number;
  lo: number;
  hi: number;
}

const NONE: ReadonlyMap<string, ExpectationEntry> = new Map();

export class ExpectationTable {
  /** Entries of all owners. */
  size = 0;
  /** Sum of the owner that `sum` was asked for. */
  count = 0;
  lo = 0;
  hi = 0;
  readonly #hash: KeyedHash;
  readonly #max: number;
  readonly #holdings = new Map<number, Holding>();
  readonly #byMaster = new Map<number, Set<ExpectationEntry>>();
  /** Own entries that the stream has not said as they are, and ended ones that it has not taken back; in order. */
  readonly dirty = new Set<ExpectationEntry>();
  readonly ended = new Set<ExpectationEntry>();
  readonly #masterKey = allocateMemory(64);
  readonly #siblingsMaster = allocateMemory(64);

  constructor(seed: Uint32Array, max = EXPECTATIONS_MAX) {
    this.#hash = new KeyedHash(seed);
    this.#max = max;
  }

  /** Owners that have, or had, any. */
  owners(): number[] {
    return [...this.#holdings.keys()];
  }

  /** Live expectations of the owner. */
  countOf(owner: number): number {
    return this.#holdings.get(owner)?.live ?? 0;
  }

  /** Fills count, lo and hi with those of the owner's image. */
  sum(owner: number): void {
    const holding = this.#holdings.get(owner);
    this.count = holding?.count ?? 0;
    this.lo = holding?.lo ?? 0;
    this.hi = holding?.hi ?? 0;
  }

  /** The owner's entry with the key of this expectation, ended ones included. */
  find(owner: number, m: Memory, at: number): ExpectationEntry | undefined {
    return this.#holdings.get(owner)?.entries.get(expectationKey(m, at));
  }

  /** All entries of the owner, ended ones included; the list is the caller's. */
  list(owner: number): ExpectationEntry[] {
    return [...(this.#holdings.get(owner)?.entries.values() ?? [])];
  }

  /** The same one by one: what is added while it is walked comes too, what is removed does not. */
  each(owner: number): Iterator<ExpectationEntry> {
    return (this.#holdings.get(owner)?.entries ?? NONE).values();
  }

  /**
   * The owner has this expectation. An own one is queued if the stream has not said it so; a peer's is what its
   * stream says. Undefined if there is no room. `heardS`: when it was told, for what is left of its timeout.
   */
  put(owner: number, m: Memory, at: number, heardS = 0): ExpectationEntry | undefined {
    const known = this.find(owner, m, at);
    const entry = known ?? this.#add(owner, m, at);
    if (entry === undefined) return undefined;
    const isSame = expectationsEqual(entry.record, 0, m, at);
    if (!isSame || !entry.isLive) {
      if (!entry.isLive) this.#holding(owner).live++;
      entry.isLive = true;
    }
    // The timeout too, which is not part of the comparison.
    if (known !== undefined) entry.record = cloneExpectation(m, at);
    entry.heardS = heardS;
    if (owner === OWNER_SELF) this.#queue(entry);
    else this.setImage(entry);
    return entry;
  }

  /** The owner no longer has it: it is gone, or of an own one that the stream has spoken of it is to be said. */
  end(entry: ExpectationEntry): void {
    if (!entry.isLive) return;
    if (entry.owner !== OWNER_SELF || !hasImage(entry)) {
      this.remove(entry);
      return;
    }
    entry.isLive = false;
    this.#holding(entry.owner).live--;
    this.#queue(entry);
  }

  /** Forgets the entry, and takes its image out of the sums. */
  remove(entry: ExpectationEntry): void {
    const holding = this.#holding(entry.owner);
    if (holding.entries.get(entry.key) !== entry) return;
    this.#count(entry, -1);
    if (entry.isLive) holding.live--;
    entry.isLive = false;
    holding.entries.delete(entry.key);
    this.dirty.delete(entry);
    this.ended.delete(entry);
    const siblings = this.#byMaster.get(entry.master);
    siblings?.delete(entry);
    if (siblings?.size === 0) this.#byMaster.delete(entry.master);
    this.size--;
  }

  /** Notes that the owner's stream has said the record as it is. */
  setImage(entry: ExpectationEntry): void {
    this.dirty.delete(entry);
    this.#count(entry, -1);
    const { record } = entry;
    this.#hash.words(record.u32, EXP_OFF_KEY >>> 2, expectationBytes(record, 0) >>> 2);
    entry.imageLo = this.#hash.lo;
    entry.imageHi = this.#hash.hi;
    this.#count(entry, 1);
  }

  /** Forgets what the stream has said: an own entry that lives is queued again. */
  clearImage(entry: ExpectationEntry): void {
    this.#count(entry, -1);
    entry.imageLo = 0;
    entry.imageHi = 0;
    if (!entry.isLive) this.remove(entry);
    else if (entry.owner === OWNER_SELF) this.dirty.add(entry);
  }

  /** Entries of which the stream has to speak. */
  get dirtyCount(): number {
    return this.dirty.size + this.ended.size;
  }

  /** True if the record is what the stream has said. */
  isSaid(entry: ExpectationEntry): boolean {
    const { record } = entry;
    this.#hash.words(record.u32, EXP_OFF_KEY >>> 2, expectationBytes(record, 0) >>> 2);
    return this.#hash.lo === entry.imageLo && this.#hash.hi === entry.imageHi;
  }

  /** The owner's flow at `at` has ended: so have its expectations. */
  masterEnded(owner: number, m: Memory, at: number): void {
    if (this.size === 0) return;
    const siblings = this.#byMaster.get(this.#masterHash(m, at));
    if (siblings === undefined) return;
    for (const entry of [...siblings]) {
      if (entry.owner === owner && this.#isMaster(entry, m, at)) this.end(entry);
    }
  }

  /** True if this node's kernel, and no peer, has told of another live one of the same master and class. */
  hasToldOfSibling(m: Memory, at: number): boolean {
    // A key of its own: #isMaster writes each entry's into the other.
    const master = this.#siblingsMaster;
    writeMasterKey(m, at, master);
    const key = expectationKey(m, at);
    const siblings = this.#byMaster.get(this.#masterHash(master, 0)) ?? [];
    for (const entry of siblings) {
      if (entry.owner !== OWNER_SELF || !entry.isLive || entry.heardS !== 0 || entry.key === key) continue;
      const isSameClass = entry.record.u8[EXP_OFF_CLASS] === m.u8[at + EXP_OFF_CLASS];
      if (isSameClass && this.#isMaster(entry, master, 0)) return true;
    }
    return false;
  }

  /** All of `from` belongs to `to` from now on. Where both have a key, `to`'s word stands. */
  relabel(from: number, to: number): void {
    if (from === to) return;
    for (const entry of this.list(from)) this.move(entry, to);
    this.#holdings.delete(from);
  }

  /** Gives an entry to another owner, its image with it, unless that owner has the key: then its own stands. */
  move(entry: ExpectationEntry, to: number): void {
    const rival = this.#holdings.get(to)?.entries.get(entry.key);
    // An ended one is no word: the expectation lives on, and what was said of the ended one is its image.
    if (rival !== undefined && !rival.isLive && entry.isLive) {
      this.put(to, entry.record, 0, entry.heardS);
      this.remove(entry);
      return;
    }
    if (rival !== undefined || (!entry.isLive && to !== OWNER_SELF)) {
      this.remove(entry);
      return;
    }
    const from = this.#holding(entry.owner);
    this.#count(entry, -1);
    from.entries.delete(entry.key);
    this.dirty.delete(entry);
    this.ended.delete(entry);
    if (entry.isLive) from.live--;
    entry.owner = to;
    entry.shown = 0;
    const holding = this.#holding(to);
    holding.entries.set(entry.key, entry);
    if (entry.isLive) holding.live++;
    this.#count(entry, 1);
    if (to === OWNER_SELF && !this.isSaid(entry)) this.dirty.add(entry);
    else if (to !== OWNER_SELF && !hasImage(entry)) this.setImage(entry);
  }

  /** Forgets all that the owner had. */
  drop(owner: number): void {
    for (const entry of this.list(owner)) this.remove(entry);
    this.#holdings.delete(owner);
  }

  #add(owner: number, m: Memory, at: number): ExpectationEntry | undefined {
    if (this.#holding(owner).entries.size >= this.#max) return undefined;
    writeMasterKey(m, at, this.#masterKey);
    const entry: ExpectationEntry = {
      key: expectationKey(m, at),
      record: cloneExpectation(m, at),
      owner,
      isLive: true,
      imageLo: 0,
      imageHi: 0,
      master: this.#masterHash(this.#masterKey, 0),
      shown: 0,
      heardS: 0,
    };
    const holding = this.#holding(owner);
    holding.entries.set(entry.key, entry);
    holding.live++;
    const siblings = this.#byMaster.get(entry.master);
    if (siblings === undefined) this.#byMaster.set(entry.master, new Set([entry]));
    else siblings.add(entry);
    this.size++;
    return entry;
  }

  #holding(owner: number): Holding {
    let holding = this.#holdings.get(owner);
    if (holding === undefined) {
      holding = { entries: new Map(), live: 0, count: 0, lo: 0, hi: 0 };
      this.#holdings.set(owner, holding);
    }
    return holding;
  }

  #queue(entry: ExpectationEntry): void {
    if (!entry.isLive) {
      this.dirty.delete(entry);
      this.ended.add(entry);
      return;
    }
    this.ended.delete(entry);
    // What ended and came again as it was (a helper announces twice) need not be said.
    if (this.isSaid(entry)) this.dirty.delete(entry);
    else this.dirty.add(entry);
  }

  /** Counts the entry's image in (1) or out (-1). */
  #count(entry: ExpectationEntry, by: number): void {
    if (!hasImage(entry)) return;
    const holding = this.#holding(entry.owner);
    holding.count += by;
    holding.lo = (holding.lo + by * entry.imageLo) >>> 0;
    holding.hi = (holding.hi + by * entry.imageHi) >>> 0;
  }

  #masterHash(m: Memory, at: number): number {
    const from = (at + OFF_KEY) >>> 2;
    this.#hash.words(m.u32, from, from + (keyBytes(addressBytes(m, at)) >>> 2));
    return this.#hash.lo | 0;
  }

  #isMaster(entry: ExpectationEntry, m: Memory, at: number): boolean {
    writeMasterKey(entry.record, 0, this.#masterKey);
    const words = keyBytes(addressBytes(m, at)) >>> 2;
    const [a, b] = [OFF_KEY >>> 2, (at + OFF_KEY) >>> 2];
    for (let i = 0; i < words; i++) if (this.#masterKey.u32[a + i] !== m.u32[b + i]) return false;
    return true;
  }
}

/** True if the owner's stream has spoken of the entry. */
export const hasImage = (entry: ExpectationEntry): boolean => (entry.imageLo | entry.imageHi) !== 0;
