/**
 * What one incarnation's stream has said, recorded by the harness from the frames themselves: they are decoded with
 * the msgpack library, not with the codec under test. Every key has its history, so the image at any sequence can be
 * asked for, as the receivers come by.
 */
import { decodeMulti } from '@msgpack/msgpack';
import { KeyedHash } from '../../../src/flow/hash.js';
import { allocateMemory, OFF_KEY, offParts, offReplySrc, offStatus } from '../../../src/flow/record.js';
import { writeInverseReply } from '../../../src/flow/tuple.js';

/** Durable bytes of records and keys, as text of one character a byte. */
const text = (u8: Uint8Array, from: number, to: number): string =>
  Buffer.from(u8.buffer, u8.byteOffset, u8.length).toString('latin1', from, to);

/** Bits that a life never loses: EXPECTED, SEEN_REPLY, ASSURED. */
const STICKY = 7;

/** What was said of one key, in the order of the frames. */
export interface KeyHistory {
  readonly key: string;
  /** First lane of the key's hash: its segment and its finer scope. */
  readonly lo: number;
  readonly sequences: number[];
  /** Durable bytes, or undefined: deleted. */
  readonly values: (string | undefined)[];
}

/** A run of ops that states a whole scope. */
export interface Bracket {
  readonly bits: number;
  readonly prefix: number;
  readonly begin: number;
}

/** What stands in one frame that a check wants to know. */
export interface FrameNote {
  readonly touched: KeyHistory[];
  /** It ends with a MARK: the verdict is about exactly this sequence. */
  endsInMark: boolean;
  readonly ends: Bracket[];
  deletes: number;
  /** It has a DECLARE: the image is now what the sender has; and whose flows it takes over by it, incarnations. */
  isDeclared: boolean;
  readonly seeds: string[];
  /** The takeover has only begun. */
  isBegun: boolean;
  /** Term of a ROLE(primary) in it; 0: there is none. */
  tenure: number;
  /** Keys that a DELETE in it names. */
  readonly ended: Set<string>;
  /** Flows of the image after it. */
  live: number;
}

/** The key's durable bytes at a sequence. */
export function valueAt(history: KeyHistory, sequence: number): string | undefined {
  const { sequences, values } = history;
  for (let i = sequences.length - 1; i >= 0; i--) if (sequences[i] <= sequence) return values[i];
  return undefined;
}

const newNote = (): FrameNote => ({
  touched: [],
  endsInMark: false,
  ends: [],
  deletes: 0,
  isDeclared: false,
  seeds: [],
  isBegun: false,
  tenure: 0,
  ended: new Set(),
  live: 0,
});

export class StreamRecord {
  readonly keys = new Map<string, KeyHistory>();
  /** Notes of the frames, the first at 1. */
  readonly frames: FrameNote[] = [newNote()];
  /** Called for an UPSERT that belongs to another life than the one said before, but does not say so. */
  onMissingFresh: ((before: string, after: string, sequence: number) => void) | undefined;
  /** Its sender was primary at some time. */
  wasPrimary = false;
  /** The term of its last ROLE(primary); 0: there was none. */
  tenure = 0;
  /** It has given flows away, and the DECLARE that says so is still to come. */
  isRestating = false;
  readonly #hash: KeyedHash;
  readonly #bySegment = new Map<number, KeyHistory[]>();
  readonly #m = allocateMemory(1024);
  #live = 0;
  #open: { bracket: Bracket; named: Set<KeyHistory> } | undefined;

  constructor(seed: Uint32Array) {
    this.#hash = new KeyedHash(seed);
  }

  get length(): number {
    return this.frames.length - 1;
  }

  /** What the incarnation found in its kernel and declared: its image before the first frame. */
  addStart(key: string, value: string): void {
    this.#set(this.#history(key), 0, value, undefined);
    this.frames[0].live = this.#live;
  }

  /** Records the payload of the stream frame with the next sequence. */
  record(payload: Uint8Array): void {
    const sequence = this.frames.length;
    const note = newNote();
    this.frames.push(note);
    for (const op of decodeMulti(payload) as Iterable<unknown[]>) {
      const head = op[0] as number;
      const code = head & 15;
      note.endsInMark = code === 6;
      if (code === 1) this.#upsert(op, head, sequence, note);
      else if (code === 2) {
        const key = op[1] as Uint8Array;
        const name = text(key, 0, key.length);
        note.deletes++;
        note.ended.add(name);
        this.#set(this.#history(name), sequence, undefined, note);
      } else if (code === 3) {
        const bracket = { bits: op[1] as number, prefix: op[2] as number, begin: sequence };
        this.#open = { bracket, named: new Set() };
      } else if (code === 4) this.#end(sequence, note);
      else if (code === 7) {
        note.isDeclared = true;
        note.isBegun = op[4] === 1;
        this.isRestating = false;
        const seeds = op[3] as [string, Uint8Array, number][];
        for (const [, incarnation] of seeds) note.seeds.push(Buffer.from(incarnation).toString('hex'));
      } else if (code === 8 && op[1] === 1) {
        note.tenure = op[2] as number;
        this.tenure = note.tenure;
        this.wasPrimary = true;
      }
    }
    note.live = this.#live;
  }

