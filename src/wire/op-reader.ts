/**
 * Reads the ops of one payload, one after the other, into its own fields: nothing is allocated for UPSERT,
 * DELETE, MARK and scopes. Hostile input ends in OP_BAD (the rest of the payload is lost) or OP_REFUSED
 * (this op is).
 */

import { EXP_OFF_KEY, isExpectationKey } from '../flow/expectation.js';
import { allocateMemory, MAX_RECORD_BYTES, type Memory } from '../flow/record.js';
import { EXPECTATION_MAX_BYTES, NAME_MAX_BYTES, OWNERS_MAX } from '../limits.js';
import { ByteCursor } from './byte-cursor.js';
import type { Seed } from './op-writer.js';
import {
  FINE_BITS,
  FINE_SUMS_BYTES,
  LEVEL_FINE,
  OP_MASK,
  SEGMENT_BITS,
  SEGMENTS,
  SUMS_BYTES,
  SUMS_WIDTH,
  UPSERT_FRESH,
  WIRE_DECLARE,
  WIRE_DELETE,
  WIRE_EXPECT_DELETE,
  WIRE_EXPECT_UPSERT,
  WIRE_MARK,
  WIRE_ROLE,
  WIRE_SCOPE_BEGIN,
  WIRE_SCOPE_END,
  WIRE_SUMS,
  WIRE_UPSERT,
} from './ops.js';
import { decodeDelete, decodeUpsert } from './record-codec.js';

/** No more ops. */
export const OP_END = 0;
/** Not msgpack, or no op: what follows cannot be found any more. */
export const OP_BAD = -1;
/** An op that is well formed as msgpack, but says nothing sensible: skipped. */
export const OP_REFUSED = -2;
/** An op with a number this version does not know: skipped. */
export const OP_UNKNOWN = -3;

const U32_MAX = 0xffffffff;
/** How many SUMS ops each level has: groups, the segments of a group, the fine scopes of a segment. */
const SUMS_INDEXES: readonly number[] = [0, 1, SUMS_WIDTH, SEGMENTS];

export class OpReader {
  /** Record of the last UPSERT, or key of the last DELETE, at 0. */
  readonly record: Memory = allocateMemory(MAX_RECORD_BYTES);
  isFresh = false;
  /** Scope of the last SCOPE_BEGIN or SCOPE_END: how many bits of the key hash, and which. */
  scopeBits = 0;
  prefix = 0;
  count = 0;
  lo = 0;
  hi = 0;
  /** Of the last MARK: the expectations'. */
  expectationCount = 0;
  expectationLo = 0;
  expectationHi = 0;
  /** Of the last EXPECT_UPSERT the bytes as they came, not validated; of the last EXPECT_DELETE the key. */
  readonly expectation: Memory = allocateMemory(EXPECTATION_MAX_BYTES);
  expectationBytes = 0;
  level = 0;
  index = 0;
  /** Triples (count, lo, hi) of the last SUMS; of fine scopes shortened as on the wire. */
  readonly sums = new Uint32Array(SUMS_WIDTH * 3);
  role = 0;
  term = 0;
  isFormer = false;
  /** Stage of a DECLARE. */
  stage = 0;
  seeds: Seed[] = [];
  readonly #c = new ByteCursor();
  readonly #text = new TextDecoder('utf-8');

  start(u8: Uint8Array, from: number, to: number): void {
    this.#c.reset(u8, from, to);
  }

  /** The bytes of the op that `next` began at, for the quarantine. */
  opStart = 0;
  get opEnd(): number {
    return this.#c.at;
  }
  get bytes(): Uint8Array {
    return this.#c.u8;
  }

  /** The next op's WIRE_* number with its fields set, or OP_*. */
  next(): number {
    const c = this.#c;
    if (c.at >= c.end) return OP_END;
    this.opStart = c.at;
    const elements = c.array();
    if (elements < 1) return OP_BAD;
    const head = c.uint();
    if (head < 0) return OP_BAD;
    const op = head & OP_MASK;
    if (op === WIRE_UPSERT && head < 64) return this.#upsert(elements, head);
    if (head > OP_MASK) return this.#skip(OP_UNKNOWN);
    if (op === WIRE_DELETE) {
      const isGood = elements >= 2 && decodeDelete(c, this.record);
      return isGood ? this.#rest(op, elements - 2) : this.#skip(OP_REFUSED);
    }
    return this.#other(op, elements);
  }

  #upsert(elements: number, head: number): number {
    this.isFresh = (head & UPSERT_FRESH) !== 0;
    const length = elements < 4 ? 0 : decodeUpsert(this.#c, elements - 1, head, this.record);
    return length > 0 ? WIRE_UPSERT : this.#skip(OP_REFUSED);
  }

