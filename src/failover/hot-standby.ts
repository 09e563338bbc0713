/**
 * Hot standby: a backup's kernel has what the primary has, all along (PROTOCOL.md, section 6), so that a promote only
 * changes labels. Applying the primary's stream never waits for the kernel: a change puts its slot into a queue, once.
 *
 *     applied op --> want(slot) --> queue --> injector --> kernel
 *                       walk ---------^     (creates, updates; endings; conflicts)
 */
import { durableEqual, isBeyondUpdate, isNewLife } from '../flow/merge.js';
import { allocateMemory, MAX_RECORD_BYTES, type Memory, OFF_TIMEOUT } from '../flow/record.js';
import { KERNEL_CHECK_MS, REAL_TIMEOUTS_REST_SHARE } from '../limits.js';
import { DEAD, FRESH, KERNEL, PENDING, REJECTED, SHADOW, TOUCHED } from '../table/slot-bits.js';
import type { CommitParts } from './commit-work.js';
import { HeldTimes } from './held-times.js';
import { HotInjector } from './hot-injector.js';
import { HotQueue } from './hot-queue.js';
import { HotWalk } from './hot-walk.js';
import type { Role, SourceView } from './ports.js';
import { RealTimeouts } from './real-timeouts.js';
import { GO_ON, runSlice, WAIT } from './slice.js';
import { hotSource } from './sources.js';

export interface HotParts extends CommitParts {
  sources(): readonly SourceView[];
  role(): Role;
  /** Flows that the kernel has room for; 0: not known. */
  kernelMaximum(): number;
}

/** What hot standby has done and has still to do, for `status`. */
export interface HotReport {
  /** The node whose flows this kernel follows; empty: nobody's. */
  readonly source: string;
  /** Age of the oldest change that the kernel has not got; while its table is full, since when. Milliseconds. */
  readonly lagMs: number;
  /** Changes that wait. */
  readonly waiting: number;
  /** Flows of the source that this kernel has. */
  readonly held: number;
  readonly created: number;
  readonly updated: number;
  readonly replaced: number;
  readonly deleted: number;
  /** Flows that had ended here by themselves and were created again. */
  readonly reinjected: number;
  readonly refused: number;
  /** The kernel's table is full, and nothing is created. */
  readonly isFull: boolean;
}

/** Time between two looks at the peers when nothing told of a change. Milliseconds. */
const FOLLOW_INTERVAL_MS = 10;
/** What must be set for a flow to be as its record says, and what must not. */
const STEP_MASK = KERNEL | DEAD | FRESH | PENDING | REJECTED | SHADOW | TOUCHED;

export class HotStandby {
  readonly times: HeldTimes;
  readonly #parts: HotParts;
  readonly #queue: HotQueue;
  readonly #injector: HotInjector;
  readonly #walk: HotWalk;
  #source: SourceView | undefined;
  #isActive = false;
  #checkedMs = Number.NEGATIVE_INFINITY;
  #fullSinceMs = -1;
  #nowMs = 0;
  #hasMore = false;
  #realTimeouts: RealTimeouts | undefined;
  #restsUntil = 0;
  readonly #scratch = allocateMemory(MAX_RECORD_BYTES);
  /** Flows that a promote has asked for since the last step. */
  #asked = 0;
  #followedMs = Number.NEGATIVE_INFINITY;
  /** Events lost when the last audit was clean; -1: none was. */
  #lostAtAudit = -1;
  readonly #turn = (): number => this.#advance();

  constructor(parts: HotParts) {
    const { capacity } = parts.table;
    this.#parts = parts;
    this.times = new HeldTimes(capacity);
    this.#queue = new HotQueue(capacity);
    this.#injector = new HotInjector(parts, this.#queue, this.times);
    this.#walk = new HotWalk(parts.table, this.#queue, this.times, this.#injector);
  }

