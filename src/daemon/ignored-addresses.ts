/** Flows that stay out of the stream because of an address in one of their tuples. */
import { parseAddress } from '../flow/address.js';
import { addressBytes, type Memory, OFF_ORIG_SRC } from '../flow/record.js';

/** True for records with one of these addresses (IPv4 or IPv6, exact) in the original or reply tuple. */
export function ignoreAddresses(texts: readonly string[]): (m: Memory, at: number) => boolean {
  const v4: number[] = [];
  const v6: Uint32Array[] = [];
  for (const text of texts) {
    const bytes = parseAddress(text);
    if (bytes === undefined) throw new RangeError(`${text} is not an address`);
    const words = new Uint32Array(Uint8Array.from(bytes).buffer);
    if (words.length === 1) v4.push(words[0]);
    else v6.push(words);
  }
  return (m, at) => {
    const addr = addressBytes(m, at);
    let word = (at + OFF_ORIG_SRC) >>> 2;
    if (addr === 4) {
      for (let i = 0; i < 4; i++) if (v4.includes(m.u32[word + i])) return true;
      return false;
    }
    for (let i = 0; i < 4; i++, word += 4) if (isListed(v6, m.u32, word)) return true;
    return false;
  };
}

function isListed(list: readonly Uint32Array[], u32: Uint32Array, word: number): boolean {
  for (let i = 0; i < list.length; i++) {
    const a = list[i];
    const isEqual =
      u32[word] === a[0] && u32[word + 1] === a[1] && u32[word + 2] === a[2] && u32[word + 3] === a[3];
    if (isEqual) return true;
  }
  return false;
}
