/** One request to the kernel out of one record: the stage is filled from the record and written by the tables. */
import { AF_INET, AF_INET6 } from '../flow/conntrack-enums.js';
import { OP_CREATE, OP_DELETE, OP_GET, OP_GET_REPLY, OP_RETIME, OP_UPDATE } from '../flow/kernel-port.js';
import { familyOf, type Memory } from '../flow/record.js';
import * as A from './attributes.js';
import { CONNTRACK_TABLES, ROWS_PER_TABLE } from './compiled-tables.js';
import * as E from './enums.js';
import { RequestTemplates } from './request-templates.js';
import { createStage, STAGE_LABELS, STAGE_TIMEOUT } from './stage.js';
import { timeoutToSend, unpackRequest } from './unpack.js';

/** Room every request must be given. Bytes; the longest (IPv6, translated both ways, all parts) is under 700. */
export const REQUEST_MAX_BYTES = 1024;

const swap = (w: number): number =>
  ((w << 24) | ((w & 0xff00) << 8) | ((w >>> 8) & 0xff00) | (w >>> 24)) >>> 0;

/** Netlink message type of a verb; throws RangeError for a number that is no OP_*. */
function messageType(verb: number): number {
  const subsystem = E.NFNL_SUBSYS_CTNETLINK << 8;
  switch (verb) {
    case OP_CREATE:
    case OP_UPDATE:
    case OP_RETIME:
      return subsystem | E.IPCTNL_MSG_CT_NEW;
    case OP_DELETE:
      return subsystem | E.IPCTNL_MSG_CT_DELETE;
    case OP_GET:
    case OP_GET_REPLY:
      return subsystem | E.IPCTNL_MSG_CT_GET;
    default:
      throw new RangeError(`no such request to the kernel: ${verb}`);
  }
}

/** Encodes requests for ctnetlink; one object for each injector, reused for every message. */
export class CtnetlinkEncoder {
  private readonly stage = createStage();
  private readonly present = new Uint32Array(CONNTRACK_TABLES.count);
  private readonly templates = new RequestTemplates();
  /** Where `put` wrote each place of the stage last: the word, by the place's number of 2 bytes. */
  private readonly places = new Uint32Array(this.stage.u16.length);
  private buffer: ArrayBufferLike;
  private bytes: Uint8Array;
  private words: Uint32Array;

  constructor() {
    this.buffer = this.stage.u8.buffer;
    this.bytes = this.stage.u8;
    this.words = this.stage.u32;
  }

  /**
   * Writes the netlink message for OP_* `verb` about the record at `at` and returns its bytes, a multiple of 4.
   * No NLM_F_ACK: silence is success. Throws RangeError for an unknown verb or family, and unless `out` has
   * REQUEST_MAX_BYTES at `outAt`, a multiple of 4 in its memory. `only` is a mask of the attributes (1 << CTA_*) that
   * may be said.
   */
  encodeRequest(
    verb: number,
    m: Memory,
    at: number,
    out: Uint8Array,
    outAt: number,
    seq: number,
    only = -1,
  ): number {
    const start = out.byteOffset + outAt;
    if ((start & 3) !== 0 || outAt < 0 || out.length - outAt < REQUEST_MAX_BYTES) {
      throw new RangeError(`a request needs ${REQUEST_MAX_BYTES} aligned bytes`);
    }
    const type = messageType(verb);
    if (out.buffer !== this.buffer) {
      this.buffer = out.buffer;
      this.bytes = new Uint8Array(out.buffer);
      this.words = new Uint32Array(out.buffer, 0, out.buffer.byteLength >>> 2);
    }
    if (verb === OP_CREATE) {
      const length = this.templates.write(m, at, this.words, start >>> 2, seq);
      if (length !== 0) return length;
    }
    const family = familyOf(m, at);
    if (family !== AF_INET && family !== AF_INET6) throw new RangeError(`no such family: ${family}`);
    const flags = E.NLM_F_REQUEST | (verb === OP_CREATE ? E.NLM_F_CREATE | E.NLM_F_EXCL : 0);
    unpackRequest(verb, m, at, this.stage, this.present);
    if (only !== -1) this.restrict(only, m, at);
    const words = this.words;
    const w = start >>> 2;
    words[w + 1] = type | (flags << 16);
    words[w + 2] = seq;
    words[w + 3] = 0;
    words[w + 4] = family; // struct nfgenmsg: family, NFNETLINK_V0, resource id 0
    const end = this.write(0, start + 20);
    words[w] = end - start;
    if (verb === OP_CREATE) this.templates.learn(m, at, words, w, end - start, this.places);
    return end - start;
  }

