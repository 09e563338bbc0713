/**
 * Which flows are replicated. Two halves, because the two are asked at different places:
 *
 * - `ignores` is about what never changes in a flow's life: protocol, addresses, ports, zone. Such a flow never enters
 *   the table, and `src/kernel/event-program.ts` keeps most of its events out of the socket.
 * - `passes` is about what does: mark, TCP state, status (age is `table/young-flows.ts`). Such a flow stands in the
 *   table, and the stream is silent about it, or says that it has ended.
 */
import { AddressBlocks } from './address-blocks.js';
import { IPPROTO_TCP, STATUS_NAMES, TCP_STATE_NAMES } from './conntrack-enums.js';
import {
  addressBytes,
  DURABLE_STATUS,
  type Memory,
  OFF_ORIG_L4,
  OFF_ORIG_SRC,
  OFF_PROTOCOL,
  OFF_ZONE,
  offMark,
  offProtoBits,
  offReplyL4,
  offReplySrc,
  offState,
  offStatus,
  PROTO_HAS_STATE,
} from './record.js';
import { usesPorts } from './tuple.js';

/** Conditions on key and mark. An empty list holds for every flow; in `ignore` it leaves out none. */
export interface FlowRules {
  readonly protocols: readonly number[];
  /** Address, or address/prefix. */
  readonly addresses: readonly string[];
  /** Inclusive ranges; they speak of protocols that have ports, others pass. */
  readonly ports: readonly { readonly first: number; readonly last: number }[];
  readonly zones: readonly number[];
  readonly marks: readonly { readonly value: number; readonly mask: number }[];
}

/** All conditions must hold, and none of `ignore`. */
export interface ReplicateRules extends FlowRules {
  /** Names; flows of other protocols than TCP pass. */
  readonly tcpStates: readonly string[];
  /** Names of IPS_* bits that must all be set. */
  readonly status: readonly string[];
  /** Which tuple must fit addresses and ports; both: either of them. */
  readonly direction: 'original' | 'reply' | 'both';
  readonly ignore: FlowRules;
}

const ORIGINAL = 1;
const REPLY = 2;
const DIRECTIONS = { original: ORIGINAL, reply: REPLY, both: ORIGINAL | REPLY };

/** A set of numbers below `size`, one bit each. */
class NumberSet {
  readonly isEmpty: boolean;
  readonly #bits: Uint32Array;

  constructor(size: number, ranges: Iterable<{ readonly first: number; readonly last: number }>) {
    this.#bits = new Uint32Array(size >>> 5);
    let isEmpty = true;
    for (const { first, last } of ranges) {
      if (!(first >= 0 && first <= last && last < size)) throw new RangeError(`${first}-${last} is no range`);
      for (let n = first; n <= last; n++) this.#bits[n >>> 5] |= 1 << (n & 31);
      isEmpty = false;
    }
    this.isEmpty = isEmpty;
  }

  has(n: number): boolean {
    return (this.#bits[n >>> 5] & (1 << (n & 31))) !== 0;
  }
}

const single = (n: number) => ({ first: n, last: n });
const portAt = (m: Memory, p: number): number => (m.u8[p] << 8) | m.u8[p + 1];

/** The immutable conditions of one list, compiled. */
class KeyRules {
  readonly protocols: NumberSet;
  readonly zones: NumberSet;
  readonly ports: NumberSet;
  readonly addresses: AddressBlocks;
  readonly hasTuple: boolean;

  constructor(rules: FlowRules) {
    this.protocols = new NumberSet(256, rules.protocols.map(single));
    this.zones = new NumberSet(65_536, rules.zones.map(single));
    this.ports = new NumberSet(65_536, rules.ports);
    this.addresses = new AddressBlocks(rules.addresses);
    this.hasTuple = !this.ports.isEmpty || !this.addresses.isEmpty;
  }

  hasAddress(m: Memory, addr: number, p: number): boolean {
    return this.addresses.has(m, addr, p) || this.addresses.has(m, addr, p + addr);
  }

  hasPort(m: Memory, p: number): boolean {
    return this.ports.has(portAt(m, p)) || this.ports.has(portAt(m, p + 2));
  }
}

/** A compiled filter; it allocates nothing when asked. The constructor throws a RangeError on a value that is none. */
export class ReplicateFilter {
  /** False: `passes` is true of every flow, and need not be asked. */
  readonly hasMutable: boolean;
  /** What it was made from, for the kernel's part of it. */
  readonly rules: ReplicateRules;
  readonly #accept: KeyRules;
  readonly #refuse: KeyRules;
  readonly #directions: number;
  readonly #own: AddressBlocks;
  readonly #hasKey: boolean;
  readonly #marks: Uint32Array;
  readonly #refusedMarks: Uint32Array;
  readonly #states: number;
  readonly #status: number;
  readonly #noStatus: number;

