/** What happened in a run: a hash of all of it, and the text of it when somebody wants to read. */
export class Trace {
  readonly #write: ((line: string) => void) | undefined;
  readonly #now: () => number;
  #lo = 0x811c9dc5;
  #hi = 0x1b873593;
  #bytes = 0;

  constructor(now: () => number, write?: (line: string) => void) {
    this.#now = now;
    this.#write = write;
  }

  /** Hash of everything noted so far: equal for two runs of one seed (invariant 23). */
  get hash(): string {
    return `${this.decisions}${hex(this.#bytes)}`;
  }

  /** Hash of what was done, without the bytes it was said in: terms begin at the wall clock (invariant 22). */
  get decisions(): string {
    return `${hex(this.#hi)}${hex(this.#lo)}`;
  }

  /** Notes a byte of a frame: its seal covers all others. */
  noteByte(byte: number): void {
    this.#bytes = Math.imul(this.#bytes ^ byte, 0x01000193) + 1;
  }

  /** Notes numbers, without text: what happens too often to be read. */
  note(a: number, b: number, c: number): void {
    this.#mix(a);
    this.#mix(b);
    this.#mix(c);
  }

  /** Notes an event with a text that is only made for readers. */
  say(who: string, what: string, details: () => string = () => ''): void {
    for (let i = 0; i < who.length; i++) this.#mix(who.charCodeAt(i));
    for (let i = 0; i < what.length; i++) this.#mix(what.charCodeAt(i));
    this.#mix(this.#now() * 1000);
    this.#write?.(`${this.#now().toFixed(2).padStart(10)} ${who.padEnd(10)} ${what} ${details()}`.trimEnd());
  }

  #mix(value: number): void {
    this.#lo = Math.imul(this.#lo ^ value, 0x01000193);
    this.#hi = Math.imul(this.#hi ^ this.#lo, 0xcc9e2d51);
    this.#hi ^= this.#hi >>> 13;
  }
}

const hex = (word: number): string => (word >>> 0).toString(16).padStart(8, '0');
