/**
 * One ctnetlink message in, one normalised record out. The walk over the attribute tables puts every value at its
 * place in the stage and notes per nest which types were there; then the record is packed from the stage. Sizes are
 * strict, unknown attributes are skipped and counted, and no bytes whatever make it throw or read past the message.
 */
import { AF_INET, AF_INET6 } from '../flow/conntrack-enums.js';
import type { Counters } from '../flow/counters.js';
import { EVENT_DESTROY, EVENT_NEW, EVENT_UPDATE } from '../flow/kernel-port.js';
import { allocateMemory, MAX_RECORD_BYTES, type Memory } from '../flow/record.js';
import { NETLINK_MESSAGE_MAX_BYTES } from '../limits.js';
import * as A from './attributes.js';
import { CONNTRACK_TABLES, ROWS_PER_TABLE } from './compiled-tables.js';
import * as E from './enums.js';
import { packRecord } from './pack.js';
import * as P from './presence.js';
import { createStage, HELPER_NAME_MAX_BYTES, SECCTX_MAX_BYTES, STAGE_HELPER } from './stage.js';

/** Bytes of the netlink header and the nfnetlink header behind it. */
const HEADER_BYTES = 20;
const TYPE_MASK = ~(E.NLA_F_NESTED | E.NLA_F_NET_BYTEORDER) & 0xffff;
const TYPE_NEW = (E.NFNL_SUBSYS_CTNETLINK << 8) | E.IPCTNL_MSG_CT_NEW;
const TYPE_DELETE = (E.NFNL_SUBSYS_CTNETLINK << 8) | E.IPCTNL_MSG_CT_DELETE;

/** Why a message gave no record, as counted: index is the walk's or packer's error code. */
const DECODE_REASONS: readonly string[] = [
  '',
  'ctnetlink.truncated', // shorter than its headers, or than it says
  'ctnetlink.oversized',
  'ctnetlink.type', // not a flow
  'ctnetlink.family',
  'ctnetlink.attribute-length', // an attribute's length points outside its message
  'ctnetlink.attribute-size', // a known attribute of another size
  'ctnetlink.tuple', // a tuple is missing or incomplete, or the tuples differ in protocol
  'ctnetlink.zone', // two zones at once
  'ctnetlink.state', // a protoinfo state that no kernel has
];
const ERROR_TRUNCATED = 1;
const ERROR_OVERSIZED = 2;
const ERROR_TYPE = 3;
const ERROR_FAMILY = 4;
const ERROR_LENGTH = 5;
const ERROR_SIZE = 6;

// The columns of the flat tables, once: the walk reads them for every attribute.
const { codec: CODEC, minBytes: MIN, maxBytes: MAX, target: TARGET, child: CHILD } = CONNTRACK_TABLES;
const { clearFrom: CLEAR_FROM, clearWords: CLEAR_WORDS } = CONNTRACK_TABLES;

const swap = (w: number): number =>
  ((w << 24) | ((w & 0xff00) << 8) | ((w >>> 8) & 0xff00) | (w >>> 24)) >>> 0;

/** Decodes conntrack events, dump rows and GET answers; one object for each reader, reused for every message. */
export class CtnetlinkDecoder {
  /** The record of the last message stands here at 0 until the next call. */
  readonly m: Memory = allocateMemory(MAX_RECORD_BYTES);
  /** Of the last message: netlink header, EVENT_* kind, SEEN_* bits and raw IPS_* status. */
  type = 0;
  flags = 0;
  seq = 0;
  portId = 0;
  kind = 0;
  seen = 0;
  status = 0;
  /** Index into DECODE_REASONS for the last message: 0 if it gave a record. */
  error = 0;

  private readonly counters: Counters;
  private readonly stage = createStage();
  private readonly present = new Uint32Array(CONNTRACK_TABLES.count);
  private readonly aligned = allocateMemory(NETLINK_MESSAGE_MAX_BYTES);
  private buffer: ArrayBufferLike;
  private bytes: Uint8Array;
  private words: Uint32Array;

  constructor(counters: Counters) {
    this.counters = counters;
    this.buffer = this.aligned.u8.buffer;
    this.bytes = this.aligned.u8;
    this.words = this.aligned.u32;
  }

  /**
   * Decodes the netlink message in `u8` from `from` to `to` and returns the length of the record in `m`, or 0 with
   * the reason counted. `shown` adds the parts that are only shown (counters, timestamps, use, ...).
   */
  decode(u8: Uint8Array, from: number, to: number, shown: boolean): number {
    this.error = 0;
    this.type = 0;
    this.flags = 0;
    this.seq = 0;
    this.portId = 0;
    this.seen = 0;
    this.status = 0;
    if (!(from >= 0) || to > u8.length || to - from < HEADER_BYTES) return this.reject(ERROR_TRUNCATED);
    if (to - from > NETLINK_MESSAGE_MAX_BYTES) return this.reject(ERROR_OVERSIZED);
    const start = this.look(u8, from, to);
    const words = this.words;
    const w = start >>> 2;
    const length = words[w];
    this.type = words[w + 1] & 0xffff;
    this.flags = words[w + 1] >>> 16;
    this.seq = words[w + 2];
    this.portId = words[w + 3];
    if (length < HEADER_BYTES || length > to - from) return this.reject(ERROR_TRUNCATED);
    if (this.type === TYPE_NEW) {
      this.kind = (this.flags & (E.NLM_F_CREATE | E.NLM_F_EXCL)) !== 0 ? EVENT_NEW : EVENT_UPDATE;
    } else if (this.type === TYPE_DELETE) {
      this.kind = EVENT_DESTROY;
    } else {
      return this.reject(ERROR_TYPE);
    }
    const family = words[w + 4] & 0xff;
    if (family !== AF_INET && family !== AF_INET6) return this.reject(ERROR_FAMILY);
    const error = this.walk(0, start + HEADER_BYTES, start + length);
    if (error !== 0) return this.reject(error);
    const packed = packRecord(this.stage, this.present, family, this.m, shown);
    if (packed < 0) return this.reject(-packed);
    const status = (this.present[P.TOP] & P.STATUS) !== 0 ? this.stage.u32[P.STATUS_WORD] : 0;
    this.status = status;
    this.seen = P.seenBits(this.present[P.TOP]);
    return packed;
  }

