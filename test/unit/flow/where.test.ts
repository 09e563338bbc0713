import { describe, expect, it } from 'vitest';
import { type Flow, recordFromFlow } from '../../../src/flow/flow.js';
import { OWNER_HELD, OWNER_OWN } from '../../../src/flow/owner-mark.js';
import {
  allocateMemory,
  MAX_RECORD_BYTES,
  OFF_LENGTH,
  PART_COUNTERS_ORIG,
  PART_COUNTERS_REPLY,
  PART_TIMESTAMP,
} from '../../../src/flow/record.js';
import { FIELDS } from '../../../src/flow/where/fields.js';
import { parseAmount, parseSeconds } from '../../../src/flow/where/units.js';
import { Where } from '../../../src/flow/where/where.js';
import { WhereError } from '../../../src/flow/where/where-error.js';

const TCP: Flow = {
  family: 'ipv4',
  protocol: 'tcp',
  original: { source: '10.1.0.7', destination: '10.2.0.9', sourcePort: 40_000, destinationPort: 443 },
  reply: { source: '10.2.0.9', destination: '10.2.0.254', sourcePort: 443, destinationPort: 4000 },
  status: ['SEEN_REPLY', 'ASSURED', 'SRC_NAT'],
  timeout: 300,
  mark: 0x15,
  zone: 7,
  labels: [3, 100],
  helper: 'ftp',
  protoinfo: { kind: 'tcp', state: 'TIME_WAIT' },
  id: 77,
};
const PING: Flow = {
  family: 'ipv6',
  protocol: 'icmpv6',
  original: { source: 'fd00:1::1', destination: 'fd00:2::1', icmpType: 128, icmpCode: 0, icmpId: 9 },
  status: [],
};

/** The flow's record, with 1,000 packets and 2^33 + 5 bytes one way, 1 and 60 the other, begun at second 1,000. */
function record(flow: Flow) {
  const m = allocateMemory(MAX_RECORD_BYTES);
  let end = recordFromFlow(flow, m, 0);
  const part = (type: number, words: number[]) => {
    m.u32.set([type | ((4 * words.length) << 16), ...words], end >>> 2);
    end += 4 + 4 * words.length;
  };
  part(PART_COUNTERS_ORIG, [1000, 0, 5, 2]);
  part(PART_COUNTERS_REPLY, [1, 0, 60, 0]);
  const ns = 1000n * 1_000_000_000n;
  part(PART_TIMESTAMP, [Number(ns & 0xffffffffn), Number(ns >> 32n), 0, 0]);
  m.u16[OFF_LENGTH >>> 1] = end;
  return m;
}

const ABOUT = { owner: OWNER_HELD, node: 'fw2', now: 1600 };
const holds = (text: string, flow: Flow = TCP) => new Where(text).matches(record(flow), 0, ABOUT);

describe('an expression', () => {
  // [what holds for the TCP flow, the nearest that does not]
  it.each([
    ['proto=tcp', 'proto=udp'],
    ['protocol = 6', 'proto != tcp'],
    ['family=ipv4', 'family=ipv6'],
    ['src=10.1.0.7', 'src=10.1.0.8'],
    ['orig.src = 10.1.0.0/16', 'orig.src = 10.2.0.0/16'],
    ['src in 10.1.0.0/16', 'src not in 10.1.0.0/16'],
    ['dst in (192.0.2.1, 10.2.0.8/31)', 'dst in (192.0.2.1, 10.2.0.8)'],
    ['reply.dst=10.2.0.254', 'reply.src=10.2.0.254'],
    ['address=10.2.0.254', 'address=10.2.0.253'],
    ['address!=10.2.0.253', 'address!=10.2.0.254'],
    ['dport=443', 'sport=443'],
    ['reply.dport=4000 and reply.sport=443', 'reply.dport=443'],
    ['port=4000', 'port=4001'],
    ['sport>=40000 and sport<40001', 'sport>40000'],
    ['state=time-wait', 'state=established'],
    ['state in (ESTABLISHED, time_wait)', 'state not in (established, time-wait)'],
    ['assured', 'unreplied'],
    ['status=assured and status=seen-reply', 'status!=assured'],
    ['snat and not dnat', 'dnat'],
    ['nat', 'not nat'],
    ['timeout=5m', 'timeout<5m'],
    ['timeout<1h30m', 'timeout>301'],
    ['mark=0x15', 'mark=0x14'],
    ['mark=0x10/0xf0', 'mark=0x20/0xf0'],
    ['mark>20', 'mark>21'],
    ['zone=7', 'zone=0'],
    ['label=100', 'label=101'],
    ['helper=ftp', 'helper=sip'],
    ['bytes>8G', 'bytes>8GiB and bytes>10G'],
    ['bytes=8589934657', 'bytes=8589934656'],
    ['packets=1001', 'orig.packets=1001'],
    ['orig.packets=1k and reply.packets=1', 'reply.bytes=61'],
    ['age=10m', 'age>10m'],
    ['id=77', 'id=78'],
    ['held', 'own'],
    ['owner=held and node=fw2', 'owner=own'],
    ['node="fw2"', "peer='fw3'"],
    ['proto=udp or proto=tcp and dport=443', '(proto=udp or proto=tcp) and dport=80'],
    ['not (proto=udp or dport=80)', 'not not proto=udp'],
    ['NOT proto=udp AND (assured OR unreplied)', 'proto=tcp AND proto=udp'],
  ])('"%s" holds and "%s" does not', (yes, no) => {
    expect([holds(yes), holds(no)]).toEqual([true, false]);
  });

  it('is true of what a flow lacks only where that is denied', () => {
    for (const text of ['dport=0', 'state=none', 'timeout<1h', 'helper=ftp', 'id<100']) {
      expect([text, holds(text, PING)]).toEqual([text, false]);
    }
    for (const text of ['dport!=0', 'state!=established', 'not timeout<1h', 'helper!=ftp', 'unreplied']) {
      expect([text, holds(text, PING)]).toEqual([text, true]);
    }
    expect(holds('icmp.type=128 and icmp.id=9 and icmp.code=0 and dst=fd00:2::/64', PING)).toBe(true);
  });

  it('says which fields only the kernel has, and whether a daemon is needed', () => {
    expect(new Where('bytes>5 or offload').shownFields).toEqual(['bytes', 'status offload']);
    expect(new Where('proto=tcp or snat').shownFields).toEqual([]);
    expect(new Where('held').needsOwner && new Where('node=x').needsOwner).toBe(true);
    expect(new Where('proto=tcp').needsOwner).toBe(false);
  });

  it('tells the kernel what every match has, and nothing that only some have', () => {
    const hints = (text: string) => new Where(text).hints;
    expect(hints('proto=tcp and dport=443 and src=10.0.0.1 and assured and mark=1/3 and zone=5')).toEqual({
      ...{
        protocol: '6',
        destinationPort: 443,
        source: '10.0.0.1',
        status: ['ASSURED'],
        mark: '1/3',
        zone: 5,
      },
    });
    expect(hints('status=unreplied and (family=IPv6 and reply.dport=1)')).toEqual({
      ...{ status: ['UNREPLIED'], family: 'ipv6', replyDestinationPort: 1 },
    });
    for (const text of [
      'proto=tcp or dport=443',
      'proto!=tcp',
      'not proto=tcp',
      'proto in (tcp, udp)',
      'nat',
    ]) {
      expect([text, hints(text)]).toEqual([text, {}]);
    }
    expect(hints('zone=0 and dport>5 and address=10.0.0.1')).toEqual({});
  });
});

