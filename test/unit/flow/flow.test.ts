import { describe, expect, it } from 'vitest';
import { type Flow, flowFromRecord, recordFromFlow } from '../../../src/flow/flow.js';
import { allocateMemory } from '../../../src/flow/record.js';
import { hexOf, ICMP6, memoryOf, packed, TCP4 } from './bytes.js';

const TCP4_FLOW: Flow = {
  family: 'ipv4',
  protocol: 'tcp',
  original: { source: '10.0.0.1', destination: '192.0.2.9', sourcePort: 1025, destinationPort: 443 },
  reply: { source: '192.0.2.9', destination: '198.51.100.7', sourcePort: 443, destinationPort: 1025 },
  status: ['SEEN_REPLY', 'ASSURED', 'SRC_NAT'],
  timeout: 600,
  id: 0x11223344,
  mark: 5,
  protoinfo: {
    kind: 'tcp',
    state: 'ESTABLISHED',
    wscaleOriginal: 7,
    wscaleReply: 7,
    flagsOriginal: 3,
    flagsReply: 3,
  },
};

const ICMP6_FLOW: Flow = {
  family: 'ipv6',
  protocol: 'icmpv6',
  zone: 7,
  zoneDirection: 'original',
  original: { source: '2001:db8::1', destination: '2001:db8::2', icmpType: 128, icmpCode: 0, icmpId: 0x1234 },
  reply: { source: '2001:db8::2', destination: '2001:db8::1', icmpType: 129, icmpCode: 0, icmpId: 0x1234 },
  status: ['SEEN_REPLY'],
};

const made = (flow: Flow): string => {
  const m = allocateMemory(1024);
  m.u8.fill(0xee); // What stood there before must not shine through.
  recordFromFlow(flow, m, 0);
  return hexOf(m);
};

/** Every optional part, one after the other. */
const PARTS = `
  0100 1000 02000000000000000000000000000080
  0200 0300 667470 00
  0300 1000 02 06 0000 03e8 0015 0a000001 c0000209
  0400 0c00 010000000200000003000000
  0500 0c00 040000000500000006000000
  0600 0c00 070000000800000009000000
  7f00 0300 abcdef 00`;
const PARTS_FLOW: Partial<Flow> = {
  labels: [1, 127],
  helper: 'ftp',
  master: {
    protocol: 'tcp',
    source: '10.0.0.1',
    destination: '192.0.2.9',
    sourcePort: 1000,
    destinationPort: 21,
  },
  seqadj: { original: { position: 1, before: 2, after: 3 }, reply: { position: 4, before: 5, after: 6 } },
  synproxy: { isn: 7, its: 8, tsoff: 9 },
  unknownParts: [{ type: 0x7f, bytes: 'abcdef' }],
};

describe('Flow and record, byte for byte', () => {
  it('a TCP flow behind SNAT', () => {
    expect(flowFromRecord(memoryOf(TCP4), 0)).toEqual(TCP4_FLOW);
    expect(made(TCP4_FLOW)).toBe(packed(TCP4));
  });

  it('an ICMPv6 flow in a zone of one direction', () => {
    expect(flowFromRecord(memoryOf(ICMP6), 0)).toEqual(ICMP6_FLOW);
    expect(made(ICMP6_FLOW)).toBe(packed(ICMP6));
  });

  it('a flow with every optional part', () => {
    const hex = `${TCP4.replace('3400', '9c00')} ${PARTS}`;
    expect(flowFromRecord(memoryOf(hex), 0)).toEqual({ ...TCP4_FLOW, ...PARTS_FLOW });
    expect(made({ ...TCP4_FLOW, ...PARTS_FLOW })).toBe(packed(hex));
  });

  it('SCTP vtags and the DCCP handshake', () => {
    const sctp = `${TCP4.replace('3400', '4000')
      .replace('02 06', '02 84')
      .replace('03 77 33 1f', '04 00 00 01')} 0700 0800 01000000 ffffffff`;
    const info = { kind: 'sctp' as const, state: 'ESTABLISHED', vtagOriginal: 1, vtagReply: 0xffffffff };
    expect(flowFromRecord(memoryOf(sctp), 0)).toEqual({ ...TCP4_FLOW, protocol: 'sctp', protoinfo: info });
    expect(made({ ...TCP4_FLOW, protocol: 'sctp', protoinfo: info })).toBe(packed(sctp));
    const dccp = `${TCP4.replace('3400', '4000')
      .replace('02 06', '02 21')
      .replace('03 77 33 1f', '04 00 00 61')} 0800 0800 01000000 02000000`;
    const role = { kind: 'dccp' as const, state: 'OPEN', role: 'server' as const };
    const protoinfo = { ...role, handshakeSequence: 0x200000001n };
    expect(flowFromRecord(memoryOf(dccp), 0)).toEqual({ ...TCP4_FLOW, protocol: 'dccp', protoinfo });
    expect(made({ ...TCP4_FLOW, protocol: 'dccp', protoinfo })).toBe(packed(dccp));
  });

  it('shown parts win over the masked fields, and are not written back', () => {
    const shown = `8100 1000 0100000000000000 0200000001000000 8200 1000 0300000000000000 0400000000000000
      8300 1000 0000000001000000 0000000000000000 8400 0300 737461 00 8500 0400 01000000
      8600 0800 0500000000000000 8700 0400 8e010000 8800 0200 2333 0000`;
    const flow = flowFromRecord(memoryOf(`${TCP4.replace('3400', '9c00')} ${shown}`), 0);
    expect(flow).toEqual({
      ...TCP4_FLOW,
      status: ['SEEN_REPLY', 'ASSURED', 'CONFIRMED', 'SRC_NAT_DONE', 'DST_NAT_DONE'],
      counters: { original: { packets: 1n, bytes: 0x100000002n }, reply: { packets: 3n, bytes: 4n } },
      timestamp: { start: 1n << 32n, event: 5n },
      secctx: 'sta',
      use: 1,
      protoinfo: { ...TCP4_FLOW.protoinfo, flagsOriginal: 0x23, flagsReply: 0x33 },
    });
    expect(made(flow)).toBe(packed(TCP4.replace('16000000', '06000000')));
  });

  it('an input may leave out family and reply', () => {
    const { family: _family, reply: _reply, ...input } = ICMP6_FLOW;
    expect(made(input as Flow)).toBe(packed(ICMP6));
  });

  it('a state without a name keeps its number', () => {
    const hex = TCP4.replace('02 06', '02 84').replace('03 77 33 1f', '0c 00 00 01');
    expect(flowFromRecord(memoryOf(hex), 0).protoinfo).toEqual({ kind: 'sctp', state: 'STATE_12' });
    expect(made({ ...TCP4_FLOW, protocol: 'sctp', protoinfo: { kind: 'sctp', state: 'STATE_12' } })).toBe(
      packed(hex),
    );
  });
});

