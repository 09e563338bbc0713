import { describe, expect, it } from 'vitest';
import { CounterMap } from '../../../src/flow/counters.js';
import {
  EVENT_DESTROY,
  EVENT_NEW,
  EVENT_UPDATE,
  SEEN_HELPER,
  SEEN_LABELS,
  SEEN_MARK,
  SEEN_MASTER,
  SEEN_PROTOINFO,
  SEEN_STATUS,
  SEEN_SYNPROXY,
} from '../../../src/flow/kernel-port.js';
import { normalise } from '../../../src/flow/normalise.js';
import { MAX_RECORD_BYTES } from '../../../src/flow/record.js';
import { validateRecord } from '../../../src/flow/validate.js';
import { CtnetlinkDecoder } from '../../../src/kernel/decode.js';
import { NETLINK_MESSAGE_MAX_BYTES } from '../../../src/limits.js';
import { CAPTURED, captured, LISTING } from './fixtures.js';
import { type RecordView, viewRecord } from './record-view.js';

function decodeAll(name: string, shown = false) {
  const counters = new CounterMap();
  const decoder = new CtnetlinkDecoder(counters);
  return captured(name).map(({ bytes }) => {
    const length = decoder.decode(bytes, 0, bytes.length, shown);
    const { kind, seen, portId } = decoder;
    return { kind, seen, portId, ...viewRecord(decoder.m, length) };
  });
}

const number = (bytes: Uint8Array | undefined, at = 0): number =>
  new DataView(bytes!.buffer).getUint32(at, true);
const text = (bytes: Uint8Array | undefined): string => Buffer.from(bytes!).toString('latin1');

/** One line of `conntrack -L -o extended,id` as the oracle prints it. */
function parseLine(line: string): Map<string, string[]> {
  const words = line.split(/\s+/);
  const fields = new Map<string, string[]>([
    ['protocol', [words[3]]],
    ['timeout', [words[4]]],
    ['state', [/^[A-Z]/.test(words[5]) ? words[5] : '']],
  ]);
  for (const word of words.slice(5)) {
    const [name, value] = word.split('=');
    if (value !== undefined) fields.set(name, [...(fields.get(name) ?? []), value]);
    else if (word.startsWith('[')) fields.set(word, [word]);
  }
  return fields;
}

const TCP_STATES: Record<string, number> = { ESTABLISHED: 3, CLOSE_WAIT: 5, TIME_WAIT: 7 };

function addressOf(canonical: string): string {
  if (!canonical.includes(':')) return canonical;
  const [head, tail = ''] = canonical.split('::');
  const front = head.split(':');
  const back = tail === '' ? [] : tail.split(':');
  return [...front, ...Array(8 - front.length - back.length).fill('0'), ...back].join(':');
}

function expectEqualsLine(view: RecordView, line: string): void {
  const fields = parseLine(line);
  const get = (name: string, i = 0): string | undefined => fields.get(name)?.[i];
  const tuples = [view.original, view.reply];
  for (const [i, tuple] of tuples.entries()) {
    expect(tuple.source).toBe(addressOf(get('src', i)!));
    expect(tuple.destination).toBe(addressOf(get('dst', i)!));
    if (get('sport')) expect(tuple.l4.map(String)).toEqual([get('sport', i), get('dport', i)]);
    if (get('srckey'))
      expect(tuple.l4.map((k) => `0x${k.toString(16)}`)).toEqual([get('srckey', i), get('dstkey', i)]);
    if (get('type')) {
      expect(tuple.l4).toEqual([Number(get('id', i)), Number(get('type', i)) * 256 + Number(get('code', i))]);
    }
    const counters = view.parts.get(0x81 + i);
    expect([number(counters), number(counters, 8)].map(String)).toEqual([get('packets', i), get('bytes', i)]);
  }
  expect(view.id).toBe(Number(fields.get('id')!.at(-1)));
  expect(Math.abs(view.timeout! - Number(get('timeout')))).toBeLessThanOrEqual(2);
  expect(String(view.protocol)).toBe(get('protocol'));
  expect(view.mark).toBe(Number(get('mark')));
  const zone = get('zone') ?? get('zone-orig') ?? get('zone-reply') ?? '0';
  expect([String(view.zone), view.zoneDirection]).toEqual([
    zone,
    get('zone-orig') ? 1 : get('zone-reply') ? 2 : 0,
  ]);
  expect((view.status & 4) !== 0).toBe(fields.has('[ASSURED]'));
  expect((view.status & 2) !== 0).toBe(!fields.has('[UNREPLIED]'));
  if (view.protocol === 6) expect(view.state).toBe(TCP_STATES[get('state')!]);
  expect(view.parts.has(2) ? text(view.parts.get(2)) : undefined).toBe(get('helper'));
  expect(String(number(view.parts.get(0x85)))).toBe(get('use'));
}

