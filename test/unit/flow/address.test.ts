import { isIPv4, isIPv6 } from 'node:net';
import { describe, expect, it } from 'vitest';
import { formatAddress, parseAddress, parseAddressBlock } from '../../../src/flow/address.js';

const hex = (text: string): string | undefined => {
  const bytes = parseAddress(text);
  return bytes && Buffer.from(bytes).toString('hex');
};

describe('parseAddress', () => {
  it.each([
    ['0.0.0.0', '00000000'],
    ['192.0.2.255', 'c00002ff'],
    ['::', '0'.repeat(32)],
    ['::1', '00000000000000000000000000000001'],
    ['2001:DB8::a', '20010db800000000000000000000000a'],
    ['fe80::', 'fe800000000000000000000000000000'],
    ['1:2:3:4:5:6:7:8', '00010002000300040005000600070008'],
    ['1:2:3:4:5:6:7::', '00010002000300040005000600070000'],
    ['::ffff:192.0.2.1', '00000000000000000000ffffc0000201'],
    ['1:2:3:4:5:6:192.0.2.1', '000100020003000400050006c0000201'],
  ])('reads %s', (text, bytes) => {
    expect(hex(text)).toBe(bytes);
  });

  const WRONG = [
    '',
    '1',
    '1.2.3',
    '1.2.3.4.5',
    '1.2.3.256',
    '01.2.3.4',
    '1.2.3.4 ',
    ' 1.2.3.4',
    '1.2.3.0x4',
    '1.2.3.-4',
    '1.2..4',
    ':',
    ':::',
    '1::2::3',
    '1:2:3:4:5:6:7',
    '1:2:3:4:5:6:7:8:9',
    '1:2:3:4:5:6:7:8::',
    '::12345',
    '::g',
    '1:',
    ':1',
    '::1%lo',
    '1.2.3.4::',
    '::1.2.3',
    '::1.2.3.4:5',
    '[::1]',
  ];
  it.each(WRONG)('refuses "%s"', (text) => {
    expect(isIPv4(text) || (isIPv6(text) && !text.includes('%'))).toBe(false);
    expect(parseAddress(text)).toBeUndefined();
  });
});

describe('formatAddress', () => {
  // As inet_ntop of glibc 2.36 writes them.
  it.each([
    '192.0.2.1',
    '::',
    '::1',
    '2001:db8::1',
    '2001:db8:0:1::',
    '1:0:0:2::3',
    '0:1::',
    '1:0:2:3:4:5:6:7',
    '::ffff:192.0.2.1',
    '::192.0.2.1',
    '64:ff9b::c000:201',
  ])('writes %s', (text) => {
    const bytes = parseAddress(text) ?? new Uint8Array();
    expect(formatAddress(Uint8Array.of(9, 9, 9, ...bytes), 3, bytes.length)).toBe(text);
  });
});

describe('parseAddressBlock', () => {
  it('clears the bits past the prefix', () => {
    expect(parseAddressBlock('10.255.255.255/9')).toEqual({ bytes: Uint8Array.of(10, 128, 0, 0), prefix: 9 });
    expect(parseAddressBlock('10.1.2.3')).toEqual({ bytes: Uint8Array.of(10, 1, 2, 3), prefix: 32 });
    expect(parseAddressBlock('1.2.3.4/0')).toEqual({ bytes: new Uint8Array(4), prefix: 0 });
    expect(parseAddressBlock('ffff::/12')?.bytes.slice(0, 3)).toEqual(Uint8Array.of(0xff, 0xf0, 0));
  });

  it.each(['10.0.0.0/33', '::/129', '10.0.0.0/', '10.0.0.0/-1', '10.0.0.0/08', '/8', 'x/8', '1.2.3.4/8/8'])(
    'refuses "%s"',
    (text) => {
      expect(parseAddressBlock(text)).toBeUndefined();
    },
  );
});
