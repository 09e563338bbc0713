import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { CounterMap } from '../../../src/flow/counters.js';
import { expectationBytes, expectationsEqual, validateExpectation } from '../../../src/flow/expectation.js';
import {
  type Expectation,
  expectationFromRecord,
  formatExpectation,
  recordFromExpectation,
} from '../../../src/flow/expectation-text.js';
import { allocateMemory } from '../../../src/flow/record.js';
import { ExpectationDecoder } from '../../../src/kernel/expectation-decode.js';
import { EXPECTATION_REQUEST_MAX_BYTES, ExpectationEncoder } from '../../../src/kernel/expectation-encode.js';

const port = fc.nat(65535);
const hextet = fc.integer({ min: 1, max: 0xffff }).map((n) => n.toString(16));
const v4 = fc.tuple(fc.nat(255), fc.nat(255), fc.nat(255), fc.nat(255)).map((b) => b.join('.'));
const v6 = fc.tuple(hextet, hextet).map(([a, b]) => `fd00:${a}::1:${b}`);
const name = fc.stringMatching(/^[a-zA-Z0-9.-]{1,15}$/);

const expectation: fc.Arbitrary<Expectation> = fc.boolean().chain((isV6) => {
  const address = isV6 ? v6 : v4;
  const tuple = fc.record({ source: address, destination: address, sourcePort: port, destinationPort: port });
  return fc.record(
    {
      family: fc.constant(isV6 ? ('ipv6' as const) : ('ipv4' as const)),
      protocol: fc.constantFrom('tcp', 'udp'),
      tuple,
      mask: tuple,
      master: tuple.map((t) => ({ protocol: 'tcp', ...t })),
      class: fc.nat(255),
      flags: fc.nat(7),
      zone: fc.integer({ min: 1, max: 65535 }),
      helper: name,
      fn: name,
      nat: fc.record({ direction: fc.constantFrom('original' as const, 'reply' as const), tuple }),
      timeout: fc.integer({ min: 1, max: 65535 }),
    },
    { requiredKeys: ['family', 'protocol', 'tuple', 'mask', 'master', 'class', 'flags'] },
  );
});

const encoded = (e: Expectation): { bytes: Uint8Array; length: number } => {
  const bytes = new Uint8Array(EXPECTATION_REQUEST_MAX_BYTES);
  return { bytes, length: new ExpectationEncoder().encode('create', recordFromExpectation(e), 0, bytes, 1) };
};

describe('expectations', () => {
  it('an object comes back from its packed form, which is in normal form', () => {
    fc.assert(
      fc.property(expectation, (e) => {
        const m = recordFromExpectation(e);
        expect(expectationFromRecord(m, 0)).toEqual(e);
        expect(validateExpectation(m, 0, expectationBytes(m, 0))).toBeUndefined();
        expect(formatExpectation(e)).toContain(`class=${e.class}`);
      }),
    );
  });

  it('a packed form comes back from the request that creates it', () => {
    fc.assert(
      fc.property(expectation, (e) => {
        const { bytes, length } = encoded(e);
        const decoder = new ExpectationDecoder(new CounterMap());
        expect(decoder.decode(bytes, 0, length)).toBe(expectationBytes(recordFromExpectation(e), 0));
        expect(expectationsEqual(decoder.m, 0, recordFromExpectation(e), 0)).toBe(true);
      }),
    );
  });

  it('no bytes make the decoder throw, and what it takes is in normal form', () => {
    const change = fc.record({ at: fc.nat(600), to: fc.nat(255) });
    const counters = new CounterMap();
    const decoder = new ExpectationDecoder(counters);
    let taken = 0;
    fc.assert(
      fc.property(
        expectation,
        fc.array(change, { minLength: 1, maxLength: 6 }),
        fc.nat(30),
        (e, changes, cut) => {
          const { bytes, length } = encoded(e);
          for (const { at, to } of changes) bytes[at % length] = to;
          if (decoder.decode(bytes, 0, Math.max(0, length - (cut > 20 ? cut - 20 : 0))) === 0) return;
          taken++;
          expect(validateExpectation(decoder.m, 0, expectationBytes(decoder.m, 0))).toBeUndefined();
        },
      ),
      { numRuns: 3000 },
    );
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 400 }), (bytes) => {
        decoder.decode(bytes, 0, bytes.length);
      }),
    );
    expect(taken).toBeGreaterThan(100);
  });

  it('what validation lets pass can be shown and packed again to the same bytes', () => {
    const change = fc.record({ at: fc.nat(255), to: fc.nat(255) });
    fc.assert(
      fc.property(expectation, fc.array(change, { maxLength: 4 }), (e, changes) => {
        const m = recordFromExpectation(e);
        for (const { at, to } of changes) m.u8[at % 256] = to;
        const copy = allocateMemory(256);
        copy.u8.set(m.u8);
        const length = expectationBytes(m, 0);
        if (validateExpectation(m, 0, length) !== undefined) return;
        expect(formatExpectation(expectationFromRecord(m, 0)).length).toBeGreaterThan(20);
      }),
      { numRuns: 2000 },
    );
  });
});
