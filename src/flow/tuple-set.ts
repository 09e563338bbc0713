/**
 * The tuples of a kernel's flows, as the kernel looks for them: original and reply tuples alike stand in one hash table,
 * each with its protocol and the zone that holds for its direction. Here they stand by their hash of 64 bits, in open
 * addressing, so that a million flows take 32 MB and no object.
 */
import { KeyedHash } from './hash.js';
import {
  addressBytes,
  familyOf,
  type Memory,
  OFF_ORIG_L4,
  OFF_PROTOCOL,
  OFF_ZONE,
  offReplyL4,
  offReplySrc,
  ZONE_BOTH,
  ZONE_ORIGINAL,
  ZONE_REPLY,
  zoneDirectionOf,
} from './record.js';

/** Words of a tuple: family, protocol and zone; L4; two addresses of IPv6. */
const TUPLE_WORDS = 10;
const ENTRY_WORDS = 3;
const FREE = 0;
const GONE = -1;

export class TupleSet {
  /** Entries that were used, gone ones too: at most half of the room. */
  #used = 0;
  #entries: Int32Array;
  #mask: number;
  readonly #hash = new KeyedHash(Uint32Array.of(0x74, 0x75, 0x70, 0x6c));
  readonly #tuple = new Uint32Array(TUPLE_WORDS);

  constructor(flows: number) {
    const size = 2 ** Math.ceil(Math.log2(Math.max(1024, flows * 4)));
    this.#entries = new Int32Array(size * ENTRY_WORDS);
    this.#mask = size - 1;
  }

  /** Adds both tuples of the flow at `at`, under a value above 0. */
  add(m: Memory, at: number, value: number): void {
    if ((this.#used + 2) * 2 > this.#mask) this.#grow();
    for (const isReply of [false, true]) {
      this.#hashTuple(m, at, isReply);
      this.#put(this.#hash.lo, this.#hash.hi, value);
    }
  }

  /** Takes both tuples of the flow at `at` out. */
  delete(m: Memory, at: number): void {
    for (const isReply of [false, true]) {
      const entry = this.#find(m, at, isReply);
      if (entry >= 0) this.#entries[entry + 2] = GONE;
    }
  }

  /** The value of the flow that has this flow's original (or reply) tuple, in whichever direction; 0: none has. */
  valueOf(m: Memory, at: number, isReply: boolean): number {
    const entry = this.#find(m, at, isReply);
    return entry < 0 ? 0 : this.#entries[entry + 2];
  }

  #find(m: Memory, at: number, isReply: boolean): number {
    this.#hashTuple(m, at, isReply);
    const { lo, hi } = this.#hash;
    for (let i = lo & this.#mask; ; i = (i + 1) & this.#mask) {
      const entry = i * ENTRY_WORDS;
      const value = this.#entries[entry + 2];
      if (value === FREE) return -1;
      if (value !== GONE && this.#entries[entry] === lo && this.#entries[entry + 1] === hi) return entry;
    }
  }

  #put(lo: number, hi: number, value: number): void {
    let i = lo & this.#mask;
    while (this.#entries[i * ENTRY_WORDS + 2] !== FREE) i = (i + 1) & this.#mask;
    const entry = i * ENTRY_WORDS;
    this.#entries[entry] = lo;
    this.#entries[entry + 1] = hi;
    this.#entries[entry + 2] = value;
    this.#used++;
  }

  #grow(): void {
    const old = this.#entries;
    const size = (this.#mask + 1) * 2;
    this.#entries = new Int32Array(size * ENTRY_WORDS);
    this.#mask = size - 1;
    this.#used = 0;
    for (let entry = 0; entry < old.length; entry += ENTRY_WORDS) {
      const value = old[entry + 2];
      if (value !== FREE && value !== GONE) this.#put(old[entry], old[entry + 1], value);
    }
  }

  #hashTuple(m: Memory, at: number, isReply: boolean): void {
    const addr = addressBytes(m, at);
    const words = addr >>> 1;
    const direction = zoneDirectionOf(m, at);
    const hasZone = direction === ZONE_BOTH || direction === (isReply ? ZONE_REPLY : ZONE_ORIGINAL);
    const zone = hasZone ? m.u16[(at + OFF_ZONE) >>> 1] : 0;
    const tuple = this.#tuple;
    tuple[0] = familyOf(m, at) | (m.u8[at + OFF_PROTOCOL] << 8) | (zone << 16);
    tuple[1] = m.u32[(at + (isReply ? offReplyL4(addr) : OFF_ORIG_L4)) >>> 2];
    const from = (at + (isReply ? offReplySrc(addr) : OFF_ORIG_L4 + 4)) >>> 2;
    for (let i = 0; i < words; i++) tuple[2 + i] = m.u32[from + i];
    this.#hash.words(tuple, 0, 2 + words);
  }
}
