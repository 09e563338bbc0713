/**
 * What a kernel expects: a new expectation is refused (EEXIST) where an older one's mask lets its tuple in, and all of
 * them go with their master.
 */
import {
  cloneExpectation,
  EXP_OFF_FAMILY,
  EXP_OFF_PROTOCOL,
  EXP_OFF_TUPLE,
  expOffMask,
  tupleBytesOf,
  writeMasterKey,
} from '../flow/expectation.js';
import { addressBytes, allocateMemory, keyBytes, type Memory, OFF_KEY } from '../flow/record.js';

export class ExpectedTuples {
  /** By what most masks leave: family, protocol and the destination port, the last two bytes of a tuple's L4. */
  readonly #byPort = new Map<number, Set<Memory>>();
  readonly #byMaster = new Map<string, Memory[]>();
  readonly #key = allocateMemory(64);

  add(m: Memory, at: number): void {
    const copy = cloneExpectation(m, at);
    const port = portKey(m, at);
    const others = this.#byPort.get(port);
    if (others === undefined) this.#byPort.set(port, new Set([copy]));
    else others.add(copy);
    writeMasterKey(copy, 0, this.#key);
    const master = keyText(this.#key, 0);
    const siblings = this.#byMaster.get(master);
    if (siblings === undefined) this.#byMaster.set(master, [copy]);
    else siblings.push(copy);
  }

  /** True if one of them expects the flow that the expectation at `at` is about. */
  has(m: Memory, at: number): boolean {
    for (const other of this.#byPort.get(portKey(m, at)) ?? []) if (isExpected(other, m, at)) return true;
    return false;
  }

  /** The flow at `at`, which may be a master, is gone. */
  masterGone(m: Memory, at: number): void {
    if (this.#byMaster.size === 0) return;
    const master = keyText(m, at);
    for (const gone of this.#byMaster.get(master) ?? []) this.#byPort.get(portKey(gone, 0))?.delete(gone);
    this.#byMaster.delete(master);
  }
}

const portKey = (m: Memory, at: number): number =>
  m.u8[at + EXP_OFF_FAMILY] |
  (m.u8[at + EXP_OFF_PROTOCOL] << 8) |
  (m.u16[(at + EXP_OFF_TUPLE + 2) >>> 1] << 16);

const keyText = (m: Memory, at: number): string =>
  String.fromCharCode(...m.u8.subarray(at + OFF_KEY, at + OFF_KEY + keyBytes(addressBytes(m, at))));

function isExpected(expectation: Memory, m: Memory, at: number): boolean {
  const bytes = tupleBytesOf(expectation, 0);
  const mask = expOffMask(bytes);
  for (let i = 0; i < bytes; i++) {
    const difference = expectation.u8[EXP_OFF_TUPLE + i] ^ m.u8[at + EXP_OFF_TUPLE + i];
    if ((difference & expectation.u8[mask + i]) !== 0) return false;
  }
  return true;
}
