/** What a running node does beside its jobs to be a good backup: hot standby, and the purge. */
import { HeldHelped } from '../failover/held-helped.js';
import { HotStandby } from '../failover/hot-standby.js';
import type { SourceView } from '../failover/ports.js';
import { hotSource } from '../failover/sources.js';
import { PURGE_AFTER_DEFAULT_MS } from '../limits.js';
import { DEAD, OWNER_UNCLASSIFIED, TOUCHED } from '../table/slot-bits.js';
import type { Core } from './core.js';
import { PRIORITY_CHANGE } from './jobs.js';
import { Purger } from './purger.js';

/** Slots classified in one turn. */
const SLOTS_PER_TURN = 4096;

export class Standby {
  /** Undefined: cold. */
  readonly hot: HotStandby | undefined;
  readonly purger: Purger;
  readonly #core: Core;
  /** Cold only: hot creates such flows anew, and keeps their sequence adjustment in step. */
  readonly #helped: HeldHelped | undefined;
  readonly #hasProvenPrimary = (): boolean => this.livePrimary()?.isProven === true;
  #classifiedTo = 0;

  constructor(core: Core) {
    this.#core = core;
    this.purger = new Purger(core, core.options.purgeAfterMs ?? PURGE_AFTER_DEFAULT_MS);
    if (core.options.standby !== 'hot') this.#helped = new HeldHelped(core.commitParts);
    if (core.options.standby !== 'hot') return;
    this.hot = new HotStandby({
      ...core.commitParts,
      sources: () => core.stream.sources(),
      role: () => core.role,
      kernelMaximum: () => core.ports.kernelMaximum?.() ?? 0,
    });
  }

  /** It has something to do now, though nothing came, and needs the events for that. */
  isAtWork(now: number): boolean {
    const isDeleting = this.#helped?.isWaiting ?? false;
    return isDeleting || now >= this.purger.dueAt || (this.hot?.isAtWork(now) ?? false);
  }

  /** Something was begun that goes on when the event queue was read to empty. */
  get isWaiting(): boolean {
    return (
      this.purger.dueAt === Number.NEGATIVE_INFINITY ||
      (this.hot?.isWaiting ?? this.#helped?.isWaiting ?? false)
    );
  }

  /** When `clear` or `step` has something to do. */
  dueAt(now: number): number {
    const helpedAt = this.#core.role === 'primary' ? undefined : this.#helped?.dueAt(now);
    const hotAt = this.hot?.dueAt(now) ?? Number.POSITIVE_INFINITY;
    return Math.min(helpedAt ?? Number.POSITIVE_INFINITY, hotAt, Math.max(now, this.purger.dueAt));
  }

  /**
   * Hot: what the first dump found and a live, proven primary does not have was left over by an earlier run of this
   * node, unless packets of it have passed since. It is held by that primary, without a word of it, and goes the way of
   * all such: nothing of it becomes own and is streamed back. True when all were looked at.
   */
  classify(): boolean {
    const { table, role } = this.#core;
    if (this.hot === undefined || role === 'primary') return true;
    const heir = this.livePrimary();
    if (!heir?.isProven || table.countOf(OWNER_UNCLASSIFIED) === 0) return true;
    const end = Math.min(table.slotLimit, this.#classifiedTo + SLOTS_PER_TURN);
    for (; this.#classifiedTo < end; this.#classifiedTo++) this.#classifySlot(this.#classifiedTo, heir.owner);
    return this.#classifiedTo >= table.slotLimit;
  }

  #classifySlot(slot: number, heir: number): void {
    const { table } = this.#core;
    if (!table.isUsed(slot) || table.owner(slot) !== OWNER_UNCLASSIFIED) return;
    if ((table.bits(slot) & (DEAD | TOUCHED)) !== 0) return;
    table.clearImage(slot);
    table.setOwner(slot, heir);
  }

  /** The primary that is heard, if there is one. */
  livePrimary(): SourceView | undefined {
    const source = hotSource(this.#core.stream.sources());
    return source?.isAlive && source.role === 'primary' ? source : undefined;
  }

  /** What time does; to be called every few milliseconds. */
  tick(now: number): void {
    this.purger.watch(now);
  }

  /** At every turn: what must not stay in a backup's kernel. */
  clear(now: number): void {
    const isChanging = this.#isChanging;
    // Also where it was stopped before anybody looked at the role again: what the kernel has may be another life now.
    if (isChanging) this.purger.cancel();
    if (this.#core.role === 'primary' || isChanging) this.#helped?.clear();
    else this.#helped?.step(now, this.#hasProvenPrimary);
  }

  get #isChanging(): boolean {
    const job = this.#core.jobs.current;
    return this.#core.state !== 'ready' || (job !== undefined && job.priority >= PRIORITY_CHANGE);
  }

  /** One slice, after the event queue was read to empty. A change of role goes before, and so does a start. */
  step(now: number): 'more' | 'wait' | 'idle' {
    if (this.#isChanging) return 'idle';
    this.purger.step(now);
    const hot = this.hot?.step(now) ?? 'idle';
    return hot === 'idle' && this.isWaiting ? 'wait' : hot;
  }
}
