/**
 * Creates that look alike: a commit makes a million flows that differ in addresses, ports, timeout and mark only.
 *
 * The first one of its kind is written by the attribute tables, which also tell where each value went; the others
 * are a copy with those values put in. So the layout stays the tables' own business, and a create costs a quarter.
 * Only plain IPv4 flows with ports come this way: no translation, no zone, no optional parts.
 */
import { AF_INET } from '../flow/conntrack-enums.js';
import { HAS_TIMEOUT, type Memory, OFF_HAS, OFF_PROTOCOL, offParts } from '../flow/record.js';
import { usesPorts } from '../flow/tuple.js';
import * as S from './stage.js';
import { timeoutToSend } from './unpack.js';

const ENTRIES = 64;
const KEYS = 4;
const WORDS_MAX = 96;
const IPV4_LENGTH = offParts(4);
// Words of an IPv4 record, see flow/record.ts.
const KIND = 3; // family, protocol, zone
const ORIG_L4 = 4;
const SOURCE = 5;
const DESTINATION = 6;
const REPLY_SOURCE = 7;
const REPLY_DESTINATION = 8;
const REPLY_L4 = 9;
const STATUS = 10;
const MARK = 11;
const PROTOINFO = 12;

/** Stage places whose values differ from flow to flow, in the order in which `write` puts them. */
const PLACES = [
  S.STAGE_ORIG + S.TUPLE_SRC,
  S.STAGE_ORIG + S.TUPLE_DST,
  S.STAGE_REPLY + S.TUPLE_SRC,
  S.STAGE_REPLY + S.TUPLE_DST,
  S.STAGE_ORIG + S.TUPLE_L4,
  S.STAGE_ORIG + S.TUPLE_L4 + 2,
  S.STAGE_REPLY + S.TUPLE_L4,
  S.STAGE_REPLY + S.TUPLE_L4 + 2,
  S.STAGE_TIMEOUT,
  S.STAGE_MARK,
];

const swap = (w: number): number => (w << 24) | ((w & 0xff00) << 8) | ((w >>> 8) & 0xff00) | (w >>> 24);

/** Remembers the last creates of each kind, in a table that is overwritten when two kinds meet. */
export class RequestTemplates {
  readonly #keys = new Uint32Array(ENTRIES * KEYS);
  readonly #lengths = new Uint16Array(ENTRIES);
  readonly #words = new Uint32Array(ENTRIES * WORDS_MAX);
  /** Of each entry the word in which each value of PLACES stands. */
  readonly #at = new Uint8Array(ENTRIES * PLACES.length);
  #entry = 0;

  /** Writes the create of the record at `w` and returns its bytes; 0 if its kind is not known, or not plain. */
  write(m: Memory, at: number, words: Uint32Array, w: number, sequence: number): number {
    const r = at >>> 2;
    const u = m.u32;
    if (!this.#isPlain(m, at) || !this.#find(u, r)) return 0;
    const entry = this.#entry;
    const length = this.#lengths[entry];
    const from = entry * WORDS_MAX;
    for (let i = 0; i < length; i++) words[w + i] = this.#words[from + i];
    words[w + 2] = sequence;
    const p = entry * PLACES.length;
    const places = this.#at;
    const source = u[r + SOURCE];
    const destination = u[r + DESTINATION];
    const l4 = u[r + ORIG_L4];
    words[w + places[p]] = source;
    words[w + places[p + 1]] = destination;
    words[w + places[p + 2]] = destination;
    words[w + places[p + 3]] = source;
    words[w + places[p + 4]] = l4 & 0xffff;
    words[w + places[p + 5]] = l4 >>> 16;
    words[w + places[p + 6]] = l4 >>> 16;
    words[w + places[p + 7]] = l4 & 0xffff;
    words[w + places[p + 8]] = swap(timeoutToSend(m, at));
    if (u[r + MARK] !== 0) words[w + places[p + 9]] = swap(u[r + MARK]);
    return length << 2;
  }

  /** Remembers the create that was just written at `w`, `places` telling the word of each stage place (by 2 bytes). */
  learn(m: Memory, at: number, words: Uint32Array, w: number, bytes: number, places: Uint32Array): void {
    if (!this.#isPlain(m, at) || bytes > WORDS_MAX * 4 || this.#find(m.u32, at >>> 2)) return;
    const entry = this.#entry;
    const r = at >>> 2;
    const key = entry * KEYS;
    this.#keys[key] = m.u32[r + KIND];
    this.#keys[key + 1] = m.u32[r + PROTOINFO];
    this.#keys[key + 2] = m.u32[r + STATUS];
    this.#keys[key + 3] = m.u32[r + MARK] === 0 ? 0 : 1;
    const length = bytes >>> 2;
    this.#lengths[entry] = length;
    for (let i = 0; i < length; i++) this.#words[entry * WORDS_MAX + i] = words[w + i];
    for (let i = 0; i < PLACES.length; i++) {
      this.#at[entry * PLACES.length + i] = places[PLACES[i] >>> 1] - w;
    }
  }

  #isPlain(m: Memory, at: number): boolean {
    const r = at >>> 2;
    const u = m.u32;
    const l4 = u[r + ORIG_L4];
    return (
      m.u16[at >>> 1] === IPV4_LENGTH &&
      (u[r + KIND] & 0xffff00ff) === AF_INET &&
      (m.u8[at + OFF_HAS] & HAS_TIMEOUT) !== 0 &&
      u[r + REPLY_SOURCE] === u[r + DESTINATION] &&
      u[r + REPLY_DESTINATION] === u[r + SOURCE] &&
      u[r + REPLY_L4] === ((l4 << 16) | (l4 >>> 16)) >>> 0 &&
      usesPorts(m.u8[at + OFF_PROTOCOL])
    );
  }

  /** Chooses the entry for this kind of record; true if it holds that kind. */
  #find(u: Uint32Array, r: number): boolean {
    const hasMark = u[r + MARK] === 0 ? 0 : 1;
    const mixed = u[r + PROTOINFO] ^ (u[r + STATUS] << 3) ^ (u[r + KIND] >>> 8) ^ (hasMark << 5);
    const entry = (mixed ^ (mixed >>> 8) ^ (mixed >>> 16) ^ (mixed >>> 24)) & (ENTRIES - 1);
    this.#entry = entry;
    const key = entry * KEYS;
    return (
      this.#lengths[entry] !== 0 &&
      this.#keys[key] === u[r + KIND] &&
      this.#keys[key + 1] === u[r + PROTOINFO] &&
      this.#keys[key + 2] === u[r + STATUS] &&
      this.#keys[key + 3] === hasMark
    );
  }
}
