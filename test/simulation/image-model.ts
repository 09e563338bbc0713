/**
 * The image of a stream, as the harness records it by itself: the frames are decoded with the msgpack
 * library (not with the codec under test) and applied to plain Maps from key to durable bytes.
 */
import { decode, decodeMulti } from '@msgpack/msgpack';
import { KeyedHash } from '../../src/flow/hash.js';
import { allocateMemory, OFF_KEY, offParts, offReplySrc, offStatus } from '../../src/flow/record.js';
import { writeInverseReply } from '../../src/flow/tuple.js';

export type Image = Map<string, string>;
type Change = (image: Image) => void;
/** More than any ring holds. */
const FRAMES_KEPT = 4096;

const hex = (u8: Uint8Array): string => Buffer.from(u8.buffer, u8.byteOffset, u8.length).toString('hex');

/** What one incarnation's stream has said, frame by frame. */
export class ImageLog {
  /** The image before the first frame: what the incarnation found in its kernel and declared. */
  readonly start: Image = new Map();
  /** What the next DECLAREs (but those of a start) make the image; an empty one if nothing is said. */
  readonly declared: Image[] = [];
  readonly #changes: Change[][] = [];
  /** Keys that the scope which is being said has named; it may span frames. */
  #open: Set<string> | undefined;
  readonly #hash: KeyedHash;
  readonly #hashes = new Map<string, number>();
  readonly #frames: Uint8Array[] = [];

  constructor(seed: Uint32Array) {
    this.#hash = new KeyedHash(seed);
  }

  /** Records a frame that is being sent; control frames are passed over. */
  record(frame: Uint8Array): void {
    const [, , , , , frameClass, sequence, payload] = decode(frame) as unknown[];
    if (frameClass !== 0) return;
    if (this.#isResent(sequence as number, frame)) return;
    if (sequence !== this.#changes.length + 1)
      throw new Error(`frame ${sequence} after ${this.#changes.length}`);
    const changes: Change[] = [];
    for (const op of decodeMulti(payload as Uint8Array) as Iterable<unknown[]>) {
      const code = (op[0] as number) & 15;
      if (code === 1) {
        const [key, bytes] = this.#upsert(op);
        this.#open?.add(key);
        changes.push((image) => image.set(key, bytes));
      } else if (code === 2) {
        const key = hex(op[1] as Uint8Array);
        changes.push((image) => image.delete(key));
      } else if (code === 3) {
        this.#open = new Set();
      } else if (code === 4) {
        const keep = this.#open;
        const [, bits, prefix] = op as number[];
        changes.push((image) => this.#sweep(image, bits, prefix, keep));
        this.#open = undefined;
      } else if (code === 7 && !op[2]) {
        const declared = this.declared.shift() ?? new Map();
        changes.push((image) => {
          image.clear();
          for (const [key, record] of declared) image.set(key, record);
        });
      }
    }
    this.#changes.push(changes);
  }
  get length(): number {
    return this.#changes.length;
  }

  /** Brings an image from after frame `from` to after frame `to`. */
  advance(image: Image, from: number, to: number): void {
    for (let s = from; s < to; s++) for (const change of this.#changes[s]) change(image);
  }

  /** A frame that is sent again must be the same, byte for byte: a counter is sealed once (invariant 12). */
  #isResent(sequence: number, frame: Uint8Array): boolean {
    const place = sequence % FRAMES_KEPT;
    if (sequence > this.#changes.length) {
      this.#frames[place] = frame;
      return false;
    }
    if (Buffer.compare(this.#frames[place], frame) !== 0)
      throw new Error(`frame ${sequence} was sent in two forms`);
    return true;
  }

  #sweep(image: Image, bits: number, prefix: number, keep: ReadonlySet<string> | undefined): void {
    for (const key of image.keys()) {
      if (this.#hashOf(key) >>> (32 - bits) === prefix && !keep?.has(key)) image.delete(key);
    }
  }

  #hashOf(key: string): number {
    const known = this.#hashes.get(key);
    if (known !== undefined) return known;
    const bytes = Uint8Array.from(Buffer.from(key, 'hex'));
    const words = new Uint32Array(bytes.buffer);
    this.#hash.words(words, 0, words.length);
    this.#hashes.set(key, this.#hash.lo);
    return this.#hash.lo;
  }

  #upsert(op: unknown[]): [string, string] {
    const flags = op[0] as number;
    const fixed = op[3] as Uint8Array;
    const m = allocateMemory(1024);
    const addr = (fixed[0] & 0x3f) === 10 ? 16 : 4;
    const parts = offParts(addr);
    if (flags & 32) {
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
      m.u8.set(bytes, at + 4);
      at += 4 + ((bytes.length + 3) & ~3);
    }
    return [hex(m.u8.subarray(OFF_KEY, offReplySrc(addr))), hex(m.u8.subarray(OFF_KEY, at))];
  }
}
