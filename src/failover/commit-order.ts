/**
 * The order in which a commit creates flows: those known to be live first, of those masters before their children, then the newest.
 * A master is as live as the liveliest of its children, so that none of them waits for it or comes before it.
 */
import {
  IPPROTO_TCP,
  IPS_ASSURED,
  IPS_SEEN_REPLY,
  TCP_CONNTRACK_ESTABLISHED,
} from '../flow/conntrack-enums.js';
import { writeMasterKey } from '../flow/master.js';
import {
  addressBytes,
  allocateMemory,
  findPart,
  MAX_RECORD_BYTES,
  type Memory,
  OFF_IDLE,
  OFF_PROTOCOL,
  offState,
  offStatus,
  PART_MASTER,
} from '../flow/record.js';
import type { FlowTable } from '../table/flow-table.js';
import { IDLE_LIVE, IDLE_LONG, IDLE_ONCE } from '../table/idle-classes.js';

const RADIX_BITS = 10;
const RADIX = 1 << RADIX_BITS;
const AGE_BITS = 16;
const AGE_MAX = (1 << AGE_BITS) - 1;
/** Masters of masters are followed this far; the kernel itself has no use for more. */
const DEPTH_MAX = 3;
/** Slots moved in one turn, some 5 ns each. */
const PER_TURN = 8192;

/** Its owner saw packets; its state says that it lives; nobody knows; it is idle, on its way out, or only just begun. */
const KNOWN_LIVE = 0;
const LIVE = 1;
const UNKNOWN = 2;
const IDLE = 3;
const CLASS_SHIFT = AGE_BITS + 2;

/** What the flow's state says, and what its owner's audits saw of its packets, whichever is worse. */
function livenessOf(m: Memory, at: number): number {
  const idleClass = m.u8[at + OFF_IDLE];
  // A flow that no audit has judged is young, or its owner had no time: its state alone tells.
  const seen = idleClass >= IDLE_LONG ? IDLE : idleClass >= IDLE_ONCE ? UNKNOWN : LIVE;
  const liveness = Math.max(seen, stateLiveness(m, at));
  return liveness === LIVE && idleClass === IDLE_LIVE ? KNOWN_LIVE : liveness;
}

/** True if the flow had packets between the last two audits of its owner, and its state does not say that it ends. */
export function isKnownLive(m: Memory, at: number): boolean {
  return livenessOf(m, at) === KNOWN_LIVE;
}

/** LIVE, UNKNOWN or IDLE. */
function stateLiveness(m: Memory, at: number): number {
  const addr = addressBytes(m, at);
  const status = m.u32[(at + offStatus(addr)) >>> 2];
  if (m.u8[at + OFF_PROTOCOL] === IPPROTO_TCP) {
    if (m.u8[at + offState(addr)] === TCP_CONNTRACK_ESTABLISHED) return LIVE;
    return m.u8[at + offState(addr)] > TCP_CONNTRACK_ESTABLISHED ? IDLE : UNKNOWN;
  }
  if (status & IPS_ASSURED) return LIVE;
  return status & IPS_SEEN_REPLY ? UNKNOWN : IDLE;
}

/** Slots with a sort key of 20 bits, counted as they come and sorted by two passes that can be taken in turns. */
export class CommitOrder {
  readonly #table: FlowTable;
  readonly #scratch = allocateMemory(MAX_RECORD_BYTES);
  #slots: Int32Array;
  #keys: Uint32Array;
  #otherSlots: Int32Array;
  #otherKeys: Uint32Array;
  /** How many keys have each low and each high half; and where the next one of a half goes in a pass. */
  readonly #counts = [new Uint32Array(RADIX), new Uint32Array(RADIX)] as const;
  readonly #next = new Uint32Array(RADIX);
  /** By slot of a master: IDLE less the class of its liveliest child; 0 for most. */
  readonly #raised: Uint8Array;
  #hasRaised = false;
  #pass = 0;
  #at = 0;
  length = 0;

