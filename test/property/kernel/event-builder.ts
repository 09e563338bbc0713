/** Builds ctnetlink messages from attribute names and values, by the attribute tables and nothing else. */
import { type AttributeTable, CODEC_TEXT, CONNTRACK } from '../../../src/kernel/attributes.js';

/** Numbers are written in network order at the attribute's size; bytes as they are; text with its NUL. */
type AttributeValue = number | bigint | string | Uint8Array | AttributeValues;
export interface AttributeValues {
  readonly [name: string]: AttributeValue | undefined;
}

function payload(value: Exclude<AttributeValue, AttributeValues>, size: number): Uint8Array {
  if (value instanceof Uint8Array) return value;
  if (typeof value === 'string') return new Uint8Array(Buffer.from(`${value}\0`, 'latin1'));
  const bytes = new Uint8Array(size);
  let rest = BigInt(value);
  for (let i = size - 1; i >= 0; i--, rest >>= 8n) bytes[i] = Number(rest & 255n);
  return bytes;
}

function isNest(value: AttributeValue): value is AttributeValues {
  return typeof value === 'object' && !(value instanceof Uint8Array);
}

/** The attributes of one nest, in the order the values are named. */
function attributes(table: AttributeTable, values: AttributeValues): Uint8Array {
  const chunks: Uint8Array[] = [];
  for (const [name, value] of Object.entries(values)) {
    if (value === undefined) continue;
    const attribute = table.attributes.find((a) => a.name === name);
    if (!attribute) throw new Error(`${table.name} has no ${name}`);
    const nested = isNest(value);
    if (nested !== (attribute.nested !== undefined)) throw new Error(`${name}: nest or not?`);
    if (typeof value === 'string' && attribute.codec !== CODEC_TEXT) throw new Error(`${name} is no text`);
    const body = nested ? attributes(attribute.nested!, value) : payload(value, attribute.size);
    const chunk = new Uint8Array((4 + body.length + 3) & ~3);
    const view = new DataView(chunk.buffer);
    view.setUint16(0, 4 + body.length, true);
    view.setUint16(2, attribute.type | (nested ? 0x8000 : 0), true);
    chunk.set(body, 4);
    chunks.push(chunk);
  }
  return new Uint8Array(Buffer.concat(chunks));
}

/** A whole netlink message: an event of this type (0 new or update, 2 destroy), flags and family. */
export function buildMessage(
  type: number,
  flags: number,
  family: number,
  values: AttributeValues,
): Uint8Array {
  const body = attributes(CONNTRACK, values);
  const bytes = new Uint8Array(20 + body.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, bytes.length, true);
  view.setUint16(4, 0x100 | type, true);
  view.setUint16(6, flags, true);
  view.setUint32(8, 77, true);
  view.setUint32(12, 4242, true);
  bytes[16] = family;
  bytes.set(body, 20);
  return bytes;
}

/** The payload of the attribute reached by these types in a message, read without the tables; undefined if absent. */
export function findPayload(message: Uint8Array, ...path: number[]): Uint8Array | undefined {
  let bytes = message.subarray(20);
  for (const type of path) {
    let found: Uint8Array | undefined;
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    for (let p = 0; p + 4 <= bytes.length; p += (view.getUint16(p, true) + 3) & ~3) {
      const length = view.getUint16(p, true);
      if ((view.getUint16(p + 2, true) & 0x3fff) === type) found = bytes.subarray(p + 4, p + length);
    }
    if (!found) return undefined;
    bytes = found;
  }
  return bytes;
}
