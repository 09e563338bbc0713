import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { CounterMap } from '../../../src/flow/counters.js';
import { OP_CREATE, OP_DELETE, OP_GET, OP_GET_REPLY, OP_UPDATE } from '../../../src/flow/kernel-port.js';
import { normalise } from '../../../src/flow/normalise.js';
import { MAX_RECORD_BYTES, MAX_TABLE_RECORD_BYTES } from '../../../src/flow/record.js';
import { validateRecord } from '../../../src/flow/validate.js';
import { type AttributeTable, CODEC_NESTED, CONNTRACK } from '../../../src/kernel/attributes.js';
import { CtnetlinkDecoder } from '../../../src/kernel/decode.js';
import { CtnetlinkEncoder, REQUEST_MAX_BYTES } from '../../../src/kernel/encode.js';
import { CAPTURED } from '../../unit/kernel/fixtures.js';
import { type RecordView, viewRecord } from '../../unit/kernel/record-view.js';
import { type ArbitraryFlow, arbitraryFlow } from './arbitrary-flows.js';
import { type AttributeValues, buildMessage } from './event-builder.js';

const VERBS = [OP_CREATE, OP_UPDATE, OP_DELETE, OP_GET, OP_GET_REPLY];
const nest = (values: AttributeValues | undefined, name: string): AttributeValues | undefined =>
  values?.[name] as AttributeValues | undefined;

function words(values: AttributeValues | undefined, names: readonly string[]): Uint8Array | undefined {
  if (!values) return undefined;
  const numbers = Uint32Array.from(names, (name) => Number(values[name] ?? 0));
  return numbers.some((n) => n !== 0) ? new Uint8Array(numbers.buffer) : undefined;
}

function doubles(...numbers: (unknown | undefined)[]): Uint8Array {
  return new Uint8Array(BigUint64Array.from(numbers.map((n) => BigInt((n ?? 0) as bigint))).buffer);
}

function tuple(flow: ArbitraryFlow, name: string): { address: Uint8Array; l4: number[]; protocol: number } {
  const values = nest(flow.values, name)!;
  const ip = nest(values, 'CTA_TUPLE_IP')!;
  const proto = nest(values, 'CTA_TUPLE_PROTO')!;
  const prefix = flow.family === 2 ? 'CTA_IP_V4' : 'CTA_IP_V6';
  const address = Buffer.concat([ip[`${prefix}_SRC`] as Uint8Array, ip[`${prefix}_DST`] as Uint8Array]);
  const protocol = proto.CTA_PROTO_NUM as number;
  const icmp = protocol === 1 ? 'CTA_PROTO_ICMP' : 'CTA_PROTO_ICMPV6';
  const l4 =
    protocol === 1 || protocol === 58
      ? [proto[`${icmp}_ID`], (proto[`${icmp}_TYPE`] as number) * 256 + (proto[`${icmp}_CODE`] as number)]
      : [proto.CTA_PROTO_SRC_PORT ?? 0, proto.CTA_PROTO_DST_PORT ?? 0];
  return { address: new Uint8Array(address), l4: l4 as number[], protocol };
}

function masterPart(flow: ArbitraryFlow): Uint8Array | undefined {
  if (!flow.values.CTA_TUPLE_MASTER) return undefined;
  const { address, l4, protocol } = tuple(flow, 'CTA_TUPLE_MASTER');
  const head = [flow.family, protocol, 0, 0, l4[0] >> 8, l4[0] & 255, l4[1] >> 8, l4[1] & 255];
  return new Uint8Array([...head, ...address]);
}

