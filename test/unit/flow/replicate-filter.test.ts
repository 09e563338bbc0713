import { describe, expect, it } from 'vitest';
import { IPS_ASSURED, IPS_SEEN_REPLY } from '../../../src/flow/conntrack-enums.js';
import { ReplicateFilter } from '../../../src/flow/replicate-filter.js';
import { type FlowDescription, makeRecord } from '../../simulation/record-maker.js';
import { flowRules, type RulesWish, replicateRules } from '../../simulation/rules-maker.js';

const web: FlowDescription = {
  source: '10.1.0.9',
  destination: '192.0.2.80',
  sourcePort: 40_000,
  destinationPort: 443,
  reply: { source: '192.0.2.80', destination: '198.51.100.1', sourcePort: 443, destinationPort: 2000 },
  status: IPS_SEEN_REPLY | IPS_ASSURED,
  state: 3,
  mark: 0x12,
};
const web6: FlowDescription = {
  source: 'fd00::9',
  destination: '2001:db8::80',
  destinationPort: 443,
  state: 1,
};
const ping: FlowDescription = { source: '10.1.0.9', destination: '192.0.2.80', protocol: 'icmp' };

function ignores(flow: FlowDescription, wish: RulesWish, own: readonly string[] = []): boolean {
  return new ReplicateFilter(replicateRules(wish), own).ignores(makeRecord(flow).m, 0);
}
function passes(flow: FlowDescription, wish: RulesWish): boolean {
  return new ReplicateFilter(replicateRules(wish)).passes(makeRecord(flow).m, 0);
}

describe('what never enters the table', () => {
  it.each([
    ['nothing said', false, web, {}],
    ['another protocol', true, web, { protocols: [17] }],
    ['its protocol', false, web, { protocols: [17, 6] }],
    ['its protocol left out', true, web, { ignore: { protocols: [6] } }],
    ['its source', false, web, { addresses: ['10.1.0.0/16'] }],
    ['its destination', false, web, { addresses: ['192.0.2.80'] }],
    ['a neighbour', true, web, { addresses: ['10.2.0.0/16', '192.0.2.81'] }],
    ['only the other family', true, web, { addresses: ['2001:db8::/32'] }],
    ['an address left out', true, web, { ignore: { addresses: ['192.0.2.0/24'] } }],
    ['an address of the reply left out', true, web, { ignore: { addresses: ['198.51.100.1'] } }],
    [
      'that in the original only',
      false,
      web,
      { direction: 'original', ignore: { addresses: ['198.51.100.1'] } },
    ],
    ['that in the reply only', true, web, { direction: 'reply', ignore: { addresses: ['198.51.100.1'] } }],
    ['the inside source, reply only', true, web, { direction: 'reply', addresses: ['10.1.0.9'] }],
    [
      'address and port in one tuple',
      false,
      web,
      { addresses: ['10.1.0.9'], ports: [{ first: 443, last: 443 }] },
    ],
    [
      'address and port in two tuples',
      true,
      web,
      { addresses: ['10.1.0.9'], ports: [{ first: 2000, last: 2000 }] },
    ],
    ['a range of ports', false, web, { ports: [{ first: 400, last: 500 }] }],
    ['other ports', true, web, { ports: [{ first: 80, last: 442 }] }],
    ['ports, and a flow without', false, ping, { ports: [{ first: 80, last: 80 }] }],
    ['a port left out', true, web, { ignore: { ports: [{ first: 443, last: 443 }] } }],
    [
      'an id that looks like the port left out',
      false,
      { ...ping, sourcePort: 443 },
      { ignore: { ports: [{ first: 443, last: 443 }] } },
    ],
    ['another zone', true, web, { zones: [3] }],
    ['its zone', false, { ...web, zone: 3 }, { zones: [3] }],
    ['its zone left out', true, { ...web, zone: 3 }, { ignore: { zones: [3] } }],
    ['IPv6 by prefix', false, web6, { addresses: ['2001:db8::/33'] }],
    ['IPv6 outside of it', true, web6, { addresses: ['2001:db8:8000::/33'] }],
    ['IPv6 left out', true, web6, { ignore: { addresses: ['fd00::/8'] } }],
    ['every address', false, web, { addresses: ['0.0.0.0/0'] }],
  ] as [string, boolean, FlowDescription, RulesWish][])('%s: %s', (_name, expected, flow, wish) => {
    expect(ignores(flow, wish)).toBe(expected);
  });

  it('are flows of the own links, whatever the direction', () => {
    expect(ignores(web, { direction: 'original' }, ['198.51.100.1'])).toBe(true);
    expect(ignores(web, { direction: 'original' }, ['198.51.100.2'])).toBe(false);
  });
});

describe('what the stream speaks of', () => {
  it.each([
    ['nothing said', true, web, {}],
    ['its state', true, web, { tcpStates: ['SYN_SENT', 'ESTABLISHED'] }],
    ['another state', false, web, { tcpStates: ['SYN_SENT'] }],
    ['no state known', false, { ...web, state: undefined }, { tcpStates: ['ESTABLISHED'] }],
    ['a state, and no TCP', true, ping, { tcpStates: ['ESTABLISHED'] }],
    ['LISTEN, which is SYN_SENT2', true, { ...web, state: 9 }, { tcpStates: ['LISTEN'] }],
    ['its status', true, web, { status: ['ASSURED', 'SEEN_REPLY'] }],
    [
      'not all of its status',
      false,
      { ...web, status: IPS_SEEN_REPLY },
      { status: ['ASSURED', 'SEEN_REPLY'] },
    ],
    ['answered', false, web, { status: ['UNREPLIED'] }],
    ['its mark under a mask', true, web, { marks: [{ value: 0x10, mask: 0xf0 }] }],
    [
      'another mark',
      false,
      web,
      {
        marks: [
          { value: 0x12, mask: 0xff },
          { value: 1, mask: 1 },
        ].slice(1),
      },
    ],
    ['a mark left out', false, web, { ignore: { marks: [{ value: 2, mask: 2 }] } }],
    [
      'a mark with the top bit',
      true,
      { ...web, mark: 0x8000_0001 },
      { marks: [{ value: 0x8000_0000, mask: 0x8000_0000 }] },
    ],
  ] as [string, boolean, FlowDescription, RulesWish][])('%s: %s', (_name, expected, flow, wish) => {
    expect(passes(flow, wish)).toBe(expected);
  });

  it('need not be asked about when no rule speaks of what changes', () => {
    const hasMutable = (wish: RulesWish) => new ReplicateFilter(replicateRules(wish)).hasMutable;
    expect(hasMutable({ protocols: [6], ignore: { addresses: ['10.0.0.1'] } })).toBe(false);
    expect(hasMutable({ tcpStates: ['ESTABLISHED'] })).toBe(true);
    expect(hasMutable({ status: ['UNREPLIED'] })).toBe(true);
    expect(hasMutable({ ignore: { marks: [{ value: 0, mask: 0 }] } })).toBe(true);
  });
});

it('refuses what is no rule', () => {
  for (const wish of [
    { addresses: ['192.0.2'] },
    { tcpStates: ['OPEN'] },
    { status: ['CONFIRMED'] },
    { ports: [{ first: 5, last: 4 }] },
    { protocols: [256] },
  ]) {
    expect(() => new ReplicateFilter({ ...replicateRules({}), ...flowRules({}), ...wish })).toThrow(
      RangeError,
    );
  }
});
