/**
 * Hot standby's look at the whole table, once in HOT_WALK_MS: whatever is out of step with the kernel and does not stand
 * in the queue gets there, each kind at its own pace. Nothing else needs to remember what is still to be done.
 */
import { IPS_FIXED_TIMEOUT } from '../flow/conntrack-enums.js';
import { addressBytes, offStatus } from '../flow/record.js';
import {
  HELD_RENEW_S,
  HELD_RENEWALS_PER_SECOND,
  HOT_WALK_MS,
  REFUSED_PAUSE_S,
  REINJECT_PAUSE_S,
  REINJECTS_PER_SECOND,
} from '../limits.js';
import type { FlowTable } from '../table/flow-table.js';
import { DEAD, FRESH, KERNEL, PENDING, REJECTED, SHADOW, SWEPT, TOUCHED } from '../table/slot-bits.js';
import type { HeldTimes } from './held-times.js';
import type { HotInjector } from './hot-injector.js';
import type { HotQueue } from './hot-queue.js';

/** Slots looked at in one turn. */
const SLOTS_PER_TURN = 2048;
const SKIPPED = DEAD | SHADOW | TOUCHED;

/** A number of things a second, at most a second's worth at once. */
class Allowance {
  readonly #perSecond: number;
  #left: number;
  #atMs = 0;

  constructor(perSecond: number) {
    this.#perSecond = perSecond;
    this.#left = perSecond;
  }

  refill(nowMs: number): void {
    this.#left = Math.min(
      this.#perSecond,
      this.#left + (Math.max(0, nowMs - this.#atMs) * this.#perSecond) / 1000,
    );
    this.#atMs = nowMs;
  }

  take(): boolean {
    if (this.#left < 1) return false;
    this.#left--;
    return true;
  }
}

export class HotWalk {
  /** Flows that had ended here by themselves, and were queued again. */
  reinjected = 0;
  readonly #table: FlowTable;
  readonly #queue: HotQueue;
  readonly #times: HeldTimes;
  readonly #injector: HotInjector;
  readonly #reinjects = new Allowance(REINJECTS_PER_SECOND);
  readonly #renewals = new Allowance(HELD_RENEWALS_PER_SECOND);
  #at = 0;
  /** Slots that may be looked at by now. */
  #due = 0;
  #lastMs = -1;
  /** Slots of a walk at full speed that are still to be looked at. */
  #rush = 0;

  constructor(table: FlowTable, queue: HotQueue, times: HeldTimes, injector: HotInjector) {
    this.#table = table;
    this.#queue = queue;
    this.#times = times;
    this.#injector = injector;
  }

  /** Much may be out of step: every slot is looked at as fast as can be. */
  rush(): void {
    this.#rush = this.#table.slotLimit;
  }

  /** Looks at the slots that are due, some thousand at most; true if there are more. */
  turn(nowMs: number): boolean {
    const limit = this.#table.slotLimit;
    const passed = this.#lastMs < 0 ? 0 : Math.min(HOT_WALK_MS, nowMs - this.#lastMs);
    this.#lastMs = nowMs;
    this.#due = Math.min(limit, this.#due + (limit * passed) / HOT_WALK_MS);
    const slots = Math.min(SLOTS_PER_TURN, Math.max(Math.floor(this.#due), Math.min(limit, this.#rush)));
    if (slots === 0) return false;
    this.#reinjects.refill(nowMs);
    this.#renewals.refill(nowMs);
    for (let i = 0; i < slots; i++) {
      if (this.#at >= limit) this.#at = 0;
      this.#look(this.#at++, nowMs);
    }
    this.#due = Math.max(0, this.#due - slots);
    this.#rush = Math.max(0, this.#rush - slots);
    return this.#rush > 0 || this.#due >= 1;
  }

  #look(slot: number, nowMs: number): void {
    const table = this.#table;
    if (!table.isUsed(slot) || table.owner(slot) !== this.#injector.source || this.#queue.has(slot)) return;
    const bits = table.bits(slot);
    // Whether somebody sees to it the injector knows.
    if ((bits & (PENDING | DEAD | SHADOW)) === PENDING) this.#queue.push(slot, nowMs);
    else if ((bits & SKIPPED) === 0 && this.#isDue(slot, bits, (nowMs / 1000) >>> 0, nowMs)) {
      this.#queue.push(slot, nowMs);
    }
  }

  #isDue(slot: number, bits: number, nowS: number, nowMs: number): boolean {
    const { isProven, fullUntilMs } = this.#injector;
    const hasImage = this.#table.hasImage(slot);
    if ((bits & KERNEL) === 0) return hasImage && nowMs >= fullUntilMs && this.#isMissing(slot, bits, nowS);
    if ((bits & FRESH) !== 0)
      return this.#injector.isTrusted && (hasImage || (bits & SWEPT) === 0 || isProven);
    if (!hasImage) return false;
    const isOld = this.#times.left(slot, nowS) < HELD_RENEW_S || this.#injector.hasOldWindows(slot);
    return isOld && this.#isRenewable(slot);
  }

  /** The kernel lets nobody change a fixed timeout. */
  #isRenewable(slot: number): boolean {
    const table = this.#table;
    const m = table.memory;
    const at = table.recordAt(slot);
    const isFixed = (m.u32[(at + offStatus(addressBytes(m, at))) >>> 2] & IPS_FIXED_TIMEOUT) !== 0;
    return !isFixed && this.#renewals.take();
  }

  /** A flow that the owner has and this kernel has not. */
  #isMissing(slot: number, bits: number, nowS: number): boolean {
    const since = this.#times.sinceWrite(slot, nowS);
    if (since === Number.POSITIVE_INFINITY || (bits & FRESH) !== 0) return true;
    if (since < ((bits & REJECTED) !== 0 ? REFUSED_PAUSE_S : REINJECT_PAUSE_S)) return false;
    if (!this.#reinjects.take()) return false;
    this.reinjected++;
    return true;
  }
}
