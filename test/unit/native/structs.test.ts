import { describe, expect, test } from 'vitest';
import { AF_INET, AF_INET6 } from '../../../native/libc.js';
import {
  addressFromText,
  BpfProgram,
  DatagramVector,
  isMulticastAddress,
  membership,
  sockaddrInternet,
  sockaddrNetlink,
} from '../../../native/structs.js';

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

describe('socket addresses', () => {
  test('a netlink address has the port id in host order', () => {
    expect(hex(sockaddrNetlink(0x01020304))).toBe('100000000403020100000000');
  });

  test('an IPv4 address has port and address in network order', () => {
    const address = addressFromText(AF_INET, '10.9.0.1') as Uint8Array;
    expect(hex(sockaddrInternet(AF_INET, address, 3780, 7))).toBe('02000ec40a0900010000000000000000');
  });

  test('only a link-local IPv6 address is scoped by the interface', () => {
    const local = addressFromText(AF_INET6, 'fe80::1') as Uint8Array;
    const global = addressFromText(AF_INET6, '2001:db8::1') as Uint8Array;
    expect(hex(sockaddrInternet(AF_INET6, local, 3780, 7)).slice(48)).toBe('07000000');
    expect(hex(sockaddrInternet(AF_INET6, global, 3780, 7)).slice(48)).toBe('00000000');
  });

  test('text that is not an address of the family is refused', () => {
    expect(addressFromText(AF_INET, '10.9.0')).toBeUndefined();
    expect(addressFromText(AF_INET, '::1')).toBeUndefined();
    expect(addressFromText(AF_INET6, '10.9.0.1')).toBeUndefined();
  });

  test('a membership names the group and the interface by index', () => {
    const group = addressFromText(AF_INET, '225.0.0.50') as Uint8Array;
    expect(hex(membership(AF_INET, group, 3))).toBe('e10000320000000003000000');
    const group6 = addressFromText(AF_INET6, 'ff02::50') as Uint8Array;
    expect(hex(membership(AF_INET6, group6, 3))).toBe('ff02000000000000000000000000005003000000');
  });

  test('multicast addresses are told from others', () => {
    const is = (family: number, text: string) =>
      isMulticastAddress(family, addressFromText(family, text) as Uint8Array);
    expect(is(AF_INET, '224.0.0.1')).toBe(true);
    expect(is(AF_INET, '239.255.255.255')).toBe(true);
    expect(is(AF_INET, '240.0.0.1')).toBe(false);
    expect(is(AF_INET6, 'ff02::1')).toBe(true);
    expect(is(AF_INET6, 'fe80::1')).toBe(false);
  });
});

describe('the socket filter', () => {
  test('a program counts its instructions and points to them', () => {
    const program = new BpfProgram([
      [0x20, 0, 0, 12],
      [0x06, 0, 0, 0],
    ]);
    const header = new DataView(program.header.buffer);
    expect(header.getUint16(0, true)).toBe(2);
    expect(header.getBigUint64(8, true)).not.toBe(0n);
  });
});

describe('the datagram vector', () => {
  test('slots do not overlap and keep to cache lines', () => {
    const vector = new DatagramVector(4, 4096);
    expect(vector.start(1) - vector.start(0)).toBe(4160);
    expect(vector.data.length).toBe(4 * 4160);
  });

  test('every header points to its own iovec, every iovec to its own slot', () => {
    const vector = new DatagramVector(3, 128);
    const headers = new DataView(vector.headers.buffer);
    const iovec = (i: number) => headers.getBigUint64(i * 64 + 16, true);
    expect(iovec(1) - iovec(0)).toBe(16n);
    expect(iovec(2) - iovec(0)).toBe(32n);
    expect(headers.getBigUint64(2 * 64 + 24, true)).toBe(1n);
  });

  test('lengths and flags are read where the kernel writes them', () => {
    const vector = new DatagramVector(2, 128);
    const headers = new DataView(vector.headers.buffer);
    headers.setUint32(64 + 56, 232, true);
    headers.setUint32(64 + 48, 0x20, true);
    expect(vector.length(1)).toBe(232);
    expect(vector.flags(1)).toBe(0x20);
    expect(vector.length(0)).toBe(0);
  });
});
