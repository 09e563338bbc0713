import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { newSettings } from '../../../src/conntrack/settings.js';
import { TextBuffer } from '../../../src/conntrack/text-buffer.js';
import { writeSave } from '../../../src/conntrack/write-save.js';
import { SEEN_IN_DUMP, TextWriter } from '../../../src/conntrack/write-text.js';
import { XmlWriter } from '../../../src/conntrack/write-xml.js';
import { formatAddress } from '../../../src/flow/address.js';
import { AF_INET, AF_INET6 } from '../../../src/flow/conntrack-enums.js';
import { type Flow, flowFromRecord, recordFromFlow } from '../../../src/flow/flow.js';
import { allocateMemory, MAX_RECORD_BYTES, type Memory } from '../../../src/flow/record.js';
import { formatConntrack } from '../../../src/flow/text.js';

const { output } = newSettings('L', 'conntrack', new Set());

/** What `write` puts into a buffer. */
function written(write: (out: TextBuffer) => void): string {
  let text = '';
  const out = new TextBuffer((bytes) => {
    text += Buffer.from(bytes).toString('latin1');
  });
  write(out);
  out.flush();
  return text;
}

const FLOWS: Record<string, Flow> = {
  tcp: {
    family: 'ipv4',
    protocol: 'tcp',
    original: { source: '10.0.0.1', destination: '192.0.2.255', sourcePort: 1, destinationPort: 65535 },
    protoinfo: { kind: 'tcp', state: 'ESTABLISHED' },
    status: ['SEEN_REPLY', 'ASSURED'],
    mark: 4294967295,
    timeout: 431999,
    helper: 'ftp',
  },
  udp6: {
    family: 'ipv6',
    protocol: 'udp',
    original: {
      source: 'fd00::5:0:0:1',
      destination: '::ffff:10.0.0.1',
      sourcePort: 53,
      destinationPort: 10000,
    },
    status: [],
    timeout: 9,
    zone: 7,
  },
  icmp: {
    family: 'ipv4',
    protocol: 'icmp',
    original: { source: '0.0.0.0', destination: '100.99.9.10', icmpId: 256, icmpType: 8, icmpCode: 0 },
    status: [],
    timeout: 1000,
    zone: 3,
    zoneDirection: 'reply',
  },
  gre: {
    family: 'ipv4',
    protocol: 'gre',
    original: { source: '10.0.0.1', destination: '10.0.0.2', sourcePort: 16, destinationPort: 65535 },
    status: ['SEEN_REPLY'],
    timeout: 1234567,
    zone: 3,
    zoneDirection: 'original',
  },
  esp: {
    family: 'ipv4',
    protocol: '50',
    original: { source: '10.0.0.1', destination: '10.0.0.2' },
    status: [],
    timeout: 12345678,
  },
};

function packed(flow: Flow): Memory {
  const m = allocateMemory(MAX_RECORD_BYTES);
  recordFromFlow(flow, m, 0);
  return m;
}

test.each(Object.keys(FLOWS))('a line is what text.ts makes of the flow: %s', (name) => {
  const m = packed(FLOWS[name]);
  for (const isExtended of [false, true]) {
    const line = written((out) =>
      new TextWriter(out, { ...output, isExtended }, undefined).flow(m, 0, SEEN_IN_DUMP),
    );
    expect(line).toBe(formatConntrack(flowFromRecord(m, 0), { isExtended }));
  }
});

test('an event without a mark shows none', () => {
  const line = written((out) => new TextWriter(out, output, undefined).flow(packed(FLOWS.esp), 0, 0));
  expect(line).toBe('unknown  50 12345678 src=10.0.0.1 dst=10.0.0.2 src=10.0.0.2 dst=10.0.0.1');
});

test('a saved flow is the command that makes it', () => {
  const line = written((out) => writeSave(out, packed(FLOWS.udp6), 0, 'A'));
  expect(line).toBe(
    '-A -t 9 -u UNSET -w 7 -s fd00::5:0:0:1 -d ::ffff:10.0.0.1 -r ::ffff:10.0.0.1 -q fd00::5:0:0:1 ' +
      '-p udp --sport 53 --dport 10000 --reply-port-src 10000 --reply-port-dst 53',
  );
});

test('a flow as XML', () => {
  const line = written((out) =>
    new XmlWriter(out, output, undefined).flow(packed(FLOWS.gre), 0, SEEN_IN_DUMP),
  );
  const layer3 = (source: string, destination: string) =>
    `<layer3 protonum="2" protoname="ipv4"><src>${source}</src><dst>${destination}</dst></layer3>`;
  const keys = (first: string, second: string) =>
    `<layer4 protonum="47" protoname="gre"><srckey>0x${first}</srckey><dstkey>0x${second}</dstkey></layer4>`;
  expect(line).toBe(
    `<flow><meta direction="original">${layer3('10.0.0.1', '10.0.0.2')}${keys('10', 'ffff')}<zone>3</zone></meta>` +
      `<meta direction="reply">${layer3('10.0.0.2', '10.0.0.1')}${keys('ffff', '10')}</meta>` +
      '<meta direction="independent"><timeout>1234567</timeout><mark>0</mark></meta></flow>',
  );
});

test("a helper's name stands behind all directions, as in conntrack(8)'s XML", () => {
  const line = written((out) =>
    new XmlWriter(out, output, undefined).flow(packed(FLOWS.tcp), 0, SEEN_IN_DUMP),
  );
  expect(line).toMatch(/<mark>4294967295<\/mark><assured\/><\/meta><helper>ftp<\/helper><\/flow>$/);
});

describe('numbers and addresses', () => {
  test('every number below 2^32, and beyond', () => {
    const numbers = fc.oneof(fc.nat(0xffff), fc.integer({ min: 0, max: 0xffffffff }));
    const property = fc.property(numbers, (n) => written((out) => out.u32(n)) === String(n));
    fc.assert(property);
    for (const n of [
      0, 9, 10, 255, 256, 999, 1000, 9999, 10_000, 999_999, 10_000_000, 99_999_999, 0xffffffff,
    ]) {
      expect(written((out) => out.u32(n))).toBe(String(n));
    }
    expect(written((out) => out.u64(0xffffffff, 0xffffffff))).toBe('18446744073709551615');
    expect(written((out) => out.u64(1, 1))).toBe('4294967297');
  });

  test('every IPv4 and IPv6 address as address.ts has it', () => {
    // Zeros are where IPv6 is difficult.
    const byte = fc.oneof({ weight: 3, arbitrary: fc.constant(0) }, fc.nat(255), fc.constant(255));
    fc.assert(
      fc.property(fc.array(byte, { minLength: 16, maxLength: 16 }), (bytes) => {
        const u8 = Uint8Array.from(bytes);
        return (
          written((out) => out.address(u8, 0, AF_INET6)) === formatAddress(u8, 0, 16) &&
          written((out) => out.address(u8, 0, AF_INET)) === formatAddress(u8, 0, 4)
        );
      }),
      { numRuns: 2000 },
    );
  });

  test('a buffer goes out in pieces, and nothing of it is lost', () => {
    const pieces: number[] = [];
    let text = '';
    const out = new TextBuffer((bytes) => {
      pieces.push(bytes.length);
      text += Buffer.from(bytes).toString('latin1');
    });
    const lines = Array.from({ length: 20_000 }, (_, i) => `line ${i}`);
    for (const each of lines) {
      out.text(each);
      out.endLine();
    }
    out.flush();
    expect(text).toBe(`${lines.join('\n')}\n`);
    expect(pieces.length).toBe(2);
  });
});
