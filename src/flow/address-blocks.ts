/** A set of address blocks of both families, compared word by word where the addresses stand in a record. */
import { parseAddressBlock } from './address.js';
import type { Memory } from './record.js';

/** One block: how many bits of an address count, and the address in network order. */
export interface Block {
  readonly bytes: Uint8Array;
  readonly prefix: number;
}

/** The 4 or 16 bytes of the mask of a prefix. */
export function prefixMask(bytes: number, prefix: number): Uint8Array {
  return Uint8Array.from({ length: bytes }, (_, i) => 0xff00 >>> Math.min(8, Math.max(0, prefix - 8 * i)));
}

/** Blocks by text; the constructor throws a RangeError on what is no address or address/prefix. */
export class AddressBlocks {
  readonly blocks: readonly Block[];
  readonly isEmpty: boolean;
  /** Pairs of mask and value, one word each. */
  readonly #v4: Uint32Array;
  /** Pairs of mask and value, four words each. */
  readonly #v6: Uint32Array;

  constructor(texts: readonly string[]) {
    this.blocks = texts.map((text) => {
      const block = parseAddressBlock(text);
      if (block === undefined) throw new RangeError(`"${text}" is not an address or address/prefix`);
      return block;
    });
    this.isEmpty = texts.length === 0;
    this.#v4 = wordsOf(this.blocks.filter((block) => block.bytes.length === 4));
    this.#v6 = wordsOf(this.blocks.filter((block) => block.bytes.length === 16));
  }

  /** True if the address of `addr` bytes at byte `p` is in one of the blocks. */
  has(m: Memory, addr: number, p: number): boolean {
    const { u32 } = m;
    const word = p >>> 2;
    if (addr === 4) {
      const v4 = this.#v4;
      const address = u32[word];
      // Uint32 on both sides, or the sign bit tells equal words apart.
      for (let i = 0; i < v4.length; i += 2) if ((address & v4[i]) >>> 0 === v4[i + 1]) return true;
      return false;
    }
    const v6 = this.#v6;
    for (let i = 0; i < v6.length; i += 8) {
      if (
        (u32[word] & v6[i]) >>> 0 === v6[i + 4] &&
        (u32[word + 1] & v6[i + 1]) >>> 0 === v6[i + 5] &&
        (u32[word + 2] & v6[i + 2]) >>> 0 === v6[i + 6] &&
        (u32[word + 3] & v6[i + 3]) >>> 0 === v6[i + 7]
      ) {
        return true;
      }
    }
    return false;
  }
}

function wordsOf(blocks: readonly Block[]): Uint32Array {
  const bytes = blocks.flatMap((block) => [...prefixMask(block.bytes.length, block.prefix), ...block.bytes]);
  return new Uint32Array(Uint8Array.from(bytes).buffer);
}
