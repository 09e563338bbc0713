/**
 * Walks over msgpack bytes by hand: no object, string or exception per value. Hostile input ends in -1 or
 * false, and the cursor never leaves [at, end).
 */
export class ByteCursor {
  u8: Uint8Array = new Uint8Array(0);
  at = 0;
  end = 0;

  reset(u8: Uint8Array, from: number, to: number): void {
    this.u8 = u8;
    this.at = from;
    this.end = to;
  }

  /** An unsigned integer of any msgpack width up to 2^53-1, or -1. */
  uint(): number {
    if (this.at >= this.end) return -1;
    const b = this.u8[this.at];
    if (b < 0x80) {
      this.at++;
      return b;
    }
    if (b < 0xcc || b > 0xcf) return -1;
    const width = 1 << (b - 0xcc);
    if (this.at + 1 + width > this.end) return -1;
    const p = this.at + 1;
    this.at = p + width;
    if (width === 1) return this.u8[p];
    if (width === 2) return (this.u8[p] << 8) | this.u8[p + 1];
    if (width === 4) return this.#u32(p);
    const high = this.#u32(p);
    return high > 0x1fffff ? -1 : high * 0x1_0000_0000 + this.#u32(p + 4);
  }

  /** An unsigned integer, or -2 for nil, or -1. */
  uintOrNil(): number {
    if (this.at < this.end && this.u8[this.at] === 0xc0) {
      this.at++;
      return -2;
    }
    return this.uint();
  }

  /** Elements of an array, or -1. */
  array(): number {
    if (this.at >= this.end) return -1;
    const b = this.u8[this.at];
    if ((b & 0xf0) === 0x90) {
      this.at++;
      return b & 15;
    }
    if (b !== 0xdc || this.at + 3 > this.end) return -1;
    const n = (this.u8[this.at + 1] << 8) | this.u8[this.at + 2];
    this.at += 3;
    return n;
  }

  /**
   * Bytes of a bin that lies whole in the input, with the cursor on its first byte; or -1. The caller moves
   * on.
   */
  bin(): number {
    return this.#sized(0xc4, 0xc5);
  }

  /** As `bin`, for a str. */
  str(): number {
    if (this.at < this.end && (this.u8[this.at] & 0xe0) === 0xa0) {
      const n = this.u8[this.at] & 31;
      if (this.at + 1 + n > this.end) return -1;
      this.at++;
      return n;
    }
    return this.#sized(0xd9, 0xda);
  }

  /**
   * Steps over one value of any kind; false when it is cut off or not msgpack. Work is bounded by the
   * input.
   */
  skip(): boolean {
    let pending = 1;
    while (pending > 0) {
      if (this.at >= this.end || pending > this.end - this.at) return false;
      pending--;
      const more = this.#skipHead(this.u8[this.at]);
      if (more < 0) return false;
      pending += more;
    }
    return this.at <= this.end;
  }

  #sized(short: number, long: number): number {
    if (this.at + 2 > this.end) return -1;
    const b = this.u8[this.at];
    let n: number;
    let p: number;
    if (b === short) {
      n = this.u8[this.at + 1];
      p = this.at + 2;
    } else if (b === long && this.at + 3 <= this.end) {
      n = (this.u8[this.at + 1] << 8) | this.u8[this.at + 2];
      p = this.at + 3;
    } else return -1;
    if (p + n > this.end) return -1;
    this.at = p;
    return n;
  }

  /** Steps over a value's head (and bytes); returns how many values it contains, or -1. */
  #skipHead(b: number): number {
    if (b < 0x80 || b >= 0xe0 || b === 0xc0 || b === 0xc2 || b === 0xc3) return this.#advance(1, 0);
    if (b < 0x90) return this.#advance(1, 2 * (b & 15));
    if (b < 0xa0) return this.#advance(1, b & 15);
    if (b < 0xc0) return this.#advance(1 + (b & 31), 0);
    if (b === 0xc4 || b === 0xd9) return this.#advanceSized(1, 0);
    if (b === 0xc5 || b === 0xda) return this.#advanceSized(2, 0);
    if (b === 0xc6 || b === 0xdb) return this.#advanceSized(4, 0);
    if (b >= 0xc7 && b <= 0xc9) return this.#advanceSized(1 << (b - 0xc7), 1);
    if (b === 0xca || b === 0xcb) return this.#advance(b === 0xca ? 5 : 9, 0);
    if (b >= 0xcc && b <= 0xd3) return this.#advance(1 + (1 << ((b - 0xcc) & 3)), 0);
    if (b >= 0xd4 && b <= 0xd8) return this.#advance(2 + (1 << (b - 0xd4)), 0);
    if (b >= 0xdc && b <= 0xdf) return this.#advanceCounted(b);
    return -1;
  }

  #advance(bytes: number, values: number): number {
    if (this.at + bytes > this.end) return -1;
    this.at += bytes;
    return values;
  }

  #advanceSized(width: number, extra: number): number {
    if (this.at + 1 + width > this.end) return -1;
    return this.#advance(1 + width + extra + this.#bigEndian(this.at + 1, width), 0);
  }

  #advanceCounted(b: number): number {
    const width = b & 1 ? 4 : 2;
    if (this.at + 1 + width > this.end) return -1;
    const n = this.#bigEndian(this.at + 1, width);
    return this.#advance(1 + width, b >= 0xde ? 2 * n : n);
  }

  #bigEndian(p: number, width: number): number {
    let n = 0;
    for (let i = 0; i < width; i++) n = n * 256 + this.u8[p + i];
    return n;
  }

  #u32(p: number): number {
    return ((this.u8[p] << 24) | (this.u8[p + 1] << 16) | (this.u8[p + 2] << 8) | this.u8[p + 3]) >>> 0;
  }
}