/** The parts a record of this flow must have, by type; worked out from the values, not by the code under test. */
function expectedParts(flow: ArbitraryFlow, shown: boolean): Map<number, Uint8Array> {
  const v = flow.values;
  const seqadj = ['CTA_SEQADJ_CORRECTION_POS', 'CTA_SEQADJ_OFFSET_BEFORE', 'CTA_SEQADJ_OFFSET_AFTER'];
  const parts = new Map<number, Uint8Array>();
  const add = (type: number, bytes: Uint8Array | undefined): void => {
    if (bytes !== undefined) parts.set(type, bytes);
  };
  const labels = v.CTA_LABELS as Uint8Array | undefined;
  if (labels?.some((b) => b !== 0)) add(1, labels);
  const helper = nest(v, 'CTA_HELP');
  if (helper) add(2, new Uint8Array(Buffer.from(helper.CTA_HELP_NAME as string)));
  add(3, masterPart(flow));
  add(4, words(nest(v, 'CTA_SEQ_ADJ_ORIG'), seqadj));
  add(5, words(nest(v, 'CTA_SEQ_ADJ_REPLY'), seqadj));
  add(6, words(nest(v, 'CTA_SYNPROXY'), ['CTA_SYNPROXY_ISN', 'CTA_SYNPROXY_ITS', 'CTA_SYNPROXY_TSOFF']));
  const sctp = nest(nest(v, 'CTA_PROTOINFO'), 'CTA_PROTOINFO_SCTP');
  add(7, words(sctp, ['CTA_PROTOINFO_SCTP_VTAG_ORIGINAL', 'CTA_PROTOINFO_SCTP_VTAG_REPLY']));
  const dccp = nest(nest(v, 'CTA_PROTOINFO'), 'CTA_PROTOINFO_DCCP');
  if (dccp) add(8, doubles(dccp.CTA_PROTOINFO_DCCP_HANDSHAKE_SEQ));
  if (!shown) return parts;
  for (const [type, name] of [
    [0x81, 'CTA_COUNTERS_ORIG'],
    [0x82, 'CTA_COUNTERS_REPLY'],
  ] as const) {
    const counters = nest(v, name);
    if (counters) add(type, doubles(counters.CTA_COUNTERS_PACKETS, counters.CTA_COUNTERS_BYTES));
  }
  const stamp = nest(v, 'CTA_TIMESTAMP');
  if (stamp) add(0x83, doubles(stamp.CTA_TIMESTAMP_START, stamp.CTA_TIMESTAMP_STOP));
  if (v.CTA_SECCTX) add(0x84, new Uint8Array(Buffer.from('system_u:object_r:x_t:s0')));
  if (v.CTA_USE !== undefined) add(0x85, new Uint8Array(Uint32Array.of(v.CTA_USE as number).buffer));
  if (v.CTA_TIMESTAMP_EVENT !== undefined) add(0x86, doubles(v.CTA_TIMESTAMP_EVENT));
  if (v.CTA_STATUS !== undefined) add(0x87, new Uint8Array(Uint32Array.of(v.CTA_STATUS as number).buffer));
  const flags = nest(nest(v, 'CTA_PROTOINFO'), 'CTA_PROTOINFO_TCP');
  if (flags?.CTA_PROTOINFO_TCP_FLAGS_ORIGINAL) {
    const [original] = flags.CTA_PROTOINFO_TCP_FLAGS_ORIGINAL as Uint8Array;
    const [reply] = flags.CTA_PROTOINFO_TCP_FLAGS_REPLY as Uint8Array;
    add(0x88, new Uint8Array([original, reply]));
  }
  return parts;
}