  /** Room for `capacity` slots; pages that are never touched cost nothing. */
  constructor(table: FlowTable, capacity: number) {
    this.#table = table;
    this.#slots = new Int32Array(capacity);
    this.#keys = new Uint32Array(capacity);
    this.#otherSlots = new Int32Array(capacity);
    this.#otherKeys = new Uint32Array(capacity);
    this.#raised = new Uint8Array(table.capacity);
  }

  /** Adds a slot; false when there is no room. `nowS` makes the age of its last change. */
  add(slot: number, nowS: number): boolean {
    if (this.length === this.#slots.length) return false;
    const table = this.#table;
    const at = table.recordAt(slot);
    const age = Math.min(AGE_MAX, Math.max(0, nowS - table.changedTime(slot)));
    const liveness = livenessOf(table.memory, at);
    const depth = this.#depthOf(table.memory, at, IDLE - liveness);
    const key = (liveness << CLASS_SHIFT) | (depth << AGE_BITS) | age;
    this.#counts[0][key & (RADIX - 1)]++;
    this.#counts[1][key >>> RADIX_BITS]++;
    this.#slots[this.length] = slot;
    this.#keys[this.length++] = key;
    return true;
  }

  /** Sorts a part of the way; true when sorted. */
  sortStep(): boolean {
    if (this.#pass === 2) return true;
    if (this.#hasRaised) this.#raiseMasters();
    else if (this.#isPassIdle()) this.#pass++;
    else this.#scatter();
    return this.#pass === 2;
  }

  slotAt(i: number): number {
    return this.#slots[i];
  }

  /** All children are known now, and masters take their class. */
  #raiseMasters(): void {
    const end = Math.min(this.length, this.#at + PER_TURN);
    for (let i = this.#at; i < end; i++) {
      const best = IDLE - this.#raised[this.#slots[i]];
      const key = this.#keys[i];
      if (best >= key >>> CLASS_SHIFT) continue;
      this.#keys[i] = (best << CLASS_SHIFT) | (key & ((1 << CLASS_SHIFT) - 1));
      this.#counts[1][key >>> RADIX_BITS]--;
      this.#counts[1][this.#keys[i] >>> RADIX_BITS]++;
    }
    this.#at = end;
    if (end < this.length) return;
    this.#at = 0;
    this.#hasRaised = false;
  }

  /** All keys have this half in common: nothing would move. */
  #isPassIdle(): boolean {
    if (this.length === 0) return true;
    const half = (this.#keys[0] >>> (this.#pass * RADIX_BITS)) & (RADIX - 1);
    return this.#counts[this.#pass][half] === this.length;
  }

  #scatter(): void {
    const shift = this.#pass * RADIX_BITS;
    const next = this.#next;
    if (this.#at === 0) {
      let sum = 0;
      for (let i = 0; i < RADIX; i++) {
        next[i] = sum;
        sum += this.#counts[this.#pass][i];
      }
    }
    const end = Math.min(this.length, this.#at + PER_TURN);
    for (let i = this.#at; i < end; i++) {
      const to = next[(this.#keys[i] >>> shift) & (RADIX - 1)]++;
      this.#otherSlots[to] = this.#slots[i];
      this.#otherKeys[to] = this.#keys[i];
    }
    this.#at = end;
    if (end < this.length) return;
    [this.#slots, this.#otherSlots] = [this.#otherSlots, this.#slots];
    [this.#keys, this.#otherKeys] = [this.#otherKeys, this.#keys];
    this.#at = 0;
    this.#pass++;
  }

  /** How many masters stand above the flow: 0 for most, 1 for a data connection. Raises them to its class. */
  #depthOf(m: Memory, at: number, raise: number): number {
    let depth = 0;
    let part = findPart(m, at, PART_MASTER);
    while (part >= 0 && depth < DEPTH_MAX) {
      depth++;
      writeMasterKey(m, at, part, this.#scratch);
      const slot = this.#table.find(this.#scratch, 0);
      if (slot < 0) break;
      if (this.#raised[slot] < raise) {
        this.#raised[slot] = raise;
        this.#hasRaised = true;
      }
      m = this.#table.memory;
      at = this.#table.recordAt(slot);
      part = findPart(m, at, PART_MASTER);
    }
    return depth;
  }
}
