/**
 * Flows that end on the firewall itself: another node cannot go on with them, so they are not replicated. A flow that
 * is translated on its way (DNAT to an inside server, SNAT of an inside client) has an own address in one tuple only,
 * and is not local.
 */
import { AddressBlocks } from './address-blocks.js';
import { addressBytes, type Memory, OFF_ORIG_SRC, offOrigDst, offReplyDst, offReplySrc } from './record.js';

/** Addresses to which a packet ends on every machine: loopback, multicast, broadcast. */
const EVERYWHERE = ['127.0.0.0/8', '::1', '224.0.0.0/4', 'ff00::/8', '255.255.255.255'];

/** A set of addresses in open addressing; made once, asked often. */
class AddressSet {
  readonly #words: number;
  readonly #mask: number;
  readonly #keys: Uint32Array;
  readonly #isTaken: Uint8Array;

  constructor(addresses: readonly Uint8Array[], bytes: number) {
    const mine = addresses.filter((address) => address.length === bytes);
    let size = 8;
    while (size < mine.length * 4) size *= 2;
    this.#words = bytes >>> 2;
    this.#mask = size - 1;
    this.#keys = new Uint32Array(size * this.#words);
    this.#isTaken = new Uint8Array(size);
    for (const address of mine) this.#add(new Uint32Array(Uint8Array.from(address).buffer));
  }

  /** True if the address at this word is in the set. */
  has(u32: Uint32Array, word: number): boolean {
    for (let i = this.#place(u32, word); this.#isTaken[i] !== 0; i = (i + 1) & this.#mask) {
      if (this.#isAt(i, u32, word)) return true;
    }
    return false;
  }

  #add(words: Uint32Array): void {
    let i = this.#place(words, 0);
    while (this.#isTaken[i] !== 0) {
      if (this.#isAt(i, words, 0)) return;
      i = (i + 1) & this.#mask;
    }
    this.#isTaken[i] = 1;
    this.#keys.set(words, i * this.#words);
  }

  /** The operator chooses the addresses, not an attacker: a plain multiplication spreads them well enough. */
  #place(u32: Uint32Array, word: number): number {
    let h = 0;
    for (let i = 0; i < this.#words; i++) h = Math.imul(h ^ u32[word + i], 0x9e3779b1);
    return (h >>> 15) & this.#mask;
  }

  #isAt(i: number, u32: Uint32Array, word: number): boolean {
    for (let k = 0; k < this.#words; k++) if (this.#keys[i * this.#words + k] !== u32[word + k]) return false;
    return true;
  }
}

/** Tells local flows from those that pass through, by the addresses that this machine has at the moment. */
export class LocalFlows {
  #v4 = new AddressSet([], 4);
  #v6 = new AddressSet([], 16);
  #blocks = new AddressBlocks(EVERYWHERE);
  #left4 = new AddressSet([], 4);
  #left6 = new AddressSet([], 16);

  /** From now on the machine has these addresses (4 or 16 bytes, network order), and blocks that are all its own. */
  replace(addresses: readonly Uint8Array[], blocks: readonly string[] = []): void {
    this.#v4 = new AddressSet(addresses, 4);
    this.#v6 = new AddressSet(addresses, 16);
    this.#blocks = new AddressBlocks([...EVERYWHERE, ...blocks]);
  }

  /** These addresses were this machine's a moment ago, and are no longer. */
  setLeft(addresses: readonly Uint8Array[]): void {
    this.#left4 = new AddressSet(addresses, 4);
    this.#left6 = new AddressSet(addresses, 16);
  }

  /** True if the flow's source is translated to an address that has just left this machine. */
  hasLeft(m: Memory, at: number): boolean {
    if (!hasOtherSource(m, at)) return false;
    const addr = addressBytes(m, at);
    return (addr === 4 ? this.#left4 : this.#left6).has(m.u32, (at + offReplyDst(addr)) >>> 2);
  }

  /** True if the flow of the record at `at` begins or ends on this machine, untranslated at that end. */
  isLocal(m: Memory, at: number): boolean {
    const addr = addressBytes(m, at);
    const destination = at + offOrigDst(addr);
    if (isEqual(m, addr, at + offReplySrc(addr), destination) && this.#isOwn(m, addr, destination))
      return true;
    const source = at + OFF_ORIG_SRC;
    return isEqual(m, addr, at + offReplyDst(addr), source) && this.#isOwn(m, addr, source);
  }

  #isOwn(m: Memory, addr: number, p: number): boolean {
    const set = addr === 4 ? this.#v4 : this.#v6;
    return set.has(m.u32, p >>> 2) || this.#blocks.has(m, addr, p);
  }
}

/** True if the flow's source is translated to another address. */
export function hasOtherSource(m: Memory, at: number): boolean {
  const addr = addressBytes(m, at);
  return !isEqual(m, addr, at + offReplyDst(addr), at + OFF_ORIG_SRC);
}

function isEqual(m: Memory, addr: number, p: number, q: number): boolean {
  for (let i = 0; i < addr >>> 2; i++) if (m.u32[(p >>> 2) + i] !== m.u32[(q >>> 2) + i]) return false;
  return true;
}
