import { allocateMemory, type Memory } from '../../../src/flow/record.js';

/** Memory of 1,024 bytes that begins with these bytes, written as hexadecimal text with free spacing. */
export function memoryOf(hex: string): Memory {
  const m = allocateMemory(1024);
  m.u8.set(Buffer.from(hex.replace(/\s+/g, ''), 'hex'));
  return m;
}

/** The record at `at` as hexadecimal text without spaces, as long as its length says. */
export function hexOf(m: Memory, at = 0): string {
  return Buffer.from(m.u8.subarray(at, at + m.u16[at >>> 1])).toString('hex');
}

/** Hexadecimal text without the spacing, to compare with hexOf. */
export const packed = (hex: string): string => hex.replace(/\s+/g, '');

/** tcp 10.0.0.1:1025 > 192.0.2.9:443 by SNAT from 198.51.100.7, ESTABLISHED, ASSURED, mark 5, timeout 600, id 0x11223344. */
export const TCP4 = `
  3400 00 03 58020000 44332211
  02 06 0000 0401 01bb 0a000001 c0000209
  c0000209 c6336407 01bb 0401
  16000000 05000000 03 77 33 1f`;

/** icmpv6 echo 2001:db8::1 > 2001:db8::2, id 0x1234, zone 7 in the original direction, no timeout, no id. */
export const ICMP6 = `
  6400 00 00 00000000 00000000
  4a 3a 0700 1234 80 00 20010db8000000000000000000000001 20010db8000000000000000000000002
  20010db8000000000000000000000002 20010db8000000000000000000000001 1234 81 00
  02000000 00000000 00 00 00 00`;