describe('captured messages', () => {
  it('each gives a record in normal form, and no attribute of this kernel is unknown', () => {
    const counters = new CounterMap();
    const decoder = new CtnetlinkDecoder(counters);
    for (const { name, bytes } of CAPTURED) {
      const length = decoder.decode(bytes, 0, bytes.length, false);
      expect(length, name).toBeGreaterThan(0);
      expect(validateRecord(decoder.m, 0, MAX_RECORD_BYTES), name).toBeUndefined();
      const before = decoder.m.u8.slice(0, length);
      expect(normalise(decoder.m, 0), name).toBe(length);
      expect(decoder.m.u8.slice(0, length), name).toEqual(before);
    }
    expect([...counters.values]).toEqual([]);
  });

  it('each dump row says what conntrack(8) printed of the same flow', () => {
    const decoder = new CtnetlinkDecoder(new CounterMap());
    const rows = CAPTURED.filter((c) => c.what === 'dump');
    const lines = new Map(LISTING.map((line) => [Number(/ id=(\d+)$/.exec(line)?.[1]), line]));
    expect(rows.length).toBe(LISTING.length);
    for (const { bytes } of rows) {
      const view = viewRecord(decoder.m, decoder.decode(bytes, 0, bytes.length, true));
      expectEqualsLine(view, lines.get(view.id!)!);
    }
  });

  it('decodes equally at any offset of a larger buffer', () => {
    const decoder = new CtnetlinkDecoder(new CounterMap());
    for (const { bytes } of CAPTURED.slice(0, 20)) {
      const length = decoder.decode(bytes, 0, bytes.length, true);
      const expected = decoder.m.u8.slice(0, length);
      for (const offset of [1, 2, 3, 4, 8]) {
        const larger = new Uint8Array(bytes.length + 16).fill(0xff);
        larger.set(bytes, offset);
        expect(decoder.decode(larger, offset, offset + bytes.length, true)).toBe(length);
        expect(decoder.m.u8.slice(0, length)).toEqual(expected);
      }
    }
  });
});