function expectFlow(view: RecordView, bytes: Uint8Array, flow: ArbitraryFlow, shown: boolean): void {
  const v = flow.values;
  const addr = flow.family === 2 ? 4 : 16;
  const original = tuple(flow, 'CTA_TUPLE_ORIG');
  const reply = tuple(flow, 'CTA_TUPLE_REPLY');
  expect([view.family, view.protocol]).toEqual([flow.family, flow.protocol]);
  expect(bytes.slice(20, 20 + 2 * addr)).toEqual(original.address);
  expect(bytes.slice(20 + 2 * addr, 20 + 4 * addr)).toEqual(reply.address);
  expect([view.original.l4, view.reply.l4]).toEqual([original.l4, reply.l4]);
  expect([view.timeout, view.id]).toEqual([v.CTA_TIMEOUT, v.CTA_ID]);
  expect(view.status).toBe(((v.CTA_STATUS as number) ?? 0) & 0x437);
  expect(view.mark).toBe(v.CTA_MARK ?? 0);
  const inOriginal = nest(v, 'CTA_TUPLE_ORIG')!.CTA_TUPLE_ZONE;
  const inReply = nest(v, 'CTA_TUPLE_REPLY')!.CTA_TUPLE_ZONE;
  expect(view.zone).toBe(v.CTA_ZONE ?? inOriginal ?? inReply ?? 0);
  expect(view.zoneDirection).toBe(inOriginal !== undefined ? 1 : inReply !== undefined ? 2 : 0);
  const info = nest(v, 'CTA_PROTOINFO');
  const kind = info && nest(info, Object.keys(info)[0]);
  const name = info && Object.keys(info)[0];
  expect(view.state).toBe(kind ? kind[`${name}_STATE`] : 0);
  const flags = kind?.CTA_PROTOINFO_TCP_FLAGS_ORIGINAL
    ? [
        (kind.CTA_PROTOINFO_TCP_FLAGS_ORIGINAL as Uint8Array)[0] & 3,
        (kind.CTA_PROTOINFO_TCP_FLAGS_REPLY as Uint8Array)[0] & 3,
      ]
    : [0, 0];
  expect(view.tcpFlags).toEqual(flags);
  const scales = [kind?.CTA_PROTOINFO_TCP_WSCALE_ORIGINAL, kind?.CTA_PROTOINFO_TCP_WSCALE_REPLY];
  expect(view.wscale).toEqual((flags[0] & flags[1] & 1) !== 0 ? scales : [0, 0]);
  expect(view.parts).toEqual(expectedParts(flow, shown));
}