describe('recordFromFlow', () => {
  const WRONG: [string, Partial<Flow>, string][] = [
    ['protocol', { protocol: 'tpc' }, 'flow.protocol: "tpc" is not one of icmp, tcp, udp, dccp, gre'],
    ['protocol number', { protocol: '256' }, 'flow.protocol: "256"'],
    ['family', { family: 'ip' as 'ipv4' }, 'flow.family: "ip" is not ipv4 or ipv6'],
    [
      'family of the addresses',
      { family: 'ipv6' },
      'flow.original.source: "10.0.0.1" is not an IPv6 address',
    ],
    ['address', { reply: { source: '1.2.3', destination: '1.2.3.4' } }, 'flow.reply.source: "1.2.3" is not'],
    [
      'port',
      { original: { ...TCP4_FLOW.original, sourcePort: 65536 } },
      'flow.original.sourcePort: 65536 is not an integer from 0 to 65535',
    ],
    ['zone', { zone: -1 }, 'flow.zone: -1'],
    ['mark', { mark: 2 ** 32 }, 'flow.mark: 4294967296'],
    ['timeout', { timeout: 1.5 }, 'flow.timeout: 1.5'],
    ['status', { status: ['REPLIED' as 'ASSURED'] }, 'flow.status[0]: "REPLIED" is not one of EXPECTED'],
    [
      'state',
      { protoinfo: { kind: 'tcp', state: 'OPEN' } },
      'flow.protoinfo.state: "OPEN" is not one of NONE',
    ],
    ['kind', { protoinfo: { kind: 'sctp', state: 'NONE' } }, 'flow.protoinfo.kind: "sctp" is not the kind'],
    [
      'window scale',
      { protoinfo: { kind: 'tcp', state: 'NONE', wscaleReply: 15 } },
      'flow.protoinfo.wscaleReply: 15 is not an integer from 0 to 14',
    ],
    ['label', { labels: [3, 128] }, 'flow.labels[1]: 128 is not an integer from 0 to 127'],
    ['helper', { helper: 'a b' }, 'flow: no record can be made of it: helper name'],
    ['unknown part', { unknownParts: [{ type: 3, bytes: '' }] }, 'flow.unknownParts[0].type: 3'],
    [
      'order of unknown parts',
      { unknownParts: [9, 9].map((type) => ({ type, bytes: '' })) },
      'flow.unknownParts[1].type: 9 is not an integer from 10 to 127, ascending',
    ],
    ['unknown bytes', { unknownParts: [{ type: 9, bytes: 'a' }] }, 'flow.unknownParts[0].bytes: "a"'],
    [
      'size',
      { unknownParts: [{ type: 9, bytes: 'ab'.repeat(457) }] },
      'flow.unknownParts[0]: 457 is not short',
    ],
    [
      'master',
      { master: { protocol: 'tcp', source: '::1', destination: '::2' } },
      'flow.master.source: "::1" is not an IPv4 address',
    ],
  ];
  it.each(WRONG)('says where and what instead for a wrong %s', (_name, change, message) => {
    const write = () => recordFromFlow({ ...TCP4_FLOW, ...change }, allocateMemory(1024), 0);
    expect(write).toThrow(RangeError);
    expect(write).toThrow(message);
  });
});
