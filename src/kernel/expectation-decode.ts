/**
 * One ctnetlink message about an expectation in, one packed expectation out, as decode.ts does it for flows: sizes are
 * strict, unknown attributes are skipped and counted, and no bytes whatever make it throw or read past the message.
 */
import { AF_INET, AF_INET6 } from '../flow/conntrack-enums.js';
import type { Counters } from '../flow/counters.js';
import * as X from '../flow/expectation.js';
import { EVENT_DESTROY, EVENT_NEW } from '../flow/kernel-port.js';
import { allocateMemory, type Memory } from '../flow/record.js';
import { usesIcmp, usesPorts } from '../flow/tuple.js';
import { EXPECTATION_MAX_BYTES } from '../limits.js';
import * as A from './attributes.js';
import { EXPECTATION_TABLES, ROWS_PER_TABLE } from './compiled-tables.js';
import * as E from './enums.js';
import * as P from './expectation-presence.js';
import * as S from './expectation-stage.js';
import { TUPLE_DST, TUPLE_L4, TUPLE_PROTOCOL, TUPLE_SRC } from './stage.js';

const HEADER_BYTES = 20;
const TYPE_MASK = ~(E.NLA_F_NESTED | E.NLA_F_NET_BYTEORDER) & 0xffff;
const TYPE_NEW = (E.NFNL_SUBSYS_CTNETLINK_EXP << 8) | E.IPCTNL_MSG_EXP_NEW;
const TYPE_DELETE = (E.NFNL_SUBSYS_CTNETLINK_EXP << 8) | E.IPCTNL_MSG_EXP_DELETE;
const MUST_HAVE = (1 << E.CTA_EXPECT_MASTER) | (1 << E.CTA_EXPECT_TUPLE) | (1 << E.CTA_EXPECT_MASK);
const NAT_TYPES = (1 << E.CTA_EXPECT_NAT_DIR) | (1 << E.CTA_EXPECT_NAT_TUPLE);
const TIMEOUT_MAX_S = 0xffff;

/** True for the messages that belong here: netlink message type in the word behind the length. */
export const isExpectationType = (type: number): boolean => type >>> 8 === E.NFNL_SUBSYS_CTNETLINK_EXP;

/** Decodes expectation events and dump rows; one object for each reader, reused for every message. */
export class ExpectationDecoder {
  /** The expectation of the last message stands here at 0 until the next call. */
  readonly m: Memory = allocateMemory(EXPECTATION_MAX_BYTES);
  /** Of the last message. An expectation has no updates: EVENT_NEW or EVENT_DESTROY. */
  kind = 0;
  portId = 0;
  seq = 0;
  private readonly counters: Counters;
  private readonly stage = S.createExpectationStage();
  private readonly present = new Uint32Array(EXPECTATION_TABLES.count);
  private bytes: Uint8Array = new Uint8Array(0);
  private view: DataView = new DataView(new ArrayBuffer(0));

  constructor(counters: Counters) {
    this.counters = counters;
  }

  /**
   * Decodes the netlink message in `u8` from `from` to `to` and returns the length of the expectation in `m`, or 0 with
   * the reason counted.
   */
  decode(u8: Uint8Array, from: number, to: number): number {
    if (!(from >= 0) || to > u8.length || to - from < HEADER_BYTES) return this.reject('truncated');
    if (this.view.buffer !== u8.buffer || this.view.byteOffset !== u8.byteOffset) {
      this.view = new DataView(u8.buffer, u8.byteOffset, u8.byteLength);
    }
    this.bytes = u8;
    const length = this.view.getUint32(from, true);
    const type = this.view.getUint16(from + 4, true);
    this.seq = this.view.getUint32(from + 8, true);
    this.portId = this.view.getUint32(from + 12, true);
    if (length < HEADER_BYTES || length > to - from) return this.reject('truncated');
    if (type !== TYPE_NEW && type !== TYPE_DELETE) return this.reject('type');
    this.kind = type === TYPE_NEW ? EVENT_NEW : EVENT_DESTROY;
    const family = u8[from + 16];
    if (family !== AF_INET && family !== AF_INET6) return this.reject('family');
    this.present.fill(0);
    this.stage.u8.fill(0);
    const reason = this.walk(0, from + HEADER_BYTES, from + length) ?? this.pack(family);
    return reason === undefined ? X.expectationBytes(this.m, 0) : this.reject(reason);
  }

  private reject(reason: string): number {
    this.counters.count(`expectation.${reason}`);
    return 0;
  }

  /** Reads the attributes from `p` to `end` by table `table`; returns why it cannot. */
  private walk(table: number, p: number, end: number): string | undefined {
    const tables = EXPECTATION_TABLES;
    while (end - p >= 4) {
      const size = this.view.getUint16(p, true) - 4;
      const type = this.view.getUint16(p + 2, true) & TYPE_MASK;
      const at = p + 4;
      if (size < 0 || size > end - at) return 'attribute-length';
      p = at + ((size + 3) & ~3);
      const row = table * ROWS_PER_TABLE + type;
      const codec = type < ROWS_PER_TABLE ? tables.codec[row] : A.CODEC_UNKNOWN;
      if (codec === A.CODEC_UNKNOWN) {
        this.counters.count('expectation.unknown-attribute');
        continue;
      }
      if (size < tables.minBytes[row] || size > tables.maxBytes[row]) return 'attribute-size';
      if (codec === A.CODEC_NESTED) {
        const reason = this.walk(tables.child[row], at, at + size);
        if (reason !== undefined) return reason;
      } else this.take(codec, tables.target[row], at, size);
      this.present[table] |= 1 << type;
    }
    return p < end ? 'attribute-length' : undefined;
  }

