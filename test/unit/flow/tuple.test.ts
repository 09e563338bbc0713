import { describe, expect, it } from 'vitest';
import {
  inverseL4,
  replyIsInverse,
  usesIcmp,
  usesPorts,
  writeInverseReply,
} from '../../../src/flow/tuple.js';
import { hexOf, ICMP6, memoryOf, packed, TCP4 } from './bytes.js';

/** The L4 word of four bytes as it stands in u32. */
const word = (hex: string): number => memoryOf(hex).u32[0];

describe('inverseL4', () => {
  it('swaps ports byte for byte', () => {
    expect(inverseL4(6, word('0401 f1bb'))).toBe(word('f1bb 0401'));
    expect(inverseL4(47, word('0010 0020'))).toBe(word('0020 0010'));
  });

  it.each([
    [1, 8, 0],
    [1, 13, 14],
    [1, 15, 16],
    [1, 17, 18],
    [58, 128, 129],
    [58, 139, 140],
  ])('answers ICMP (protocol %i) type %i by type %i and back, keeping code and id', (protocol, a, b) => {
    const hex = (type: number) => `1234 ${type.toString(16).padStart(2, '0')} f5`;
    expect(inverseL4(protocol, word(hex(a)))).toBe(word(hex(b)));
    expect(inverseL4(protocol, word(hex(b)))).toBe(word(hex(a)));
  });

  it('leaves an ICMP type without an answer and an empty word as they are', () => {
    expect(inverseL4(1, word('1234 03 01'))).toBe(word('1234 03 01'));
    expect(inverseL4(58, word('1234 08 00'))).toBe(word('1234 08 00'));
    expect(inverseL4(99, 0)).toBe(0);
  });
});

describe('usesPorts', () => {
  it('holds for TCP, UDP, DCCP, GRE, SCTP and UDP-Lite only', () => {
    const withPorts = Array.from({ length: 256 }, (_, protocol) => protocol).filter(usesPorts);
    expect(withPorts).toEqual([6, 17, 33, 47, 132, 136]);
    expect([1, 58].every(usesIcmp)).toBe(true);
  });
});

describe('reply tuple', () => {
  it('of a translated flow is not the inverse, until it is written so', () => {
    const m = memoryOf(TCP4);
    expect(replyIsInverse(m, 0)).toBe(false);
    writeInverseReply(m, 0);
    expect(replyIsInverse(m, 0)).toBe(true);
    expect(hexOf(m)).toBe(packed(TCP4.replace('c0000209 c6336407', 'c0000209 0a000001')));
  });

  it('of IPv6 is judged and written over all 16 bytes', () => {
    const m = memoryOf(ICMP6);
    expect(replyIsInverse(m, 0)).toBe(true);
    for (const offset of [52, 67, 68, 83, 84, 86]) {
      m.u8[offset] ^= 1;
      expect(replyIsInverse(m, 0)).toBe(false);
      writeInverseReply(m, 0);
      expect(hexOf(m)).toBe(packed(ICMP6));
    }
  });

  it('works on a record that does not stand at the start', () => {
    const m = memoryOf(`ffffffff ${TCP4}`);
    writeInverseReply(m, 4);
    expect(hexOf(m, 4)).toBe(packed(TCP4.replace('c0000209 c6336407', 'c0000209 0a000001')));
    expect(m.u32[0]).toBe(0xffffffff);
  });
});
