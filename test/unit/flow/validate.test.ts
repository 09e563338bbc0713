import { describe, expect, it } from 'vitest';
import { validateRecord } from '../../../src/flow/validate.js';
import { ICMP6, memoryOf, TCP4 } from './bytes.js';

/** TCP4 with other bytes at an offset. */
function tcp4With(offset: number, hex: string): string {
  const bytes = Buffer.from(TCP4.replace(/\s+/g, ''), 'hex');
  Buffer.from(hex.replace(/\s+/g, ''), 'hex').copy(bytes, offset);
  return bytes.toString('hex');
}

/** TCP4 with these parts behind it, its length set. */
function tcp4Parts(parts: string): string {
  const length = 52 + parts.replace(/\s+/g, '').length / 2;
  return `${tcp4With(0, Buffer.from(Uint16Array.of(length).buffer).toString('hex'))} ${parts}`;
}

const reasonOf = (hex: string, available = 1024): string | undefined =>
  validateRecord(memoryOf(hex), 0, available);

const Z = (bytes: number): string => '00'.repeat(bytes);
const MASTER = '0300 1000 02 06 0000 0401 0015 0a000001 c0000209';

describe('validateRecord', () => {
  it('accepts records in normal form, and unknown parts below 0x80', () => {
    expect(reasonOf(TCP4)).toBeUndefined();
    expect(reasonOf(ICMP6)).toBeUndefined();
    expect(reasonOf(TCP4, 52)).toBeUndefined();
    expect(reasonOf(tcp4Parts('0200 0300 667470 00'))).toBeUndefined();
    expect(reasonOf(tcp4Parts(MASTER))).toBeUndefined();
    expect(reasonOf(tcp4Parts('0900 0000 7f00 0500 0102030405 000000'))).toBeUndefined();
    expect(reasonOf(tcp4Parts(`7f00 c801 ${Z(456)}`))).toBeUndefined(); // 512 bytes, the limit
  });

  const WRONG: [string, string, string][] = [
    ['a byte short of memory', 'truncated', TCP4],
    ['family 0', 'family', tcp4With(12, '00')],
    ['family 3', 'family', tcp4With(12, '03')],
    ['an odd length', 'length', tcp4With(0, '3600')],
    ['a length below the fixed part', 'length', tcp4With(0, '3000')],
    ['an IPv6 family on IPv4 length', 'length', tcp4With(12, '0a')],
    ['a length past the table limit', 'length', tcp4Parts(`7f00 cc01 ${Z(460)}`)],
    ['zone direction 3', 'zone direction', tcp4With(12, 'c2 06 0100')],
    ['a zone direction without zone', 'zone direction', tcp4With(12, '42 06 0000')],
    ['an unknown `has` bit', 'has bits', tcp4With(3, '07')],
    ['a status bit that is not durable', 'status', tcp4With(40, '08000000')],
    ['a high status bit', 'status', tcp4With(40, '16000080')],
    ['TCP state 10', 'protoinfo state', tcp4With(48, '0a')],
    ['window scale 15', 'window scale', tcp4With(49, '7f')],
    ['window scale 15 of the reply', 'window scale', tcp4With(49, 'f7')],
    ['a window scale without its bit', 'window scale', tcp4With(51, '1d')],
    ['window scales of ends that do not scale', 'window scale', tcp4With(50, '30')],
    ['a TCP flag that changes in silence', 'tcp flags', tcp4With(50, '37')],
    ['a TCP flag that changes in silence, reply', 'tcp flags', tcp4With(50, '73')],
    ['TCP flags without their bit', 'tcp flags', tcp4With(48, '03 00 03 11')],
    ['TCP flags without their bit, reply', 'tcp flags', tcp4With(48, '03 00 30 09')],
    ['protoinfo bits of DCCP', 'protoinfo bits', tcp4With(51, '3f')],
    ['protoinfo bits without a state', 'protoinfo bits', tcp4With(48, '00 77 33 1e')],
    ['a protoinfo for UDP', 'protoinfo bits', tcp4With(13, '11')],
    ['a state for UDP', 'protoinfo state', tcp4With(13, '11').replace(/0377331f$/, '03000000')],
    ['a DCCP server without role', 'protoinfo bits', tcp4With(13, '21').replace(/0377331f$/, '03000041')],
    ['a part that overruns', 'part overruns the record', tcp4Parts('0200 0500 66747000')],
    ['a part type 0', 'parts not ascending', tcp4Parts('0000 0000')],
    ['a part twice', 'parts not ascending', tcp4Parts('0900 0000 0900 0000')],
    ['parts in descending order', 'parts not ascending', tcp4Parts('0a00 0000 0900 0000')],
    ['a shown part', 'part is only shown', tcp4Parts('8500 0400 01000000')],
    ['labels of 8 bytes', 'part size', tcp4Parts('0100 0800 0100000000000000')],
    ['a seqadj of 16 bytes', 'part size', tcp4Parts(`0400 1000 01 ${Z(15)}`)],
    ['an IPv6 master of an IPv4 flow, by size', 'part size', tcp4Parts(`0300 2800 0a ${Z(39)}`)],
    ['a master of another family', 'master family', tcp4Parts(MASTER.replace('02 06', '0a 06'))],
    ['a master with a zone', 'master zone', tcp4Parts(MASTER.replace('06 0000', '06 0100'))],
    ['an empty helper name', 'helper name', tcp4Parts('0200 0000')],
    ['a helper name of 17 bytes', 'helper name', tcp4Parts(`0200 1100 ${'61'.repeat(17)} 000000`)],
    ['a NUL in a helper name', 'helper name', tcp4Parts('0200 0300 66007000')],
    ['an escape in a helper name', 'helper name', tcp4Parts('0200 0300 661b7000')],
    ['vtags on TCP', 'part of another protocol', tcp4Parts('0700 0800 0100000002000000')],
    ['a DCCP sequence on TCP', 'part of another protocol', tcp4Parts('0800 0800 0100000002000000')],
    ['labels that are all zero', 'part says nothing', tcp4Parts(`0100 1000 ${Z(16)}`)],
    ['a synproxy that is all zero', 'part says nothing', tcp4Parts(`0600 0c00 ${Z(12)}`)],
    ['padding that is not zero', 'padding', tcp4Parts('0200 0300 66747001')],
  ];
  it.each(WRONG)('refuses %s: %s', (_name, reason, hex) => {
    expect(reasonOf(hex, reason === 'truncated' ? 51 : 1024)).toBe(reason);
  });

  it('refuses what does not lie in memory', () => {
    const m = memoryOf(TCP4);
    expect(validateRecord(m, 2, 100)).toBe('truncated');
    expect(validateRecord(m, 1000, 52)).toBe('truncated');
    expect(validateRecord(m, -4, 52)).toBe('truncated');
    expect(validateRecord(m, 0, 0)).toBe('truncated');
    expect(validateRecord(memoryOf(ICMP6), 0, 96)).toBe('truncated');
  });
});
