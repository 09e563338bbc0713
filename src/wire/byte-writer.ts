/** Writes msgpack by hand into a caller's buffer. The caller checks room first; nothing here allocates. */
export class ByteWriter {
  u8: Uint8Array = new Uint8Array(0);
  at = 0;
  limit = 0;

  reset(u8: Uint8Array, from: number, limit: number): void {
    this.u8 = u8;
    this.at = from;
    this.limit = limit;
  }

  hasRoom(bytes: number): boolean {
    return this.at + bytes <= this.limit;
  }

  byte(b: number): void {
    this.u8[this.at++] = b;
  }

  /** An array head: 1 byte up to 15 elements, else 3. */
  array(n: number): void {
    if (n < 16) {
      this.u8[this.at++] = 0x90 | n;
      return;
    }
    this.u8[this.at++] = 0xdc;
    this.u8[this.at++] = n >>> 8;
    this.u8[this.at++] = n & 255;
  }

  /** An unsigned integer below 2^53 in its shortest form: 1 to 9 bytes. */
  uint(n: number): void {
    if (n < 0x80) this.u8[this.at++] = n;
    else if (n < 0x100) {
      this.u8[this.at++] = 0xcc;
      this.u8[this.at++] = n;
    } else if (n < 0x10000) {
      this.u8[this.at++] = 0xcd;
      this.u8[this.at++] = n >>> 8;
      this.u8[this.at++] = n & 255;
    } else if (n < 0x1_0000_0000) {
      this.u8[this.at++] = 0xce;
      this.word(n);
    } else {
      this.uint64(n);
    }
  }

  /** An unsigned integer below 2^53, always in 9 bytes: for a field that is filled in later. */
  uint64(n: number): void {
    this.u8[this.at++] = 0xcf;
    this.word(Math.floor(n / 0x1_0000_0000));
    this.word(n >>> 0);
  }

  /** Four bytes, big-endian. */
  word(n: number): void {
    this.u8[this.at++] = n >>> 24;
    this.u8[this.at++] = (n >>> 16) & 255;
    this.u8[this.at++] = (n >>> 8) & 255;
    this.u8[this.at++] = n & 255;
  }

  /** A bin head: 2 bytes below 256, else 3. */
  binHead(n: number): void {
    if (n < 256) {
      this.u8[this.at++] = 0xc4;
      this.u8[this.at++] = n;
      return;
    }
    this.u8[this.at++] = 0xc5;
    this.u8[this.at++] = n >>> 8;
    this.u8[this.at++] = n & 255;
  }

  /** Copies bytes; by a loop, since short copies are faster so than by `set`. */
  bytes(source: Uint8Array, from: number, to: number): void {
    const u8 = this.u8;
    let at = this.at;
    for (let i = from; i < to; i++) u8[at++] = source[i];
    this.at = at;
  }

  /** A bin of these bytes. */
  bin(source: Uint8Array): void {
    this.binHead(source.length);
    this.bytes(source, 0, source.length);
  }

  /** A str of these UTF-8 bytes, below 256 of them. */
  str(utf8: Uint8Array): void {
    if (utf8.length < 32) this.u8[this.at++] = 0xa0 | utf8.length;
    else {
      this.u8[this.at++] = 0xd9;
      this.u8[this.at++] = utf8.length;
    }
    this.bytes(utf8, 0, utf8.length);
  }
}
