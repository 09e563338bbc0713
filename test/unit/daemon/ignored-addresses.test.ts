import { describe, expect, it } from 'vitest';
import { ignoreAddresses } from '../../../src/daemon/ignored-addresses.js';
import { AF_INET, AF_INET6 } from '../../../src/flow/conntrack-enums.js';
import { allocateMemory, OFF_FAMILY, OFF_ORIG_SRC } from '../../../src/flow/record.js';

/** A record with this address as the `index`th of its four. */
function flow(address: readonly number[], index: number) {
  const m = allocateMemory(128);
  m.u8[OFF_FAMILY] = address.length === 4 ? AF_INET : AF_INET6;
  m.u8.set(address, OFF_ORIG_SRC + index * address.length);
  return m;
}

describe('flows with an ignored address', () => {
  const isIgnored = ignoreAddresses(['192.0.2.1', '2001:db8::1']);
  const v6 = [0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];

  it('are found by any of the four addresses, in both families', () => {
    for (let index = 0; index < 4; index++) {
      expect(isIgnored(flow([192, 0, 2, 1], index), 0)).toBe(true);
      expect(isIgnored(flow(v6, index), 0)).toBe(true);
    }
  });

  it('are no others: a neighbour, or the same bytes across two addresses', () => {
    expect(isIgnored(flow([192, 0, 2, 2], 0), 0)).toBe(false);
    expect(isIgnored(flow([...v6.slice(0, 15), 2], 3), 0)).toBe(false);
    const m = flow([0, 0, 0, 0], 0);
    m.u8.set([192, 0, 2, 1], OFF_ORIG_SRC + 2);
    expect(isIgnored(m, 0)).toBe(false);
  });

  it('cannot be asked for with what is no address', () => {
    expect(() => ignoreAddresses(['192.0.2'])).toThrow(RangeError);
  });
});
