import { beforeEach, describe, expect, it } from 'vitest';
import { parseAddress } from '../../../src/flow/address.js';
import { LocalFlows } from '../../../src/flow/local-flows.js';
import { type FlowDescription, makeRecord, type TupleDescription } from '../../simulation/record-maker.js';

const local = new LocalFlows();
const own = (texts: readonly string[], blocks?: string[]): void =>
  local.replace(
    texts.map((text) => parseAddress(text)!),
    blocks,
  );
const tuple = (source: string, destination: string): TupleDescription => ({ source, destination });
function isLocal(original: TupleDescription, reply?: TupleDescription): boolean {
  const flow: FlowDescription = { ...original, protocol: 'udp', ...(reply ? { reply } : {}) };
  return local.isLocal(makeRecord(flow).m, 0);
}

describe('a flow of a firewall with 10.1.0.1, 10.2.0.1 and fd00::1', () => {
  beforeEach(() => own(['10.1.0.1', '10.2.0.1', 'fd00::1', 'fe80::1']));

  it.each([
    ['to the firewall', true, tuple('10.1.0.9', '10.1.0.1')],
    ['from the firewall', true, tuple('10.2.0.1', '10.2.0.9')],
    ['through it', false, tuple('10.1.0.9', '10.2.0.9')],
    ['through it with SNAT', false, tuple('10.1.0.9', '10.2.0.9'), tuple('10.2.0.9', '10.2.0.1')],
    ['to its address, DNAT to a server', false, tuple('10.2.0.9', '10.2.0.1'), tuple('10.1.0.9', '10.2.0.9')],
    ['DNAT to the firewall itself', false, tuple('10.2.0.9', '10.2.0.7'), tuple('10.1.0.1', '10.2.0.9')],
    ['from it, its source translated', false, tuple('10.1.0.1', '10.2.0.9'), tuple('10.2.0.9', '10.2.0.7')],
    ['to it over IPv6', true, tuple('fd00::9', 'fd00::1')],
    ['through it over IPv6', false, tuple('fd00::9', 'fd01::9')],
    ['to loopback', true, tuple('127.0.0.1', '127.5.5.5')],
    ['to a multicast group', true, tuple('10.1.0.9', '224.0.0.251')],
    ['to a multicast group over IPv6', true, tuple('fd00::9', 'ff02::fb')],
    ['to everybody', true, tuple('10.1.0.9', '255.255.255.255')],
  ])('%s: local is %s', (_name, expected, original, reply?: TupleDescription) => {
    expect(isLocal(original, reply)).toBe(expected);
  });

  it('is judged by the addresses that there are now', () => {
    own(['10.1.0.1', '10.1.0.254']);
    expect(isLocal(tuple('10.1.0.9', '10.1.0.254'))).toBe(true);
    expect(isLocal(tuple('10.2.0.9', '10.2.0.1'))).toBe(false);
  });
});

describe('own addresses', () => {
  it('are told apart by the thousand, and from their neighbours', () => {
    const texts = Array.from({ length: 5000 }, (_, i) => `10.${i >> 8}.${i & 255}.1`);
    own([...texts, ...texts.map((_, i) => `fd00::${(i + 1).toString(16)}`)]);
    for (let i = 0; i < 5000; i += 7) {
      expect(isLocal(tuple('192.0.2.1', texts[i]))).toBe(true);
      expect(isLocal(tuple('192.0.2.1', `10.${i >> 8}.${i & 255}.2`))).toBe(false);
      expect(isLocal(tuple('fd99::1', `fd00::${(i + 1).toString(16)}`))).toBe(true);
    }
  });

  it('on the loopback interface are a whole block', () => {
    own([], ['10.77.0.0/16']);
    expect(isLocal(tuple('10.1.0.9', '10.77.200.1'))).toBe(true);
    expect(isLocal(tuple('10.1.0.9', '10.78.0.1'))).toBe(false);
  });
});

describe('an address that left', () => {
  const hasLeft = (original: TupleDescription, reply?: TupleDescription) =>
    local.hasLeft(makeRecord({ ...original, protocol: 'udp', ...(reply ? { reply } : {}) }).m, 0);

  it.each([
    ['a flow translated to it', true, tuple('10.1.0.9', '10.2.0.9'), tuple('10.2.0.9', '10.2.0.254')],
    ['one translated to another', false, tuple('10.1.0.9', '10.2.0.9'), tuple('10.2.0.9', '10.2.0.1')],
    ['one that it began itself', false, tuple('10.2.0.254', '10.2.0.9'), undefined],
    ['one over IPv6', true, tuple('fd00::9', 'fd01::9'), tuple('fd01::9', 'fd01::254')],
  ])('%s goes with it: %s', (_name, expected, original, reply) => {
    local.setLeft([parseAddress('10.2.0.254')!, parseAddress('fd01::254')!]);
    expect(hasLeft(original, reply)).toBe(expected);
    local.setLeft([]);
    expect(hasLeft(original, reply)).toBe(false);
  });
});
