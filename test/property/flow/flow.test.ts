import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { formatAddress, parseAddress } from '../../../src/flow/address.js';
import { DCCP_STATE_NAMES, SCTP_STATE_NAMES, TCP_STATE_NAMES } from '../../../src/flow/conntrack-enums.js';
import {
  type Flow,
  flowFromRecord,
  type Protoinfo,
  protocolName,
  recordFromFlow,
  type StatusName,
  type Tuple,
} from '../../../src/flow/flow.js';
import { durableEqual, isNewLife, joinRecords, mergeEvent } from '../../../src/flow/merge.js';
import { normalise } from '../../../src/flow/normalise.js';
import { allocateMemory, lengthOf, MAX_TABLE_RECORD_BYTES, type Memory } from '../../../src/flow/record.js';
import { formatConntrack } from '../../../src/flow/text.js';
import { replyIsInverse, usesIcmp, usesPorts, writeInverseReply } from '../../../src/flow/tuple.js';
import { validateRecord } from '../../../src/flow/validate.js';

const u32 = fc.integer({ min: 0, max: 0xffffffff });
const u16 = fc.integer({ min: 0, max: 0xffff });
const u8 = fc.integer({ min: 0, max: 0xff });
const orNone = <T>(arbitrary: fc.Arbitrary<T>) => fc.option(arbitrary, { nil: undefined });

const address = (bytes: number): fc.Arbitrary<string> =>
  fc
    .array(fc.oneof(fc.constant(0), u8), { minLength: bytes, maxLength: bytes })
    .map((values) => formatAddress(Uint8Array.from(values), 0, bytes));

function tuple(protocol: number, bytes: number): fc.Arbitrary<Tuple> {
  const addresses = { source: address(bytes), destination: address(bytes) };
  if (usesPorts(protocol)) return fc.record({ ...addresses, sourcePort: u16, destinationPort: u16 });
  if (usesIcmp(protocol)) return fc.record({ ...addresses, icmpType: u8, icmpCode: u8, icmpId: u16 });
  return fc.record(addresses);
}

const flags = fc.integer({ min: 0, max: 3 });
const scale = fc.integer({ min: 0, max: 14 });

function protoinfo(protocol: number): fc.Arbitrary<Protoinfo | undefined> {
  switch (protocol) {
    case 6:
      return orNone(
        fc.record(
          {
            kind: fc.constant('tcp' as const),
            state: fc.constantFrom(...TCP_STATE_NAMES),
            wscaleOriginal: scale,
            wscaleReply: scale,
            flagsOriginal: flags,
            flagsReply: flags,
          },
          { requiredKeys: ['kind', 'state'] },
        ),
      );
    case 132:
      return orNone(
        fc.record({
          kind: fc.constant('sctp' as const),
          state: fc.constantFrom(...SCTP_STATE_NAMES, 'STATE_15'),
          vtagOriginal: fc.integer({ min: 1, max: 0xffffffff }),
          vtagReply: u32,
        }),
      );
    case 33:
      return orNone(
        fc.record({
          kind: fc.constant('dccp' as const),
          state: fc.constantFrom(...DCCP_STATE_NAMES),
          role: fc.constantFrom('client' as const, 'server' as const),
          handshakeSequence: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
        }),
      );
    default:
      return fc.constant(undefined);
  }
}

const adjustment = fc.record({ position: fc.integer({ min: 1, max: 0xffffffff }), before: u32, after: u32 });
const STATUS: StatusName[] = ['EXPECTED', 'SEEN_REPLY', 'ASSURED', 'SRC_NAT', 'DST_NAT', 'FIXED_TIMEOUT'];
const PROTOCOLS = fc.oneof(fc.constantFrom(1, 6, 17, 33, 47, 58, 132, 136), u8);

