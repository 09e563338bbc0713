import { describe, expect, it } from 'vitest';
import type { Flow, Tuple } from '../../../src/flow/flow.js';
import { flowFromRecord } from '../../../src/flow/flow.js';
import { formatConntrack, formatJson, type TextOptions } from '../../../src/flow/text.js';
import { memoryOf, TCP4 } from './bytes.js';

const ports = (sourcePort: number, destinationPort: number): Partial<Tuple> => ({
  sourcePort,
  destinationPort,
});
const echo = (icmpType: number): Partial<Tuple> => ({ icmpType, icmpCode: 0, icmpId: 77 });

function flow(protocol: string, there: Partial<Tuple>, back: Partial<Tuple>, rest: Partial<Flow>): Flow {
  return {
    family: 'ipv4',
    protocol,
    original: { source: '1.1.1.1', destination: '2.2.2.2', ...there },
    reply: { source: '2.2.2.2', destination: '1.1.1.1', ...back },
    status: ['CONFIRMED'],
    timeout: 999,
    use: 1,
    ...rest,
  };
}

const UDP = [ports(10, 20), ports(20, 10)] as const;

// Lines of `conntrack -L` (conntrack-tools 1.4.7, Linux 6.18.44) after `conntrack -I -p tcp -s 1.1.1.1 -d 2.2.2.2
// --sport 10 --dport 20 --state ESTABLISHED -t 1000 -u ASSURED,SEEN_REPLY -m 5` and the like for the others.
const LINES: [string, Flow, TextOptions?][] = [
  [
    'tcp      6 999 ESTABLISHED src=1.1.1.1 dst=2.2.2.2 sport=10 dport=20 src=2.2.2.2 dst=1.1.1.1 sport=20 dport=10 [ASSURED] mark=5 use=1',
    flow('tcp', ...UDP, {
      status: ['SEEN_REPLY', 'ASSURED'],
      mark: 5,
      protoinfo: { kind: 'tcp', state: 'ESTABLISHED' },
    }),
  ],
  [
    'tcp      6 999 SYN_SENT2 src=1.1.1.1 dst=2.2.2.2 sport=11 dport=20 [UNREPLIED] src=2.2.2.2 dst=1.1.1.1 sport=20 dport=11 mark=0 use=1',
    flow('tcp', ports(11, 20), ports(20, 11), { protoinfo: { kind: 'tcp', state: 'SYN_SENT2' } }),
  ],
  [
    'udp      17 999 src=1.1.1.1 dst=2.2.2.2 sport=10 dport=20 [UNREPLIED] src=2.2.2.2 dst=1.1.1.1 sport=20 dport=10 mark=0 zone=7 use=1',
    flow('udp', ...UDP, { zone: 7 }),
  ],
  [
    'udp      17 999 src=1.1.1.1 dst=2.2.2.2 sport=10 dport=20 zone-orig=8 [UNREPLIED] src=2.2.2.2 dst=1.1.1.1 sport=20 dport=10 mark=0 use=1',
    flow('udp', ...UDP, { zone: 8, zoneDirection: 'original' }),
  ],
  [
    'udp      17 999 src=1.1.1.1 dst=2.2.2.2 sport=10 dport=20 [UNREPLIED] src=2.2.2.2 dst=1.1.1.1 sport=20 dport=10 zone-reply=9 mark=0 use=1',
    flow('udp', ...UDP, { zone: 9, zoneDirection: 'reply' }),
  ],
  [
    'icmp     1 999 src=1.1.1.1 dst=2.2.2.2 type=8 code=0 id=77 src=2.2.2.2 dst=1.1.1.1 type=0 code=0 id=77 mark=0 use=1',
    flow('icmp', echo(8), echo(0), { status: ['SEEN_REPLY'] }),
  ],
  [
    'ipv6     10 icmpv6   58 999 src=2001::1 dst=2001::2 type=128 code=0 id=77 [UNREPLIED] src=2001::2 dst=2001::1 type=129 code=0 id=77 mark=0 use=1 id=3430830779',
    {
      ...flow('icmpv6', {}, {}, { family: 'ipv6', id: 3430830779 }),
      original: { source: '2001::1', destination: '2001::2', ...echo(128) },
      reply: { source: '2001::2', destination: '2001::1', ...echo(129) },
    },
    { isExtended: true, hasId: true },
  ],
  [
    'gre      47 999 src=1.1.1.1 dst=2.2.2.2 srckey=0x10 dstkey=0x20 [UNREPLIED] src=2.2.2.2 dst=1.1.1.1 srckey=0x20 dstkey=0x10 mark=0 use=1',
    flow('gre', ports(16, 32), ports(32, 16), {}),
  ],
  [
    'sctp     132 999 ESTABLISHED src=1.1.1.1 dst=2.2.2.2 sport=10 dport=20 [UNREPLIED] src=2.2.2.2 dst=1.1.1.1 sport=20 dport=10 mark=0 use=1',
    flow('sctp', ...UDP, {
      protoinfo: { kind: 'sctp', state: 'ESTABLISHED', vtagOriginal: 1, vtagReply: 2 },
    }),
  ],
  [
    'dccp     33 999 src=1.1.1.1 dst=2.2.2.2 sport=0 dport=0 [UNREPLIED] src=2.2.2.2 dst=1.1.1.1 sport=0 dport=0 mark=0 use=1',
    flow('dccp', ports(0, 0), ports(0, 0), {}),
  ],
  [
    'udplite  136 999 src=1.1.1.1 dst=2.2.2.2 sport=10 dport=20 [UNREPLIED] src=2.2.2.2 dst=1.1.1.1 sport=20 dport=10 mark=0 use=1',
    flow('udplite', ...UDP, {}),
  ],
  [
    'ipv4     2 unknown  99 999 src=1.1.1.1 dst=2.2.2.2 [UNREPLIED] src=2.2.2.2 dst=1.1.1.1 mark=0 use=1 id=3639886441',
    flow('99', {}, {}, { id: 3639886441 }),
    { isExtended: true, hasId: true },
  ],
];