  private reject(error: number): number {
    this.error = error;
    this.counters.count(DECODE_REASONS[error]);
    return 0;
  }

  /** Points `bytes` and `words` at the message and returns its offset there; one that is not aligned is copied. */
  private look(u8: Uint8Array, from: number, to: number): number {
    const start = u8.byteOffset + from;
    if ((start & 3) !== 0) {
      this.aligned.u8.set(u8.subarray(from, to));
      this.setBuffer(this.aligned.u8.buffer);
      return 0;
    }
    if (u8.buffer !== this.buffer) this.setBuffer(u8.buffer);
    return start;
  }

  private setBuffer(buffer: ArrayBufferLike): void {
    this.buffer = buffer;
    this.bytes = new Uint8Array(buffer);
    this.words = new Uint32Array(buffer, 0, buffer.byteLength >>> 2);
  }

  /** Reads the attributes from `p` to `end` by table `table`; returns 0 or an error code. */
  private walk(table: number, p: number, end: number): number {
    const words = this.words;
    const first = table * ROWS_PER_TABLE;
    let types = 0;
    if (CLEAR_WORDS[table] !== 0) this.clear(table);
    while (end - p >= 4) {
      const header = words[p >>> 2];
      const size = (header & 0xffff) - 4;
      const type = (header >>> 16) & TYPE_MASK;
      const at = p + 4;
      if (size < 0 || size > end - at) return ERROR_LENGTH;
      p = at + ((size + 3) & ~3);
      const row = first + type;
      const codec = type < ROWS_PER_TABLE ? CODEC[row] : A.CODEC_UNKNOWN;
      if (codec === A.CODEC_UNKNOWN) {
        this.counters.count('ctnetlink.unknown-attribute');
        continue;
      }
      if (size < MIN[row] || size > MAX[row]) return ERROR_SIZE;
      if (codec === A.CODEC_NESTED) {
        const error = this.walk(CHILD[row], at, at + size);
        if (error !== 0) return error;
      } else {
        this.take(codec, TARGET[row], at, size);
      }
      types |= 1 << type;
    }
    if (p < end) return ERROR_LENGTH;
    this.present[table] = types;
    return 0;
  }

  /** Zeroes the places of a nest whose attributes may come in part. */
  private clear(table: number): void {
    let i = CLEAR_FROM[table];
    const end = i + CLEAR_WORDS[table];
    const stage = this.stage.u32;
    while (i < end) stage[i++] = 0;
  }

  /** Puts one value of `size` bytes at `at` to its place. */
  private take(codec: number, target: number, at: number, size: number): void {
    const stage = this.stage;
    const bytes = this.bytes;
    const words = this.words;
    const w = at >>> 2;
    switch (codec) {
      case A.CODEC_U8:
        stage.u8[target] = bytes[at];
        break;
      case A.CODEC_RAW16:
        stage.u16[target >>> 1] = bytes[at] | (bytes[at + 1] << 8);
        break;
      case A.CODEC_RAW32:
        stage.u32[target >>> 2] = words[w];
        break;
      case A.CODEC_RAW128: {
        const to = target >>> 2;
        stage.u32[to] = words[w];
        stage.u32[to + 1] = words[w + 1];
        stage.u32[to + 2] = words[w + 2];
        stage.u32[to + 3] = words[w + 3];
        break;
      }
      case A.CODEC_BE16:
        stage.u16[target >>> 1] = (bytes[at] << 8) | bytes[at + 1];
        break;
      case A.CODEC_BE32:
        stage.u32[target >>> 2] = swap(words[w]);
        break;
      case A.CODEC_BE64:
        stage.u32[target >>> 2] = swap(words[w + 1]);
        stage.u32[(target >>> 2) + 1] = swap(words[w]);
        break;
      case A.CODEC_TEXT:
        this.takeText(target, at, size);
        break;
    }
  }

  /** Copies text up to its NUL, pads it with zeros, and notes its length (0: not usable) in the header before it. */
  private takeText(target: number, at: number, size: number): void {
    const { bytes, stage } = this;
    const room = target === STAGE_HELPER ? HELPER_NAME_MAX_BYTES : SECCTX_MAX_BYTES;
    let length = 0;
    let isPlain = true;
    while (length < size && bytes[at + length] !== 0) {
      const byte = bytes[at + length++];
      if (byte <= 0x20 || byte > 0x7e) isPlain = false;
    }
    if (length > room || !isPlain) {
      this.counters.count('ctnetlink.text');
      length = 0;
    }
    const padded = (length + 3) & ~3;
    for (let i = 0; i < length; i++) stage.u8[target + i] = bytes[at + i];
    for (let i = length; i < padded; i++) stage.u8[target + i] = 0;
    stage.u16[(target - 2) >>> 1] = length;
  }
}
