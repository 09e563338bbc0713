import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { AF_INET, IPPROTO_TCP, IPPROTO_UDP } from '../../../src/flow/conntrack-enums.js';
import { OP_CREATE, OP_UPDATE } from '../../../src/flow/kernel-port.js';
import { allocateMemory, HAS_TIMEOUT, type Memory, OFF_HAS } from '../../../src/flow/record.js';
import { writeInverseReply } from '../../../src/flow/tuple.js';
import { CtnetlinkEncoder, REQUEST_MAX_BYTES } from '../../../src/kernel/encode.js';

const u16 = fc.nat({ max: 0xffff });
const u32 = fc.nat({ max: 0xffffffff });
/** Few kinds, so that most flows find a template, and some that only look plain. */
const flow = fc.record({
  protocol: fc.constantFrom(IPPROTO_TCP, IPPROTO_UDP),
  zone: fc.constantFrom(0, 0, 0, 7),
  sourcePort: u16,
  destinationPort: u16,
  source: u32,
  destination: u32,
  status: fc.constantFrom(0, 6, 7, 1030),
  mark: fc.oneof(fc.constant(0), u32),
  protoinfo: fc.constantFrom(0, 0x01000003, 0x1f117703),
  timeout: fc.oneof(u32, fc.constantFrom(0, 1)),
  hasTimeout: fc.constantFrom(true, true, true, false),
  isTranslated: fc.constantFrom(false, false, false, true),
  verb: fc.constantFrom(OP_CREATE, OP_CREATE, OP_CREATE, OP_UPDATE),
});

function record(f: Parameters<Parameters<typeof flow.map>[0]>[0]): Memory {
  const m = allocateMemory(64);
  m.u16[0] = 52;
  m.u8[OFF_HAS] = f.hasTimeout ? HAS_TIMEOUT : 0;
  m.u32[1] = f.timeout;
  m.u32[3] = AF_INET | (f.protocol << 8) | (f.zone << 16);
  m.u32[4] = (f.sourcePort | (f.destinationPort << 16)) >>> 0;
  m.u32[5] = f.source;
  m.u32[6] = f.destination;
  writeInverseReply(m, 0);
  if (f.isTranslated) m.u32[8] ^= 0x01000000;
  m.u32[10] = f.status;
  m.u32[11] = f.mark;
  m.u32[12] = f.protocol === IPPROTO_TCP ? f.protoinfo : 0;
  return m;
}

describe('an encoder that has seen flows of a kind', () => {
  it('writes the next of them byte for byte as one that has not', () => {
    fc.assert(
      fc.property(fc.array(flow, { minLength: 20, maxLength: 200 }), (flows) => {
        const seasoned = new CtnetlinkEncoder();
        const out = new Uint8Array(REQUEST_MAX_BYTES).fill(0xee);
        const fresh = new Uint8Array(REQUEST_MAX_BYTES);
        flows.forEach((f, i) => {
          const m = record(f);
          const length = seasoned.encodeRequest(f.verb, m, 0, out, 0, i);
          const wanted = new CtnetlinkEncoder().encodeRequest(f.verb, m, 0, fresh, 0, i);
          expect(Buffer.from(out.subarray(0, length)).toString('hex')).toBe(
            Buffer.from(fresh.subarray(0, wanted)).toString('hex'),
          );
        });
      }),
      { numRuns: 60 },
    );
  });
});
