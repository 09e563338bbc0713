/** Requests to the kernel about one expectation: create it, give it another timeout, or delete it by its tuple. */
import { AF_INET, AF_INET6 } from '../flow/conntrack-enums.js';
import * as X from '../flow/expectation.js';
import type { Memory } from '../flow/record.js';
import * as A from './attributes.js';
import { EXPECTATION_TABLES, ROWS_PER_TABLE } from './compiled-tables.js';
import * as E from './enums.js';
import * as P from './expectation-presence.js';
import * as S from './expectation-stage.js';
import { TUPLE_DST, TUPLE_L4, TUPLE_PROTOCOL, TUPLE_SRC } from './stage.js';

/** Room a request needs; the longest (IPv6, translated, both names) is under 500. Bytes. */
export const EXPECTATION_REQUEST_MAX_BYTES = 1024;
const HEADER_BYTES = 20;
/** update: the timeout is all that it changes. */
export type ExpectationVerb = 'create' | 'update' | 'delete';
const CREATE_FLAGS = E.NLM_F_CREATE | E.NLM_F_EXCL;
const TUPLE_TYPES = (1 << E.CTA_TUPLE_IP) | (1 << E.CTA_TUPLE_PROTO);

/** Encodes requests about expectations; the kernel acknowledges them. */
export class ExpectationEncoder {
  private readonly stage = S.createExpectationStage();
  private readonly present = new Uint32Array(EXPECTATION_TABLES.count);
  private view: DataView = new DataView(new ArrayBuffer(0));

  /**
   * Writes the message at the start of `out` and returns its bytes. The kernel ignores the timeout of a create and
   * takes the policy of the master's helper.
   */
  encode(verb: ExpectationVerb, m: Memory, at: number, out: Uint8Array, seq: number): number {
    if (out.length < EXPECTATION_REQUEST_MAX_BYTES) {
      throw new RangeError(`a request needs ${EXPECTATION_REQUEST_MAX_BYTES} bytes`);
    }
    out.fill(0, 0, EXPECTATION_REQUEST_MAX_BYTES);
    this.view = new DataView(out.buffer, out.byteOffset, out.byteLength);
    this.fill(verb === 'delete', m, at);
    const type = verb === 'delete' ? E.IPCTNL_MSG_EXP_DELETE : E.IPCTNL_MSG_EXP_NEW;
    const flags = E.NLM_F_REQUEST | E.NLM_F_ACK | (verb === 'create' ? CREATE_FLAGS : 0);
    const end = this.write(0, HEADER_BYTES);
    this.view.setUint32(0, end, true);
    this.view.setUint16(4, (E.NFNL_SUBSYS_CTNETLINK_EXP << 8) | type, true);
    this.view.setUint16(6, flags, true);
    this.view.setUint32(8, seq, true);
    out[16] = m.u8[at + X.EXP_OFF_FAMILY];
    return end;
  }

