/** What the parts of a commit share: the flows' marks, the queue, and how a flow's commit ends. */
import {
  IPPROTO_GRE,
  IPPROTO_TCP,
  IPS_ASSURED,
  IPS_EXPECTED,
  IPS_FIXED_TIMEOUT,
  TCP_CONNTRACK_ESTABLISHED,
} from '../flow/conntrack-enums.js';
import type { Counters } from '../flow/counters.js';
import { type KernelBatch, type KernelPort, OP_CREATE } from '../flow/kernel-port.js';
import type { Log } from '../flow/log.js';
import { protoBitsOf } from '../flow/normalise.js';
import {
  addressBytes,
  findPart,
  HAS_ID,
  HAS_TIMEOUT,
  lengthOf,
  type Memory,
  OFF_HAS,
  OFF_ID,
  OFF_LENGTH,
  OFF_PROTOCOL,
  OFF_TIMEOUT,
  offProtoBits,
  offState,
  offStatus,
  offTcpFlags,
  offWscale,
  PART_HELPER,
  PART_MASTER,
  PROTO_HAS_STATE,
} from '../flow/record.js';
import { COMMIT_TRIES } from '../limits.js';
import type { FlowTable } from '../table/flow-table.js';
import {
  DEAD,
  DIRTY,
  FRESH,
  INJECTING,
  KERNEL,
  OWNER_SELF,
  PENDING,
  REJECTED,
  SHADOW,
  TOUCHED,
} from '../table/slot-bits.js';
import { CommitQueue, STAGE_GET } from './commit-queue.js';
import { type CommitReport, countRejected, newCommitReport, type RejectReason } from './commit-report.js';
import type { CommitTimeouts } from './commit-timeouts.js';
import { copyVolatile, type IsGiven } from './kernel-truth.js';
import type { Clock, Emptied } from './ports.js';

/** What a commit works on. */
export interface CommitParts {
  readonly kernel: KernelPort;
  readonly table: FlowTable;
  /** EventRules: what a DESTROY does to a slot. */
  readonly rules: { gone(slot: number): void };
  readonly counters: Counters;
  readonly clock: Clock;
  readonly emptied: Emptied;
  readonly timeouts: CommitTimeouts;
  /** Flows get at least this, but for those whose timeout is fixed (hot standby). Seconds. */
  readonly minTimeoutS?: number;
  /** A flow that a peer does not speak of is never deleted to make room for one (hot standby). */
  readonly isSparing?: boolean;
  /** The kernel has the flow of this slot as it is to be, after the conflict it was in. */
  readonly onSettled?: (slot: number) => void;
  readonly isGiven?: IsGiven;
  readonly log?: Log;
}

/** The kernel had the flow when the commit began. */
export const HELD = 1;
/** It stands in the queue, or was judged from the dump. */
const QUEUED = 2;
/** Its kernel flow was deleted to make room for it; it was created by us, as far as we know. */
export const REPLACED = 4;
const CREATED = 512;
/** It stands in the report's total since it last became PENDING. */
const COUNTED = 128;
/** To be created without the master, which is gone; without the helper, which this kernel does not have. */
export const NO_MASTER = 8;
const NO_HELPER = 16;
/** Waits for the end: the kernel had no room. */
const RETRIED = 32;
/** Its record was made one that the kernel can live with: see fixTimeout and assumeEstablished. */
const FIXED = 64;
/** It was created before the others were looked at. */
export const EARLY = 128;
/** Hot standby has created it since this node was last primary: its windows begin with its next packet. */
export const NEW_WINDOWS = 256;
/** How a flow came to be in the kernel as we want it. */
export const OUTCOME_KEPT = 0;
export const OUTCOME_UPDATED = 1;
const SETTLES_PER_TURN = 256;
/** Window scale 14, the largest that RFC 7323 knows, in both directions; and the flags that make the kernel take them. */
const WIDEST_WINDOWS = 0xee;
const WINDOW_SCALE_BOTH = 0x11;
/** Tries are counted above the marks. */
const TRY = 1024;

