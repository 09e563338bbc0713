/** Expectations for people: an object, the line that `conntrack -L expect` prints, and the packed form of an object. */
import { EXPECTATION_MAX_BYTES } from '../limits.js';
import { formatAddress, parseAddress } from './address.js';
import { AF_INET, AF_INET6 } from './conntrack-enums.js';
import {
  EXP_OFF_CLASS,
  EXP_OFF_FAMILY,
  EXP_OFF_MASTER_PROTOCOL,
  EXP_OFF_PROTOCOL,
  EXP_OFF_TIMEOUT,
  EXP_OFF_TUPLE,
  EXP_OFF_ZONE,
  expectationFn,
  expectationHelper,
  expOffFlags,
  expOffFnBytes,
  expOffHelperBytes,
  expOffMask,
  expOffMaster,
  expOffNames,
  expOffNat,
  expOffNatTuple,
  measureExpectation,
  NAT_NONE,
  NAT_ORIGINAL,
  NAT_REPLY,
  tupleBytesOf,
  validateExpectation,
} from './expectation.js';
import { protocolName, type Tuple } from './flow.js';
import { protocolNumber } from './flow-to-record.js';
import { allocateMemory, type Memory } from './record.js';
import { usesIcmp, usesPorts } from './tuple.js';

/** NF_CT_EXPECT_*, linux/netfilter/nf_conntrack_common.h, by bit. */
const FLAG_NAMES = ['PERMANENT', 'INACTIVE', 'USERSPACE'];

/** One expected flow. What is absent is undefined; protocols are names of PROTOCOL_NAMES or numbers as text. */
export interface Expectation {
  family: 'ipv4' | 'ipv6';
  protocol: string;
  tuple: Tuple;
  mask: Tuple;
  /** Original tuple of the flow that announced it. */
  master: Tuple & { protocol: string };
  zone?: number;
  class: number;
  /** NF_CT_EXPECT_* bits. */
  flags: number;
  helper?: string;
  fn?: string;
  nat?: { direction: 'original' | 'reply'; tuple: Tuple };
  /** Seconds. */
  timeout?: number;
}

/** The object of the packed expectation at `at`, which must be in normal form. */
export function expectationFromRecord(m: Memory, at: number): Expectation {
  const t = tupleBytesOf(m, at);
  const protocol = m.u8[at + EXP_OFF_PROTOCOL];
  const masterProtocol = m.u8[at + EXP_OFF_MASTER_PROTOCOL];
  const zone = m.u16[(at + EXP_OFF_ZONE) >>> 1];
  const timeout = m.u16[(at + EXP_OFF_TIMEOUT) >>> 1];
  const nat = m.u8[at + expOffNat(t)];
  const helper = expectationHelper(m, at);
  const fn = expectationFn(m, at);
  return {
    family: m.u8[at + EXP_OFF_FAMILY] === AF_INET6 ? 'ipv6' : 'ipv4',
    protocol: protocolName(protocol),
    tuple: readTuple(m, at + EXP_OFF_TUPLE, t, protocol),
    mask: readTuple(m, at + expOffMask(t), t, protocol),
    master: {
      protocol: protocolName(masterProtocol),
      ...readTuple(m, at + expOffMaster(t), t, masterProtocol),
    },
    ...(zone > 0 ? { zone } : {}),
    class: m.u32[(at + EXP_OFF_CLASS) >>> 2],
    flags: m.u32[(at + expOffFlags(t)) >>> 2],
    ...(helper === '' ? {} : { helper }),
    ...(fn === '' ? {} : { fn }),
    ...(nat === NAT_NONE
      ? {}
      : {
          nat: {
            direction: nat === NAT_REPLY ? ('reply' as const) : ('original' as const),
            tuple: readTuple(m, at + expOffNatTuple(t), t, protocol),
          },
        }),
    ...(timeout > 0 ? { timeout } : {}),
  };
}

function readTuple(m: Memory, at: number, tupleBytes: number, protocol: number): Tuple {
  const addr = (tupleBytes - 4) / 2;
  const tuple: Tuple = {
    source: formatAddress(m.u8, at + 4, addr),
    destination: formatAddress(m.u8, at + 4 + addr, addr),
  };
  const first = (m.u8[at] << 8) | m.u8[at + 1];
  if (usesPorts(protocol)) {
    tuple.sourcePort = first;
    tuple.destinationPort = (m.u8[at + 2] << 8) | m.u8[at + 3];
  } else if (usesIcmp(protocol)) {
    tuple.icmpId = first;
    tuple.icmpType = m.u8[at + 2];
    tuple.icmpCode = m.u8[at + 3];
  }
  return tuple;
}

