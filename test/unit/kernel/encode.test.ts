import { describe, expect, it } from 'vitest';
import { CounterMap } from '../../../src/flow/counters.js';
import { OP_CREATE, OP_DELETE, OP_GET, OP_GET_REPLY, OP_UPDATE } from '../../../src/flow/kernel-port.js';
import { allocateMemory, HAS_TIMEOUT, type Memory, OFF_HAS, OFF_TIMEOUT } from '../../../src/flow/record.js';
import { CtnetlinkDecoder } from '../../../src/kernel/decode.js';
import { CtnetlinkEncoder, REQUEST_MAX_BYTES } from '../../../src/kernel/encode.js';
import { findPayload } from '../../property/kernel/event-builder.js';
import { CAPTURED } from './fixtures.js';

/** The record of the dumped flow whose original tuple has this first L4 number, as `conntrack -L` showed it. */
function dumped(family: number, firstL4: number): Memory {
  const decoder = new CtnetlinkDecoder(new CounterMap());
  for (const { bytes, what } of CAPTURED) {
    if (what !== 'dump' || bytes[16] !== family) continue;
    decoder.decode(bytes, 0, bytes.length, false);
    if (((decoder.m.u8[16] << 8) | decoder.m.u8[17]) === firstL4) return decoder.m;
  }
  throw new Error(`no dumped flow with ${firstL4}`);
}

/** The record of the captured event of this name (the last of them, unless told otherwise). */
function captured(name: string, index = -1): Memory {
  const { bytes } = CAPTURED.filter((c) => c.name === name).at(index)!;
  const decoder = new CtnetlinkDecoder(new CounterMap());
  expect(decoder.decode(bytes, 0, bytes.length, false)).toBeGreaterThan(0);
  return decoder.m;
}

function encode(verb: number, m: Memory): Uint8Array {
  const out = new Uint8Array(REQUEST_MAX_BYTES).fill(0xee);
  return out.slice(0, new CtnetlinkEncoder().encodeRequest(verb, m, 0, out, 0, 0x01020304));
}
const hex = (bytes: Uint8Array | undefined): string | undefined =>
  bytes && Buffer.from(bytes).toString('hex');
const hexAt = (message: Uint8Array, ...path: number[]): string | undefined =>
  hex(findPayload(message, ...path));
/** Top-level attribute types, in order. */
function types(message: Uint8Array): number[] {
  const view = new DataView(message.buffer);
  const found: number[] = [];
  for (let p = 20; p < message.length; p += (view.getUint16(p, true) + 3) & ~3) {
    found.push(view.getUint16(p + 2, true) & 0x3fff);
  }
  return found;
}