/** One commit's state. A slot takes part as long as it carries PENDING. */
export class CommitWork {
  readonly parts: CommitParts;
  readonly report: CommitReport = newCommitReport();
  readonly queue = new CommitQueue();
  /** Flows the kernel had no room for; tried once more at the end. */
  readonly late = new CommitQueue();
  /** True: slots become this node's. False: they stay the peer's, held. */
  readonly isOwn: boolean;
  /** What the kernel had before stood aside meanwhile: the packets passed another node. */
  readonly isTakeover: boolean;
  /** Flows that are in the kernel, and wait for the events that are older than that. */
  readonly settling = new CommitQueue();
  /** The order of the flows that are to be created is made. */
  isListed = false;
  readonly #marks: Uint16Array;
  #emptiedBefore = 0;
  /** How many of `settling` may be settled. */
  #ripe = 0;

  constructor(parts: CommitParts, isOwn: boolean, isTakeover = false) {
    this.parts = parts;
    this.isOwn = isOwn;
    this.isTakeover = isTakeover;
    this.#marks = new Uint16Array(parts.table.capacity);
  }

  /** Nothing was begun that is not done. */
  get isIdle(): boolean {
    return this.queue.length + this.late.length + this.settling.length === 0;
  }

  /** True if the slot still waits for this commit. */
  isPending(slot: number): boolean {
    const { table } = this.parts;
    return table.isUsed(slot) && (table.bits(slot) & (PENDING | DEAD | SHADOW)) === PENDING;
  }

