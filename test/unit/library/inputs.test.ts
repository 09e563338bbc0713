import { describe, expect, test } from 'vitest';
import { recordFromExpectation } from '../../../src/flow/expectation-text.js';
import { allocateMemory, MAX_RECORD_BYTES } from '../../../src/flow/record.js';
import * as E from '../../../src/kernel/enums.js';
import { refusal } from '../../../src/library/errors.js';
import { type ExpectationInput, expectationOf } from '../../../src/library/expectation-input.js';
import { changedAttributes, type FlowInput, nameOf, writeInput } from '../../../src/library/flow-input.js';
import * as library from '../../../src/library/index.js';

const tcp = { source: '10.1.0.1', destination: '10.2.0.1', sourcePort: 4000, destinationPort: 7000 };
const master = { protocol: 'tcp', original: tcp };

describe('an expectation', () => {
  test('is filled in: anybody, any source port, the protocol of its master', () => {
    const expectation = expectationOf({ master, destination: '10.1.0.1', destinationPort: 7001 });
    expect(expectation).toEqual({
      family: 'ipv4',
      protocol: 'tcp',
      tuple: { source: '0.0.0.0', destination: '10.1.0.1', sourcePort: 0, destinationPort: 7001 },
      mask: { source: '0.0.0.0', destination: '255.255.255.255', sourcePort: 0, destinationPort: 65535 },
      master: { protocol: 'tcp', ...tcp },
      class: 0,
      flags: 0,
    });
    expect(recordFromExpectation(expectation)).toBeDefined();
  });

  test('takes blocks, ports, zones and IPv6', () => {
    const expectation = expectationOf({
      master: { protocol: 'udp', zone: 3, original: { ...tcp, source: 'fd00::1', destination: 'fd00::2' } },
      source: 'fd00:5::/32',
      sourcePort: 9,
      destination: 'fd00::1',
      destinationPort: 8,
      timeout: 60,
    });
    expect(expectation).toMatchObject({
      family: 'ipv6',
      protocol: 'udp',
      zone: 3,
      timeout: 60,
      tuple: { source: 'fd00:5::', sourcePort: 9 },
      mask: { source: 'ffff:ffff::', sourcePort: 65535 },
    });
  });

  test('that is whole stays as it is', () => {
    const whole = expectationOf({ master, destination: '10.1.0.1', destinationPort: 7001 });
    expect(expectationOf(whole)).toBe(whole);
  });

  test.each<[Partial<ExpectationInput>, RegExp]>([
    [{ destination: 'here' }, /expectation.destination: "here"/],
    [{ destinationPort: undefined }, /expectation.destinationPort: missing/],
    [{ destinationPort: 70_000 }, /expectation.destinationPort: 70000/],
    [{ source: 'fd00::/16' }, /expectation.source: "fd00::\/16"/],
    [{ protocol: 'tpc' }, /expectation.protocol: "tpc"/],
  ])('with %o is refused', (wrong, message) => {
    const input = { master, destination: '10.1.0.1', destinationPort: 7001, ...wrong };
    expect(() => expectationOf(input)).toThrow(message);
  });
});

describe('changes', () => {
  test('say what they name and no more', () => {
    expect(changedAttributes({ mark: 0 })).toBe(1 << E.CTA_MARK);
    expect(changedAttributes({ timeout: 5, labels: [] })).toBe((1 << E.CTA_TIMEOUT) | (1 << E.CTA_LABELS));
  });

  test('of what no update changes are refused', () => {
    expect(() => changedAttributes({ helper: 'ftp' } as object)).toThrow(/a flow's helper cannot be changed/);
    expect(() => changedAttributes({ mark: undefined })).toThrow(/nothing to change/);
  });
});

test('a flow is named by its protocol and tuple, and one without is refused', () => {
  expect(nameOf({ ...master, zone: 2 })).toBe('tcp 10.1.0.1:4000 -> 10.2.0.1:7000 in zone 2');
  expect(nameOf({ protocol: 'tcp', original: { ...tcp, source: 'fd00::1' } })).toContain('[fd00::1]:4000');
  const m = allocateMemory(MAX_RECORD_BYTES);
  expect(() => writeInput({ protocol: 'tcp' } as FlowInput, m)).toThrow(/flow.original.source: missing/);
  expect(() => writeInput({ ...master, mark: -1 }, m)).toThrow(/flow.mark/);
  const { destinationPort: _, ...half } = tcp;
  expect(() => writeInput({ protocol: 'tcp', original: half }, m)).toThrow(
    'flow.original.destinationPort: missing, and tcp has ports',
  );
  // GRE without keys is right, and so is DCCP without ports, where the kernel tracks it so.
  const hosts = { source: tcp.source, destination: tcp.destination };
  for (const protocol of ['gre', 'dccp', '50']) writeInput({ protocol, original: hosts }, m);
});

test('a refusal has a class for its reason, with operation, errno, its name and what to do', () => {
  expect(refusal('get', 2)).toBeInstanceOf(library.FlowMissingError);
  expect(refusal('create', 17)).toBeInstanceOf(library.FlowExistsError);
  expect(refusal('create', 12)).toBeInstanceOf(library.TableFullError);
  expect(refusal('create', 1)).toBeInstanceOf(library.NetAdminMissingError);
  const error = refusal('create flow x', 95, { 95: 'load the helper' });
  expect(error).toBeInstanceOf(library.SystemError);
  expect(error).toMatchObject({ operation: 'create flow x', errno: 95, code: 'ENOTSUP' });
  expect(error.message).toMatch(/^create flow x: .*\(ENOTSUP\): load the helper$/);
});