  /**
   * Leaves only these attributes, and these all. A record has no labels that are all zero, but a change may want them so;
   * and an update of a whole record says no timeout that is fixed, but a change may be what fixes it: the kernel sets the
   * timeout first.
   */
  private restrict(only: number, m: Memory, at: number): void {
    const labels = 1 << E.CTA_LABELS;
    this.present[0] &= only;
    if ((only & (1 << E.CTA_TIMEOUT)) !== 0) {
      this.stage.u32[STAGE_TIMEOUT >>> 2] = timeoutToSend(m, at);
      this.present[0] |= 1 << E.CTA_TIMEOUT;
    }
    if ((only & labels) === 0 || (this.present[0] & labels) !== 0) return;
    this.stage.u32.fill(0, STAGE_LABELS >>> 2, (STAGE_LABELS >>> 2) + 4);
    this.present[0] |= labels;
  }

  /** Writes what is present of table `table` at `p`, ascending by type; returns the end. */
  private write(table: number, p: number): number {
    const tables = CONNTRACK_TABLES;
    const words = this.words;
    let types = this.present[table];
    while (types !== 0) {
      const type = 31 - Math.clz32(types & -types);
      types &= types - 1;
      const row = table * ROWS_PER_TABLE + type;
      const codec = tables.codec[row];
      const header = p >>> 2;
      if (codec === A.CODEC_NESTED) {
        p = this.write(tables.child[row], p + 4);
        words[header] = (p - (header << 2)) | ((type | E.NLA_F_NESTED) << 16);
      } else {
        const size = this.put(codec, tables.target[row], p + 4, tables.minBytes[row]);
        words[header] = (4 + size) | (type << 16);
        p += 4 + ((size + 3) & ~3);
      }
    }
    return p;
  }

  /** Writes one value at `at`, padded with zeros, and returns its bytes without the padding. */
  private put(codec: number, target: number, at: number, size: number): number {
    const { words, stage } = this;
    const w = at >>> 2;
    this.places[target >>> 1] = w;
    switch (codec) {
      case A.CODEC_U8:
        words[w] = stage.u8[target];
        break;
      case A.CODEC_RAW16:
        words[w] = stage.u16[target >>> 1];
        break;
      case A.CODEC_RAW32:
        words[w] = stage.u32[target >>> 2];
        break;
      case A.CODEC_RAW128:
        for (let i = 0; i < 4; i++) words[w + i] = stage.u32[(target >>> 2) + i];
        break;
      case A.CODEC_BE16:
        words[w] = swap(stage.u16[target >>> 1]) >>> 16;
        break;
      case A.CODEC_BE32:
        words[w] = swap(stage.u32[target >>> 2]);
        break;
      case A.CODEC_BE64:
        words[w] = swap(stage.u32[(target >>> 2) + 1]);
        words[w + 1] = swap(stage.u32[target >>> 2]);
        break;
      case A.CODEC_TEXT:
        return this.putText(target, at);
    }
    return size;
  }

  /** Writes text and its NUL; the length stands in the part header before the place. */
  private putText(target: number, at: number): number {
    const { bytes, stage } = this;
    const length = stage.u16[(target - 2) >>> 1];
    for (let i = 0; i < length; i++) bytes[at + i] = stage.u8[target + i];
    for (let i = length; i < ((length + 4) & ~3); i++) bytes[at + i] = 0;
    return length + 1;
  }
}
