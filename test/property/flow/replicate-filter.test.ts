/** The compiled filter against one that works on plain objects, and the kernel's program against both. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  IPPROTO_ICMP,
  IPPROTO_TCP,
  IPPROTO_UDP,
  TCP_STATE_NAMES,
} from '../../../src/flow/conntrack-enums.js';
import { type FlowRules, ReplicateFilter, type ReplicateRules } from '../../../src/flow/replicate-filter.js';
import { eventProgram } from '../../../src/kernel/event-program.js';
import {
  type FlowDescription,
  makeRecord,
  type TupleDescription,
  testAddressBytes,
} from '../../simulation/record-maker.js';
import { replicateRules } from '../../simulation/rules-maker.js';
import { runProgram } from '../kernel/bpf.js';
import { buildMessage } from '../kernel/event-builder.js';

/** Few values, so that rules and flows meet often. */
const v4 = fc.constantFrom('10.0.0.1', '10.0.0.2', '10.0.1.1', '192.0.2.1', '255.255.255.255');
const v6 = fc.constantFrom('fd00::1', 'fd00::2', 'fd00:1::1', '2001:db8::ffff:1');
const port = fc.constantFrom(22, 80, 443, 65_535);
const mark = fc.constantFrom(0, 1, 0x10, 0x8000_0000);
const NUMBERS = { tcp: IPPROTO_TCP, udp: IPPROTO_UDP, icmp: IPPROTO_ICMP };

const tupleOf = (address: fc.Arbitrary<string>): fc.Arbitrary<TupleDescription> =>
  fc.record({ source: address, destination: address, sourcePort: port, destinationPort: port });
const flowOf = (address: fc.Arbitrary<string>): fc.Arbitrary<FlowDescription> =>
  fc
    .record({
      original: tupleOf(address),
      reply: fc.option(tupleOf(address), { nil: undefined }),
      protocol: fc.constantFrom('tcp' as const, 'udp' as const, 'icmp' as const),
      zone: fc.constantFrom(0, 0, 5),
      mark,
      state: fc.nat({ max: 9 }),
      status: fc.nat({ max: 7 }),
    })
    .map(({ original, state, ...rest }) => ({
      ...original,
      ...rest,
      ...(rest.protocol === 'tcp' ? { state } : {}),
    }));
const flows = fc.oneof(flowOf(v4), flowOf(v6));

const few = <T>(arbitrary: fc.Arbitrary<T>) =>
  fc.oneof(
    { weight: 2, arbitrary: fc.constant<T[]>([]) },
    { weight: 1, arbitrary: fc.array(arbitrary, { maxLength: 3 }) },
  );
const block = fc.oneof(
  fc.tuple(v4, fc.constantFrom('', '/0', '/8', '/23', '/31')).map((pair) => pair.join('')),
  fc.tuple(v6, fc.constantFrom('', '/0', '/16', '/33', '/64', '/127')).map((pair) => pair.join('')),
);
const flowRules: fc.Arbitrary<FlowRules> = fc.record({
  protocols: few(fc.constantFrom(...Object.values(NUMBERS))),
  addresses: few(block),
  ports: few(
    fc.constantFrom({ first: 0, last: 79 }, { first: 80, last: 443 }, { first: 65_535, last: 65_535 }),
  ),
  zones: few(fc.constantFrom(0, 5)),
  marks: few(fc.record({ value: mark, mask: fc.constantFrom(0, 0x11, 0x8000_0000, 0xffff_ffff) })),
});
const rules: fc.Arbitrary<ReplicateRules> = fc
  .tuple(
    flowRules,
    fc.record({
      tcpStates: few(fc.constantFrom(...TCP_STATE_NAMES)),
      status: few(fc.constantFrom('SEEN_REPLY', 'ASSURED', 'UNREPLIED', 'EXPECTED')),
      direction: fc.constantFrom('original' as const, 'reply' as const, 'both' as const),
      ignore: flowRules,
    }),
  )
  .map(([accept, more]) => ({ ...accept, ...more }));

const bits = (address: string): string =>
  testAddressBytes(address)
    .map((byte) => byte.toString(2).padStart(8, '0'))
    .join('');
function isIn(address: string, list: readonly string[]): boolean {
  return list.some((text) => {
    const [base, prefix] = text.split('/');
    const all = bits(base);
    const n = prefix === undefined ? all.length : Number(prefix);
    return bits(address).length === all.length && bits(address).slice(0, n) === all.slice(0, n);
  });
}

/** As the rules are written down for people. */
function naiveIgnores(flow: FlowDescription, { ignore, ...accept }: ReplicateRules): boolean {
  const protocol = NUMBERS[flow.protocol ?? 'tcp'];
  const reply = flow.reply ?? {
    source: flow.destination,
    destination: flow.source,
    sourcePort: flow.destinationPort,
    destinationPort: flow.sourcePort,
  };
  const tuples =
    accept.direction === 'both' ? [flow, reply] : accept.direction === 'reply' ? [reply] : [flow];
  const hasPorts = protocol !== IPPROTO_ICMP;
  const addresses = (t: TupleDescription, list: readonly string[]) =>
    isIn(t.source, list) || isIn(t.destination, list);
  const ports = (t: TupleDescription, list: FlowRules['ports']) =>
    hasPorts &&
    [t.sourcePort!, t.destinationPort!].some((p) => list.some((r) => p >= r.first && p <= r.last));
  if (ignore.protocols.includes(protocol) || ignore.zones.includes(flow.zone ?? 0)) return true;
  if (tuples.some((t) => addresses(t, ignore.addresses) || ports(t, ignore.ports))) return true;
  if (accept.protocols.length > 0 && !accept.protocols.includes(protocol)) return true;
  if (accept.zones.length > 0 && !accept.zones.includes(flow.zone ?? 0)) return true;
  const fits = (t: TupleDescription) =>
    (accept.addresses.length === 0 || addresses(t, accept.addresses)) &&
    (accept.ports.length === 0 || !hasPorts || ports(t, accept.ports));
  return !tuples.some(fits);
}