/** Any flow that a table can hold, in the form in which flowFromRecord gives it. */
const flows: fc.Arbitrary<Flow> = fc
  .tuple(PROTOCOLS, fc.constantFrom(4, 16), PROTOCOLS)
  .chain(([protocol, bytes, masterProtocol]) =>
    fc.record({
      family: fc.constant(bytes === 16 ? ('ipv6' as const) : ('ipv4' as const)),
      protocol: fc.constant(protocolName(protocol)),
      zone: orNone(fc.integer({ min: 1, max: 0xffff })),
      zoneDirection: orNone(fc.constantFrom('original' as const, 'reply' as const)),
      original: tuple(protocol, bytes),
      reply: tuple(protocol, bytes),
      status: fc.subarray(STATUS),
      timeout: orNone(u32),
      id: orNone(u32),
      mark: orNone(fc.integer({ min: 1, max: 0xffffffff })),
      protoinfo: protoinfo(protocol),
      labels: orNone(fc.uniqueArray(fc.integer({ min: 0, max: 127 }), { minLength: 1, maxLength: 9 })),
      helper: orNone(fc.stringMatching(/^[!-~]{1,16}$/)),
      master: orNone(
        tuple(masterProtocol, bytes).map((value) => ({ ...value, protocol: protocolName(masterProtocol) })),
      ),
      seqadj: orNone(
        fc
          .record({ original: adjustment, reply: adjustment }, { requiredKeys: [] })
          .filter((value) => value.original !== undefined || value.reply !== undefined),
      ),
      synproxy: orNone(fc.record({ isn: fc.integer({ min: 1, max: 0xffffffff }), its: u32, tsoff: u32 })),
      unknownParts: orNone(
        fc.uniqueArray(fc.integer({ min: 9, max: 0x7f }), { minLength: 1, maxLength: 4 }).chain((types) =>
          fc.tuple(
            ...types
              .sort((a, b) => a - b)
              .map((type) =>
                fc.record({
                  type: fc.constant(type),
                  bytes: fc.uint8Array({ maxLength: 21 }).map((value) => Buffer.from(value).toString('hex')),
                }),
              ),
          ),
        ),
      ),
    }),
  )
  .map((flow) => canonical(flow as Flow));

/** What normal form does, said of the object: absent fields are not there, sets are ordered. */
function canonical(flow: Flow): Flow {
  const copy = { ...flow };
  for (const key of Object.keys(copy) as (keyof Flow)[]) if (copy[key] === undefined) delete copy[key];
  if (copy.zone === undefined) delete copy.zoneDirection;
  copy.labels?.sort((a, b) => a - b);
  const info = copy.protoinfo;
  if (info?.kind === 'tcp' && !((info.flagsOriginal ?? 0) & (info.flagsReply ?? 0) & 1)) {
    if (info.wscaleOriginal !== undefined) info.wscaleOriginal = 0;
    if (info.wscaleReply !== undefined) info.wscaleReply = 0;
  }
  return copy;
}

function record(flow: Flow, at = 0): Memory {
  const m = allocateMemory(2048);
  m.u8.fill(0xa5);
  recordFromFlow(flow, m, at);
  return m;
}

const bytesOf = (m: Memory, at = 0): string =>
  Buffer.from(m.u8.subarray(at, at + lengthOf(m, at))).toString('hex');

describe('Flow and record', () => {
  it('give each other back unchanged', () => {
    fc.assert(
      fc.property(flows, (flow) => {
        expect(flowFromRecord(record(flow), 0)).toEqual(flow);
        expect(bytesOf(record(flowFromRecord(record(flow, 64), 64)))).toBe(bytesOf(record(flow)));
      }),
    );
  });

  it('make valid records in normal form only', () => {
    fc.assert(
      fc.property(flows, (flow) => {
        const m = record(flow, 8);
        expect(validateRecord(m, 8, lengthOf(m, 8))).toBeUndefined();
        const before = bytesOf(m, 8);
        expect(normalise(m, 8)).toBe(lengthOf(m, 8));
        expect(bytesOf(m, 8)).toBe(before);
      }),
    );
  });

  it('are printed as one line without a space at its end', () => {
    fc.assert(
      fc.property(flows, (flow) => {
        expect(formatConntrack(flow)).toMatch(/^[!-~]([ -~]*[!-~])?$/);
      }),
    );
  });
});

/** Any bytes whatever, biased towards something like a record. */
const garbage = fc
  .tuple(fc.uint8Array({ minLength: 52, maxLength: 700 }), fc.boolean(), fc.constantFrom(2, 10, 66, 138))
  .map(([bytes, isPlausible, family]) => {
    const m = allocateMemory(1024);
    m.u8.set(bytes);
    if (isPlausible) {
      m.u16[0] = Math.max(52, bytes.length & ~3);
      m.u8[12] = family;
    }
    return m;
  });

