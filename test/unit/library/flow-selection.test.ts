import { describe, expect, test } from 'vitest';
import {
  AF_INET,
  AF_INET6,
  IPS_ASSURED,
  IPS_OFFLOAD,
  IPS_SEEN_REPLY,
} from '../../../src/flow/conntrack-enums.js';
import { type FlowFilter, FlowSelection } from '../../../src/library/flow-selection.js';

const dumps = (filter: FlowFilter) => new FlowSelection(filter).dumps;
const address = (...bytes: number[]) => Uint8Array.from(bytes);

describe('what the kernel judges in a dump', () => {
  test.each<[FlowFilter, unknown[]]>([
    [{}, [undefined]],
    [{ sourcePort: undefined }, [undefined]],
    [{ family: 'ipv6' }, [{ family: AF_INET6 }]],
    [{ mark: '0x10/0xf0', zone: 7 }, [{ mark: { value: 0x10, mask: 0xf0 }, zone: 7 }]],
    [{ mark: 5 }, [{ mark: { value: 5, mask: 0xffffffff } }]],
    [
      { status: ['ASSURED', 'UNREPLIED', 'OFFLOAD'] },
      [
        {
          status: { value: IPS_ASSURED | IPS_OFFLOAD, mask: IPS_ASSURED | IPS_SEEN_REPLY | IPS_OFFLOAD },
        },
      ],
    ],
    [{ source: '10.1.2.3' }, [{ family: AF_INET, original: { source: address(10, 1, 2, 3) } }]],
    [{ replyDestination: '10.1.2.3' }, [{ family: AF_INET, reply: { destination: address(10, 1, 2, 3) } }]],
    // Blocks and IPv6 addresses are compared here; their family is known all the same.
    [{ source: '10.1.0.0/16' }, [{ family: AF_INET }]],
    [{ destination: 'fd00::1' }, [{ family: AF_INET6 }]],
    // A tuple without a family takes two dumps.
    [
      { protocol: 'tcp', destinationPort: 22 },
      [
        {
          family: AF_INET,
          original: { protocol: 6, destinationPort: 22 },
          reply: { protocol: 6 },
        },
        {
          family: AF_INET6,
          original: { protocol: 6, destinationPort: 22 },
          reply: { protocol: 6 },
        },
      ],
    ],
    // Without a protocol the kernel would not know which ports, and GRE's keys are none to it.
    [{ destinationPort: 22 }, [undefined]],
    [
      { family: 'ipv4', protocol: 'gre', sourcePort: 5 },
      [{ family: AF_INET, original: { protocol: 47 }, reply: { protocol: 47 } }],
    ],
    [
      { family: 'ipv4', state: 'ESTABLISHED' },
      [{ family: AF_INET, original: { protocol: 6 }, reply: { protocol: 6 } }],
    ],
  ])('of %j', (filter, wanted) => {
    expect(dumps(filter)).toEqual(wanted);
  });
});

test('a filter that asks for nothing means everything', () => {
  expect(new FlowSelection().isEverything).toBe(true);
  expect(new FlowSelection({ mark: undefined }).isEverything).toBe(true);
  expect(new FlowSelection({ mark: 0 }).isEverything).toBe(false);
});

test('events are dropped in the socket by protocol and one address', () => {
  expect(new FlowSelection({ mark: 5, zone: 1 }).events).toBeUndefined();
  const rules = new FlowSelection({ protocol: 'tcp', source: '10.0.0.0/8', destination: '10.2.0.1' }).events
    ?.rules;
  expect(rules).toMatchObject({ protocols: [6], addresses: ['10.0.0.0/8'], direction: 'original' });
  expect(new FlowSelection({ replySource: '10.2.0.1' }).events).toBeUndefined();
});

test.each<[object, RegExp]>([
  [{ dport: 22 }, /^filter: "dport" is none of family, protocol/],
  [{ family: 'inet' }, /^filter: family "inet" is not ipv4 or ipv6/],
  [{ protocol: 'tpc' }, /^protocol: "tpc" is not/],
  [{ source: '10.0.0' }, /^source: "10.0.0" is not an address/],
  [{ destinationPort: 65536 }, /^destination port: 65536/],
  [{ destinationPort: '22' }, /^destination port: 22 is not an integer/],
  [{ mark: '5/' }, /^mark: "5\/"/],
  [{ mark: -1 }, /^mark: "-1"/],
  [{ zone: 1.5 }, /^zone: 1.5/],
  [{ state: 'OPEN' }, /^state: "OPEN"/],
  [{ status: ['GONE'] }, /^status: "GONE"/],
])('%j is refused, and the error names what is wrong', (filter, message) => {
  expect(() => new FlowSelection(filter as FlowFilter)).toThrow(RangeError);
  expect(() => new FlowSelection(filter as FlowFilter)).toThrow(message);
});
