import { describe, expect, it } from 'vitest';
import { normalise } from '../../../src/flow/normalise.js';
import { hexOf, ICMP6, memoryOf, packed, TCP4 } from './bytes.js';

/** TCP4 with another last line (status, mark, protoinfo), a length, and parts. */
const tcp4 = (length: string, tail: string, parts = ''): string =>
  `${TCP4.replace('3400', length).replace('16000000 05000000 03 77 33 1f', tail)} ${parts}`;

function normalised(hex: string): string {
  const m = memoryOf(hex);
  const length = normalise(m, 0);
  expect(length).toBe(m.u16[0]);
  return hexOf(m);
}

describe('normalise', () => {
  it('leaves a record in normal form alone', () => {
    expect(normalised(TCP4)).toBe(packed(TCP4));
    expect(normalised(ICMP6)).toBe(packed(ICMP6));
  });

  it('masks status and TCP flags', () => {
    // 0x18e is what a kernel shows for a NATed TCP flow, 0x37 the flags with unacknowledged data and max ack.
    expect(normalised(tcp4('3400', 'ffff0100 05000000 03 77 ff 1f'))).toBe(
      packed(tcp4('3400', '37040000 05000000 03 77 33 1f')),
    );
  });

  it('forgets window scales unless both ends scale: an injected half-open flow shows none', () => {
    expect(normalised(tcp4('3400', '00000000 05000000 01 07 03 1f'))).toBe(
      packed(tcp4('3400', '00000000 05000000 01 00 03 1f')),
    );
  });

  it('clears protoinfo values without their bit, and bits without a state', () => {
    expect(normalised(tcp4('3400', '00000000 05000000 03 77 33 01'))).toBe(
      packed(tcp4('3400', '00000000 05000000 03 00 00 01')),
    );
    expect(normalised(tcp4('3400', '00000000 05000000 03 77 33 1e'))).toBe(
      packed(tcp4('3400', '00000000 05000000 00 00 00 00')),
    );
    // DCCP's role means nothing for TCP.
    expect(normalised(tcp4('3400', '00000000 05000000 03 77 33 7f'))).toBe(
      packed(tcp4('3400', '00000000 05000000 03 77 33 1f')),
    );
  });

  it('clears protoinfo of a protocol that has none', () => {
    const udp = (hex: string) => hex.replace('02 06 0000', '02 11 0000');
    expect(normalised(udp(tcp4('3400', '00000000 05000000 03 77 33 1f')))).toBe(
      packed(udp(tcp4('3400', '00000000 05000000 00 00 00 00'))),
    );
  });

  it('clears timeout and id without their bit, and a zone direction without a zone', () => {
    const hex = TCP4.replace('3400 00 03', '3400 05 00').replace('02 06 0000', '82 06 0000');
    expect(normalised(hex)).toBe(
      packed(TCP4.replace('3400 00 03 58020000 44332211', '3400 05 00 00000000 00000000')),
    );
  });

  it('drops all-zero labels, seqadj, synproxy and vtags, keeps an all-zero unknown part', () => {
    const zero12 = '00'.repeat(12);
    const parts = `0100 1000 ${'00'.repeat(16)} 0400 0c00 ${zero12} 0500 0c00 ${zero12}
      0600 0c00 ${zero12} 0700 0800 ${'00'.repeat(8)} 0900 0400 00000000`;
    const tail = '16000000 05000000 03 77 33 1f';
    expect(normalised(tcp4('8c00', tail, parts))).toBe(packed(tcp4('3c00', tail, '0900 0400 00000000')));
  });

  it('moves the kept parts together and zeroes their padding', () => {
    const tail = '16000000 05000000 03 77 33 1f';
    const kept = `0200 0300 667470 00 0500 0c00 010000000200000003000000 7f00 0100 ab000000`;
    const parts = `0200 0300 667470 ff 0400 0c00 ${'00'.repeat(12)} 0500 0c00 010000000200000003000000
      7f00 0100 abcdcdcd`;
    expect(normalised(tcp4('6400', tail, parts))).toBe(packed(tcp4('5400', tail, kept)));
  });

  it('drops parts that are only shown', () => {
    const tail = '16000000 05000000 03 77 33 1f';
    const parts = '0200 0300 66747000 8500 0400 01000000 8700 0400 8e010000';
    expect(normalised(tcp4('4c00', tail, parts))).toBe(packed(tcp4('3c00', tail, '0200 0300 66747000')));
  });

  it('stops at a part that overruns the record', () => {
    const tail = '16000000 05000000 03 77 33 1f';
    expect(normalised(tcp4('3c00', tail, '0200 ff00 66747000'))).toBe(packed(tcp4('3400', tail)));
  });
});
