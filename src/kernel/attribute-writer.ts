/** Writes one short nfnetlink request attribute by attribute: for requests that are few, and not about one flow. */
import { pinnedBytes } from '../../native/libc.js';
import { NLA_F_NESTED, NLM_F_REQUEST } from './enums.js';

const HEADER_BYTES = 20; // struct nlmsghdr and struct nfgenmsg
/** The longest, a dump with a filter of both tuples, is under 250. Bytes. */
const REQUEST_MAX_BYTES = 512;

/** A request under construction: `begin`, attributes, `end`. Numbers go out in network order unless told otherwise. */
export class AttributeWriter {
  readonly bytes = pinnedBytes(REQUEST_MAX_BYTES);
  private readonly view = new DataView(this.bytes.buffer);
  private length = HEADER_BYTES;

  /** Starts a message to the subsystem; `flags` besides NLM_F_REQUEST. */
  begin(subsystem: number, message: number, flags: number, sequence: number, family: number): void {
    this.bytes.fill(0);
    this.view.setUint16(4, (subsystem << 8) | message, true);
    this.view.setUint16(6, NLM_F_REQUEST | flags, true);
    this.view.setUint32(8, sequence, true);
    this.view.setUint8(16, family);
    this.length = HEADER_BYTES;
  }

  /** Completes the message and returns its bytes. */
  end(): number {
    this.view.setUint32(0, this.length, true);
    return this.length;
  }

  private put(type: number, size: number): number {
    const at = this.length;
    this.view.setUint16(at, 4 + size, true);
    this.view.setUint16(at + 2, type, true);
    this.length = at + 4 + ((size + 3) & ~3);
    return at + 4;
  }

  u8(type: number, value: number): void {
    this.view.setUint8(this.put(type, 1), value);
  }

  u16(type: number, value: number): void {
    this.view.setUint16(this.put(type, 2), value);
  }

  u32(type: number, value: number): void {
    this.view.setUint32(this.put(type, 4), value >>> 0);
  }

  /** In this machine's order, as the kernel reads the flags of CTA_FILTER. */
  hostU32(type: number, value: number): void {
    this.view.setUint32(this.put(type, 4), value >>> 0, true);
  }

  data(type: number, value: Uint8Array): void {
    this.bytes.set(value, this.put(type, value.length));
  }

  /** Text and its NUL. */
  text(type: number, value: string): void {
    this.data(type, new TextEncoder().encode(`${value}\0`));
  }

  nest(type: number, fill: () => void): void {
    const at = this.length;
    this.length += 4;
    fill();
    this.view.setUint16(at, this.length - at, true);
    this.view.setUint16(at + 2, type | NLA_F_NESTED, true);
  }
}
