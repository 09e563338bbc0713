/** A buffer that lines are written into byte by byte, and that goes out in big pieces: nothing is allocated per line. */
import { AF_INET } from '../flow/conntrack-enums.js';

/** Written out when it holds this much; room behind it for the longest thing written between two looks. Bytes. */
const FLUSH_BYTES = 1 << 17;
const ROOM_BYTES = 1 << 14;
const ZERO = 0x30;
const DOT = 0x2e;
const COLON = 0x3a;
const HEX = new TextEncoder().encode('0123456789abcdef');
const TEN_MILLION = 10_000_000;
const TWO_TO_32 = 4294967296;

/** The text of every byte as three digits and a length, four bytes each. */
const OCTETS = new Uint8Array(256 * 4);
for (let i = 0; i < 256; i++) {
  const text = String(i);
  for (let j = 0; j < text.length; j++) OCTETS[4 * i + j] = text.charCodeAt(j);
  OCTETS[4 * i + 3] = text.length;
}

/** Bytes of a text that is written often. */
export const ascii = (text: string): Uint8Array => new TextEncoder().encode(text);

export class TextBuffer {
  readonly bytes = new Uint8Array(FLUSH_BYTES + ROOM_BYTES);
  at = 0;
  readonly #write: (bytes: Uint8Array) => void;
  readonly #groups = new Uint16Array(8);

  /** `write` takes the bytes before it returns. */
  constructor(write: (bytes: Uint8Array) => void) {
    this.#write = write;
  }

  /** Ends a line: what has piled up goes out once there is enough. */
  endLine(): void {
    this.bytes[this.at++] = 0x0a;
    if (this.at >= FLUSH_BYTES) this.flush();
  }

  flush(): void {
    if (this.at === 0) return;
    this.#write(this.bytes.subarray(0, this.at));
    this.at = 0;
  }

  byte(value: number): void {
    this.bytes[this.at++] = value;
  }

  /** Ready bytes; short ones. */
  put(text: Uint8Array): void {
    const { bytes } = this;
    let at = this.at;
    for (let i = 0; i < text.length; i++) bytes[at++] = text[i];
    this.at = at;
  }

  /** Text of ASCII characters, for what is written seldom. */
  text(text: string): void {
    for (let i = 0; i < text.length; i++) this.bytes[this.at++] = text.charCodeAt(i);
  }

  /** Bytes from somewhere else. */
  copy(from: Uint8Array, start: number, length: number): void {
    for (let i = 0; i < length; i++) this.bytes[this.at++] = from[start + i];
  }

  /** A whole number below 2^32, decimal. */
  u32(value: number): void {
    const { bytes } = this;
    if (value < 256) {
      const from = value << 2;
      const length = OCTETS[from + 3];
      bytes[this.at] = OCTETS[from];
      bytes[this.at + 1] = OCTETS[from + 1];
      bytes[this.at + 2] = OCTETS[from + 2];
      this.at += length;
      return;
    }
    let length = value < 1000 ? 3 : value < 10_000 ? 4 : value < 100_000 ? 5 : value < 1_000_000 ? 6 : 7;
    if (value >= TEN_MILLION) length = value < 100_000_000 ? 8 : value < 1_000_000_000 ? 9 : 10;
    let p = this.at + length;
    this.at = p;
    while (length-- > 0) {
      const rest = Math.floor(value / 10);
      bytes[--p] = ZERO + (value - rest * 10);
      value = rest;
    }
  }

  /** A number of two words, the low one first. */
  u64(low: number, high: number): void {
    if (high === 0) this.u32(low);
    else if (high < 0x200000) this.text(String(high * TWO_TO_32 + low));
    else this.text(String((BigInt(high) << 32n) | BigInt(low)));
  }

  hex(value: number): void {
    this.text(value.toString(16));
  }

  /** The port (network order) at byte `from`. */
  port(u8: Uint8Array, from: number): void {
    this.u32((u8[from] << 8) | u8[from + 1]);
  }

  /** The address at byte `from`, as inet_ntop writes it. */
  address(u8: Uint8Array, from: number, family: number): void {
    if (family === AF_INET) this.#ipv4(u8, from);
    else this.#ipv6(u8, from);
  }

  #ipv4(u8: Uint8Array, from: number): void {
    const { bytes } = this;
    let at = this.at;
    for (let i = 0; i < 4; i++) {
      const octet = u8[from + i] << 2;
      bytes[at] = OCTETS[octet];
      bytes[at + 1] = OCTETS[octet + 1];
      bytes[at + 2] = OCTETS[octet + 2];
      at += OCTETS[octet + 3];
      bytes[at++] = DOT;
    }
    this.at = at - 1;
  }

  #ipv6(u8: Uint8Array, from: number): void {
    const groups = this.#groups;
    for (let i = 0; i < 8; i++) groups[i] = (u8[from + 2 * i] << 8) | u8[from + 2 * i + 1];
    // The longest run of two or more zero groups, the first of equals.
    let start = 8;
    let length = 1;
    for (let i = 0; i < 8; i++) {
      let end = i;
      while (end < 8 && groups[end] === 0) end++;
      if (end - i > length) {
        start = i;
        length = end - i;
      }
      if (end > i) i = end;
    }
    // IPv4-compatible and IPv4-mapped addresses end in a dotted quad.
    const isQuad = start === 0 && (length === 6 || (length === 5 && groups[5] === 0xffff));
    const end = isQuad ? 6 : 8;
    for (let i = 0; i < end; i++) {
      if (i === start) {
        this.byte(COLON);
        if (start === 0) this.byte(COLON);
        i += length - 1;
        if (i === 7) return;
        continue;
      }
      this.#group(groups[i]);
      if (i < 7) this.byte(COLON);
    }
    if (isQuad) this.#ipv4(u8, from + 12);
  }

  #group(value: number): void {
    const { bytes } = this;
    if (value > 0xfff) bytes[this.at++] = HEX[value >>> 12];
    if (value > 0xff) bytes[this.at++] = HEX[(value >>> 8) & 15];
    if (value > 0xf) bytes[this.at++] = HEX[(value >>> 4) & 15];
    bytes[this.at++] = HEX[value & 15];
  }
}