  /** Puts one value of `size` bytes at `at` to its place. */
  private take(codec: number, target: number, at: number, size: number): void {
    const { stage, view, bytes } = this;
    if (codec === A.CODEC_BE32) stage.u32[target >>> 2] = view.getUint32(at);
    else if (codec === A.CODEC_BE16) stage.u16[target >>> 1] = view.getUint16(at);
    else if (codec === A.CODEC_TEXT) this.takeName(target, at, size);
    else if (codec !== A.CODEC_IGNORED) {
      for (let i = 0; i < size; i++) stage.u8[target + i] = bytes[at + i];
    }
  }

  /** Copies a name up to its NUL; one that is too long, or no plain text, counts as none. */
  private takeName(target: number, at: number, size: number): void {
    const { bytes, stage } = this;
    let length = 0;
    let isPlain = true;
    while (length < size && bytes[at + length] !== 0) {
      const byte = bytes[at + length++];
      if (byte <= 0x20 || byte > 0x7e) isPlain = false;
    }
    if (length > S.nameRoom(target) || !isPlain) {
      this.counters.count('expectation.text');
      length = 0;
    }
    for (let i = 0; i < length; i++) stage.u8[target + i] = bytes[at + i];
    stage.u16[(target - 2) >>> 1] = length;
  }

  private pack(family: number): string | undefined {
    const { stage, present, m } = this;
    if ((present[P.TOP] & MUST_HAVE) !== MUST_HAVE) return 'tuple';
    const hasNat = (present[P.TOP] & (1 << E.CTA_EXPECT_NAT)) !== 0;
    if (
      hasNat &&
      ((present[P.NAT] & NAT_TYPES) !== NAT_TYPES || stage.u32[S.STAGE_NAT_DIRECTION >>> 2] > 1)
    ) {
      return 'nat';
    }
    m.u8.fill(0);
    const protocol = stage.u8[S.STAGE_TUPLE + TUPLE_PROTOCOL];
    const master = stage.u8[S.STAGE_MASTER + TUPLE_PROTOCOL];
    m.u8[X.EXP_OFF_FAMILY] = family;
    m.u8[X.EXP_OFF_PROTOCOL] = protocol;
    m.u8[X.EXP_OFF_MASTER_PROTOCOL] = master;
    m.u16[X.EXP_OFF_ZONE >>> 1] = stage.u16[S.STAGE_ZONE >>> 1];
    m.u16[X.EXP_OFF_TIMEOUT >>> 1] = Math.min(stage.u32[S.STAGE_TIMEOUT >>> 2], TIMEOUT_MAX_S);
    m.u32[X.EXP_OFF_CLASS >>> 2] = stage.u32[S.STAGE_CLASS >>> 2];
    const t = X.tupleBytesOf(m, 0);
    m.u32[X.expOffFlags(t) >>> 2] = stage.u32[S.STAGE_FLAGS >>> 2];
    const isWhole =
      this.packTuple(P.TUPLE, family, protocol, X.EXP_OFF_TUPLE) &&
      this.packTuple(P.MASK, family, protocol, X.expOffMask(t)) &&
      this.packTuple(P.MASTER, family, master, X.expOffMaster(t));
    if (!isWhole) return 'tuple';
    if (hasNat) {
      m.u8[X.expOffNat(t)] = stage.u32[S.STAGE_NAT_DIRECTION >>> 2] === 0 ? X.NAT_ORIGINAL : X.NAT_REPLY;
      if (!this.packTuple(P.NAT_TUPLE, family, protocol, X.expOffNatTuple(t))) return 'nat';
    }
    this.packNames(t);
    return undefined;
  }

  /** False if the tuple has no address of the family, or no protocol. */
  private packTuple(tables: P.TupleTables, family: number, protocol: number, to: number): boolean {
    const { stage, present, m } = this;
    const wanted = P.ipTypes(family);
    if ((present[tables.ip] & wanted) !== wanted) return false;
    if ((present[tables.proto] & (1 << E.CTA_PROTO_NUM)) === 0) return false;
    const addr = family === AF_INET6 ? 16 : 4;
    const { place } = tables;
    if (usesPorts(protocol) || usesIcmp(protocol)) {
      m.u32[to >>> 2] = stage.u32[(place + TUPLE_L4) >>> 2];
    }
    for (let i = 0; i < addr; i++) {
      m.u8[to + 4 + i] = stage.u8[place + TUPLE_SRC + i];
      m.u8[to + 4 + addr + i] = stage.u8[place + TUPLE_DST + i];
    }
    return true;
  }

  private packNames(t: number): void {
    const { stage, m } = this;
    let to = X.expOffNames(m, 0);
    const lengths = [X.expOffHelperBytes(t), X.expOffFnBytes(t)];
    [S.STAGE_HELPER, S.STAGE_FN].forEach((place, i) => {
      const length = stage.u16[(place - 2) >>> 1];
      m.u8[lengths[i]] = length;
      m.u8.set(stage.u8.subarray(place, place + length), to);
      to += length;
    });
    m.u16[0] = X.measureExpectation(m, 0);
  }
}
