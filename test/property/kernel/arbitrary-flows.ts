/** Arbitrary flows as a kernel could report them: attribute values of an event, for fast-check. */
import fc from 'fast-check';
import type { AttributeValues } from './event-builder.js';

const u8 = fc.nat({ max: 255 });
const u16 = fc.nat({ max: 0xffff });
const u32 = fc.nat({ max: 0xffffffff });
const u64 = fc.bigInt({ min: 0n, max: 0xffffffffffffffffn });
const bytes = (n: number) => fc.uint8Array({ minLength: n, maxLength: n });
const maybe = <T>(arbitrary: fc.Arbitrary<T>) => fc.option(arbitrary, { nil: undefined });

const PROTOCOLS = [1, 6, 17, 33, 47, 58, 89, 132, 136, 253];
const hasPorts = (protocol: number): boolean => [6, 17, 33, 47, 132, 136].includes(protocol);

/** One flow: its family and its attributes. */
export interface ArbitraryFlow {
  readonly family: number;
  readonly protocol: number;
  readonly values: AttributeValues;
}

function arbitraryProto(protocol: number, isReply: boolean): fc.Arbitrary<AttributeValues> {
  const num = { CTA_PROTO_NUM: fc.constant(protocol) };
  if (hasPorts(protocol)) return fc.record({ ...num, CTA_PROTO_SRC_PORT: u16, CTA_PROTO_DST_PORT: u16 });
  if (protocol === 1) {
    const type = fc.constant(isReply ? 0 : 8);
    return fc.record({ ...num, CTA_PROTO_ICMP_ID: u16, CTA_PROTO_ICMP_TYPE: type, CTA_PROTO_ICMP_CODE: u8 });
  }
  if (protocol !== 58) return fc.record(num);
  const type = fc.constant(isReply ? 129 : 128);
  return fc.record({
    ...num,
    CTA_PROTO_ICMPV6_ID: u16,
    CTA_PROTO_ICMPV6_TYPE: type,
    CTA_PROTO_ICMPV6_CODE: u8,
  });
}

function arbitraryTuple(
  family: number,
  protocol: number,
  isReply: boolean,
  zone?: number,
): fc.Arbitrary<AttributeValues> {
  const ip: fc.Arbitrary<AttributeValues> =
    family === 2
      ? fc.record({ CTA_IP_V4_SRC: bytes(4), CTA_IP_V4_DST: bytes(4) })
      : fc.record({ CTA_IP_V6_SRC: bytes(16), CTA_IP_V6_DST: bytes(16) });
  return fc.record({
    CTA_TUPLE_IP: ip,
    CTA_TUPLE_PROTO: arbitraryProto(protocol, isReply),
    CTA_TUPLE_ZONE: fc.constant(zone),
  });
}

function arbitraryProtoinfo(protocol: number): fc.Arbitrary<AttributeValues | undefined> {
  const state = fc.nat({ max: 9 });
  const flags = fc.tuple(u8, u8).map(([f, m]) => new Uint8Array([f, m]));
  if (protocol === 6) {
    const scale = fc.nat({ max: 14 });
    const tcp = fc.record({
      CTA_PROTOINFO_TCP_STATE: state,
      CTA_PROTOINFO_TCP_WSCALE_ORIGINAL: scale,
      CTA_PROTOINFO_TCP_WSCALE_REPLY: scale,
      CTA_PROTOINFO_TCP_FLAGS_ORIGINAL: flags,
      CTA_PROTOINFO_TCP_FLAGS_REPLY: flags,
    });
    const ended = fc.record({ CTA_PROTOINFO_TCP_STATE: state });
    return maybe(fc.record({ CTA_PROTOINFO_TCP: fc.oneof(tcp, ended) }));
  }
  if (protocol === 132) {
    const sctp = fc.record({
      CTA_PROTOINFO_SCTP_STATE: state,
      CTA_PROTOINFO_SCTP_VTAG_ORIGINAL: u32,
      CTA_PROTOINFO_SCTP_VTAG_REPLY: u32,
    });
    return maybe(fc.record({ CTA_PROTOINFO_SCTP: sctp }));
  }
  if (protocol !== 33) return fc.constant(undefined);
  const dccp = fc.record({
    CTA_PROTOINFO_DCCP_STATE: state,
    CTA_PROTOINFO_DCCP_ROLE: fc.nat({ max: 1 }),
    CTA_PROTOINFO_DCCP_HANDSHAKE_SEQ: u64,
  });
  return maybe(fc.record({ CTA_PROTOINFO_DCCP: dccp }));
}

function arbitraryValues(family: number, protocol: number, zoneKind: number, zone: number) {
  const seqadj = fc.record({
    CTA_SEQADJ_CORRECTION_POS: u32,
    CTA_SEQADJ_OFFSET_BEFORE: u32,
    CTA_SEQADJ_OFFSET_AFTER: u32,
  });
  const counters = fc.record({ CTA_COUNTERS_PACKETS: u64, CTA_COUNTERS_BYTES: u64 });
  const name = fc.stringMatching(/^[a-z][a-zA-Z0-9.-]{0,14}$/);
  return fc.record({
    CTA_TUPLE_ORIG: arbitraryTuple(family, protocol, false, zoneKind === 1 ? zone : undefined),
    CTA_TUPLE_REPLY: arbitraryTuple(family, protocol, true, zoneKind === 2 ? zone : undefined),
    CTA_STATUS: maybe(fc.nat({ max: 0xffff })),
    CTA_PROTOINFO: arbitraryProtoinfo(protocol),
    CTA_HELP: maybe(fc.record({ CTA_HELP_NAME: name })),
    CTA_TIMEOUT: maybe(fc.integer({ min: 1, max: 8_589_934 })),
    CTA_MARK: maybe(u32),
    CTA_COUNTERS_ORIG: maybe(counters),
    CTA_COUNTERS_REPLY: maybe(counters),
    CTA_USE: maybe(u32),
    CTA_ID: maybe(u32),
    CTA_TUPLE_MASTER: maybe(arbitraryTuple(family, 6, false)),
    CTA_SEQ_ADJ_ORIG: maybe(seqadj),
    CTA_SEQ_ADJ_REPLY: maybe(seqadj),
    CTA_ZONE: fc.constant(zoneKind === 0 && zone !== 0 ? zone : undefined),
    CTA_SECCTX: maybe(fc.record({ CTA_SECCTX_NAME: fc.constant('system_u:object_r:x_t:s0') })),
    CTA_TIMESTAMP: maybe(fc.record({ CTA_TIMESTAMP_START: u64, CTA_TIMESTAMP_STOP: maybe(u64) })),
    CTA_LABELS: maybe(bytes(16)),
    CTA_SYNPROXY: maybe(fc.record({ CTA_SYNPROXY_ISN: u32, CTA_SYNPROXY_ITS: u32, CTA_SYNPROXY_TSOFF: u32 })),
    CTA_TIMESTAMP_EVENT: maybe(u64),
  });
}

/** Any flow of any protocol and family, in any zone, with any of the optional attributes. */
export const arbitraryFlow: fc.Arbitrary<ArbitraryFlow> = fc
  .tuple(
    fc.constantFrom(2, 10),
    fc.constantFrom(...PROTOCOLS),
    fc.nat({ max: 2 }),
    fc.oneof(fc.constant(0), u16),
  )
  .chain(([family, protocol, zoneKind, zone]) =>
    arbitraryValues(family, protocol, zone === 0 ? 0 : zoneKind, zone).map((values) => ({
      family,
      protocol,
      values: values as AttributeValues,
    })),
  );