describe('a wrong expression', () => {
  it.each([
    ['', 1, 'an expression is wanted'],
    ['proto', 1, 'a sign and a value are wanted behind it'],
    ['pront=5', 1, 'did you mean "proto"?'],
    ['bytse>5', 1, 'did you mean "bytes"?'],
    ['flying', 1, 'no field and no status'],
    ['proto=tcp dport=5', 11, '"and" or "or" is wanted'],
    ['proto==tcp', 6, 'write "="'],
    ['proto=tcp && dport=5', 11, 'write "and"'],
    ['(proto=tcp', 11, 'for the ( in column 1'],
    ['proto=tcp)', 10, 'closes nothing'],
    ['proto=', 7, 'a value is wanted before the end'],
    ['proto=tpc', 7, 'one of icmp, tcp'],
    ['proto<tcp', 6, 'has no order'],
    ['src=10.0.0.0/33', 5, 'a block such as'],
    ['src=10.0.0', 5, 'an address'],
    ['dport=65536', 7, '0 to 65535'],
    ['dport in (1, 2', 15, 'a comma or ) is wanted'],
    ['dport in (1, x)', 14, 'a number from'],
    ['state=establish', 7, 'did you mean "established"?'],
    ['status=blue', 8, 'but expected'],
    ['bytes>1X', 7, 'such as 1500, 10k'],
    ['timeout>5 q', 11, 'quotes around a value'],
    ['timeout>1x', 9, '90s, 5m'],
    ['mark>1/3', 6, 'a mask goes with'],
    ['mark=1/', 6, 'value/mask'],
    ['label=128', 7, '0 to 127'],
    ['owner=mine', 7, 'one of none, own'],
    ['not', 4, 'a field is wanted before the end'],
    ['and=5', 1, 'a field is wanted before "and"'],
    ['node="fw2', 6, 'has no second one'],
    ['src=10.0.0.1;', 13, 'stands in no expression'],
    ['src={}', 5, 'stands in no expression'],
    [`dport in (${Array.from({ length: 1025 }, (_, i) => i).join(',')})`, 4021, 'at most 1024'],
    [`${'('.repeat(65)}assured`, 65, '64 levels'],
    ['x'.repeat(8193), 8193, 'longer than 8192'],
  ])('%s is wrong in column %i: %s', (text, column, problem) => {
    let error: unknown;
    try {
      new Where(text);
    } catch (thrown) {
      error = thrown;
    }
    expect(error).toBeInstanceOf(WhereError);
    const { message, column: at } = error as WhereError;
    expect([at, message]).toEqual([column, expect.stringContaining(problem)]);
    const [, shown, caret] = message.split('\n');
    if (column <= text.length) expect(shown[caret.indexOf('^')]).toBe(text[column - 1]);
  });
});

it('units are those of decimal and binary prefixes, and of clocks', () => {
  expect(['5', '1.5k', '1M', '1mb', '2GiB', '1Ti'].map(parseAmount)).toEqual([
    5,
    1500,
    1e6,
    1e6,
    2 * 2 ** 30,
    2 ** 40,
  ]);
  expect(['', 'k', '1.', '-1', '5i', '1e3', '1KM'].map(parseAmount)).toEqual(Array(7).fill(undefined));
  expect(['90', '90s', '5m', '1h30m', '2d', '500ms', '1w'].map(parseSeconds)).toEqual([
    ...[90, 90, 300, 5400, 172_800, 0.5, 604_800],
  ]);
  expect(['', 'm', '5x', '-5s', '5 m', '1h30'].map(parseSeconds)).toEqual(Array(6).fill(undefined));
});

it('every field has a name that no other has', () => {
  const names = FIELDS.flatMap(({ name, aliases }) => [name, ...aliases]);
  expect(new Set(names).size).toBe(names.length);
  expect(OWNER_OWN).toBe(1);
});