describe('what an event carried', () => {
  it('a TCP life is NEW, updates with state, scales and flags, and a DESTROY', () => {
    const events = decodeAll('TCP, handshake, data, close');
    expect(events[0]).toMatchObject({ kind: EVENT_NEW, state: 1, timeout: 120, portId: 0 });
    expect(events[1]).toMatchObject({ kind: EVENT_UPDATE, state: 2 });
    expect(events[2]).toMatchObject({ kind: EVENT_UPDATE, state: 3, status: 0x6, timeout: 432000 });
    expect(events[2].tcpFlags).toEqual([3, 3]);
    expect(events[2].wscale[0]).toBeGreaterThan(0);
    expect(events[2].protoBits).toBe(31);
    expect(events[2].seen).toBe(SEEN_STATUS | SEEN_PROTOINFO);
    expect(events[2].status & 8).toBe(0); // CONFIRMED is masked in the record,
    const decoder = new CtnetlinkDecoder(new CounterMap());
    const { bytes } = captured('TCP, handshake, data, close')[2];
    decoder.decode(bytes, 0, bytes.length, false);
    expect(decoder.status & 8).toBe(8); // and there in the raw status.
  });

  it('a deleted flow is DESTROY and has its raw status', () => {
    const [event] = decodeAll('deleted by ctnetlink');
    expect(event.kind).toBe(EVENT_DESTROY);
    expect(event.portId).not.toBe(0);
    expect(event.parts.size).toBe(0);
  });

  it('a mark that became 0 is seen, as 0', () => {
    const [event] = decodeAll('mark changed by ctnetlink');
    expect(event.seen & SEEN_MARK).toBe(SEEN_MARK);
    expect(event.mark).toBe(0);
    expect(event.status).toBe(0x406);
  });

  it('an FTP data connection names its master and is EXPECTED', () => {
    const events = decodeAll('FTP, helper, SNAT, seqadj, child');
    expect(events.some((e) => (e.seen & SEEN_HELPER) !== 0 && text(e.parts.get(2)) === 'ftp')).toBe(true);
    const child = events.find((e) => (e.seen & SEEN_MASTER) !== 0)!;
    expect(child.kind).toBe(EVENT_NEW);
    expect(child.status & 1).toBe(1);
    expect([...child.parts.get(3)!]).toEqual([2, 6, 0, 0, 0x75, 0x37, 0, 21, 10, 1, 0, 2, 10, 2, 0, 2]);
  });

  it('the control connection of an FTP transfer through SNAT shows its sequence adjustment', () => {
    const row = decodeAll('dump IPv4').find((e) => e.original.l4[0] === 30007)!;
    const adjustment = row.parts.get(4)!;
    expect([number(adjustment, 4), number(adjustment, 8)]).toEqual([0, 2]);
  });

  it('labels stand as the kernel has them', () => {
    const event = decodeAll('UDP, labels')[0];
    expect(event.seen & SEEN_LABELS).toBe(SEEN_LABELS);
    expect([...event.parts.get(1)!]).toEqual([1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x80]);
    expect(event.mark).toBe(0x12);
  });

  it('a synproxied flow shows its sequence numbers', () => {
    const events = decodeAll('TCP, synproxy, open');
    const seen = events.filter((e) => (e.seen & SEEN_SYNPROXY) !== 0);
    expect(seen.length).toBeGreaterThan(0);
    expect(seen.at(-1)!.parts.get(6)!.length).toBe(12);
  });

  it('SCTP verification tags and DCCP without ports', () => {
    const sctp = decodeAll('SCTP by ctnetlink')[0];
    // conntrack(8) 1.4.7 swaps the bytes of the tags it is given; these are the bytes the kernel had and told.
    expect([number(sctp.parts.get(7)), number(sctp.parts.get(7), 4)]).toEqual([0x44332211, 0x88776655]);
    expect([sctp.state, sctp.protoBits]).toEqual([4, 1]);
    expect(decodeAll('DCCP by ctnetlink')[0]).toMatchObject({ protocol: 33, original: { l4: [0, 0] } });
  });

  it('a translated flow has the reply tuple the server sees', () => {
    const event = decodeAll('UDP, SNAT with ports')[0];
    expect(event.status & 0x10).toBe(0x10);
    expect(event.reply.destination).toBe('10.2.0.1');
    expect(event.reply.l4[1]).toBeGreaterThanOrEqual(40000);
  });
});

