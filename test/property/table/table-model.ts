/** The flow table in its plainest form: a list of entries, searched from end to end. */
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
} from '../../../src/table/slot-bits.js';

export interface Entry {
  slot: number;
  key: number;
  variant: number;
  owner: number;
  bits: number;
  lo: number;
  hi: number;
  /** Place in the dirty queue: larger is later. */
  queuedAt: number;
  /** Dump read at which the tombstone was kept last. */
  keptAt: number;
}

/** What flow-table.ts promises, without slots, memory or sums. Ties among heirs are settled by `visibleSlot`. */
export class TableModel {
  entries: Entry[] = [];
  auditGeneration = 0;
  #queued = 0;
  #read = 0;

  ofKey(key: number): Entry[] {
    return this.entries.filter((entry) => entry.key === key);
  }

  visible(key: number): Entry | undefined {
    return this.ofKey(key).find((entry) => (entry.bits & SHADOW) === 0);
  }

  owned(owner: number, key: number): Entry | undefined {
    return this.ofKey(key).find((entry) => entry.owner === owner);
  }

  insert(slot: number, key: number, variant: number, owner: number, bits: number): void {
    const same = this.owned(owner, key);
    if (same !== undefined) {
      same.variant = variant;
      if ((bits & SHADOW) === 0) this.clearBits(same, SHADOW);
      const stays = same.bits & (DIRTY | KEPT | ((bits & SHADOW) === 0 ? KERNEL : 0));
      this.setAll(same, stays | bits);
      return;
    }
    const visible = this.visible(key);
    const entry = { slot, key, variant, owner, bits: 0, lo: 0, hi: 0, queuedAt: 0, keptAt: 0 };
    let kernel = 0;
    if ((bits & SHADOW) === 0 && visible !== undefined) kernel = this.#hide(visible);
    this.entries.push(entry);
    this.setAll(entry, bits | kernel);
  }

  /** Sets all bits, by the rules that hold for them. */
  setAll(entry: Entry, bits: number): void {
    let next = bits;
    if (entry.owner !== OWNER_SELF) next &= ~DIRTY;
    if ((next & DEAD) === 0) next &= ~KEPT;
    if ((next & SHADOW) !== 0) next &= ~KERNEL;
    const isNewlyQueued = (next & DIRTY) !== 0 && ((entry.bits ^ next) & (DIRTY | DEAD)) !== 0;
    if (isNewlyQueued) entry.queuedAt = ++this.#queued;
    entry.bits = next;
  }

  clearBits(entry: Entry, mask: number): void {
    let kernel = 0;
    if ((entry.bits & mask & SHADOW) !== 0) {
      const visible = this.visible(entry.key);
      if (visible !== undefined) kernel = this.#hide(visible) & ~mask;
    }
    this.setAll(entry, (entry.bits & ~mask) | kernel);
  }

  remove(entry: Entry, visibleSlot: () => number): void {
    if ((entry.bits & KEPT) === 0) {
      this.discard(entry, visibleSlot);
      return;
    }
    entry.lo = 0;
    entry.hi = 0;
    this.setAll(entry, entry.bits & ~DIRTY);
  }

  discard(entry: Entry, visibleSlot: () => number): void {
    this.entries.splice(this.entries.indexOf(entry), 1);
    if ((entry.bits & SHADOW) !== 0) return;
    const rank = (e: Entry) => ((e.bits & DEAD) !== 0 ? 1 : e.owner === OWNER_SELF ? 3 : 2);
    const heirs = this.ofKey(entry.key);
    const best = Math.max(0, ...heirs.map(rank));
    const ranked = heirs.filter((heir) => rank(heir) === best);
    const heir = ranked.find((e) => e.slot === visibleSlot()) ?? ranked[0];
    if (heir !== undefined) this.setAll(heir, (heir.bits & ~SHADOW) | (entry.bits & KERNEL));
  }

  setOwner(entry: Entry, owner: number, visibleSlot: () => number): void {
    if (entry.owner === owner) return;
    const twin = this.owned(owner, entry.key);
    let inherited = 0;
    if (twin !== undefined) {
      if ((twin.bits & DEAD) === 0) entry.variant = twin.variant;
      this.discard(twin, visibleSlot);
      entry.lo = twin.lo;
      entry.hi = twin.hi;
      inherited = (twin.bits & (DIRTY | FRESH)) | ((twin.bits & DEAD) !== 0 ? FRESH : 0);
    }
    this.setAll(entry, entry.bits & ~DIRTY);
    entry.owner = owner;
    this.setAll(entry, entry.bits | inherited);
  }

  relabel(from: number, to: number, visibleSlot: (key: number) => number): void {
    if (from === to) return;
    for (const gone of this.entries.filter((entry) => entry.owner === from)) {
      const kept = this.owned(to, gone.key);
      if (kept === undefined) continue;
      if ((kept.bits & DEAD) !== 0 && (gone.bits & DEAD) === 0) {
        kept.variant = gone.variant;
        this.setAll(kept, (kept.bits & ~DEAD) | FRESH | (to === OWNER_SELF ? DIRTY : 0));
      }
      const waits = gone.bits & PENDING;
      this.discard(gone, () => visibleSlot(gone.key));
      this.setAll(kept, kept.bits | waits);
    }
    for (const entry of this.entries) {
      if (entry.owner !== from) continue;
      this.setAll(entry, entry.bits & ~DIRTY);
      entry.owner = to;
    }
  }

  /** Slots in the order in which the stream must speak of them. */
  dirtyOrder(): Entry[] {
    const queued = this.entries.filter((entry) => (entry.bits & DIRTY) !== 0);
    const isUpsert = (entry: Entry) => ((entry.bits & DEAD) === 0 ? 1 : 0);
    return queued.sort((a, b) => isUpsert(a) - isUpsert(b) || a.queuedAt - b.queuedAt);
  }

  keep(entry: Entry): void {
    this.setAll(entry, entry.bits | DEAD | KEPT);
    entry.keptAt = this.#read;
  }

  auditRead(visibleSlot: (key: number) => number): void {
    this.#read++;
    this.letGo((entry) => entry.keptAt + 2 <= this.#read, visibleSlot);
  }

  setAuditGeneration(generation: number, visibleSlot: (key: number) => number): void {
    this.letGo(() => true, visibleSlot);
    this.auditGeneration = generation;
  }

  letGo(isDue: (entry: Entry) => boolean, visibleSlot: (key: number) => number): void {
    for (const entry of this.entries.filter((e) => (e.bits & KEPT) !== 0 && isDue(e))) {
      this.setAll(entry, entry.bits & ~KEPT);
      if ((entry.bits & DIRTY) === 0 && entry.lo === 0 && entry.hi === 0) {
        this.discard(entry, () => visibleSlot(entry.key));
      }
    }
  }

  #hide(entry: Entry): number {
    const kernel = entry.bits & KERNEL;
    this.setAll(entry, entry.bits | SHADOW);
    const isNobodys = entry.owner > OWNER_UNCLASSIFIED && entry.lo === 0 && entry.hi === 0;
    if (isNobodys && (entry.bits & (PENDING | KEPT)) === 0) {
      this.entries.splice(this.entries.indexOf(entry), 1);
    }
    return kernel;
  }
}