  /** The slot's owner has said something new of it. */
  want(slot: number): void {
    const { table } = this.#parts;
    if (!this.#isActive || table.owner(slot) !== this.#injector.source) return;
    if ((table.bits(slot) & KERNEL) === 0) this.times.forget(slot);
    this.#queue.push(slot, this.#nowMs);
  }

  /** An audit's row shows what the kernel has of a held flow, other than the record or like it. */
  seen(slot: number, m: Memory, at: number, isEqual: boolean): void {
    const { table } = this.#parts;
    this.times.seen(slot, (this.#nowMs / 1000) >>> 0, m.u32[(at + OFF_TIMEOUT) >>> 2]);
    if (isEqual || (table.bits(slot) & (TOUCHED | PENDING)) !== 0) return;
    const wanted = this.#scratch;
    this.#injector.writeWanted(slot, wanted);
    // Its master is gone: it can be no other here.
    if (durableEqual(wanted, 0, m, at)) return;
    // A life of which no event told, or what no update can do.
    if (isNewLife(m, at, wanted, 0) || isBeyondUpdate(m, at, wanted, 0)) table.setBits(slot, FRESH);
    this.want(slot);
  }

  /** The kernel's flow has this much left because it was held: no timeout of its own. Seconds. Asked of every row. */
  isGiven(slot: number, leftS: number): boolean {
    return this.times.isGiven(slot, (this.#nowMs / 1000) >>> 0, leftS);
  }

  /** An audit was clean: no event was lost while it ran, so KERNEL bits are right. */
  audited(): void {
    this.#lostAtAudit = this.#parts.kernel.eventsLost();
  }

  /** A peer has another role or verdict: whom to follow is decided anew before the next write. */
  lookAgain(): void {
    this.#followedMs = Number.NEGATIVE_INFINITY;
  }

  /** There is something to do now: a backup looks at its table all the time, a new primary has timeouts to give. */
  isAtWork(nowMs: number): boolean {
    if (this.#isActive || this.#parts.role() !== 'primary') return true;
    return this.#realTimeouts !== undefined && nowMs >= this.#restsUntil;
  }

  /** When `step` has something to do; the walk over the table can wait for the next look. */
  dueAt(nowMs: number): number {
    if (this.isWaiting) return nowMs;
    return this.#realTimeouts === undefined ? Number.POSITIVE_INFINITY : this.#restsUntil;
  }

  /** Works for one slice. To be called when the event queue was just read to empty and no change of role runs. */
  step(nowMs: number): 'more' | 'wait' | 'idle' {
    this.#nowMs = nowMs;
    this.#asked = 0;
    this.#follow(nowMs);
    if (!this.#isActive) this.#giveRealTimeouts(nowMs);
    if (!this.#isActive || this.#source === undefined) return 'idle';
    runSlice(this.#parts.clock, this.#turn);
    if (this.#hasMore) return 'more';
    return this.isWaiting ? 'wait' : 'idle';
  }

  /** Something was begun that goes on when the event queue was read to empty again. */
  get isWaiting(): boolean {
    return this.#isActive && (this.#injector.isWaiting || this.#queue.length > 0);
  }

  /** This kernel has the flow as the slot's record says, with minutes left. */
  isInStep(slot: number): boolean {
    const { table } = this.#parts;
    // Asked of each flow of a promote, and the loss counter is a system call.
    if ((this.#asked++ & 1023) === 0) this.#injector.isTrusted = this.#isTrusted;
    if (!this.#isActive || !this.#injector.isTrusted || (table.bits(slot) & STEP_MASK) !== KERNEL)
      return false;
    if (this.#queue.has(slot) || this.#injector.hasOldWindows(slot)) return false;
    return this.times.left(slot, (this.#nowMs / 1000) >>> 0) > 0;
  }

  /** It is no TCP flow from this node's last tenure, whose windows are of the past. */
  hasNewWindows(slot: number): boolean {
    return this.#isActive && !this.#injector.hasOldWindows(slot);
  }

  /** Calls `fn` for each slot whose change the kernel has not got. */
  forEachWaiting(fn: (slot: number) => void): void {
    this.#queue.forEach(fn);
  }

  get report(): HotReport {
    const { table } = this.#parts;
    const { counts, work, source } = this.#injector;
    const { committed, kept, updated, replaced, rejected } = work.report;
    return {
      source: this.#source?.node ?? '',
      lagMs: this.lagMs,
      waiting: this.#queue.length + work.queue.length,
      held: source < 0 ? 0 : table.owners.kernelFlows(source),
      created: counts.created + committed,
      updated: counts.updated + updated + kept,
      replaced: counts.replaced + replaced,
      deleted: counts.deleted,
      reinjected: this.#walk.reinjected,
      refused: Object.values(rejected).reduce((sum, n) => sum + n, 0),
      isFull: this.#fullSinceMs >= 0,
    };
  }

  /** Age of the oldest change that the kernel has not got. Milliseconds. */
  get lagMs(): number {
    const now = this.#parts.clock();
    const full = this.#fullSinceMs < 0 ? 0 : now - this.#fullSinceMs;
    return Math.max(this.#queue.oldestMs(now), full);
  }

  get #isTrusted(): boolean {
    return this.#lostAtAudit === this.#parts.kernel.eventsLost();
  }

  #advance(): number {
    this.#hasMore = this.#injector.turn(this.#nowMs) === GO_ON || this.#walk.turn(this.#nowMs);
    return this.#hasMore ? GO_ON : WAIT;
  }

  /** Whose replica is to be followed, and whether this node is one that follows. */
  #follow(nowMs: number): void {
    const isActive = this.#parts.role() !== 'primary';
    if (isActive !== this.#isActive) this.#activate(isActive);
    if (!isActive || nowMs - this.#followedMs < FOLLOW_INTERVAL_MS) return;
    this.#followedMs = nowMs;
    const source = hotSource(this.#parts.sources());
    const injector = this.#injector;
    const isOther = source?.owner !== this.#source?.owner;
    const isNewlyProven = source?.isProven === true && !injector.isProven;
    this.#source = source;
    injector.source = source?.owner ?? -1;
    injector.isProven = source?.isProven ?? false;
    injector.isTrusted = this.#isTrusted;
    if (isOther || isNewlyProven) this.#walk.rush();
    if (nowMs - this.#checkedMs >= KERNEL_CHECK_MS) this.#checkRoom(nowMs);
  }

  #activate(isActive: boolean): void {
    this.#isActive = isActive;
    this.#followedMs = Number.NEGATIVE_INFINITY;
    this.#source = undefined;
    this.#injector.source = -1;
    this.#queue.clear();
    this.#injector.stop();
    this.#realTimeouts = isActive ? undefined : new RealTimeouts(this.#parts, this.times);
    // As own flows their timers were the kernel's.
    if (isActive) this.times.forgetAll(this.#parts.table.slotLimit);
  }

  /** A primary's part: its flows had held timeouts. One slice, and then a long rest. */
  #giveRealTimeouts(nowMs: number): void {
    const work = this.#realTimeouts;
    if (work === undefined || nowMs < this.#restsUntil) return;
    const beganAt = this.#parts.clock();
    const isDone = work.step(nowMs);
    this.#restsUntil = nowMs + (this.#parts.clock() - beganAt) * REAL_TIMEOUTS_REST_SHARE;
    if (!isDone) return;
    this.#realTimeouts = undefined;
    if (work.shortened > 0) {
      this.#parts.log?.('info', 'hot standby: flows have the timeouts of their states', {
        shortened: work.shortened,
      });
    }
  }

  #checkRoom(nowMs: number): void {
    const { table, log } = this.#parts;
    const injector = this.#injector;
    this.#checkedMs = nowMs;
    const maximum = this.#parts.kernelMaximum();
    if (maximum > 0 && table.kernelCount >= maximum) injector.noRoom();
    const isFull = nowMs < injector.fullUntilMs;
    if (isFull === this.#fullSinceMs >= 0) return;
    this.#fullSinceMs = isFull ? nowMs : -1;
    if (isFull) log?.('warn', 'hot standby: the kernel table is full, flows are missing here', { maximum });
    else {
      log?.('info', 'hot standby: the kernel table has room again');
      this.#walk.rush();
    }
  }
}
