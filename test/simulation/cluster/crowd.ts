/** Tuples that all fall into one segment of the table, so that a scope is longer than a frame. */
import { KeyedHash, seedFromText } from '../../../src/flow/hash.js';
import { addressBytes, allocateMemory, keyBytes, OFF_KEY } from '../../../src/flow/record.js';
import { writeSample } from '../sample-records.js';

const SEGMENT = 7;
const CROWD = 80;
/** Sample numbers that one machine's search may go through: a segment is one in 4,096. */
const STRIDE = 1 << 20;

const found = new Map<number, readonly number[]>();

/** Sample numbers of a machine, all of one segment; the same at every call. */
export function crowdOf(index: number): readonly number[] {
  let crowd = found.get(index);
  if (crowd === undefined) {
    crowd = search((index + 1) * STRIDE);
    found.set(index, crowd);
  }
  return crowd;
}

function search(from: number): number[] {
  const hash = new KeyedHash(seedFromText('sim'));
  const m = allocateMemory(1024);
  const crowd: number[] = [];
  for (let n = from; n < from + STRIDE && crowd.length < CROWD; n++) {
    writeSample(m, 0, n, 0);
    const first = OFF_KEY >>> 2;
    hash.words(m.u32, first, first + (keyBytes(addressBytes(m, 0)) >>> 2));
    if (hash.lo >>> 20 === SEGMENT) crowd.push(n);
  }
  return crowd;
}