describe('a create', () => {
  it('of a plain TCP flow is these bytes', () => {
    const m = captured('TCP by ctnetlink, mark, fixed timeout');
    expect(hex(encode(OP_CREATE, m))).toBe(
      [
        'c4000000000101060403020100000000', // 196 bytes, type 0x100, REQUEST|EXCL|CREATE, sequence, port id 0
        '02000000', // AF_INET
        '34000180', // original tuple
        '14000180080001000a070001080002000a070002', // 10.7.0.1 -> 10.7.0.2
        '1c000280050001000600000006000200138800000600030013890000', // TCP, 5000 -> 5001
        '34000280', // reply tuple
        '14000180080001000a070002080002000a070001',
        '1c000280050001000600000006000200138900000600030013880000',
        '080003000000040e', // SEEN_REPLY|ASSURED|CONFIRMED|FIXED_TIMEOUT
        '300004802c000180', // protoinfo, TCP: state, scales, flags with mask 3, and 8: liberal
        '0500010003000000',
        '0500020000000000',
        '0500030000000000',
        '060004000a0b0000',
        '060005000a0b0000',
        '0800070000000258', // timeout 600
        '0800080000000406', // the mark (conntrack(8) 1.4.7 wrote the status into it)
      ].join(''),
    );
  });

  it('of a source-translated flow sends the plain inverse and CTA_NAT_SRC with address and port', () => {
    const message = encode(OP_CREATE, dumped(2, 31010));
    expect(hexAt(message, 2, 1, 1)).toBe('0a020002');
    expect(hexAt(message, 2, 1, 2)).toBe('0a010002'); // the client, not the translated address
    expect(hexAt(message, 2, 2, 3)).toBe('7922');
    const port = Buffer.from(dumped(2, 31010).u8.subarray(38, 40)).toString('hex');
    expect([1, 2].map((type) => hexAt(message, 6, type))).toEqual(['0a020001', '0a020001']);
    expect([1, 2].map((type) => hexAt(message, 6, 3, type))).toEqual([port, port]);
    expect(findPayload(message, 13)).toBeUndefined();
  });

  it('of a destination-translated IPv6 flow sends CTA_NAT_DST', () => {
    const message = encode(OP_CREATE, dumped(10, 30004));
    const server = '20010db8000200000000000000000002';
    expect([4, 5].map((type) => hexAt(message, 13, type))).toEqual([server, server]);
    expect([1, 2].map((type) => hexAt(message, 13, 3, type))).toEqual(['1f90', '1f90']);
    expect(findPayload(message, 6)).toBeUndefined();
  });

  it('of a translated ICMP flow sends the id as the port', () => {
    const m = captured('ICMP, SNAT');
    const id = hex(m.u8.slice(16, 18));
    const message = encode(OP_CREATE, m);
    expect([hexAt(message, 2, 2, 4), hexAt(message, 2, 2, 5)]).toEqual([id, '00']);
    if (findPayload(message, 6)) expect(hexAt(message, 6, 3, 1)).toBe(id);
    else expect(hexAt(message, 13, 3, 1)).toBeUndefined();
  });

  it('of a related flow names the master and leaves EXPECTED away', () => {
    const child = CAPTURED.find(({ bytes }) => findPayload(bytes, 14) !== undefined)!;
    const decoder = new CtnetlinkDecoder(new CounterMap());
    decoder.decode(child.bytes, 0, child.bytes.length, false);
    const message = encode(OP_CREATE, decoder.m);
    expect(hexAt(message, 14)).toBe(hex(findPayload(child.bytes, 14)));
    expect(Number(`0x${hexAt(message, 3)}`) & 9).toBe(8); // CONFIRMED, not EXPECTED
    expect(Number(`0x${hexAt(encode(OP_UPDATE, decoder.m), 3)}`) & 1).toBe(1);
    expect(findPayload(encode(OP_UPDATE, decoder.m), 14)).toBeUndefined();
  });

  it('sends helper, sequence adjustment, labels and synproxy as the kernel told them', () => {
    const control = CAPTURED.find(
      ({ bytes, what }) => what === 'dump' && findPayload(bytes, 5) !== undefined,
    )!;
    const message = encode(OP_CREATE, dumped(2, 30007));
    expect(hexAt(message, 5)).toBe('08000100667470' + '00');
    expect(hexAt(message, 15)).toBe(hex(findPayload(control.bytes, 15)));
    expect(findPayload(encode(OP_UPDATE, dumped(2, 30007)), 5)).toBeUndefined();
    const labels = '01000000000000000000000000000080';
    expect(hexAt(encode(OP_CREATE, dumped(2, 31005)), 22)).toBe(labels);
    const proxied = CAPTURED.find(
      ({ bytes, what }) => what === 'dump' && /[1-9a-f]/.test(hexAt(bytes, 24, 1) ?? ''),
    )!;
    const decoder = new CtnetlinkDecoder(new CounterMap());
    decoder.decode(proxied.bytes, 0, proxied.bytes.length, false);
    expect(hexAt(encode(OP_CREATE, decoder.m), 24)).toBe(hex(findPayload(proxied.bytes, 24)));
  });

  it('sends SCTP state with both tags, and the zone where it holds', () => {
    expect(hexAt(encode(OP_CREATE, captured('SCTP by ctnetlink')), 4, 3, 2)).toBe('44332211');
    expect(hexAt(encode(OP_CREATE, captured('UDP, zone', 0)), 18)).toBe('0005');
    const original = encode(OP_CREATE, captured('UDP, zone of the original direction', 0));
    expect([hexAt(original, 1, 3), hexAt(original, 2, 3), hexAt(original, 18)]).toEqual([
      '0006',
      undefined,
      undefined,
    ]);
    const reply = encode(OP_CREATE, captured('UDP, zone of the reply direction', 0));
    expect([hexAt(reply, 1, 3), hexAt(reply, 2, 3), hexAt(reply, 18)]).toEqual([
      undefined,
      '0007',
      undefined,
    ]);
  });

  it('without a timeout sends 30 s, never 0, and never more than the kernel takes', () => {
    const m = captured('UDP, mark');
    const timeoutOf = (value: number | undefined): string | undefined => {
      m.u8[OFF_HAS] = value === undefined ? m.u8[OFF_HAS] & ~HAS_TIMEOUT : m.u8[OFF_HAS] | HAS_TIMEOUT;
      m.u32[OFF_TIMEOUT >>> 2] = value ?? 0;
      return hexAt(encode(OP_CREATE, m), 7);
    };
    expect([undefined, 0, 8_589_934, 8_589_935, 0xffffffff].map(timeoutOf)).toEqual([
      '0000001e',
      '00000001',
      '0083126e',
      '0083126e',
      '0083126e',
    ]);
  });
});