  #other(op: number, elements: number): number {
    let used: number;
    switch (op) {
      case WIRE_SCOPE_BEGIN:
        used = this.#scopeBegin();
        break;
      case WIRE_SCOPE_END:
        used = this.#scopeEnd();
        break;
      case WIRE_MARK:
        used = this.#mark();
        break;
      case WIRE_SUMS:
        used = this.#readSums();
        break;
      case WIRE_ROLE:
        used = this.#readRole();
        break;
      case WIRE_DECLARE:
        used = this.#declare(elements);
        break;
      case WIRE_EXPECT_UPSERT:
        used = this.#readExpectation(0) ? 2 : 0;
        break;
      case WIRE_EXPECT_DELETE:
        used =
          this.#readExpectation(EXP_OFF_KEY) && isExpectationKey(this.expectation, 0, this.expectationBytes)
            ? 2
            : 0;
        break;
      default:
        return this.#skip(OP_UNKNOWN);
    }
    return used > 0 && used <= elements ? this.#rest(op, elements - used) : this.#skip(OP_REFUSED);
  }

  #scopeBegin(): number {
    return this.#scope() ? 3 : 0;
  }

  #scopeEnd(): number {
    return this.#scope() && this.#sum() ? 6 : 0;
  }

  #scope(): boolean {
    this.scopeBits = this.#c.uint();
    this.prefix = this.#c.uint();
    const { scopeBits, prefix } = this;
    if (scopeBits !== 0 && scopeBits !== SEGMENT_BITS && scopeBits !== FINE_BITS) return false;
    return prefix >= 0 && prefix < 1 << scopeBits;
  }

  #mark(): number {
    if (!this.#sum()) return 0;
    const { count, lo, hi } = this;
    if (!this.#sum()) return 0;
    this.expectationCount = this.count;
    this.expectationLo = this.lo;
    this.expectationHi = this.hi;
    this.count = count;
    this.lo = lo;
    this.hi = hi;
    return 7;
  }

  /** Copies a bin to `at` of `expectation`. */
  #readExpectation(at: number): boolean {
    const c = this.#c;
    const bytes = c.bin();
    if (bytes < 4 || bytes > EXPECTATION_MAX_BYTES - at) return false;
    this.expectation.u8.fill(0);
    for (let i = 0; i < bytes; i++) this.expectation.u8[at + i] = c.u8[c.at + i];
    c.at += bytes;
    this.expectationBytes = bytes;
    return true;
  }

  #sum(): boolean {
    this.count = this.#c.uint();
    this.lo = this.#c.uint();
    this.hi = this.#c.uint();
    return (
      this.count >= 0 &&
      this.lo >= 0 &&
      this.hi >= 0 &&
      this.count <= U32_MAX &&
      this.lo <= U32_MAX &&
      this.hi <= U32_MAX
    );
  }

  #readSums(): number {
    const c = this.#c;
    this.level = c.uint();
    this.index = c.uint();
    const bytes = c.bin();
    if (!(this.index >= 0 && this.index < (SUMS_INDEXES[this.level] ?? 0))) return 0;
    if (this.level === LEVEL_FINE) return this.#readFineSums(bytes);
    if (bytes !== SUMS_BYTES) return 0;
    for (let i = 0, p = c.at; i < this.sums.length; i++, p += 4) {
      this.sums[i] = (c.u8[p] << 24) | (c.u8[p + 1] << 16) | (c.u8[p + 2] << 8) | c.u8[p + 3];
    }
    c.at += bytes;
    return 4;
  }

  #readFineSums(bytes: number): number {
    const c = this.#c;
    if (bytes !== FINE_SUMS_BYTES) return 0;
    for (let i = 0, p = c.at; i < this.sums.length; i += 3, p += 6) {
      this.sums[i] = c.u8[p];
      this.sums[i + 1] = (c.u8[p + 2] << 24) | (c.u8[p + 3] << 16) | (c.u8[p + 4] << 8) | c.u8[p + 5];
      this.sums[i + 2] = c.u8[p + 1];
    }
    c.at += bytes;
    return 4;
  }

  #readRole(): number {
    this.role = this.#c.uint();
    this.term = this.#c.uint();
    return this.role >= 0 && this.role <= 255 && this.term >= 0 ? 3 : 0;
  }

  #declare(elements: number): number {
    const c = this.#c;
    this.seeds = [];
    this.term = c.uint();
    const isFormer = c.at < c.end ? c.u8[c.at++] : 0;
    const n = c.array();
    if (this.term < 0 || (isFormer !== 0xc2 && isFormer !== 0xc3) || n < 0 || n > OWNERS_MAX) return 0;
    this.isFormer = isFormer === 0xc3;
    const seeds: Seed[] = [];
    for (let i = 0; i < n; i++) {
      if (c.array() !== 3) return 0;
      const nameBytes = c.str();
      if (nameBytes < 1 || nameBytes > NAME_MAX_BYTES) return 0;
      const node = this.#text.decode(c.u8.subarray(c.at, c.at + nameBytes));
      c.at += nameBytes;
      if (c.bin() !== 16) return 0;
      const incarnation = c.u8.slice(c.at, c.at + 16);
      c.at += 16;
      const cut = c.uint();
      if (cut < 0) return 0;
      seeds.push({ node, incarnation, cut });
    }
    this.seeds = seeds;
    this.stage = elements > 4 ? c.uint() : 0;
    return this.stage < 0 ? 0 : Math.min(elements, 5);
  }

  /** Steps over elements that a later version added. */
  #rest(op: number, elements: number): number {
    for (let i = 0; i < elements; i++) if (!this.#c.skip()) return OP_BAD;
    return op;
  }

  /** Goes back to the start of the op and steps over it whole. */
  #skip(verdict: number): number {
    this.#c.at = this.opStart;
    return this.#c.skip() ? verdict : OP_BAD;
  }
}
