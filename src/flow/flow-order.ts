/** The order in which flows are sorted by one of their fields. */
import { addressBytes, type Memory } from './record.js';
import { type About, FIELDS, type Field, fieldNamed, type NumberReader, readMark } from './where/fields.js';
import { suggestion } from './where/where-error.js';

/** Fields that have one value each which can be compared. */
const sortable = (field: Field): boolean =>
  field.kind === 'mark' ||
  (field.kind === 'number' && field.readers.length === 1) ||
  (field.kind === 'address' && field.places.length === 1);

/** Numbers: the largest first; addresses: the smallest. What a flow does not have comes last, either way. */
export class FlowOrder {
  readonly field: string;
  /** Only the kernel's table shows it. */
  readonly isShown: boolean;
  readonly needsOwner: boolean;
  readonly #read: NumberReader | undefined;
  readonly #place: ((addr: number) => number) | undefined;
  readonly #sign: number;

  /** Throws RangeError for a name by which nothing is sorted. */
  constructor(name: string, isReversed: boolean) {
    const field = fieldNamed(name);
    if (field === undefined || !sortable(field)) {
      const names = FIELDS.filter(sortable).map((known) => known.name);
      const hint = field === undefined ? suggestion(name, names) : '';
      throw new RangeError(`"${name}" is no field to sort by${hint || `, but ${names.join(', ')}`}`);
    }
    this.field = field.name;
    this.isShown = field.isShown === true;
    this.needsOwner = field.name === 'owner';
    this.#read = field.kind === 'number' ? field.readers[0] : field.kind === 'mark' ? readMark : undefined;
    this.#place = field.kind === 'address' ? field.places[0] : undefined;
    this.#sign = (this.#place === undefined ? -1 : 1) * (isReversed ? -1 : 1);
  }

  /** What is remembered of a flow, to compare it by: a number, or its family where addresses are compared. */
  key(m: Memory, at: number, about: About): number {
    const addr = addressBytes(m, at);
    return this.#read === undefined ? addr : this.#read(m, at, addr, about);
  }

  /** Below 0 if the first comes first. */
  compare(keyA: number, a: Memory, atA: number, keyB: number, b: Memory, atB: number): number {
    if (keyA !== keyB) {
      if (Number.isNaN(keyA)) return Number.isNaN(keyB) ? 0 : 1;
      return Number.isNaN(keyB) ? -1 : this.#sign * (keyA - keyB);
    }
    if (this.#place === undefined) return 0;
    const from = this.#place(keyA);
    for (let i = from; i < from + keyA; i++) {
      if (a.u8[atA + i] !== b.u8[atB + i]) return this.#sign * (a.u8[atA + i] - b.u8[atB + i]);
    }
    return 0;
  }
}