describe('the other requests', () => {
  it('an update says status, protoinfo, timeout and mark, also a mark of 0', () => {
    const message = encode(OP_UPDATE, dumped(2, 30005));
    expect([...message.slice(4, 8)]).toEqual([0, 1, 1, 0]);
    expect(types(message)).toEqual([1, 3, 4, 7, 8]);
    expect(hexAt(message, 8)).toBe('00000000');
  });

  it('an update of a flow with fixed timeout leaves the timeout alone', () => {
    expect(types(encode(OP_UPDATE, captured('TCP by ctnetlink, mark, fixed timeout')))).toEqual([1, 3, 4, 8]);
  });

  it('a delete says tuple and id, a get only the tuple', () => {
    const m = dumped(2, 30005);
    const message = encode(OP_DELETE, m);
    expect([...message.slice(4, 8)]).toEqual([2, 1, 1, 0]);
    expect(types(message)).toEqual([1, 12]);
    expect(types(encode(OP_GET, m))).toEqual([1]);
    expect([...encode(OP_GET, m).slice(4, 8)]).toEqual([1, 1, 1, 0]);
  });

  it('a get by reply tuple says the reply tuple of the record, and its zone only where it holds', () => {
    const message = encode(OP_GET_REPLY, dumped(2, 31010));
    expect(types(message)).toEqual([2]);
    expect(hexAt(message, 2, 1, 2)).toBe('0a020001');
    expect(types(encode(OP_GET_REPLY, captured('UDP, zone', 0)))).toEqual([2, 18]);
    expect(hexAt(encode(OP_GET_REPLY, captured('UDP, zone of the reply direction', 0)), 2, 3)).toBe('0007');
    expect(
      hexAt(encode(OP_GET_REPLY, captured('UDP, zone of the original direction', 0)), 2, 3),
    ).toBeUndefined();
    expect(hexAt(encode(OP_GET, captured('UDP, zone of the original direction', 0)), 1, 3)).toBe('0006');
  });

  it('need an aligned place with room, a verb and a family', () => {
    const encoder = new CtnetlinkEncoder();
    const m = dumped(2, 30005);
    const out = new Uint8Array(REQUEST_MAX_BYTES);
    expect(() => encoder.encodeRequest(OP_GET, m, 0, out, 4, 1)).toThrow(RangeError);
    expect(() => encoder.encodeRequest(OP_GET, m, 0, new Uint8Array(2048), 2, 1)).toThrow(RangeError);
    expect(() => encoder.encodeRequest(9, m, 0, out, 0, 1)).toThrow(RangeError);
    expect(() => encoder.encodeRequest(OP_GET, allocateMemory(64), 0, out, 0, 1)).toThrow(RangeError);
  });
});
