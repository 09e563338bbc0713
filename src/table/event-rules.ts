/**
 * What a kernel event does to the table: the event table of PROTOCOL.md, section 2.
 *
 * | event   | no slot        | own, unclassified       | held (a peer's, KERNEL)    | replica only (a peer's)  |
 * |---------|----------------|-------------------------|----------------------------|--------------------------|
 * | NEW     | own            | replace; FRESH if other | GET: own, FRESH;           | GET: own, FRESH;         |
 * |         |                | life                    | else drop                  | else drop                |
 * | UPDATE  | GET: own; else | merge; GET if other     | primary: GET: own;         | GET: as held; else drop  |
 * |         | drop           | life                    | else TOUCHED               |                          |
 * | DESTROY | nothing        | tombstone, or gone      | KERNEL cleared             | nothing                  |
 *
 * A tombstone counts as no slot, but a flow born over one is FRESH if the stream has spoken of the one before.
 * "own" over a peer's slot means: a visible own slot, and the peer's is its shadow, which keeps the replica exact.
 */
import { IPS_NAT_CLASH } from '../flow/conntrack-enums.js';
import type { Counters } from '../flow/counters.js';
import { EVENT_DESTROY, EVENT_NEW, type EventSink } from '../flow/kernel-port.js';
import { isNewLife, keyEqual, mergeEvent } from '../flow/merge.js';
import {
  allocateMemory,
  copyId,
  HAS_ID,
  HAS_TIMEOUT,
  MAX_RECORD_BYTES,
  type Memory,
  OFF_HAS,
  OFF_ID,
} from '../flow/record.js';
import { AwayFlows } from './away-flows.js';
import { type ExpectationChoice, ExpectationRules } from './expectation-rules.js';
import type { FlowTable } from './flow-table.js';
import {
  AWAY,
  DEAD,
  DIRTY,
  FRESH,
  INJECTING,
  KERNEL,
  OWNER_SELF,
  OWNER_UNCLASSIFIED,
  PENDING,
  REJECTED,
  SHADOW,
  TOUCHED,
} from './slot-bits.js';

export interface EventRulesOptions {
  readonly table: FlowTable;
  readonly counters: Counters;
  /** Milliseconds of a clock that never goes back. */
  now(): number;
  isPrimary(): boolean;
  /** True for a (whole, merged) record that is not replicated: sync links, local flows, the user's filter. */
  ignore?(m: Memory, at: number): boolean;
  /** True for (merged) records of which the stream speaks: the filter on state, status and mark. */
  passes?(m: Memory, at: number): boolean;
  /** True if the port id is one of this process's own writers. */
  isEcho?(portId: number): boolean;
  /** True if the address that this flow's source is translated to was this node's a moment ago, and is no longer. */
  hasLeft?(m: Memory, at: number): boolean;
  /** Asks the kernel for the flow with this original tuple: its record to `found` at 0 and true, or false. */
  get(m: Memory, at: number, found: Memory): boolean;
  /** Which expectations are replicated; all unless told otherwise. */
  readonly expectations?: ExpectationChoice;
  /** The helper of this slot's flow has announced a connection, or it has come. */
  onHelperAtWork?(slot: number): void;
  /** An own expectation is not granted yet; see ExpectationRulesOptions. */
  onInactiveExpectation?(): void;
}

/** True if both records know their ct id and the ids differ: surely two lives. Equal ids prove nothing (F1). */
function haveOtherIds(m: Memory, at: number, other: Memory, otherAt: number): boolean {
  return (
    (m.u8[at + OFF_HAS] & other.u8[otherAt + OFF_HAS] & HAS_ID) !== 0 &&
    m.u32[(at + OFF_ID) >>> 2] !== other.u32[(otherAt + OFF_ID) >>> 2]
  );
}

/** Takes kernel events into the table. Own flows that changed are queued for the stream. */
export class EventRules implements EventSink {
  /** Events taken so far, echoes included. */
  events = 0;
  readonly expectations: ExpectationRules;
  readonly away: AwayFlows;
  readonly #options: EventRulesOptions;
  readonly #table: FlowTable;
  readonly #merged = allocateMemory(MAX_RECORD_BYTES);
  readonly #found = allocateMemory(MAX_RECORD_BYTES);

