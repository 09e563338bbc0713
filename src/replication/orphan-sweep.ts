/**
 * Removes what a former incarnation of a backup left here after its machine was booted again: its kernel
 * forgot these flows, and nobody takes over a backup's own. It begins when the new incarnation's replica is
 * proven, and is paced. (What a former primary left is a source of a promote, and is never swept.)
 */
import { SEGMENTS } from '../wire/ops.js';
import { applyDelete } from './ownership.js';
import type { Peer } from './peer.js';
import type { Self } from './self.js';

/** Segments a tick. */
const STEP_SEGMENTS = 32;
/** Former incarnations that wait; of more the oldest is left as it is. */
const ORPHANS_MAX = 16;

export class OrphanSweep {
  readonly #self: Self;
  readonly #orphans: { owner: number; heir: Peer }[] = [];
  #segment = 0;

  constructor(self: Self) {
    this.#self = self;
  }

  add(owner: number, heir: Peer): void {
    if (this.#orphans.length >= ORPHANS_MAX) this.#orphans.shift();
    this.#orphans.push({ owner, heir });
  }

  /** Something is to be swept, now or when its heir is proven. */
  get isAtWork(): boolean {
    return this.#orphans.length > 0;
  }

  tick(): void {
    const orphan = this.#orphans[0];
    if (orphan === undefined || orphan.heir.verdict !== 'proven') return;
    // A promote reads it: it may be a source after all.
    if (this.#self.isPinned(orphan.owner)) return;
    const table = this.#self.ports.table;
    const end = Math.min(this.#segment + STEP_SEGMENTS, SEGMENTS);
    for (; this.#segment < end; this.#segment++) {
      table.forEachOwnedInSegment(this.#segment, orphan.owner, (slot) => applyDelete(this.#self, slot, true));
    }
    if (this.#segment < SEGMENTS) return;
    this.#segment = 0;
    this.#orphans.shift();
    table.owners.release(orphan.owner);
  }
}
