/** Which flows a kernel expects: a new expectation is refused (EEXIST) where an older one's mask lets its tuple in. */
import {
  cloneExpectation,
  EXP_OFF_FAMILY,
  EXP_OFF_PROTOCOL,
  EXP_OFF_TUPLE,
  expOffMask,
  tupleBytesOf,
} from '../flow/expectation.js';
import type { Memory } from '../flow/record.js';

export class ExpectedTuples {
  /** By what most masks leave: family, protocol and the destination port, the last two bytes of a tuple's L4. */
  readonly #by = new Map<number, Memory[]>();

  add(m: Memory, at: number): void {
    const key = keyOf(m, at);
    const others = this.#by.get(key);
    if (others === undefined) this.#by.set(key, [cloneExpectation(m, at)]);
    else others.push(cloneExpectation(m, at));
  }

  /** True if one of them expects the flow that the expectation at `at` is about. */
  has(m: Memory, at: number): boolean {
    return this.#by.get(keyOf(m, at))?.some((other) => isExpected(other, m, at)) ?? false;
  }
}

const keyOf = (m: Memory, at: number): number =>
  m.u8[at + EXP_OFF_FAMILY] |
  (m.u8[at + EXP_OFF_PROTOCOL] << 8) |
  (m.u16[(at + EXP_OFF_TUPLE + 2) >>> 1] << 16);

function isExpected(expectation: Memory, m: Memory, at: number): boolean {
  const bytes = tupleBytesOf(expectation, 0);
  const mask = expOffMask(bytes);
  for (let i = 0; i < bytes; i++) {
    const difference = expectation.u8[EXP_OFF_TUPLE + i] ^ m.u8[at + EXP_OFF_TUPLE + i];
    if ((difference & expectation.u8[mask + i]) !== 0) return false;
  }
  return true;
}