/** Packs an expectation. Throws RangeError with the field's name for what no expectation can be. */
export function recordFromExpectation(e: Expectation): Memory {
  const m = allocateMemory(EXPECTATION_MAX_BYTES);
  m.u8[EXP_OFF_FAMILY] = e.family === 'ipv6' ? AF_INET6 : AF_INET;
  m.u8[EXP_OFF_PROTOCOL] = protocolNumber('expectation.protocol', e.protocol);
  m.u8[EXP_OFF_MASTER_PROTOCOL] = protocolNumber('expectation.master.protocol', e.master.protocol);
  m.u16[EXP_OFF_ZONE >>> 1] = e.zone ?? 0;
  m.u16[EXP_OFF_TIMEOUT >>> 1] = e.timeout ?? 0;
  m.u32[EXP_OFF_CLASS >>> 2] = e.class;
  const t = tupleBytesOf(m, 0);
  writeTuple(m, EXP_OFF_TUPLE, t, e.tuple, 'tuple');
  writeTuple(m, expOffMask(t), t, e.mask, 'mask');
  writeTuple(m, expOffMaster(t), t, e.master, 'master');
  m.u32[expOffFlags(t) >>> 2] = e.flags;
  if (e.nat !== undefined) {
    m.u8[expOffNat(t)] = e.nat.direction === 'reply' ? NAT_REPLY : NAT_ORIGINAL;
    writeTuple(m, expOffNatTuple(t), t, e.nat.tuple, 'nat');
  }
  const names = new TextEncoder().encode((e.helper ?? '') + (e.fn ?? ''));
  m.u8[expOffHelperBytes(t)] = e.helper?.length ?? 0;
  m.u8[expOffFnBytes(t)] = e.fn?.length ?? 0;
  m.u8.set(names.subarray(0, EXPECTATION_MAX_BYTES - expOffNames(m, 0)), expOffNames(m, 0));
  m.u16[0] = measureExpectation(m, 0);
  const reason = validateExpectation(m, 0, m.u16[0]);
  if (reason !== undefined) throw new RangeError(reason);
  return m;
}

function writeTuple(m: Memory, at: number, tupleBytes: number, tuple: Tuple, field: string): void {
  const source = parseAddress(tuple.source);
  const destination = parseAddress(tuple.destination);
  const addr = (tupleBytes - 4) / 2;
  if (source?.length !== addr || destination?.length !== addr) {
    throw new RangeError(`expectation.${field}: want two addresses of ${addr} bytes`);
  }
  const first = tuple.sourcePort ?? tuple.icmpId ?? 0;
  const second = tuple.destinationPort ?? ((tuple.icmpType ?? 0) << 8) | (tuple.icmpCode ?? 0);
  m.u8.set([first >>> 8, first & 0xff, second >>> 8, second & 0xff], at);
  m.u8.set(source, at + 4);
  m.u8.set(destination, at + 4 + addr);
}

function tupleText(tuple: Tuple, prefix = ''): string {
  let text = `${prefix}src=${tuple.source} ${prefix}dst=${tuple.destination} `;
  if (tuple.sourcePort !== undefined) text += `sport=${tuple.sourcePort} dport=${tuple.destinationPort} `;
  if (tuple.icmpType !== undefined) {
    text += `type=${tuple.icmpType} code=${tuple.icmpCode} id=${tuple.icmpId} `;
  }
  return text;
}

/** The line that `conntrack -L expect` (conntrack-tools 1.4.7) prints, without a line end. */
export function formatExpectation(e: Expectation): string {
  let text = e.timeout === undefined ? '' : `${e.timeout} `;
  text += `proto=${protocolNumber('expectation.protocol', e.protocol)} ${tupleText(e.tuple)}`;
  text += tupleText(e.mask, 'mask-') + tupleText(e.master, 'master-');
  if (e.zone !== undefined) text += `zone=${e.zone} `;
  const flags = FLAG_NAMES.filter((_, bit) => (e.flags & (1 << bit)) !== 0);
  if (flags.length > 0) text += `${flags.join(',')} `;
  text += `class=${e.class} `;
  if (e.helper !== undefined) text += `helper=${e.helper} `;
  return text.trimEnd();
}