  private fill(isDelete: boolean, m: Memory, at: number): void {
    const { stage, present } = this;
    present.fill(0);
    const t = X.tupleBytesOf(m, at);
    const protocol = m.u8[at + X.EXP_OFF_PROTOCOL];
    this.fillTuple(P.TUPLE, m, at + X.EXP_OFF_TUPLE, t, protocol);
    present[P.TOP] = 1 << E.CTA_EXPECT_TUPLE;
    const zone = m.u16[(at + X.EXP_OFF_ZONE) >>> 1];
    if (zone !== 0) {
      stage.u16[S.STAGE_ZONE >>> 1] = zone;
      present[P.TOP] |= 1 << E.CTA_EXPECT_ZONE;
    }
    if (isDelete) return;
    this.fillTuple(P.MASK, m, at + X.expOffMask(t), t, protocol);
    this.fillTuple(P.MASTER, m, at + X.expOffMaster(t), t, m.u8[at + X.EXP_OFF_MASTER_PROTOCOL]);
    stage.u32[S.STAGE_TIMEOUT >>> 2] = Math.max(1, m.u16[(at + X.EXP_OFF_TIMEOUT) >>> 1]);
    stage.u32[S.STAGE_FLAGS >>> 2] = m.u32[(at + X.expOffFlags(t)) >>> 2];
    stage.u32[S.STAGE_CLASS >>> 2] = m.u32[(at + X.EXP_OFF_CLASS) >>> 2];
    present[P.TOP] |=
      (1 << E.CTA_EXPECT_MASK) |
      (1 << E.CTA_EXPECT_MASTER) |
      (1 << E.CTA_EXPECT_TIMEOUT) |
      (1 << E.CTA_EXPECT_FLAGS) |
      (1 << E.CTA_EXPECT_CLASS);
    const nat = m.u8[at + X.expOffNat(t)];
    if (nat !== X.NAT_NONE) {
      stage.u32[S.STAGE_NAT_DIRECTION >>> 2] = nat === X.NAT_REPLY ? 1 : 0;
      this.fillTuple(P.NAT_TUPLE, m, at + X.expOffNatTuple(t), t, protocol);
      present[P.TOP] |= 1 << E.CTA_EXPECT_NAT;
      present[P.NAT] = (1 << E.CTA_EXPECT_NAT_DIR) | (1 << E.CTA_EXPECT_NAT_TUPLE);
    }
    const helper = X.expectationHelper(m, at);
    const fn = X.expectationFn(m, at);
    if (helper !== '') this.fillName(S.STAGE_HELPER, helper, E.CTA_EXPECT_HELP_NAME);
    if (fn !== '') this.fillName(S.STAGE_FN, fn, E.CTA_EXPECT_FN);
  }

  private fillTuple(tables: P.TupleTables, m: Memory, from: number, t: number, protocol: number): void {
    const { stage, present } = this;
    const { place } = tables;
    const addr = (t - 4) / 2;
    stage.u32[(place + TUPLE_L4) >>> 2] = m.u32[from >>> 2];
    for (let i = 0; i < addr; i++) {
      stage.u8[place + TUPLE_SRC + i] = m.u8[from + 4 + i];
      stage.u8[place + TUPLE_DST + i] = m.u8[from + 4 + addr + i];
    }
    stage.u8[place + TUPLE_PROTOCOL] = protocol;
    present[tables.tuple] = TUPLE_TYPES;
    present[tables.ip] = P.ipTypes(addr === 4 ? AF_INET : AF_INET6);
    present[tables.proto] = P.protoTypes(protocol);
  }

  private fillName(place: number, name: string, type: number): void {
    for (let i = 0; i < name.length; i++) this.stage.u8[place + i] = name.charCodeAt(i);
    this.stage.u16[(place - 2) >>> 1] = name.length;
    this.present[P.TOP] |= 1 << type;
  }

  /** Writes what is present of table `table` at `p`, ascending by type; returns the end. */
  private write(table: number, p: number): number {
    const tables = EXPECTATION_TABLES;
    for (let type = 1; type < ROWS_PER_TABLE; type++) {
      if ((this.present[table] & (1 << type)) === 0) continue;
      const row = table * ROWS_PER_TABLE + type;
      const isNested = tables.codec[row] === A.CODEC_NESTED;
      const end = isNested
        ? this.write(tables.child[row], p + 4)
        : p + 4 + this.put(tables.codec[row], tables.target[row], p + 4, tables.minBytes[row]);
      this.view.setUint16(p, end - p, true);
      this.view.setUint16(p + 2, isNested ? type | E.NLA_F_NESTED : type, true);
      p = (end + 3) & ~3;
    }
    return p;
  }

  /** Writes one value at `at` and returns its bytes. */
  private put(codec: number, target: number, at: number, size: number): number {
    const { stage, view } = this;
    if (codec === A.CODEC_BE32) view.setUint32(at, stage.u32[target >>> 2]);
    else if (codec === A.CODEC_BE16) view.setUint16(at, stage.u16[target >>> 1]);
    else {
      const isText = codec === A.CODEC_TEXT;
      const bytes = isText ? stage.u16[(target - 2) >>> 1] : size;
      for (let i = 0; i < bytes; i++) view.setUint8(at + i, stage.u8[target + i]);
      return isText ? bytes + 1 : bytes;
    }
    return size;
  }
}
