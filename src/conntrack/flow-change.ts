/** What an update makes of a flow: a copy of its record with the wanted values, and which attributes differ. */
import {
  addressBytes,
  allocateMemory,
  copyRecord,
  findPart,
  lengthOf,
  MAX_RECORD_BYTES,
  type Memory,
  OFF_LENGTH,
  OFF_TIMEOUT,
  offMark,
  offParts,
  offStatus,
  PART_LABELS,
} from '../flow/record.js';
import { CTA_LABELS, CTA_MARK, CTA_PROTOINFO, CTA_STATUS, CTA_TIMEOUT } from '../kernel/enums.js';
import { statusOf } from './flow-match.js';
import { changedProtoinfo, isSameProtoinfo, protoinfoOf } from './flow-protoinfo.js';
import type { ProtoinfoSettings } from './protoinfo-attributes.js';
import type { Settings } from './settings.js';

const LABEL_WORDS = 4;
const PART_WORDS = 1 + LABEL_WORDS;

export class FlowChange {
  /** The changed record, at 0. */
  readonly m = allocateMemory(MAX_RECORD_BYTES + 4 * PART_WORDS);
  /** The state that is wanted and what belongs to it, where CTA_PROTOINFO is to change. */
  protoinfo: ProtoinfoSettings = {};
  readonly #settings: Settings;
  readonly #bits = new Uint8Array(16);

  constructor(settings: Settings) {
    this.#settings = settings;
  }

  /** Fills `m` and returns a mask of the attributes (1 << CTA_*) that are to change; 0: it is as wanted already. */
  prepare(from: Memory, at: number): number {
    const { timeout, mark, status } = this.#settings;
    const { m } = this;
    copyRecord(from, at, m, 0);
    const addr = addressBytes(m, 0);
    let attributes = 0;
    if (timeout !== undefined && m.u32[OFF_TIMEOUT >>> 2] !== timeout) {
      m.u32[OFF_TIMEOUT >>> 2] = timeout;
      attributes |= 1 << CTA_TIMEOUT;
    }
    if (mark !== undefined) {
      const word = offMark(addr) >>> 2;
      const wanted = ((m.u32[word] & ~mark.mask) ^ mark.value) >>> 0;
      if (wanted !== m.u32[word]) attributes |= 1 << CTA_MARK;
      m.u32[word] = wanted;
    }
    // No bit of the status can be taken away: the kernel refuses that.
    if (status !== undefined && (statusOf(m, 0) & status.set) !== status.set) {
      m.u32[offStatus(addr) >>> 2] |= status.set;
      attributes |= 1 << CTA_STATUS;
    }
    if (this.#changeProtoinfo()) attributes |= 1 << CTA_PROTOINFO;
    if (this.#changeLabels(addr)) attributes |= 1 << CTA_LABELS;
    return attributes;
  }

  /**
   * Whether the last prepared flow counts as updated although it is as wanted: conntrack(8) writes what --label-add says
   * into every flow, and what --label-del says into every flow that has labels.
   */
  get isRestated(): boolean {
    const { labelsAdded, labelsDeleted } = this.#settings;
    if (labelsAdded !== undefined) return true;
    return labelsDeleted !== undefined && findPart(this.m, 0, PART_LABELS) >= 0;
  }

  #changeProtoinfo(): boolean {
    const { state, vtagOriginal, vtagReply, isServer } = this.#settings;
    if ((state ?? vtagOriginal ?? vtagReply ?? isServer) === undefined) return false;
    const has = protoinfoOf(this.m, 0);
    this.protoinfo = changedProtoinfo(has, { state, vtagOriginal, vtagReply, isServer });
    return this.protoinfo.state !== undefined && !isSameProtoinfo(has, this.protoinfo);
  }

  #changeLabels(addr: number): boolean {
    const { labelsAdded, labelsDeleted } = this.#settings;
    if (labelsAdded === undefined && labelsDeleted === undefined) return false;
    const { m } = this;
    const part = findPart(m, 0, PART_LABELS);
    const bits = this.#bits;
    let hasChanged = false;
    for (let i = 0; i < bits.length; i++) {
      const before = part < 0 ? 0 : m.u8[part + 4 + i];
      const deleted = labelsDeleted === 'all' ? 0xff : (labelsDeleted?.[i] ?? 0);
      bits[i] = (before & ~deleted) | (labelsAdded?.[i] ?? 0);
      if (bits[i] !== before) hasChanged = true;
    }
    if (!hasChanged) return false;
    const place = part < 0 ? this.#insertLabels(addr) : part;
    m.u8.set(bits, place + 4);
    return true;
  }

  /** Makes room for a labels part, which is the first of all parts. */
  #insertLabels(addr: number): number {
    const { m } = this;
    const place = offParts(addr);
    m.u32.copyWithin((place >>> 2) + PART_WORDS, place >>> 2, lengthOf(m, 0) >>> 2);
    m.u32[place >>> 2] = PART_LABELS | (16 << 16);
    m.u16[OFF_LENGTH >>> 1] += 4 * PART_WORDS;
    return place;
  }
}
