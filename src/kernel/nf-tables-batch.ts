/**
 * Writes nf_tables messages. A change is one batch, and the kernel carries out all of it or nothing:
 *
 *     BATCH_BEGIN | message | message | ... | BATCH_END
 *     message = nlmsghdr, nfgenmsg (family, version, resource id), attributes; numbers are big-endian
 */
import { pinnedBytes } from '../../native/libc.js';
import { NLA_F_NESTED, NLM_F_REQUEST } from './enums.js';
import { NFNL_MSG_BATCH_BEGIN, NFNL_MSG_BATCH_END, NFNL_SUBSYS_NFTABLES } from './nf-tables-enums.js';

const HEADER_BYTES = 20; // struct nlmsghdr and struct nfgenmsg
const ATTRIBUTE_BYTES = 4;
const FIRST_BYTES = 1024;

/** An attribute: its type, and what is in it: a number (32 bits), text, bytes, or attributes. */
export type Attribute = readonly [
  type: number,
  value: number | bigint | string | Uint8Array | readonly Attribute[],
];

/** Messages for one send; made when the daemon starts, so nothing here is in a hurry. */
export class NfTablesBatch {
  readonly #labels: string[] = [];
  #bytes = new Uint8Array(FIRST_BYTES);
  #view = new DataView(this.#bytes.buffer);
  #length = 0;
  readonly #family: number;

  /** A batch for tables of `family` (NFPROTO_*); its messages are numbered from 0. */
  constructor(family: number) {
    this.#family = family;
    this.#header(NFNL_MSG_BATCH_BEGIN, 0, 0, NFNL_SUBSYS_NFTABLES, 'begin');
  }

  /** Adds a message: what it does in words, NFT_MSG_*, and flags beside NLM_F_REQUEST. */
  add(label: string, type: number, flags: number, attributes: readonly Attribute[]): void {
    const at = this.#length;
    this.#header((NFNL_SUBSYS_NFTABLES << 8) | type, flags, this.#family, 0, label);
    this.#attributes(attributes);
    this.#view.setUint32(at, this.#length - at, true);
  }

  /** Ends the batch. The bytes are for one send. */
  end(): Uint8Array {
    this.#header(NFNL_MSG_BATCH_END, 0, 0, NFNL_SUBSYS_NFTABLES, 'end');
    const bytes = pinnedBytes(this.#length);
    bytes.set(this.#bytes.subarray(0, this.#length));
    return bytes;
  }

  /** What the message with this sequence number does, in words. */
  label(sequence: number): string {
    return this.#labels[sequence] ?? 'change the ruleset';
  }

  #header(type: number, flags: number, family: number, resource: number, label: string): void {
    const at = this.#grow(HEADER_BYTES);
    this.#view.setUint32(at, HEADER_BYTES, true);
    this.#view.setUint16(at + 4, type, true);
    this.#view.setUint16(at + 6, NLM_F_REQUEST | flags, true);
    this.#view.setUint32(at + 8, this.#labels.length, true);
    this.#view.setUint8(at + 16, family);
    this.#view.setUint16(at + 18, resource);
    this.#labels.push(label);
  }

  #attributes(attributes: readonly Attribute[]): void {
    for (const [type, value] of attributes) {
      const at = this.#grow(ATTRIBUTE_BYTES);
      const isNested = Array.isArray(value);
      if (isNested) this.#attributes(value);
      else this.#value(value as Exclude<Attribute[1], readonly Attribute[]>);
      this.#view.setUint16(at, this.#length - at, true);
      this.#view.setUint16(at + 2, isNested ? type | NLA_F_NESTED : type, true);
      this.#grow(-this.#length & 3);
    }
  }

  #value(value: number | bigint | string | Uint8Array): void {
    const bytes = typeof value === 'string' ? new TextEncoder().encode(`${value}\0`) : value;
    // Room first: it may be made in other memory.
    const at = this.#grow(typeof bytes === 'number' ? 4 : typeof bytes === 'bigint' ? 8 : bytes.length);
    if (typeof bytes === 'number') this.#view.setUint32(at, bytes);
    else if (typeof bytes === 'bigint') this.#view.setBigUint64(at, bytes);
    else this.#bytes.set(bytes, at);
  }

  /** Makes room for so many zeros and returns where they are. */
  #grow(bytes: number): number {
    const at = this.#length;
    this.#length += bytes;
    if (this.#length > this.#bytes.length) {
      const bigger = new Uint8Array(Math.max(this.#length, this.#bytes.length * 2));
      bigger.set(this.#bytes);
      this.#bytes = bigger;
      this.#view = new DataView(bigger.buffer);
    }
    return at;
  }
}

/** One message that is no change and needs no batch. */
export function singleMessage(family: number, type: number, attributes: readonly Attribute[]): Uint8Array {
  const batch = new NfTablesBatch(family);
  batch.add('ask', type, 0, attributes);
  return batch.end().slice(HEADER_BYTES, -HEADER_BYTES);
}
