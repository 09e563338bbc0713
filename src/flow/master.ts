/** The master of an expected flow, as its record names it. */
import {
  addressBytes,
  copyRecord,
  familyOf,
  lengthOf,
  type Memory,
  OFF_FAMILY,
  OFF_LENGTH,
  OFF_ORIG_L4,
  OFF_PROTOCOL,
  OFF_ZONE,
  offParts,
  PART_MASTER,
} from './record.js';

/** Writes a record to `out` at 0 whose key is that of the master in the part at `part`; good for look-ups only. */
export function writeMasterKey(m: Memory, at: number, part: number, out: Memory): void {
  copyRecord(m, at, out, 0);
  const addr = addressBytes(m, at);
  // The kernel tells no zone of it: it is the child's.
  out.u8[OFF_FAMILY] = m.u8[part + 4] | (m.u8[at + OFF_FAMILY] & 0xc0);
  out.u8[OFF_PROTOCOL] = m.u8[part + 5];
  out.u16[OFF_ZONE >>> 1] = m.u16[(at + OFF_ZONE) >>> 1];
  for (let i = 0; i < 4 + 2 * addr; i++) out.u8[OFF_ORIG_L4 + i] = m.u8[part + 8 + i];
}

/** Writes the record to `out` at 0, with the flow itself in the place of its master; returns the length. */
export function withOwnMaster(m: Memory, at: number, out: Memory): number {
  const addr = addressBytes(m, at);
  const fixed = offParts(addr);
  const end = at + lengthOf(m, at);
  const partBytes = (p: number): number => 4 + ((m.u16[(p >>> 1) + 1] + 3) & ~3);
  out.u8.set(m.u8.subarray(at, at + fixed), 0);
  let p = at + fixed;
  let to = fixed;
  for (; p < end && m.u16[p >>> 1] < PART_MASTER; p += partBytes(p)) {
    out.u8.set(m.u8.subarray(p, p + partBytes(p)), to);
    to += partBytes(p);
  }
  const bytes = 8 + 2 * addr;
  out.u16[to >>> 1] = PART_MASTER;
  out.u16[(to >>> 1) + 1] = bytes;
  out.u32[(to + 4) >>> 2] = familyOf(m, at) | (m.u8[at + OFF_PROTOCOL] << 8);
  out.u8.set(m.u8.subarray(at + OFF_ORIG_L4, at + OFF_ORIG_L4 + bytes - 4), to + 8);
  to += 4 + bytes;
  for (; p < end; p += partBytes(p)) {
    if (m.u16[p >>> 1] === PART_MASTER) continue;
    out.u8.set(m.u8.subarray(p, p + partBytes(p)), to);
    to += partBytes(p);
  }
  out.u16[OFF_LENGTH >>> 1] = to;
  return to;
}
