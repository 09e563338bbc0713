/**
 * Appends ops to a frame's payload. Every method returns false, with nothing written, when the op does not
 * fit.
 */
import { EXP_OFF_KEY, expectationBytes, expectationKeyBytes } from '../flow/expectation.js';
import type { Memory } from '../flow/record.js';
import { ByteWriter } from './byte-writer.js';
import {
  FINE_COUNT_MAX,
  FINE_SUMS_BYTES,
  LEVEL_FINE,
  SUMS_BYTES,
  SUMS_WIDTH,
  WIRE_DECLARE,
  WIRE_EXPECT_DELETE,
  WIRE_EXPECT_UPSERT,
  WIRE_MARK,
  WIRE_ROLE,
  WIRE_SCOPE_BEGIN,
  WIRE_SCOPE_END,
  WIRE_SUMS,
} from './ops.js';
import { encodeDelete, encodeUpsert } from './record-codec.js';

/**
 * Whose image the receivers may start from: an incarnation, and the last sequence of it that the sender
 * applied.
 */
export interface Seed {
  node: string;
  incarnation: Uint8Array;
  cut: number;
}

/** A count and the two lanes of a sum. */
export interface Sum {
  readonly count: number;
  readonly lo: number;
  readonly hi: number;
}

export class OpWriter {
  readonly bytes = new ByteWriter();
  readonly #text = new TextEncoder();

  upsert(m: Memory, at: number, isFresh: boolean): boolean {
    return encodeUpsert(this.bytes, m, at, isFresh);
  }

  delete(m: Memory, at: number): boolean {
    return encodeDelete(this.bytes, m, at);
  }

  /** `bits` of the key hash make up the prefix: SEGMENT_BITS, FINE_BITS, or 0 for all expectations. */
  scopeBegin(bits: number, prefix: number): boolean {
    const w = this.bytes;
    if (!w.hasRoom(8)) return false;
    w.array(3);
    w.byte(WIRE_SCOPE_BEGIN);
    w.uint(bits);
    w.uint(prefix);
    return true;
  }

  /** The sum is of the scope's image as it stands after the run. */
  scopeEnd(bits: number, prefix: number, count: number, lo: number, hi: number): boolean {
    const w = this.bytes;
    if (!w.hasRoom(23)) return false;
    w.array(6);
    w.byte(WIRE_SCOPE_END);
    w.uint(bits);
    w.uint(prefix);
    w.uint(count);
    w.uint(lo);
    w.uint(hi);
    return true;
  }

  /** `sums` holds SUMS_WIDTH triples (count, lo, hi). */
  sums(level: number, index: number, sums: Uint32Array): boolean {
    const w = this.bytes;
    if (!w.hasRoom(10 + SUMS_BYTES)) return false;
    w.array(4);
    w.byte(WIRE_SUMS);
    w.uint(level);
    w.uint(index);
    w.binHead(SUMS_BYTES);
    for (let i = 0; i < SUMS_BYTES / 4; i++) w.word(sums[i]);
    return true;
  }

  /** The sums of a segment's fine scopes, SUMS_WIDTH triples (count, lo, hi), shortened. */
  fineSums(segment: number, sums: Uint32Array): boolean {
    const w = this.bytes;
    if (!w.hasRoom(10 + FINE_SUMS_BYTES)) return false;
    w.array(4);
    w.byte(WIRE_SUMS);
    w.uint(LEVEL_FINE);
    w.uint(segment);
    w.binHead(FINE_SUMS_BYTES);
    for (let i = 0; i < SUMS_WIDTH * 3; i += 3) {
      w.byte(Math.min(sums[i], FINE_COUNT_MAX));
      w.byte(sums[i + 2] & 0xff);
      w.word(sums[i + 1]);
    }
    return true;
  }

  /** A packed expectation, its timeout with it. */
  expectUpsert(m: Memory, at: number): boolean {
    return this.#binary(WIRE_EXPECT_UPSERT, m, at, expectationBytes(m, at));
  }

  /** The key of a packed expectation. */
  expectDelete(m: Memory, at: number): boolean {
    return this.#binary(WIRE_EXPECT_DELETE, m, at + EXP_OFF_KEY, expectationKeyBytes(m, at));
  }

  #binary(op: number, m: Memory, from: number, bytes: number): boolean {
    const w = this.bytes;
    if (!w.hasRoom(5 + bytes)) return false;
    w.array(2);
    w.byte(op);
    w.binHead(bytes);
    w.bytes(m.u8, from, from + bytes);
    return true;
  }

  /** Count and sum of the flows' images, and of the expectations'. */
  mark(flows: Sum, expectations: Sum): boolean {
    const w = this.bytes;
    if (!w.hasRoom(32)) return false;
    w.array(7);
    w.byte(WIRE_MARK);
    for (const { count, lo, hi } of [flows, expectations]) {
      w.uint(count);
      w.uint(lo);
      w.uint(hi);
    }
    return true;
  }

  declare(term: number, isFormer: boolean, seeds: readonly Seed[], stage = 0): boolean {
    const w = this.bytes;
    const names = seeds.map((s) => this.#text.encode(s.node));
    const bytes = names.reduce((sum, name) => sum + name.length + 2 + 1 + 18 + 9, 0);
    if (!w.hasRoom(16 + bytes)) return false;
    w.array(stage === 0 ? 4 : 5);
    w.byte(WIRE_DECLARE);
    w.uint(term);
    w.byte(isFormer ? 0xc3 : 0xc2);
    w.array(seeds.length);
    for (let i = 0; i < seeds.length; i++) {
      w.array(3);
      w.str(names[i]);
      w.bin(seeds[i].incarnation);
      w.uint(seeds[i].cut);
    }
    if (stage !== 0) w.uint(stage);
    return true;
  }

  role(role: number, term: number): boolean {
    const w = this.bytes;
    if (!w.hasRoom(13)) return false;
    w.array(3);
    w.byte(WIRE_ROLE);
    w.uint(role);
    w.uint(term);
    return true;
  }
}