  has(slot: number, mark: number): boolean {
    return (this.#marks[slot] & mark) !== 0;
  }

  mark(slot: number, mark: number): void {
    this.#marks[slot] |= mark;
  }

  /** The slot's flow is to be committed (again). */
  pend(slot: number): void {
    const { table } = this.parts;
    // A joined flow is met twice: by the source's record and by its own slot.
    const isCounted = this.has(slot, COUNTED) && (table.bits(slot) & PENDING) !== 0;
    this.#marks[slot] = (this.#marks[slot] & HELD) | COUNTED;
    table.setBits(slot, PENDING);
    if (!isCounted) this.report.total++;
  }

  /**
   * A TCP flow that the kernel has from the time before the other node took its packets. Its windows are as old: the
   * kernel would drop whatever acknowledges data that it did not see, for good, and no update moves a window. Created
   * anew the flow takes them from its next packet. The same goes for what a helper remembers of the stream.
   */
  hasOldWindows(slot: number): boolean {
    return (this.#marks[slot] & (HELD | CREATED | NEW_WINDOWS)) === HELD && this.needsNewWindows(slot);
  }

  /** The same of a flow of which the caller knows that the kernel has had it since before. */
  needsNewWindows(slot: number): boolean {
    const { table } = this.parts;
    return this.isTakeover && table.memory.u8[table.recordAt(slot) + OFF_PROTOCOL] === IPPROTO_TCP;
  }

  /** As pend, where slots come again and again: nothing is left of how it ended the last time. */
  pendAgain(slot: number): void {
    const { table } = this.parts;
    this.#marks[slot] = (table.bits(slot) & KERNEL) !== 0 ? HELD : 0;
    table.setBits(slot, PENDING);
  }

  /** Forgets what was begun; PENDING stays on those slots. */
  clear(): void {
    for (const queue of [this.queue, this.late, this.settling]) while (queue.shift());
    this.#ripe = 0;
  }

  /** The slot's flow was tried too early; it is as it was before `pend`. */
  unpend(slot: number): void {
    this.#marks[slot] &= HELD;
    this.parts.table.clearBits(slot, PENDING | INJECTING);
    this.report.total--;
  }

  /** It was created early, and nothing has become of the slot since. */
  isEarly(slot: number): boolean {
    return this.has(slot, EARLY) && this.isPending(slot);
  }

  /** True if the flow was dealt with, or stands in the queue. */
  isTaken(slot: number): boolean {
    return this.has(slot, QUEUED);
  }

  /** Looks at the flow (again) at this stage. */
  enqueue(slot: number, stage: number): void {
    this.mark(slot, QUEUED);
    this.parts.table.clearBits(slot, INJECTING);
    this.queue.push(slot, stage);
  }

  /** Counts a failure; false when there were enough. The first one is how a conflict is found. */
  tryAgain(slot: number): boolean {
    if (this.#marks[slot] >= TRY * COMMIT_TRIES) return false;
    this.#marks[slot] += TRY;
    return true;
  }

  /**
   * Puts the flow back to where the list will have it, behind its master; false if the list is made. (Its kernel flow
   * may have been found by the dump, before any master was created.)
   */
  giveBack(slot: number): boolean {
    if (this.isListed) return false;
    this.#marks[slot] &= ~QUEUED;
    this.parts.table.clearBits(slot, INJECTING);
    return true;
  }

  /** Puts the flow off to the end; false if that was done once already. */
  putOff(slot: number): boolean {
    if (this.has(slot, RETRIED)) return false;
    this.mark(slot, RETRIED | QUEUED);
    this.parts.table.clearBits(slot, INJECTING);
    this.late.push(slot, 0);
    return true;
  }

  dropMaster(slot: number): void {
    this.mark(slot, NO_MASTER);
    this.report.withoutMaster++;
    this.parts.counters.count('commit.without-master');
  }

  /** False if the flow has none, or was tried without already. */
  dropHelper(slot: number): boolean {
    const { table, counters } = this.parts;
    if (this.has(slot, NO_HELPER) || findPart(table.memory, table.recordAt(slot), PART_HELPER) < 0)
      return false;
    this.mark(slot, NO_HELPER);
    this.report.withoutHelper++;
    counters.count('commit.without-helper');
    return true;
  }

  /** Adds the request that creates the slot's flow from its current record. The slot is INJECTING from here on. */
  addCreate(batch: KernelBatch, slot: number): void {
    const { table } = this.parts;
    const m = table.memory;
    const at = table.recordAt(slot);
    table.setBits(slot, INJECTING);
    const isExpected = (m.u32[(at + offStatus(addressBytes(m, at))) >>> 2] & IPS_EXPECTED) !== 0;
    if (isExpected && findPart(m, at, PART_MASTER) < 0 && !this.has(slot, NO_MASTER)) this.dropMaster(slot);
    const to = batch.add(OP_CREATE, slot, m, at);
    if (this.has(slot, NO_MASTER)) stripMaster(batch.memory, to);
    if (this.has(slot, NO_HELPER)) stripPart(batch.memory, to, PART_HELPER);
    if (fixTimeout(batch.memory, to) || assumeEstablished(batch.memory, to)) this.mark(slot, FIXED);
    this.setTimeout(batch.memory, to);
  }

  /** The timeout that this commit gives a flow. Seconds. */
  timeoutOf(m: Memory, at: number): number {
    const { timeouts, minTimeoutS = 0 } = this.parts;
    const isFixed = (m.u32[(at + offStatus(addressBytes(m, at))) >>> 2] & IPS_FIXED_TIMEOUT) !== 0;
    return Math.max(isFixed ? 0 : minTimeoutS, timeouts.of(m, at));
  }

  /** The timeout that a commit gives, and no id: the kernel gives its own. */
  setTimeout(m: Memory, at: number): void {
    m.u32[(at + OFF_TIMEOUT) >>> 2] = this.timeoutOf(m, at);
    m.u8[at + OFF_HAS] = (m.u8[at + OFF_HAS] & ~HAS_ID) | HAS_TIMEOUT;
    m.u32[(at + OFF_ID) >>> 2] = 0;
  }

  /** The kernel took the request that creates the flow, with the record at `at`. */
  created(slot: number, m: Memory, at: number): void {
    if (this.isOwn && this.has(slot, NO_MASTER | NO_HELPER | FIXED)) {
      this.follow(slot, m, at);
      // Whose flow it is never changes in a life, so to the peers it is another one.
      if (this.has(slot, NO_MASTER)) this.parts.table.setBits(slot, FRESH);
    }
    forgetId(this.parts.table.memory, this.parts.table.recordAt(slot));
    this.maybeCreated(slot);
    this.inKernel(slot, OUTCOME_KEPT);
  }

  /** The kernel's flow is as the own slot's record says: what the kernel alone knows is taken over. */
  takeVolatile(slot: number, m: Memory, at: number): void {
    const { table, isGiven } = this.parts;
    if (!this.isOwn) return;
    const isOurs = isGiven?.(slot, m.u32[(at + OFF_TIMEOUT) >>> 2]);
    copyVolatile(m, at, table.memory, table.recordAt(slot), isOurs);
  }

  /** True if this commit has brought the flow into the kernel, or tried to. */
  wasCreated(slot: number): boolean {
    return this.has(slot, CREATED);
  }

  /** A later look will find it in the kernel, and then it is one of ours. */
  maybeCreated(slot: number): void {
    this.mark(slot, CREATED);
  }

  /**
   * The kernel has the flow now. It stays PENDING until the event queue was read to empty: events that wait there
   * are older than what we did, and on a PENDING slot they change nothing but its bits.
   */
  inKernel(slot: number, outcome: number): void {
    const { table } = this.parts;
    this.mark(slot, QUEUED);
    table.changeBits(slot, TOUCHED | INJECTING, KERNEL);
    if (this.settling.length === 0) this.#emptiedBefore = this.parts.emptied();
    this.settling.push(slot, outcome);
  }

  /**
   * Settles flows of which all older events were read; those that were touched in that time are looked at again.
   * `isLate`: the queue is not read to empty for too long, an audit will see to the rest. False: nothing to do.
   */
  settle(isLate: boolean): boolean {
    if (this.#ripe === 0) {
      if (!isLate && this.parts.emptied() === this.#emptiedBefore) return false;
      this.#emptiedBefore = this.parts.emptied();
      this.#ripe = this.settling.length;
    }
    if (this.#ripe === 0) return false;
    for (let i = 0; i < SETTLES_PER_TURN && this.#ripe > 0; i++) {
      this.#ripe--;
      this.settling.shift();
      const { slot, stage } = this.settling;
      if (!this.isPending(slot)) continue;
      const isTouched = (this.parts.table.bits(slot) & (TOUCHED | KERNEL)) !== KERNEL;
      if (isTouched && this.tryAgain(slot)) this.enqueue(slot, STAGE_GET);
      else this.#settled(slot, stage);
    }
    return true;
  }

  #settled(slot: number, outcome: number): void {
    this.#settle(slot, KERNEL);
    this.parts.onSettled?.(slot);
    if (this.has(slot, REPLACED)) this.report.replaced++;
    else if (this.has(slot, CREATED)) this.report.committed++;
    else if (outcome === OUTCOME_UPDATED) this.report.updated++;
    else this.report.kept++;
  }

  /** The own slot follows what the kernel has, or is about to have. */
  follow(slot: number, m: Memory, at: number): void {
    const { table, counters } = this.parts;
    if (!this.isOwn) return;
    if (!table.setRecord(slot, m, at)) counters.count('commit.table-full');
    else table.markDirty(slot);
  }

  /** Another life has the tuple here, and keeps it: an own slot becomes that life. */
  otherLife(slot: number, m: Memory, at: number): void {
    this.#count('live-here', slot);
    if (this.isOwn) {
      this.follow(slot, m, at);
      this.parts.table.setBits(slot, FRESH);
    }
    this.#settle(slot, KERNEL);
    // What a peer says of the tuple is not what the kernel has: the injector leaves that alone, and then replaces it.
    if (!this.isOwn) this.parts.table.setBits(slot, TOUCHED | FRESH);
  }

  /** The kernel's flow is about to be deleted: what is there from now on is ours, or was born meanwhile. */
  replaced(slot: number): void {
    this.parts.table.clearBits(slot, KERNEL);
    this.#marks[slot] = (this.#marks[slot] & ~HELD) | REPLACED;
  }

  /** There was nothing to delete. */
  replacedNothing(slot: number): void {
    this.#marks[slot] &= ~REPLACED;
  }

  /** The flow does not come into this kernel; an own one ends, and the stream says so. */
  reject(slot: number, reason: RejectReason): void {
    const { table, rules } = this.parts;
    this.#count(reason, slot);
    this.#settle(slot, 0);
    if (this.isOwn && table.owner(slot) === OWNER_SELF) rules.gone(slot);
    else table.setBits(slot, REJECTED);
  }

  #count(reason: RejectReason, slot: number): void {
    const { table } = this.parts;
    countRejected(this.report, reason, table.memory, table.recordAt(slot));
    this.parts.counters.count(`commit.rejected.${reason}`);
  }

  #settle(slot: number, kernel: number): void {
    const { table } = this.parts;
    // A peer's FRESH was for the kernel, and is used up; an own one waits for the flush.
    const fresh = (table.bits(slot) & DIRTY) === 0 ? FRESH : 0;
    table.changeBits(slot, PENDING | INJECTING | TOUCHED | REJECTED | fresh | KERNEL, kernel);
    this.mark(slot, QUEUED);
  }
}

/** Makes the timeout of a GRE flow a fixed one (see GRE_COMMIT_S); true if it was not. */
export function fixTimeout(m: Memory, at: number): boolean {
  if (m.u8[at + OFF_PROTOCOL] !== IPPROTO_GRE) return false;
  const status = (at + offStatus(addressBytes(m, at))) >>> 2;
  if (m.u32[status] & IPS_FIXED_TIMEOUT) return false;
  m.u32[status] |= IPS_FIXED_TIMEOUT;
  return true;
}

/**
 * A TCP flow of which no state is known: its owner's daemon began when the flow was offloaded already. A created one
 * without state would find each packet invalid. It is taken for established, with the largest windows there are, so that
 * none of its packets is outside of them. True if that was necessary.
 */
function assumeEstablished(m: Memory, at: number): boolean {
  const addr = addressBytes(m, at);
  if (m.u8[at + OFF_PROTOCOL] !== IPPROTO_TCP) return false;
  if ((m.u8[at + offProtoBits(addr)] & PROTO_HAS_STATE) !== 0) return false;
  if ((m.u32[(at + offStatus(addr)) >>> 2] & IPS_ASSURED) === 0) return false;
  m.u8[at + offState(addr)] = TCP_CONNTRACK_ESTABLISHED;
  m.u8[at + offWscale(addr)] = WIDEST_WINDOWS;
  m.u8[at + offTcpFlags(addr)] = WINDOW_SCALE_BOTH;
  m.u8[at + offProtoBits(addr)] = protoBitsOf(IPPROTO_TCP);
  return true;
}

/** A created flow's id is the kernel's secret until an event tells it; a wrong one would hide its DESTROY. */
function forgetId(m: Memory, at: number): void {
  // What was not written need not go back to memory: a replica's records rarely have one.
  if ((m.u8[at + OFF_HAS] & HAS_ID) === 0) return;
  m.u8[at + OFF_HAS] &= ~HAS_ID;
  m.u32[(at + OFF_ID) >>> 2] = 0;
}

/** Takes the part out of the record, in place. */
export function stripPart(m: Memory, at: number, type: number): void {
  const part = findPart(m, at, type);
  if (part < 0) return;
  const next = part + 4 + ((m.u16[(part >>> 1) + 1] + 3) & ~3);
  const end = at + lengthOf(m, at);
  m.u8.copyWithin(part, next, end);
  m.u16[(at + OFF_LENGTH) >>> 1] = end - at - (next - part);
}

/** A flow without master is no expected one. */
export function stripMaster(m: Memory, at: number): void {
  stripPart(m, at, PART_MASTER);
  m.u32[(at + offStatus(addressBytes(m, at))) >>> 2] &= ~IPS_EXPECTED;
}
