/** Tuples and what stands beside them as attributes of a request: just what was given, nothing derived. */
import { AF_INET, AF_INET6, IPPROTO_ICMP } from '../flow/conntrack-enums.js';
import { inverseL4, usesIcmp, usesPorts } from '../flow/tuple.js';
import type { AttributeWriter } from '../kernel/attribute-writer.js';
import * as E from '../kernel/enums.js';
import type { Settings, TupleSettings } from './settings.js';

/** A tuple whose ends are all known. The L4 word is as in a record: ports, or ICMP id, type, code. */
export interface WholeTuple {
  readonly source: Uint8Array;
  readonly destination: Uint8Array;
  readonly protocol: number;
  readonly l4: number;
}

const swap16 = (n: number): number => ((n & 0xff) << 8) | (n >>> 8);
/** Two 16-bit numbers in network order, as they stand in a record's word. */
const word = (first: number, second: number): number => (swap16(first) | (swap16(second) << 16)) >>> 0;

/** What answers a tuple. */
export const inverse = (tuple: WholeTuple): WholeTuple => ({
  source: tuple.destination,
  destination: tuple.source,
  protocol: tuple.protocol,
  l4: inverseL4(tuple.protocol, tuple.l4),
});

/** The tuple as given, missing ends from `otherwise`; undefined if one is missing in both. */
function complete(given: TupleSettings, protocol: number, otherwise?: WholeTuple): WholeTuple | undefined {
  const source = given.source ?? otherwise?.source;
  const destination = given.destination ?? otherwise?.destination;
  if (source === undefined || destination === undefined) return undefined;
  let l4 = otherwise?.l4 ?? 0;
  if (usesPorts(protocol)) {
    const first = given.first ?? swap16(l4 & 0xffff);
    const second = given.second ?? swap16(l4 >>> 16);
    l4 = word(first, second);
  }
  return { source, destination, protocol, l4 };
}

/** Original and reply tuple of a flow; each end that was not given is the other's inverse. */
export function flowTuples(settings: Settings): { original: WholeTuple; reply: WholeTuple } | undefined {
  const protocol = settings.protocol ?? 0;
  const { icmpType = 0, icmpCode = 0, icmpId = 0 } = settings;
  const icmp = (swap16(icmpId) | (icmpType << 16) | (icmpCode << 24)) >>> 0;
  const first = complete(settings.original, protocol);
  if (first !== undefined) {
    const original = usesIcmp(protocol) ? { ...first, l4: icmp } : first;
    const reply = complete(settings.reply, protocol, inverse(original));
    return reply === undefined ? undefined : { original, reply };
  }
  const given = complete(settings.reply, protocol);
  if (given === undefined) return undefined;
  const reply = usesIcmp(protocol) ? inverse({ ...inverse(given), l4: icmp }) : given;
  const original = complete(settings.original, protocol, inverse(reply));
  return original === undefined ? undefined : { original, reply };
}

/** The tuple of an expectation, or its mask; numbers that were not given are 0. */
export function expectedTuple(given: TupleSettings, protocol: number): WholeTuple | undefined {
  return complete(given, protocol);
}

export const familyOf = (tuple: WholeTuple): number => (tuple.source.length === 16 ? AF_INET6 : AF_INET);

/** Writes the nest of a tuple; `zone` is that of its direction. */
export function writeTuple(out: AttributeWriter, type: number, tuple: WholeTuple, zone?: number): void {
  const isV6 = tuple.source.length === 16;
  out.nest(type, () => {
    out.nest(E.CTA_TUPLE_IP, () => {
      out.data(isV6 ? E.CTA_IP_V6_SRC : E.CTA_IP_V4_SRC, tuple.source);
      out.data(isV6 ? E.CTA_IP_V6_DST : E.CTA_IP_V4_DST, tuple.destination);
    });
    out.nest(E.CTA_TUPLE_PROTO, () => writeProtocol(out, tuple));
    if (zone !== undefined) out.u16(E.CTA_TUPLE_ZONE, zone);
  });
}

function writeProtocol(out: AttributeWriter, { protocol, l4 }: WholeTuple): void {
  const first = swap16(l4 & 0xffff);
  out.u8(E.CTA_PROTO_NUM, protocol);
  if (usesPorts(protocol)) {
    out.u16(E.CTA_PROTO_SRC_PORT, first);
    out.u16(E.CTA_PROTO_DST_PORT, swap16(l4 >>> 16));
  } else if (usesIcmp(protocol)) {
    const isV4 = protocol === IPPROTO_ICMP;
    out.u16(isV4 ? E.CTA_PROTO_ICMP_ID : E.CTA_PROTO_ICMPV6_ID, first);
    out.u8(isV4 ? E.CTA_PROTO_ICMP_TYPE : E.CTA_PROTO_ICMPV6_TYPE, (l4 >>> 16) & 0xff);
    out.u8(isV4 ? E.CTA_PROTO_ICMP_CODE : E.CTA_PROTO_ICMPV6_CODE, l4 >>> 24);
  }
}