  /** The term of the last ROLE(primary) up to this sequence; 0: there was none. */
  tenureAt(sequence: number): number {
    for (let s = Math.min(sequence, this.length); s > 0; s--) {
      if (this.frames[s].tenure > 0) return this.frames[s].tenure;
    }
    return 0;
  }

  /** What was said of the key last. */
  last(key: string): string | undefined {
    return this.keys.get(key)?.values.at(-1);
  }

  /** The last frame has a DECLARE, by which the sender's image has this of the key, or has it no more. */
  restate(key: string, value: string | undefined): void {
    const note = this.frames[this.length];
    this.#set(this.#history(key), this.length, value, note);
    note.live = this.#live;
  }

  #end(sequence: number, note: FrameNote): void {
    const open = this.#open;
    this.#open = undefined;
    if (open === undefined || open.bracket.bits === 0) return;
    const { bits, prefix } = open.bracket;
    note.ends.push(open.bracket);
    for (const history of this.#bySegment.get(prefix >>> (bits - 12)) ?? []) {
      if (history.lo >>> (32 - bits) !== prefix || open.named.has(history)) continue;
      if (history.values.at(-1) !== undefined) this.#set(history, sequence, undefined, note);
    }
  }

  /** First lane of a key's hash. */
  loOf(key: string): number {
    const known = this.keys.get(key);
    if (known !== undefined) return known.lo;
    const words = new Uint32Array(Uint8Array.from(Buffer.from(key, 'latin1')).buffer);
    this.#hash.words(words, 0, words.length);
    return this.#hash.lo >>> 0;
  }

  #history(key: string): KeyHistory {
    const known = this.keys.get(key);
    if (known !== undefined) return known;
    const history: KeyHistory = { key, lo: this.loOf(key), sequences: [], values: [] };
    this.keys.set(key, history);
    const segment = history.lo >>> 20;
    const others = this.#bySegment.get(segment);
    if (others === undefined) this.#bySegment.set(segment, [history]);
    else others.push(history);
    return history;
  }

  #set(history: KeyHistory, sequence: number, value: string | undefined, note: FrameNote | undefined): void {
    this.#live += (value === undefined ? 0 : 1) - (history.values.at(-1) === undefined ? 0 : 1);
    history.sequences.push(sequence);
    history.values.push(value);
    note?.touched.push(history);
  }

  #upsert(op: unknown[], head: number, sequence: number, note: FrameNote): void {
    const fixed = op[3] as Uint8Array;
    const m = this.#m;
    const addr = (fixed[0] & 0x3f) === 10 ? 16 : 4;
    const parts = offParts(addr);
    m.u8.fill(0, 0, parts);
    if (head & 32) {
      m.u8.set(fixed.subarray(0, 8 + 2 * addr), OFF_KEY);
      m.u8.set(fixed.subarray(8 + 2 * addr), offStatus(addr));
      m.u16[0] = parts;
      writeInverseReply(m, 0);
    } else m.u8.set(fixed, OFF_KEY);
    let at = parts;
    for (let i = 4; i < op.length; i += 2) {
      const bytes = op[i + 1] as Uint8Array;
      m.u16[at >>> 1] = op[i] as number;
      m.u16[(at >>> 1) + 1] = bytes.length;
      const end = at + 4 + ((bytes.length + 3) & ~3);
      m.u8.fill(0, at + 4, end);
      m.u8.set(bytes, at + 4);
      at = end;
    }
    const history = this.#history(text(m.u8, OFF_KEY, offReplySrc(addr)));
    const value = text(m.u8, OFF_KEY, at);
    // What a DECLARE takes back is recorded after its frame.
    const before = note.isDeclared || this.isRestating ? undefined : history.values.at(-1);
    if ((head & 16) === 0 && before !== undefined && isOtherLife(before, value, addr)) {
      this.onMissingFresh?.(before, value, sequence);
    }
    this.#set(history, sequence, value, note);
    this.#open?.named.add(history);
  }
}

/** Surely another life: another reply tuple, or a sticky bit is gone. */
function isOtherLife(before: string, after: string, addr: number): boolean {
  const reply = offReplySrc(addr) - OFF_KEY;
  const status = offStatus(addr) - OFF_KEY;
  if (before.slice(reply, status) !== after.slice(reply, status)) return true;
  return (before.charCodeAt(status) & ~after.charCodeAt(status) & STICKY) !== 0;
}
