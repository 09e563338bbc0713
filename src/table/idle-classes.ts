/**
 * How idle flows are, told by comparing two audits: a flow whose remaining timeout fell by the time that passed had no
 * packet in between. (Default timeout less what remains says nothing: the kernel gives 300 s instead of five days while
 * data is unacknowledged, and rules can set timeouts of their own.)
 *
 * The class stands in the record outside its durable part; a change is told to the peers when there is nothing else to
 * say, so that a commit can bring live flows first.
 */
import { IPS_FIXED_TIMEOUT } from '../flow/conntrack-enums.js';
import {
  addressBytes,
  HAS_TIMEOUT,
  type Memory,
  OFF_HAS,
  OFF_IDLE,
  OFF_TIMEOUT,
  offStatus,
} from '../flow/record.js';
import { IDLE_QUEUE_MAX } from '../limits.js';
import type { FlowTable } from './flow-table.js';
import { DEAD, DIRTY, OWNER_SELF } from './slot-bits.js';

/** Not judged yet: a young flow, or one that no audit has seen twice. */
export const IDLE_UNKNOWN = 0;
/** It had packets between the last two audits. */
export const IDLE_LIVE = 1;
/** It had none between the last two audits. */
export const IDLE_ONCE = 2;
/** Nor between the two before. */
export const IDLE_LONG = 3;

/**
 * Timeouts are told in whole seconds, and a dump shows a row as it was one read, and one pause of a paced audit, ago. A
 * flow that had its only packet this soon after the last audit counts as idle. Seconds.
 */
const TOLERANCE_S = 5;

/** Classes of the own flows, and the queue of those to tell. Nothing is allocated per flow. */
export class IdleClasses {
  readonly #table: FlowTable;
  /** When each slot's flow would end, as the last audit saw it: seconds, 0 for never seen. */
  readonly #ends: Uint32Array;
  /** Those that turned out to be live are told first: a commit begins with them. */
  readonly #live = new SlotQueue();
  readonly #idle = new SlotQueue();

  constructor(table: FlowTable) {
    this.#table = table;
    this.#ends = new Uint32Array(table.capacity);
  }

  /** Slots that wait to be told. */
  get waiting(): number {
    return this.#live.length + this.#idle.length;
  }

  /** A dump row at `at` of `m` has just confirmed the slot, whose class was `before`. */
  judge(slot: number, before: number, m: Memory, at: number, nowS: number): void {
    const table = this.#table;
    if (table.owner(slot) !== OWNER_SELF || !hasMovingTimeout(m, at)) return;
    const ends = nowS + m.u32[(at + OFF_TIMEOUT) >>> 2];
    const last = this.#ends[slot];
    const hasMoved = last !== 0 && Math.abs(ends - last) > TOLERANCE_S;
    // A deadline that creeps within the tolerance must not add up to a packet, nor hide one.
    if (last === 0 || hasMoved) this.#ends[slot] = ends;
    const next =
      last === 0 ? before : hasMoved ? IDLE_LIVE : Math.min(IDLE_LONG, Math.max(IDLE_LIVE, before) + 1);
    const record = table.recordAt(slot) + OFF_IDLE;
    // What cannot be queued is as it was, and the next audit finds it again.
    const queue = next === IDLE_LIVE ? this.#live : this.#idle;
    if (next !== before && table.hasImage(slot) && !queue.push(slot)) table.memory.u8[record] = before;
    else table.memory.u8[record] = next;
  }

  /** The next own slot whose class is to be told, as far as the stream has spoken of it; -1: none. */
  next(): number {
    const table = this.#table;
    while (this.waiting > 0) {
      const slot = (this.#live.length > 0 ? this.#live : this.#idle).shift();
      if (!table.isUsed(slot) || table.owner(slot) !== OWNER_SELF || !table.hasImage(slot)) continue;
      // What is queued is told anyway, and with it the class.
      if ((table.bits(slot) & (DEAD | DIRTY)) === 0) return slot;
    }
    return -1;
  }
}

/** A bounded queue of slots. */
class SlotQueue {
  readonly #ring = new Int32Array(IDLE_QUEUE_MAX);
  #head = 0;
  length = 0;

  /** False if it is full. */
  push(slot: number): boolean {
    if (this.length === IDLE_QUEUE_MAX) return false;
    this.#ring[(this.#head + this.length++) % IDLE_QUEUE_MAX] = slot;
    return true;
  }

  /** Takes the oldest one, of at least one. */
  shift(): number {
    const slot = this.#ring[this.#head];
    this.#head = (this.#head + 1) % IDLE_QUEUE_MAX;
    this.length--;
    return slot;
  }
}

/** False where the timeout says nothing of packets: it is not known, or is fixed. */
function hasMovingTimeout(m: Memory, at: number): boolean {
  if ((m.u8[at + OFF_HAS] & HAS_TIMEOUT) === 0) return false;
  return (m.u32[(at + offStatus(addressBytes(m, at))) >>> 2] & IPS_FIXED_TIMEOUT) === 0;
}