  constructor(options: EventRulesOptions) {
    this.#options = options;
    this.#table = options.table;
    const { table, counters, expectations: choice } = options;
    const isPrimary = () => options.isPrimary();
    this.away = new AwayFlows({ table, isPrimary, end: (slot) => this.#bury(slot) });
    this.expectations = new ExpectationRules({
      now: () => options.now(),
      table,
      counters,
      isPrimary,
      ...(choice ? { choice } : {}),
      onHelperAtWork: (slot) => options.onHelperAtWork?.(slot),
      onInactive: () => options.onInactiveExpectation?.(),
    });
  }

  expectation(kind: number, m: Memory, at: number, portId: number): void {
    this.events++;
    if (portId !== 0 && this.#options.isEcho?.(portId)) this.#options.counters.count('event.echo');
    else this.expectations.event(kind, m, at);
  }

  event(kind: number, m: Memory, at: number, seen: number, portId: number, status: number): void {
    this.events++;
    if (portId !== 0 && this.#options.isEcho?.(portId)) {
      this.#options.counters.count('event.echo');
      return;
    }
    // A clash loser has the winner's original tuple: what happens to it says nothing about the winner (F13).
    if ((status & IPS_NAT_CLASH) !== 0) {
      this.#options.counters.count('event.natClash');
      return;
    }
    const slot = this.#table.find(m, at);
    if (kind === EVENT_DESTROY) this.#destroyed(slot, m, at, portId);
    else if (slot >= 0 && (this.#table.bits(slot) & PENDING) !== 0) this.#waits(slot, kind, m, at);
    else if (kind === EVENT_NEW) this.#created(slot, m, at);
    else this.#updated(slot, m, at, seen);
  }

  /**
   * The kernel no longer has the flow of this slot (a DESTROY, or an audit that missed it and a GET that said
   * ENOENT). Own: a tombstone if the stream has spoken of it, else gone. A peer's: stays as replica, gone if the
   * peer has deleted it already. A flow that waits for its commit stays.
   */
  gone(slot: number): void {
    const table = this.#table;
    table.clearBits(slot, KERNEL);
    const owner = table.owner(slot);
    if (owner === OWNER_SELF && (table.bits(slot) & (PENDING | INJECTING)) !== 0) {
      table.setBits(slot, TOUCHED);
      this.#note(slot);
    } else if (owner > OWNER_UNCLASSIFIED && table.hasImage(slot)) this.#note(slot);
    else this.#bury(slot);
  }

  /** The flow of this slot is no longer one that is replicated; the kernel may have it still. A peer's slot stays. */
  leave(slot: number): void {
    this.#options.counters.count('event.ignored');
    if (slot < 0) return;
    if (this.#table.owner(slot) > OWNER_UNCLASSIFIED) this.#table.setBits(slot, KERNEL | TOUCHED);
    else if ((this.#table.bits(slot) & DEAD) === 0) this.#bury(slot);
  }

  /**
   * The flow waits for its commit: its record is what a peer said, and must not be lost over what the kernel picked
   * up meanwhile. The commit asks the kernel and judges between the two.
   */
  #waits(slot: number, kind: number, m: Memory, at: number): void {
    // The DESTROY of the life that the kernel has now must be known by its id, whatever becomes of the commit.
    copyId(m, at, this.#table.memory, this.#table.recordAt(slot));
    this.#table.setBits(slot, kind === EVENT_NEW ? KERNEL | TOUCHED | FRESH : KERNEL | TOUCHED);
    this.#note(slot);
  }

  #created(slot: number, m: Memory, at: number): void {
    const table = this.#table;
    if (this.#options.ignore?.(m, at)) {
      this.leave(slot);
      return;
    }
    if (slot < 0) this.#insert(m, at, 0, true);
    else if (table.owner(slot) > OWNER_UNCLASSIFIED) {
      // It may have waited while this node deleted the flow that it held, which no event tells (seed 257).
      if (!this.#isThere(m, at)) return;
      this.#insert(this.#found, 0, FRESH);
    } else this.#replace(slot, m, at);
    this.expectations.masterCame(m, at);
  }

  #updated(slot: number, m: Memory, at: number, seen: number): void {
    const table = this.#table;
    const isKnown = slot >= 0 && (table.bits(slot) & DEAD) === 0;
    const isForeign = isKnown && table.owner(slot) > OWNER_UNCLASSIFIED;
    // What a peer says of a held flow is not what this kernel has: an update that makes it own cannot build on that.
    if (!isKnown || (isForeign && ((table.bits(slot) & KERNEL) === 0 || this.#options.isPrimary()))) {
      this.#ask(slot, m, at);
      return;
    }
    const recordAt = table.recordAt(slot);
    mergeEvent(table.memory, recordAt, m, at, seen, this.#merged, 0);
    if (isForeign) {
      this.#updatedHeld(slot, this.#merged);
      return;
    }
    // An update of a life that we did not see begin, or whose record is not this kernel's (an own one that is TOUCHED and
    // waits for nothing), tells only part of it: the kernel knows the rest.
    const isOthersWord = table.owner(slot) === OWNER_SELF && (table.bits(slot) & TOUCHED) !== 0;
    const isOther = haveOtherIds(table.memory, recordAt, m, at);
    if (isOthersWord || isOther || isNewLife(table.memory, recordAt, this.#merged, 0)) {
      this.#ask(slot, m, at);
      return;
    }
    // What is ignored never changes in a life, so it was asked when the life began.
    this.#set(slot, this.#merged, 0, 0);
  }

  #updatedHeld(slot: number, now: Memory): void {
    const table = this.#table;
    if (this.#options.isPrimary() && !this.#options.ignore?.(now, 0)) {
      const at = table.recordAt(slot);
      const isOther = haveOtherIds(table.memory, at, now, 0) || isNewLife(table.memory, at, now, 0);
      this.#insert(now, 0, isOther ? FRESH : 0);
      return;
    }
    // Of the life that the kernel has now: its DESTROY must be known by it.
    copyId(now, 0, table.memory, table.recordAt(slot));
    table.setBits(slot, KERNEL | TOUCHED);
    this.#note(slot);
  }

  #destroyed(slot: number, m: Memory, at: number, portId: number): void {
    const table = this.#table;
    if (slot < 0 || (table.bits(slot) & DEAD) !== 0) {
      if (table.auditGeneration === 0 || (slot < 0 && this.#options.ignore?.(m, at))) return;
      // The dump may still show it (F10).
      const dead = slot >= 0 ? slot : table.insert(m, at, OWNER_SELF, DEAD);
      if (dead >= 0) table.keepTombstone(dead);
      return;
    }
    if (haveOtherIds(table.memory, table.recordAt(slot), m, at)) {
      this.#options.counters.count('event.destroyOfOtherLife');
      return;
    }
    // Someone else's delete of a peer's flow is respected: hot standby leaves it until the peer's next UPSERT.
    if (portId !== 0 && table.owner(slot) > OWNER_UNCLASSIFIED) table.setBits(slot, TOUCHED);
    if (portId === 0 && this.#goesAway(slot, m, at)) return;
    this.gone(slot);
  }

  /** The kernel destroyed an own flow before its time, because the address that it was translated to is gone. */
  #goesAway(slot: number, m: Memory, at: number): boolean {
    const table = this.#table;
    // A DESTROY tells a timeout only of a flow that had some left (FACTS section 6), so what ran out is never asked about.
    if (table.owner(slot) !== OWNER_SELF || (m.u8[at + OFF_HAS] & HAS_TIMEOUT) === 0) return false;
    if ((table.bits(slot) & (PENDING | INJECTING | SHADOW)) !== 0) return false;
    if (this.#options.hasLeft?.(table.memory, table.recordAt(slot)) !== true) return false;
    if (!this.away.hold(slot, Math.floor(this.#options.now() / 1000))) return false;
    this.#options.counters.count('event.addressLeft');
    this.#note(slot);
    return true;
  }

  /** Asks the kernel for what an event told of: `#found` is the flow as it is now. */
  #isThere(m: Memory, at: number): boolean {
    // The kernel also finds by the reply tuple: then it is another flow that it shows.
    if (this.#options.get(m, at, this.#found) && keyEqual(m, at, this.#found, 0)) return true;
    this.#options.counters.count('event.ofNothing');
    return false;
  }

  /** An update of which the table knows no flow, or another life of it: what does the kernel have? */
  #ask(slot: number, m: Memory, at: number): void {
    const table = this.#table;
    const found = this.#found;
    if (!this.#isThere(m, at)) return;
    if (slot >= 0 && table.owner(slot) > OWNER_UNCLASSIFIED) this.#updatedHeld(slot, found);
    else if (this.#options.ignore?.(found, 0)) this.leave(slot);
    else if (slot < 0) this.#insert(found, 0, 0);
    else this.#replace(slot, found, 0);
  }

  /** A visible own slot, in the kernel. A peer's slot of this key becomes its shadow. */
  #insert(m: Memory, at: number, fresh: number, isNewKey = false): void {
    const bits = KERNEL | fresh;
    // Every connection that begins comes this way: the look-up of the event told that the key is new.
    const slot = isNewKey
      ? this.#table.insertNew(m, at, OWNER_SELF, bits)
      : this.#table.insert(m, at, OWNER_SELF, bits);
    if (slot < 0) {
      this.#options.counters.count('table.full');
      return;
    }
    // Our stream spoke of this key before (an own tombstone in a peer's shadow): that was another life.
    if (this.#table.hasImage(slot)) this.#table.setBits(slot, FRESH);
    this.#table.markDirty(slot);
    this.#note(slot);
  }

  /** The whole record of what an own or unclassified slot is now; perhaps another life than before. */
  #replace(slot: number, m: Memory, at: number): void {
    const table = this.#table;
    const recordAt = table.recordAt(slot);
    const isOther =
      (table.bits(slot) & DEAD) !== 0
        ? table.hasImage(slot)
        : haveOtherIds(table.memory, recordAt, m, at) || isNewLife(table.memory, recordAt, m, at);
    this.#set(slot, m, at, isOther ? FRESH : 0);
  }

  #set(slot: number, m: Memory, at: number, fresh: number): void {
    const table = this.#table;
    if (!table.setRecord(slot, m, at)) {
      this.#options.counters.count('table.full');
      return;
    }
    const bits = table.bits(slot);
    // Of an unclassified flow it tells that packets of it pass here.
    const isWaiting = (bits & (PENDING | INJECTING)) !== 0;
    const touched = isWaiting || table.owner(slot) === OWNER_UNCLASSIFIED ? TOUCHED : 0;
    if ((bits & (DEAD | REJECTED | AWAY | TOUCHED)) !== 0) {
      table.clearBits(slot, DEAD | REJECTED | AWAY | TOUCHED);
    }
    table.setBits(slot, KERNEL | fresh | touched);
    if (table.owner(slot) === OWNER_UNCLASSIFIED) {
      // Whatever it becomes, it is known as it is now: its image follows until it has an owner.
      if (this.#options.passes?.(table.memory, table.recordAt(slot)) === false) table.clearImage(slot);
      else {
        table.currentHash(slot);
        table.setImage(slot, table.hash.lo, table.hash.hi);
      }
    } else table.markDirty(slot);
    this.#note(slot);
  }

  #bury(slot: number): void {
    const table = this.#table;
    table.expectations.masterEnded(OWNER_SELF, table.memory, table.recordAt(slot));
    if (table.owner(slot) !== OWNER_SELF) {
      // No stream of ours has spoken of it, so there is nothing to take back.
      table.clearImage(slot);
      table.setOwner(slot, OWNER_SELF);
    }
    table.clearBits(slot, KERNEL | FRESH | TOUCHED | PENDING | INJECTING | REJECTED | AWAY);
    if (table.hasImage(slot)) table.setBits(slot, DEAD | DIRTY);
    else if (table.auditGeneration === 0) {
      table.remove(slot);
      return;
    } else table.clearBits(slot, DIRTY);
    if (table.auditGeneration !== 0) table.keepTombstone(slot);
    this.#note(slot);
  }

  /** Notes when the slot changed, and that a running audit need not be told of it. */
  #note(slot: number): void {
    this.#table.setChangedTime(slot, Math.floor(this.#options.now() / 1000));
    if (this.#table.auditGeneration !== 0) this.#table.setShown(slot, this.#table.auditGeneration);
  }
}