function naivePasses(flow: FlowDescription, { ignore, marks, tcpStates, status }: ReplicateRules): boolean {
  const has = (list: FlowRules['marks']) =>
    list.some((r) => (BigInt(flow.mark!) & BigInt(r.mask)) === (BigInt(r.value) & BigInt(r.mask)));
  const BITS: Record<string, number> = { EXPECTED: 1, SEEN_REPLY: 2, ASSURED: 4 };
  if (has(ignore.marks) || (marks.length > 0 && !has(marks))) return false;
  const isSet = (name: string) =>
    name === 'UNREPLIED' ? (flow.status! & 2) === 0 : (flow.status! & BITS[name]) !== 0;
  if (!status.every(isSet)) return false;
  return (
    flow.protocol !== 'tcp' || tcpStates.length === 0 || tcpStates.includes(TCP_STATE_NAMES[flow.state!])
  );
}

/** The flow's event as the kernel builds it. */
function eventOf(flow: FlowDescription): Uint8Array {
  const isV6 = flow.source.includes(':');
  const tuple = (t: TupleDescription) => ({
    CTA_TUPLE_IP: isV6
      ? {
          CTA_IP_V6_SRC: Uint8Array.from(testAddressBytes(t.source)),
          CTA_IP_V6_DST: Uint8Array.from(testAddressBytes(t.destination)),
        }
      : {
          CTA_IP_V4_SRC: Uint8Array.from(testAddressBytes(t.source)),
          CTA_IP_V4_DST: Uint8Array.from(testAddressBytes(t.destination)),
        },
    CTA_TUPLE_PROTO: {
      CTA_PROTO_NUM: NUMBERS[flow.protocol ?? 'tcp'],
      CTA_PROTO_SRC_PORT: t.sourcePort,
      CTA_PROTO_DST_PORT: t.destinationPort,
    },
  });
  return buildMessage(0, 0x600, isV6 ? 10 : 2, { CTA_TUPLE_ORIG: tuple(flow) });
}

const emptyRules = replicateRules({});

describe('the compiled filter', () => {
  it('is the same as the rules read word by word', () => {
    fc.assert(
      fc.property(flows, rules, (flow, wish) => {
        const filter = new ReplicateFilter(wish);
        const { m } = makeRecord(flow);
        expect(filter.ignores(m, 0)).toBe(naiveIgnores(flow, wish));
        expect(filter.passes(m, 0)).toBe(naivePasses(flow, wish));
      }),
      { numRuns: 5000 },
    );
  });
});

describe("the kernel's program", () => {
  it('drops nothing that is replicated, and all that protocol and original addresses can tell', () => {
    fc.assert(
      fc.property(flows, rules, (flow, wish) => {
        const program = eventProgram(1, { rules: wish, own: [] })!;
        const isKept = runProgram(program, eventOf(flow)) !== 0;
        if (!isKept) expect(naiveIgnores(flow, wish)).toBe(true);
        const fixed = {
          ...wish,
          ports: [],
          zones: [],
          addresses: wish.direction === 'original' ? wish.addresses : [],
          direction: 'original' as const,
          ignore: {
            ...wish.ignore,
            ports: [],
            zones: [],
            addresses: wish.direction === 'reply' ? [] : wish.ignore.addresses,
          },
        };
        expect(isKept).toBe(!naiveIgnores(flow, fixed));
      }),
      { numRuns: 5000 },
    );
  });

  it('drops the events of one port id, and keeps other subsystems whatever they carry', () => {
    const wish = { rules: replicateRules({ protocols: [17] }), own: [] };
    const event = eventOf({ source: '10.0.0.1', destination: '10.0.0.2', sourcePort: 1, destinationPort: 2 });
    expect(runProgram(eventProgram(4242)!, event)).toBe(0);
    expect(runProgram(eventProgram(4243)!, event)).not.toBe(0);
    expect(runProgram(eventProgram(1, wish)!, event)).toBe(0);
    event[5] = 2; // NFNL_SUBSYS_CTNETLINK_EXP
    expect(runProgram(eventProgram(1, wish)!, event)).not.toBe(0);
  });

  it('is not made when it would be longer than the kernel takes, up to there it is', () => {
    const many = (n: number) => ({
      ...emptyRules,
      ignore: {
        ...emptyRules.ignore,
        addresses: Array.from({ length: n }, (_, i) => `10.${i >> 8}.${i & 255}.1`),
      },
    });
    // Three instructions for each of two places, and eleven around them.
    expect(eventProgram(1, { rules: many(680), own: [] })!.length).toBeLessThanOrEqual(4096);
    expect(eventProgram(1, { rules: many(682), own: [] })).toBeUndefined();
  });
});