  /** `own`: addresses whose flows are left out whatever the direction, such as those of the sync links. */
  constructor(rules: ReplicateRules, own: readonly string[] = []) {
    this.rules = rules;
    this.#accept = new KeyRules(rules);
    this.#refuse = new KeyRules(rules.ignore);
    this.#directions = DIRECTIONS[rules.direction];
    this.#own = new AddressBlocks(own);
    const refuse = this.#refuse;
    this.#hasKey =
      [this.#accept, refuse].some((r) => r.hasTuple || !r.protocols.isEmpty || !r.zones.isEmpty) ||
      !this.#own.isEmpty;
    this.#marks = markWords(rules.marks);
    this.#refusedMarks = markWords(rules.ignore.marks);
    this.#states = stateBits(rules.tcpStates);
    const { set, clear } = statusBits(rules.status);
    this.#status = set;
    this.#noStatus = clear;
    this.hasMutable =
      this.#marks.length + this.#refusedMarks.length > 0 || (this.#states | set | clear) !== 0;
  }

  /** True if the record at `at` is of a flow that is never replicated. */
  ignores(m: Memory, at: number): boolean {
    if (!this.#hasKey) return false;
    const accept = this.#accept;
    const refuse = this.#refuse;
    const protocol = m.u8[at + OFF_PROTOCOL];
    if (refuse.protocols.has(protocol)) return true;
    if (!accept.protocols.isEmpty && !accept.protocols.has(protocol)) return true;
    const zone = m.u16[(at + OFF_ZONE) >>> 1];
    if (refuse.zones.has(zone)) return true;
    if (!accept.zones.isEmpty && !accept.zones.has(zone)) return true;
    const addr = addressBytes(m, at);
    if (!this.#own.isEmpty && this.#isOwn(m, at, addr)) return true;
    if (!accept.hasTuple && !refuse.hasTuple) return false;
    return this.#ignoresTuples(m, at, addr, usesPorts(protocol));
  }

  /** True if mark, TCP state and status of the record are such that the stream speaks of it. */
  passes(m: Memory, at: number): boolean {
    const addr = addressBytes(m, at);
    const mark = m.u32[(at + offMark(addr)) >>> 2];
    if (isMarked(this.#refusedMarks, mark)) return false;
    if (this.#marks.length > 0 && !isMarked(this.#marks, mark)) return false;
    const status = m.u32[(at + offStatus(addr)) >>> 2];
    if ((status & this.#status) !== this.#status || (status & this.#noStatus) !== 0) return false;
    if (this.#states === 0 || m.u8[at + OFF_PROTOCOL] !== IPPROTO_TCP) return true;
    if ((m.u8[at + offProtoBits(addr)] & PROTO_HAS_STATE) === 0) return false;
    return (this.#states & (1 << m.u8[at + offState(addr)])) !== 0;
  }

  #isOwn(m: Memory, at: number, addr: number): boolean {
    const own = this.#own;
    for (let i = 0, p = at + OFF_ORIG_SRC; i < 4; i++, p += addr) if (own.has(m, addr, p)) return true;
    return false;
  }

  #ignoresTuples(m: Memory, at: number, addr: number, hasPorts: boolean): boolean {
    const directions = this.#directions;
    let isAccepted = !this.#accept.hasTuple;
    if ((directions & ORIGINAL) !== 0) {
      const l4 = hasPorts ? at + OFF_ORIG_L4 : -1;
      if (this.#isRefused(m, addr, at + OFF_ORIG_SRC, l4)) return true;
      isAccepted ||= this.#isAccepted(m, addr, at + OFF_ORIG_SRC, l4);
    }
    if ((directions & REPLY) !== 0) {
      const l4 = hasPorts ? at + offReplyL4(addr) : -1;
      if (this.#isRefused(m, addr, at + offReplySrc(addr), l4)) return true;
      isAccepted ||= this.#isAccepted(m, addr, at + offReplySrc(addr), l4);
    }
    return !isAccepted;
  }

  /** The tuple with its addresses at `p` and its ports at `l4` (-1: none) has something that is left out. */
  #isRefused(m: Memory, addr: number, p: number, l4: number): boolean {
    return this.#refuse.hasAddress(m, addr, p) || (l4 >= 0 && this.#refuse.hasPort(m, l4));
  }

  #isAccepted(m: Memory, addr: number, p: number, l4: number): boolean {
    const accept = this.#accept;
    if (!accept.addresses.isEmpty && !accept.hasAddress(m, addr, p)) return false;
    return accept.ports.isEmpty || l4 < 0 || accept.hasPort(m, l4);
  }
}

/** Pairs of value and mask. */
function markWords(marks: FlowRules['marks']): Uint32Array {
  return Uint32Array.from(marks.flatMap(({ value, mask }) => [(value & mask) >>> 0, mask]));
}

function isMarked(words: Uint32Array, mark: number): boolean {
  for (let i = 0; i < words.length; i += 2) if ((mark & words[i + 1]) >>> 0 === words[i]) return true;
  return false;
}

function stateBits(names: readonly string[]): number {
  let bits = 0;
  for (const name of names) {
    // The header calls it LISTEN, conntrack(8) SYN_SENT2.
    const state = (TCP_STATE_NAMES as readonly string[]).indexOf(name === 'LISTEN' ? 'SYN_SENT2' : name);
    if (state < 0) throw new RangeError(`"${name}" is not one of ${TCP_STATE_NAMES.join(', ')}`);
    bits |= 1 << state;
  }
  return bits;
}

/** Only bits that a record keeps can be asked for: others are known to the kernel alone. */
function statusBits(names: readonly string[]): { set: number; clear: number } {
  let set = 0;
  let clear = 0;
  for (const name of names) {
    const bit = (STATUS_NAMES as readonly string[]).indexOf(name === 'UNREPLIED' ? 'SEEN_REPLY' : name);
    if (bit < 0 || (DURABLE_STATUS & (1 << bit)) === 0) {
      throw new RangeError(`"${name}" is no status that tells flows apart`);
    }
    if (name === 'UNREPLIED') clear |= 1 << bit;
    else set |= 1 << bit;
  }
  return { set, clear };
}