describe('bad messages', () => {
  const good = captured('TCP, handshake, data, close')[0].bytes;
  function reasonFor(bytes: Uint8Array, to = bytes.length): string {
    const counters = new CounterMap();
    expect(new CtnetlinkDecoder(counters).decode(bytes, 0, to, true)).toBe(0);
    expect(counters.values.size).toBe(1);
    return [...counters.values.keys()][0];
  }
  /** A copy of the message with `edit` done to it. */
  function edited(edit: (view: DataView) => void): Uint8Array {
    const bytes = good.slice();
    edit(new DataView(bytes.buffer));
    return bytes;
  }
  /** Offset of the top-level attribute of this type. */
  function attribute(type: number): number {
    const view = new DataView(good.buffer);
    let p = 20;
    while ((view.getUint16(p + 2, true) & 0x3fff) !== type) p += (view.getUint16(p, true) + 3) & ~3;
    return p;
  }

  it('are refused when shorter than they say', () => {
    expect(reasonFor(good, 10)).toBe('ctnetlink.truncated');
    expect(reasonFor(good, good.length - 4)).toBe('ctnetlink.truncated');
    expect(reasonFor(edited((v) => v.setUint32(0, 8, true)))).toBe('ctnetlink.truncated');
  });

  it('are refused one byte past the limit', () => {
    const bytes = new Uint8Array(NETLINK_MESSAGE_MAX_BYTES + 1);
    bytes.set(good);
    expect(reasonFor(bytes)).toBe('ctnetlink.oversized');
  });

  it('are refused when they are no flow, or of another family', () => {
    expect(reasonFor(edited((v) => v.setUint16(4, 3, true)))).toBe('ctnetlink.type');
    expect(reasonFor(edited((v) => v.setUint16(4, 0x200, true)))).toBe('ctnetlink.type');
    expect(reasonFor(edited((v) => v.setUint8(16, 7)))).toBe('ctnetlink.family');
  });

  it('are refused when the tuples are of the other family, or one is missing', () => {
    expect(reasonFor(edited((v) => v.setUint8(16, 10)))).toBe('ctnetlink.tuple');
    expect(reasonFor(edited((v) => v.setUint16(attribute(2) + 2, 6 | 0x8000, true)))).toMatch(/tuple|size/);
    expect(reasonFor(edited((v) => v.setUint16(attribute(2) + 2, 25, true)))).toBe('ctnetlink.tuple');
  });

  it('are refused when a known attribute has another size', () => {
    const at = attribute(3);
    const longer = new Uint8Array(good.length + 4);
    longer.set(good.subarray(0, at + 8));
    longer.set(good.subarray(at + 8), at + 12);
    new DataView(longer.buffer).setUint32(0, longer.length, true);
    new DataView(longer.buffer).setUint16(at, 12, true);
    expect(reasonFor(longer)).toBe('ctnetlink.attribute-size');
    expect(reasonFor(edited((v) => v.setUint16(at, 7, true)))).toBe('ctnetlink.attribute-size');
  });

  it('are refused when an attribute ends outside its parent', () => {
    expect(reasonFor(edited((v) => v.setUint16(attribute(12), 0x7fff, true)))).toBe(
      'ctnetlink.attribute-length',
    );
    expect(reasonFor(edited((v) => v.setUint16(24, 60, true)))).toBe('ctnetlink.attribute-length');
    expect(reasonFor(edited((v) => v.setUint16(attribute(3), 3, true)))).toBe('ctnetlink.attribute-length');
  });

  it('are refused when an attribute ends one byte past its message or its nest, or leaves bytes over', () => {
    let last = 20;
    const view = new DataView(good.buffer);
    while (last + ((view.getUint16(last, true) + 3) & ~3) < good.length) {
      last += (view.getUint16(last, true) + 3) & ~3;
    }
    const size = view.getUint16(last, true);
    expect(reasonFor(edited((v) => v.setUint16(last, size + 1, true)))).toBe('ctnetlink.attribute-length');
    // In the original tuple: CTA_TUPLE_IP at 24, its first address at 28, its second and last one at 36.
    expect(view.getUint16(36, true)).toBe(8);
    expect(reasonFor(edited((v) => v.setUint16(36, 9, true)))).toBe('ctnetlink.attribute-length');
    const longer = new Uint8Array(good.length + 2);
    longer.set(good);
    new DataView(longer.buffer).setUint32(0, longer.length, true);
    expect(reasonFor(longer)).toBe('ctnetlink.attribute-length');
  });

  it('are refused for a TCP state that no kernel has', () => {
    const protoinfo = attribute(4);
    expect(reasonFor(edited((v) => v.setUint8(protoinfo + 12, 10)))).toBe('ctnetlink.state');
  });

  it('with an unknown attribute are taken without it, and it is counted', () => {
    const counters = new CounterMap();
    const bytes = new Uint8Array(good.length + 8);
    bytes.set(good);
    const view = new DataView(bytes.buffer);
    view.setUint32(0, bytes.length, true);
    view.setUint16(good.length, 8, true);
    view.setUint16(good.length + 2, 28, true);
    const decoder = new CtnetlinkDecoder(counters);
    const length = decoder.decode(good, 0, good.length, false);
    expect(decoder.decode(bytes, 0, bytes.length, false)).toBe(length);
    expect([...counters.values]).toEqual([['ctnetlink.unknown-attribute', 1]]);
  });
});