describe('formatConntrack', () => {
  it.each(LINES)('prints as the real tool: %s', (line, input, options) => {
    expect(formatConntrack(input, options)).toBe(line);
  });

  // nfct_snprintf of libnetfilter_conntrack 3.8.0 gives these with such attributes set.
  it('prints counters, zone, secctx, age, helper and offload where the library does', () => {
    const full = flow('udp', ...UDP, {
      status: ['OFFLOAD', 'ASSURED'],
      zone: 7,
      secctx: 'system_u:x',
      helper: 'ftp',
      counters: { original: { packets: 1n, bytes: 2n ** 63n }, reply: { packets: 3n, bytes: 4n } },
      timestamp: { start: 1_700_000_000_500_000_000n },
    });
    expect(formatConntrack(full, { now: 1_700_000_012_400_000_000n })).toBe(
      'udp      17 999 src=1.1.1.1 dst=2.2.2.2 sport=10 dport=20 packets=1 bytes=9223372036854775808 [UNREPLIED] src=2.2.2.2 dst=1.1.1.1 sport=20 dport=10 packets=3 bytes=4 [OFFLOAD] mark=0 secctx=system_u:x zone=7 delta-time=11 helper=ftp use=1',
    );
    const stopped = { ...full, timestamp: { start: 5_000_000_000n, stop: 8_000_000_000n } };
    expect(formatConntrack({ ...stopped, status: ['HW_OFFLOAD', 'OFFLOAD'] })).toContain(
      ' [HW_OFFLOAD] mark=0 secctx=system_u:x zone=7 delta-time=3 helper=ftp use=1',
    );
  });

  it("puts a zone of one direction before that direction's counters", () => {
    const counters = { original: { packets: 1n, bytes: 2n }, reply: { packets: 3n, bytes: 4n } };
    const original = flow('udp', ...UDP, { zone: 7, zoneDirection: 'original', counters });
    expect(formatConntrack(original)).toContain(' dport=20 zone-orig=7 packets=1 bytes=2 [UNREPLIED] ');
    const reply = flow('udp', ...UDP, { zone: 7, zoneDirection: 'reply', counters });
    expect(formatConntrack(reply)).toContain(' dport=10 zone-reply=7 packets=3 bytes=4 mark=0 ');
  });

  it('leaves out a timeout and a use that nobody knows', () => {
    const { timeout: _timeout, use: _use, ...bare } = flow('udp', ...UDP, { status: ['SEEN_REPLY'] });
    expect(formatConntrack(bare)).toBe(
      'udp      17 src=1.1.1.1 dst=2.2.2.2 sport=10 dport=20 src=2.2.2.2 dst=1.1.1.1 sport=20 dport=10 mark=0',
    );
  });

  it('prints from the shown status of a record where there is one', () => {
    // The masked status says SEEN_REPLY and ASSURED, the shown one neither.
    const m = memoryOf(`${TCP4.replace('3400', '3c00')} 8700 0400 08000000`);
    expect(formatConntrack(flowFromRecord(m, 0))).toContain('dport=443 [UNREPLIED] src=');
    expect(formatConntrack(flowFromRecord(m, 0))).not.toContain('ASSURED');
  });
});

describe('formatJson', () => {
  it('gives one line that says everything, 64-bit numbers as text where JSON would lose digits', () => {
    const counters = { original: { packets: 1n, bytes: 2n ** 63n } };
    const text = formatJson(flow('udp', ...UDP, { counters, timestamp: { start: 5n } }));
    expect(text).not.toContain('\n');
    expect(JSON.parse(text)).toMatchObject({
      protocol: 'udp',
      original: { source: '1.1.1.1', sourcePort: 10 },
      counters: { original: { packets: 1, bytes: '9223372036854775808' } },
      timestamp: { start: 5 },
    });
  });
});
