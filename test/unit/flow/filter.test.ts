import { describe, expect, it } from 'vitest';
import { IPS_OFFLOAD, IPS_SEEN_REPLY } from '../../../src/flow/conntrack-enums.js';
import { type FilterOptions, FlowFilter } from '../../../src/flow/filter.js';
import { allocateMemory, copyRecord, MAX_RECORD_BYTES, PART_STATUS_SHOWN } from '../../../src/flow/record.js';
import { ICMP6, memoryOf, TCP4 } from './bytes.js';

const matches = (options: FilterOptions, hex: string): boolean =>
  new FlowFilter(options).matches(memoryOf(`00000000 ${hex}`), 4);

describe('FlowFilter', () => {
  it('without options takes every flow', () => {
    expect(matches({}, TCP4)).toBe(true);
    expect(matches({}, ICMP6)).toBe(true);
  });

  // [what matches TCP4, the nearest that does not]
  const PAIRS: [FilterOptions, FilterOptions][] = [
    [{ family: 'ipv4' }, { family: 'ipv6' }],
    [{ protocol: 'tcp' }, { protocol: 'udp' }],
    [{ protocol: '6' }, { protocol: '7' }],
    [{ source: '10.0.0.1' }, { source: '10.0.0.2' }],
    [{ source: '10.255.0.0/8' }, { source: '11.0.0.0/8' }],
    [{ source: '0.0.0.0/0' }, { source: '::/0' }],
    [{ destination: '192.0.2.8/31' }, { destination: '192.0.2.8/32' }],
    [{ destination: '192.0.2.9' }, { destination: '10.0.0.1' }],
    [{ replySource: '192.0.2.9' }, { replySource: '192.0.2.10' }],
    [{ replyDestination: '198.51.100.0/24' }, { replyDestination: '10.0.0.1' }],
    [{ sourcePort: 1025 }, { sourcePort: 260 }],
    [{ destinationPort: 443 }, { destinationPort: 1025 }],
    [{ replySourcePort: 443 }, { replySourcePort: 444 }],
    [{ replyDestinationPort: 1025 }, { replyDestinationPort: 443 }],
    [{ mark: '5' }, { mark: '4' }],
    [{ mark: '0x4/0xc' }, { mark: '0x8/0xc' }],
    [{ mark: '0xfd/0x5' }, { mark: '0/1' }],
    [{ zone: 0 }, { zone: 7 }],
    [{ state: 'ESTABLISHED' }, { state: 'TIME_WAIT' }],
    [{ status: ['ASSURED', 'SRC_NAT'] }, { status: ['ASSURED', 'DST_NAT'] }],
    [{ status: [] }, { status: ['UNREPLIED'] }],
    [
      { protocol: 'tcp', zone: 0, mark: '5' },
      { protocol: 'tcp', zone: 1, mark: '5' },
    ],
  ];
  it.each(PAIRS)('%o takes a TCP flow that %o does not', (yes, no) => {
    expect(matches(yes, TCP4)).toBe(true);
    expect(matches(no, TCP4)).toBe(false);
  });

  it('compares whole IPv6 addresses and prefixes', () => {
    expect(matches({ source: '2001:db8::1' }, ICMP6)).toBe(true);
    expect(matches({ source: '2001:db8::2' }, ICMP6)).toBe(false);
    expect(matches({ destination: '2001:db8::/127' }, ICMP6)).toBe(false);
    expect(matches({ destination: '2001:db8::/126' }, ICMP6)).toBe(true);
    expect(matches({ source: '::/0' }, ICMP6)).toBe(true);
    expect(matches({ source: '0.0.0.0/0' }, ICMP6)).toBe(false);
  });

  it('compares high bits of addresses and marks as unsigned', () => {
    const hex = TCP4.replaceAll('0a000001', 'ff0000ff').replace('05000000 03', '050000f0 03');
    expect(matches({ source: '255.0.0.255' }, hex)).toBe(true);
    expect(matches({ mark: '0xf0000005' }, hex)).toBe(true);
    expect(matches({ mark: '0xf0000000/0xf0000000' }, hex)).toBe(true);
  });

  it('does not take an ICMP id for a port, nor a state for one of another protocol', () => {
    expect(matches({ sourcePort: 0x1234 }, ICMP6)).toBe(false);
    const sctp = TCP4.replace('02 06', '02 84').replace('03 77 33 1f', '03 00 00 01');
    expect(matches({ state: 'ESTABLISHED' }, sctp)).toBe(false);
    expect(matches({ protocol: 'sctp', state: 'COOKIE_ECHOED' }, sctp)).toBe(true);
    const stateless = TCP4.replace('03 77 33 1f', '00 00 00 00');
    expect(matches({ state: 'NONE' }, stateless)).toBe(false);
  });

  const WRONG: [FilterOptions, string][] = [
    [{ protocol: 'x' }, 'protocol: "x"'],
    [{ source: '1.2.3' }, 'source: "1.2.3" is not an address or address/prefix'],
    [{ replyDestination: '1.2.3.4/33' }, 'reply destination: "1.2.3.4/33"'],
    [{ sourcePort: 65536 }, 'source port: 65536'],
    [{ zone: -1 }, 'zone: -1'],
    [{ mark: '5/' }, 'mark: "5/" is not value or value/mask'],
    [{ mark: '0x100000000' }, 'mark: "0x100000000"'],
    [{ mark: '5000000000' }, 'mark: "5000000000"'],
    [{ state: 'OPEN' }, 'state: "OPEN" is not one of NONE, SYN_SENT'],
    [{ status: ['SEEN'] }, 'status: "SEEN" is not one of UNREPLIED, EXPECTED'],
  ];
  it.each(WRONG)('refuses %o and names the option', (options, message) => {
    expect(() => new FlowFilter(options)).toThrow(RangeError);
    expect(() => new FlowFilter(options)).toThrow(message);
  });

  it('asks for status bits that no record keeps where the kernel showed them', () => {
    const m = memoryOf(`00000000 ${TCP4}`);
    const shown = allocateMemory(MAX_RECORD_BYTES);
    const length = copyRecord(m, 4, shown, 0);
    const offloaded = new FlowFilter({ status: ['OFFLOAD'] });
    expect(offloaded.matches(shown, 0)).toBe(false);
    shown.u16.set([PART_STATUS_SHOWN, 4], length >>> 1);
    shown.u32[(length + 4) >>> 2] = IPS_OFFLOAD | IPS_SEEN_REPLY;
    shown.u16[0] = length + 8;
    expect(offloaded.matches(shown, 0)).toBe(true);
    expect(new FlowFilter({ status: ['OFFLOAD', 'UNREPLIED'] }).matches(shown, 0)).toBe(false);
  });
});
