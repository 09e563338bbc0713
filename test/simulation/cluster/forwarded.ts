/**
 * Connections through the cluster's address: their packets pass the machine that has it, whatever it was told to be.
 * Some have a master, as the data connections of FTP have. A packet of a connection that the machine does not know
 * is dropped, or begins a flow in the middle, as a kernel does that is not strict.
 */
import { IPS_EXPECTED } from '../../../src/flow/conntrack-enums.js';
import {
  addressBytes,
  lengthOf,
  type Memory,
  OFF_KEY,
  OFF_LENGTH,
  OFF_ORIG_L4,
  OFF_PROTOCOL,
  offStatus,
  PART_MASTER,
} from '../../../src/flow/record.js';
import { writeSample } from '../sample-records.js';

/** Sample numbers of connections through the address. */
const FORWARDED_FROM = 0x30000;
/** One number in so many is a child of the number before it, of the same family. */
const CHILD_EVERY = 10;
const FAMILIES = 5;

/** A sample number for a connection, of `count`. */
export const forwarded = (i: number): number => FORWARDED_FROM + i;

/** The number of the connection's master, or -1: it has none. */
export function masterOf(n: number): number {
  const i = n - FORWARDED_FROM;
  return i >= FAMILIES && i % CHILD_EVERY === FAMILIES ? n - FAMILIES : -1;
}

/** Adds to the record at 0, before any other part of the same place or later, that `master` is its master. */
export function writeMaster(m: Memory, master: number, scratch: Memory): void {
  writeSample(scratch, 0, master, 0);
  const addr = addressBytes(scratch, 0);
  const part = lengthOf(m, 0);
  const bytes = 8 + 2 * addr;
  m.u16[part >>> 1] = PART_MASTER;
  m.u16[(part >>> 1) + 1] = bytes;
  m.u8.fill(0, part + 4, part + 4 + bytes);
  m.u8[part + 4] = scratch.u8[OFF_KEY];
  m.u8[part + 5] = scratch.u8[OFF_PROTOCOL];
  for (let i = 0; i < 4 + 2 * addr; i++) m.u8[part + 8 + i] = scratch.u8[OFF_ORIG_L4 + i];
  m.u16[OFF_LENGTH >>> 1] = part + 4 + bytes;
  m.u32[offStatus(addressBytes(m, 0)) >>> 2] |= IPS_EXPECTED;
}
