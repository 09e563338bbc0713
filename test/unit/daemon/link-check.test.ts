import { networkInterfaces } from 'node:os';
import { expect, test } from 'vitest';
import type { LinkConfig } from '../../../src/daemon/config.js';
import { LinkCheck } from '../../../src/daemon/link-check.js';

const LINK: LinkConfig = {
  interface: 'sync',
  address: '10.9.0.1',
  group: '225.0.0.50',
  peers: [],
  port: 3780,
  mtu: 1500,
};
const look = (mtu: number | undefined, addresses: readonly string[] | undefined) => ({
  mtu: () => mtu,
  addresses: () => addresses,
});

test('a link as it is configured has no problems, nor has one that nothing is known of', () => {
  expect(new LinkCheck([LINK], look(9000, ['10.9.0.1'])).problems(0)).toEqual([]);
  expect(new LinkCheck([LINK], look(undefined, undefined)).problems(0)).toEqual([]);
});

test('an MTU that the interface does not have is told: frames would go in fragments', () => {
  expect(new LinkCheck([LINK], look(1420, ['10.9.0.1'])).problems(0)).toEqual([
    'links[0]: mtu is 1500 and that of sync is 1420: write `mtu: 1420` on every node',
  ]);
});

test("another node's address, left in a copied file, is told", () => {
  expect(new LinkCheck([LINK], look(1500, ['10.9.0.2', 'fe80::1'])).problems(0)).toEqual([
    'links[0]: sync does not have the address 10.9.0.1: it has 10.9.0.2, fe80::1',
  ]);
});

test('an IPv6 address may be written in any way', () => {
  const link = { ...LINK, address: 'FD00:9:0::1' };
  expect(new LinkCheck([link], look(1500, ['fd00:9::1'])).problems(0)).toEqual([]);
});

test('the machine is asked again after five seconds, and knows its loopback', () => {
  const real = new LinkCheck([{ ...LINK, interface: 'lo', address: '127.0.0.1' }]);
  expect(networkInterfaces().lo).toBeDefined();
  expect(real.problems(0)).toEqual([]);
  let mtu = 1500;
  const check = new LinkCheck([LINK], { mtu: () => mtu, addresses: () => undefined });
  expect(check.problems(0)).toEqual([]);
  mtu = 1400;
  expect(check.problems(4999)).toEqual([]);
  expect(check.problems(5000)).toHaveLength(1);
});
