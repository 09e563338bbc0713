/**
 * Memory of the records: size classes of 8 bytes, each with a free list threaded through its free blocks.
 * New blocks come from the untouched end, so process memory follows use; nothing moves, nothing is copied to grow.
 */
import { allocateMemory, MAX_TABLE_RECORD_BYTES, type Memory } from '../flow/record.js';

const CLASSES = MAX_TABLE_RECORD_BYTES >>> 3;
/** allocateMemory counts in 32-bit signed integers. Bytes. */
export const SLAB_BYTES_MAX = 0x7fff_fff8;

/** Size of the block that holds a record of `length` bytes. */
const blockBytes = (length: number): number => (length + 7) & ~7;

/** Allocator of record blocks inside one Memory. */
export class Slab {
  readonly memory: Memory;
  /** Bytes of blocks in use. */
  usedBytes = 0;
  readonly #free = new Uint32Array(CLASSES + 1);
  readonly #end: number;
  /** Offset 0 is never given out: it means "none". */
  #untouched = 8;

  /** Throws a RangeError above SLAB_BYTES_MAX. */
  constructor(bytes: number) {
    if (!(bytes >= 16 && bytes <= SLAB_BYTES_MAX)) {
      throw new RangeError(`slab: ${bytes} bytes, want 16..${SLAB_BYTES_MAX}`);
    }
    this.#end = bytes & ~7;
    this.memory = allocateMemory(this.#end);
  }

  /** Offset of a block for a record of `length` bytes, a multiple of 8; 0 when it is too long or memory is full. */
  allocate(length: number): number {
    const size = blockBytes(length);
    if (size > MAX_TABLE_RECORD_BYTES) return 0;
    const free = this.#free[size >>> 3];
    if (free !== 0) {
      this.#free[size >>> 3] = this.memory.u32[free >>> 2];
      this.usedBytes += size;
      return free;
    }
    if (this.#untouched + size <= this.#end) {
      const at = this.#untouched;
      this.#untouched += size;
      this.usedBytes += size;
      return at;
    }
    return this.#split(size);
  }

  /** Gives back the block of a record of `length` bytes. */
  release(at: number, length: number): void {
    const size = blockBytes(length);
    this.#put(at, size);
    this.usedBytes -= size;
  }

  /** True if a record of one length fits exactly into the block of another. */
  static isSameClass(length: number, other: number): boolean {
    return blockBytes(length) === blockBytes(other);
  }

  /** The end is reached: cut the wanted size off the smallest larger block that is free. */
  #split(size: number): number {
    for (let i = (size >>> 3) + 1; i <= CLASSES; i++) {
      const at = this.#free[i];
      if (at === 0) continue;
      this.#free[i] = this.memory.u32[at >>> 2];
      this.#put(at + size, (i << 3) - size);
      this.usedBytes += size;
      return at;
    }
    return 0;
  }

  #put(at: number, size: number): void {
    this.memory.u32[at >>> 2] = this.#free[size >>> 3];
    this.#free[size >>> 3] = at;
  }
}