describe('validateRecord', () => {
  it('never throws, whatever the bytes', () => {
    fc.assert(
      fc.property(
        garbage,
        fc.integer({ min: -8, max: 1100 }),
        fc.integer({ min: -8, max: 1100 }),
        (m, at, n) => {
          validateRecord(m, at, n);
        },
      ),
    );
  });

  it('accepts a record with one byte changed only if it is still in normal form', () => {
    fc.assert(
      fc.property(flows, fc.nat(), fc.integer({ min: 1, max: 255 }), (flow, place, change) => {
        const m = record(flow);
        m.u8[place % lengthOf(m, 0)] ^= change;
        const available = lengthOf(record(flow), 0);
        if (validateRecord(m, 0, available) !== undefined) return;
        const before = bytesOf(m).slice(24);
        expect(lengthOf(m, 0)).toBeLessThanOrEqual(Math.min(available, MAX_TABLE_RECORD_BYTES));
        normalise(m, 0);
        expect(bytesOf(m).slice(24)).toBe(before);
        flowFromRecord(m, 0);
      }),
      { numRuns: 2000 },
    );
  });
});

describe('normalise', () => {
  it('twice is once, and never makes a record longer', () => {
    fc.assert(
      fc.property(garbage, (m) => {
        const before = lengthOf(m, 0);
        if (before < 100 || before > 900) return;
        expect(normalise(m, 0)).toBeLessThanOrEqual(before);
        const once = bytesOf(m);
        normalise(m, 0);
        expect(bytesOf(m)).toBe(once);
      }),
    );
  });
});

describe('merge', () => {
  const sameKey = (a: Flow, b: Flow): Flow => {
    const reply = b.protocol === a.protocol && b.family === a.family ? b.reply : a.reply;
    const info = b.protocol === a.protocol ? b.protoinfo : undefined;
    const { family, protocol, zone, zoneDirection, original } = a;
    const master = b.family === a.family ? b.master : undefined;
    return canonical({
      ...b,
      family,
      protocol,
      zone,
      zoneDirection,
      original,
      reply,
      protoinfo: info,
      master,
    });
  };

  it('of any update gives a valid record, and merging it again changes nothing', () => {
    fc.assert(
      fc.property(flows, flows, u8, (a, b, seen) => {
        const event = record(sameKey(a, b));
        const out = allocateMemory(1024);
        const again = allocateMemory(1024);
        const length = mergeEvent(record(a), 0, event, 0, seen, out, 0);
        if (length <= MAX_TABLE_RECORD_BYTES) expect(validateRecord(out, 0, length)).toBeUndefined();
        mergeEvent(out, 0, event, 0, seen, again, 0);
        expect(bytesOf(again)).toBe(bytesOf(out));
      }),
    );
  });

  it('of an update that tells all is the update, and a record is never a new life of itself', () => {
    fc.assert(
      fc.property(flows, (flow) => {
        const out = allocateMemory(1024);
        mergeEvent(record(flow), 0, record(flow), 0, 0xff, out, 0);
        expect(durableEqual(out, 0, record(flow), 0)).toBe(true);
        expect(isNewLife(out, 0, record(flow), 0)).toBe(false);
        joinRecords(record(flow), 0, record(flow), 0, out, 0);
        expect(bytesOf(out)).toBe(bytesOf(record(flow)));
      }),
    );
  });
});

describe('tuples and addresses', () => {
  it('an address reads back as the bytes it was written from', () => {
    fc.assert(
      fc.property(
        fc.constantFrom(4, 16),
        fc.infiniteStream(fc.oneof(fc.constant(0), u8)),
        (bytes, stream) => {
          const values = Uint8Array.from([...stream.take(bytes)]);
          expect(parseAddress(formatAddress(values, 0, bytes))).toEqual(values);
        },
      ),
    );
  });

  it('a written inverse is one', () => {
    fc.assert(
      fc.property(flows, (flow) => {
        const m = record(flow);
        writeInverseReply(m, 0);
        expect(replyIsInverse(m, 0)).toBe(true);
      }),
    );
  });
});