describe('the decoder', () => {
  it('gives back every value of any flow that a kernel could report', () => {
    const counters = new CounterMap();
    const decoder = new CtnetlinkDecoder(counters);
    fc.assert(
      fc.property(arbitraryFlow, fc.boolean(), (flow, shown) => {
        const message = buildMessage(0, 0x600, flow.family, flow.values);
        const length = decoder.decode(message, 0, message.length, shown);
        expect(length).toBeGreaterThan(0);
        expect([decoder.seq, decoder.portId, decoder.kind]).toEqual([77, 4242, 0]);
        expectFlow(viewRecord(decoder.m, length), decoder.m.u8.slice(0, length), flow, shown);
      }),
      { numRuns: 1000 },
    );
    expect([...counters.values]).toEqual([]);
  });

  /** What must hold of any bytes: a valid record in normal form or one counted reason, and requests for it. */
  function expectBounded(bytes: Uint8Array): void {
    const counters = new CounterMap();
    const decoder = new CtnetlinkDecoder(counters);
    const encoder = new CtnetlinkEncoder();
    const out = new Uint8Array(REQUEST_MAX_BYTES);
    const results = [0x00, 0xff].map((fill) => {
      const around = new Uint8Array(bytes.length + 64).fill(fill);
      around.set(bytes, 32);
      const length = decoder.decode(around, 32, 32 + bytes.length, false);
      return Buffer.from(decoder.m.u8.slice(0, length)).toString('hex');
    });
    // The bytes around the message, which are not its own, make no difference.
    expect(results[1]).toBe(results[0]);
    if (results[0] === '') {
      expect(decoder.error).toBeGreaterThan(0);
      return;
    }
    const length = results[0].length / 2;
    expect(length).toBeLessThanOrEqual(MAX_TABLE_RECORD_BYTES);
    expect(validateRecord(decoder.m, 0, MAX_RECORD_BYTES)).toBeUndefined();
    expect(normalise(decoder.m, 0)).toBe(length);
    expect(Buffer.from(decoder.m.u8.slice(0, length)).toString('hex')).toBe(results[0]);
    for (const verb of VERBS) {
      const size = encoder.encodeRequest(verb, decoder.m, 0, out, 0, 1);
      expect(new DataView(out.buffer).getUint32(0, true)).toBe(size);
    }
    expect(decoder.decode(bytes, 0, bytes.length, true)).toBeGreaterThanOrEqual(length);
    expect(decoder.decode(bytes, 0, bytes.length, true)).toBeLessThanOrEqual(MAX_RECORD_BYTES);
  }

  it('takes any mutation of a captured message without a throw or a look outside it', () => {
    const edit = fc.tuple(fc.nat({ max: 600 }), fc.nat({ max: 255 }));
    const mutated = fc
      .tuple(
        fc.constantFrom(...CAPTURED),
        fc.array(edit, { minLength: 1, maxLength: 6 }),
        fc.nat({ max: 40 }),
      )
      .map(([{ bytes }, edits, cut]) => {
        const copy = bytes.slice(0, Math.max(0, bytes.length - (cut > 20 ? cut - 20 : 0)));
        for (const [at, value] of edits) copy[at % Math.max(1, copy.length)] = value;
        return copy;
      });
    fc.assert(fc.property(mutated, expectBounded), { numRuns: 4000 });
  });

  it('takes random bytes behind a good header', () => {
    const random = fc
      .tuple(fc.uint8Array({ maxLength: 400 }), fc.constantFrom(2, 10), fc.constantFrom(0, 2))
      .map(([body, family, type]) => {
        const bytes = new Uint8Array(20 + body.length);
        bytes.set([bytes.length & 255, bytes.length >> 8, 0, 0, type, 1]);
        bytes[16] = family;
        bytes.set(body, 20);
        return bytes;
      });
    fc.assert(fc.property(random, expectBounded), { numRuns: 2000 });
    fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), expectBounded), { numRuns: 1000 });
  });

  it('refuses every attribute of the tables one byte too short, and one too long where its size is fixed', () => {
    const counters = new CounterMap();
    const decoder = new CtnetlinkDecoder(counters);
    const paths: { types: number[]; size: number; max: number; name: string }[] = [];
    const collect = (table: AttributeTable, types: number[]): void => {
      for (const a of table.attributes) {
        if (a.codec === CODEC_NESTED) collect(a.nested!, [...types, a.type]);
        else paths.push({ types: [...types, a.type], size: a.size, max: a.max, name: a.name });
      }
    };
    collect(CONNTRACK, []);
    expect(paths.length).toBeGreaterThan(90);
    const message = (types: number[], size: number): Uint8Array => {
      let body = new Uint8Array(size);
      for (const type of [...types].reverse()) {
        const outer = new Uint8Array((4 + body.length + 3) & ~3);
        new DataView(outer.buffer).setUint16(0, 4 + body.length, true);
        new DataView(outer.buffer).setUint16(2, type, true);
        outer.set(body, 4);
        body = outer;
      }
      const bytes = new Uint8Array(20 + body.length);
      bytes.set([bytes.length & 255, bytes.length >> 8, 0, 0, 0, 1]);
      bytes[16] = 2;
      bytes.set(body, 20);
      return bytes;
    };
    const reason = (bytes: Uint8Array): number => {
      expect(decoder.decode(bytes, 0, bytes.length, true)).toBe(0);
      return decoder.error;
    };
    for (const { types, size, max, name } of paths) {
      expect(reason(message(types, size)), name).toBe(7); // the right size; only the tuples are missing
      if (size > 0) expect(reason(message(types, size - 1)), name).toBe(6);
      if (max === size) expect(reason(message(types, size + 1)), name).toBe(6);
    }
  });
});
