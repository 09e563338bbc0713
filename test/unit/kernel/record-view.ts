/** A packed record read by its documented offsets into a plain object, for assertions (not by the code under test). */
import type { Memory } from '../../../src/flow/record.js';

interface TupleView {
  source: string;
  destination: string;
  /** Two ports, or ICMP id and type * 256 + code; as numbers. */
  l4: [number, number];
}
export interface RecordView {
  timeout: number | undefined;
  id: number | undefined;
  family: number;
  protocol: number;
  zone: number;
  zoneDirection: number;
  original: TupleView;
  reply: TupleView;
  status: number;
  mark: number;
  state: number;
  wscale: [number, number];
  tcpFlags: [number, number];
  protoBits: number;
  parts: Map<number, Uint8Array>;
}

function addressText(bytes: Uint8Array): string {
  if (bytes.length === 4) return bytes.join('.');
  const groups = Array.from({ length: 8 }, (_, i) => ((bytes[2 * i] << 8) | bytes[2 * i + 1]).toString(16));
  return groups.join(':');
}

/** Reads the record of `length` bytes at 0 of `m`. */
export function viewRecord(m: Memory, length: number): RecordView {
  const bytes = m.u8.slice(0, length);
  const view = new DataView(bytes.buffer);
  const addr = (bytes[12] & 0x3f) === 10 ? 16 : 4;
  const text = (at: number): string => addressText(bytes.subarray(at, at + addr));
  const l4 = (at: number): [number, number] => [view.getUint16(at), view.getUint16(at + 2)];
  const after = 20 + 4 * addr;
  const parts = new Map<number, Uint8Array>();
  for (let p = after + 16; p < length; ) {
    const size = view.getUint16(p + 2, true);
    parts.set(view.getUint16(p, true), bytes.slice(p + 4, p + 4 + size));
    p += 4 + ((size + 3) & ~3);
  }
  return {
    timeout: (bytes[3] & 1) !== 0 ? view.getUint32(4, true) : undefined,
    id: (bytes[3] & 2) !== 0 ? view.getUint32(8, true) : undefined,
    family: bytes[12] & 0x3f,
    protocol: bytes[13],
    zone: view.getUint16(14, true),
    zoneDirection: bytes[12] >>> 6,
    original: { source: text(20), destination: text(20 + addr), l4: l4(16) },
    reply: { source: text(20 + 2 * addr), destination: text(20 + 3 * addr), l4: l4(after) },
    status: view.getUint32(after + 4, true),
    mark: view.getUint32(after + 8, true),
    state: bytes[after + 12],
    wscale: [bytes[after + 13] & 15, bytes[after + 13] >>> 4],
    tcpFlags: [bytes[after + 14] & 15, bytes[after + 14] >>> 4],
    protoBits: bytes[after + 15],
    parts,
  };
}
