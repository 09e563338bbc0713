/**
 * ctnetlink's messages as tables: type, C name, codec, size, and the place of the value in the stage (or the table of
 * the nested attributes). Decoder, encoder and fuzzers interpret these tables; nothing else knows an attribute.
 */
import * as E from './enums.js';
import * as X from './expectation-stage.js';
import * as S from './stage.js';

/** Codecs: how an attribute's bytes stand in the stage. Small integers, for one switch. */
export const CODEC_UNKNOWN = 0;
export const CODEC_NESTED = 1;
export const CODEC_U8 = 2;
export const CODEC_RAW16 = 3; // two bytes as they are: ports, ICMP ids, TCP flags and mask
export const CODEC_RAW32 = 4; // four bytes as they are: IPv4 addresses
export const CODEC_RAW128 = 5; // sixteen bytes as they are: IPv6 addresses, labels
export const CODEC_BE16 = 6; // network order outside, host order inside
export const CODEC_BE32 = 7;
export const CODEC_BE64 = 8; // inside two words, the low one first
export const CODEC_TEXT = 9; // ends at a NUL; its length goes into the part header before the place
export const CODEC_IGNORED = 10; // known, its size is checked, its value has no place

/** One attribute: `size` is exact in bytes, or the least when `max` is given; `target` is relative to the parent's. */
interface Attribute {
  readonly type: number;
  readonly name: string;
  readonly codec: number;
  readonly size: number;
  readonly max: number;
  readonly target: number;
  readonly nested?: AttributeTable;
}

/** The attributes of one nesting level; `clears` names the places [offset, bytes] zeroed when such a nest begins. */
export interface AttributeTable {
  readonly name: string;
  readonly attributes: readonly Attribute[];
  readonly clears?: readonly [number, number];
}

type Name = keyof typeof E;
const NUMBERS: Readonly<Record<string, number>> = { ...E };
const CODEC_BYTES = [0, 0, 1, 2, 4, 16, 2, 4, 8];
const ANY_BYTES = 0xffff;

const value = (name: Name, codec: number, target: number): Attribute => {
  const size = CODEC_BYTES[codec];
  return { type: NUMBERS[name], name, codec, size, max: size, target };
};
const nest = (name: Name, nested: AttributeTable, target = 0): Attribute => ({
  type: NUMBERS[name],
  name,
  codec: CODEC_NESTED,
  size: 0,
  max: ANY_BYTES,
  target,
  nested,
});
const text = (name: Name, target: number): Attribute => ({
  type: NUMBERS[name],
  name,
  codec: CODEC_TEXT,
  size: 1,
  max: ANY_BYTES,
  target,
});
const ignored = (name: Name, size: number, max = size): Attribute => ({
  type: NUMBERS[name],
  name,
  codec: CODEC_IGNORED,
  size,
  max,
  target: 0,
});

const IP: AttributeTable = {
  name: 'ctattr_ip',
  attributes: [
    value('CTA_IP_V4_SRC', CODEC_RAW32, S.TUPLE_SRC),
    value('CTA_IP_V4_DST', CODEC_RAW32, S.TUPLE_DST),
    value('CTA_IP_V6_SRC', CODEC_RAW128, S.TUPLE_SRC),
    value('CTA_IP_V6_DST', CODEC_RAW128, S.TUPLE_DST),
  ],
};
const PROTO: AttributeTable = {
  name: 'ctattr_l4proto',
  clears: [S.TUPLE_L4, 4],
  attributes: [
    value('CTA_PROTO_NUM', CODEC_U8, S.TUPLE_PROTOCOL),
    value('CTA_PROTO_SRC_PORT', CODEC_RAW16, S.TUPLE_L4),
    value('CTA_PROTO_DST_PORT', CODEC_RAW16, S.TUPLE_L4 + 2),
    value('CTA_PROTO_ICMP_ID', CODEC_RAW16, S.TUPLE_L4),
    value('CTA_PROTO_ICMP_TYPE', CODEC_U8, S.TUPLE_L4 + 2),
    value('CTA_PROTO_ICMP_CODE', CODEC_U8, S.TUPLE_L4 + 3),
    value('CTA_PROTO_ICMPV6_ID', CODEC_RAW16, S.TUPLE_L4),
    value('CTA_PROTO_ICMPV6_TYPE', CODEC_U8, S.TUPLE_L4 + 2),
    value('CTA_PROTO_ICMPV6_CODE', CODEC_U8, S.TUPLE_L4 + 3),
  ],
};
const TUPLE: AttributeTable = {
  name: 'ctattr_tuple',
  attributes: [
    nest('CTA_TUPLE_IP', IP),
    nest('CTA_TUPLE_PROTO', PROTO),
    value('CTA_TUPLE_ZONE', CODEC_BE16, S.TUPLE_ZONE),
  ],
};
const TCP: AttributeTable = {
  name: 'ctattr_protoinfo_tcp',
  attributes: [
    value('CTA_PROTOINFO_TCP_STATE', CODEC_U8, S.STAGE_STATE),
    value('CTA_PROTOINFO_TCP_WSCALE_ORIGINAL', CODEC_U8, S.STAGE_WSCALE_ORIG),
    value('CTA_PROTOINFO_TCP_WSCALE_REPLY', CODEC_U8, S.STAGE_WSCALE_REPLY),
    value('CTA_PROTOINFO_TCP_FLAGS_ORIGINAL', CODEC_RAW16, S.STAGE_FLAGS_ORIG),
    value('CTA_PROTOINFO_TCP_FLAGS_REPLY', CODEC_RAW16, S.STAGE_FLAGS_REPLY),
  ],
};
const DCCP: AttributeTable = {
  name: 'ctattr_protoinfo_dccp',
  attributes: [
    value('CTA_PROTOINFO_DCCP_STATE', CODEC_U8, S.STAGE_STATE),
    value('CTA_PROTOINFO_DCCP_ROLE', CODEC_U8, S.STAGE_ROLE),
    value('CTA_PROTOINFO_DCCP_HANDSHAKE_SEQ', CODEC_BE64, S.STAGE_HANDSHAKE_SEQ),
    ignored('CTA_PROTOINFO_DCCP_PAD', 0),
  ],
};
const SCTP: AttributeTable = {
  name: 'ctattr_protoinfo_sctp',
  clears: [S.STAGE_VTAGS, 8],
  attributes: [
    value('CTA_PROTOINFO_SCTP_STATE', CODEC_U8, S.STAGE_STATE),
    value('CTA_PROTOINFO_SCTP_VTAG_ORIGINAL', CODEC_BE32, S.STAGE_VTAGS),
    value('CTA_PROTOINFO_SCTP_VTAG_REPLY', CODEC_BE32, S.STAGE_VTAGS + 4),
  ],
};
const PROTOINFO: AttributeTable = {
  name: 'ctattr_protoinfo',
  attributes: [
    nest('CTA_PROTOINFO_TCP', TCP),
    nest('CTA_PROTOINFO_DCCP', DCCP),
    nest('CTA_PROTOINFO_SCTP', SCTP),
  ],
};
const HELP: AttributeTable = {
  name: 'ctattr_help',
  attributes: [text('CTA_HELP_NAME', S.STAGE_HELPER), ignored('CTA_HELP_INFO', 0, ANY_BYTES)],
};
const PROTONAT: AttributeTable = {
  name: 'ctattr_protonat',
  attributes: [
    value('CTA_PROTONAT_PORT_MIN', CODEC_RAW16, S.NAT_MIN_PORT),
    value('CTA_PROTONAT_PORT_MAX', CODEC_RAW16, S.NAT_MAX_PORT),
  ],
};
const NAT: AttributeTable = {
  name: 'ctattr_nat',
  attributes: [
    value('CTA_NAT_V4_MINIP', CODEC_RAW32, S.NAT_MIN_ADDRESS),
    value('CTA_NAT_V4_MAXIP', CODEC_RAW32, S.NAT_MAX_ADDRESS),
    nest('CTA_NAT_PROTO', PROTONAT),
    value('CTA_NAT_V6_MINIP', CODEC_RAW128, S.NAT_MIN_ADDRESS),
    value('CTA_NAT_V6_MAXIP', CODEC_RAW128, S.NAT_MAX_ADDRESS),
  ],
};
const COUNTERS: AttributeTable = {
  name: 'ctattr_counters',
  clears: [0, 16],
  attributes: [
    value('CTA_COUNTERS_PACKETS', CODEC_BE64, 0),
    value('CTA_COUNTERS_BYTES', CODEC_BE64, 8),
    ignored('CTA_COUNTERS32_PACKETS', 4),
    ignored('CTA_COUNTERS32_BYTES', 4),
    ignored('CTA_COUNTERS_PAD', 0),
  ],
};
const SEQADJ: AttributeTable = {
  name: 'ctattr_seqadj',
  clears: [0, 12],
  attributes: [
    value('CTA_SEQADJ_CORRECTION_POS', CODEC_BE32, 0),
    value('CTA_SEQADJ_OFFSET_BEFORE', CODEC_BE32, 4),
    value('CTA_SEQADJ_OFFSET_AFTER', CODEC_BE32, 8),
  ],
};
const SYNPROXY: AttributeTable = {
  name: 'ctattr_synproxy',
  clears: [0, 12],
  attributes: [
    value('CTA_SYNPROXY_ISN', CODEC_BE32, 0),
    value('CTA_SYNPROXY_ITS', CODEC_BE32, 4),
    value('CTA_SYNPROXY_TSOFF', CODEC_BE32, 8),
  ],
};
const SECCTX: AttributeTable = {
  name: 'ctattr_secctx',
  attributes: [text('CTA_SECCTX_NAME', S.STAGE_SECCTX)],
};
const TIMESTAMP: AttributeTable = {
  name: 'ctattr_tstamp',
  clears: [0, 16],
  attributes: [
    value('CTA_TIMESTAMP_START', CODEC_BE64, 0),
    value('CTA_TIMESTAMP_STOP', CODEC_BE64, 8),
    ignored('CTA_TIMESTAMP_PAD', 0),
  ],
};

/** The top level of every conntrack message. */
export const CONNTRACK: AttributeTable = {
  name: 'ctattr_type',
  attributes: [
    nest('CTA_TUPLE_ORIG', TUPLE, S.STAGE_ORIG),
    nest('CTA_TUPLE_REPLY', TUPLE, S.STAGE_REPLY),
    value('CTA_STATUS', CODEC_BE32, S.STAGE_STATUS),
    nest('CTA_PROTOINFO', PROTOINFO),
    nest('CTA_HELP', HELP),
    nest('CTA_NAT_SRC', NAT, S.STAGE_NAT_SRC),
    value('CTA_TIMEOUT', CODEC_BE32, S.STAGE_TIMEOUT),
    value('CTA_MARK', CODEC_BE32, S.STAGE_MARK),
    nest('CTA_COUNTERS_ORIG', COUNTERS, S.STAGE_COUNTERS_ORIG),
    nest('CTA_COUNTERS_REPLY', COUNTERS, S.STAGE_COUNTERS_REPLY),
    value('CTA_USE', CODEC_BE32, S.STAGE_USE),
    value('CTA_ID', CODEC_BE32, S.STAGE_ID),
    nest('CTA_NAT_DST', NAT, S.STAGE_NAT_DST),
    nest('CTA_TUPLE_MASTER', TUPLE, S.STAGE_MASTER),
    nest('CTA_SEQ_ADJ_ORIG', SEQADJ, S.STAGE_SEQADJ_ORIG),
    nest('CTA_SEQ_ADJ_REPLY', SEQADJ, S.STAGE_SEQADJ_REPLY),
    ignored('CTA_SECMARK', 4),
    value('CTA_ZONE', CODEC_BE16, S.STAGE_ZONE),
    nest('CTA_SECCTX', SECCTX),
    nest('CTA_TIMESTAMP', TIMESTAMP, S.STAGE_TIMESTAMP),
    ignored('CTA_MARK_MASK', 4),
    value('CTA_LABELS', CODEC_RAW128, S.STAGE_LABELS),
    ignored('CTA_LABELS_MASK', 16),
    nest('CTA_SYNPROXY', SYNPROXY, S.STAGE_SYNPROXY),
    ignored('CTA_FILTER', 0, ANY_BYTES),
    ignored('CTA_STATUS_MASK', 4),
    value('CTA_TIMESTAMP_EVENT', CODEC_BE64, S.STAGE_TIMESTAMP_EVENT),
  ],
};

const EXPECT_NAT: AttributeTable = {
  name: 'ctattr_expect_nat',
  attributes: [
    value('CTA_EXPECT_NAT_DIR', CODEC_BE32, X.STAGE_NAT_DIRECTION),
    nest('CTA_EXPECT_NAT_TUPLE', TUPLE, X.STAGE_NAT_TUPLE),
  ],
};

/** The top level of every message about expectations; places are those of expectation-stage.ts. */
export const EXPECTATION: AttributeTable = {
  name: 'ctattr_expect',
  attributes: [
    nest('CTA_EXPECT_MASTER', TUPLE, X.STAGE_MASTER),
    nest('CTA_EXPECT_TUPLE', TUPLE, X.STAGE_TUPLE),
    nest('CTA_EXPECT_MASK', TUPLE, X.STAGE_MASK),
    value('CTA_EXPECT_TIMEOUT', CODEC_BE32, X.STAGE_TIMEOUT),
    ignored('CTA_EXPECT_ID', 4), // a hash of an address: says nothing elsewhere
    text('CTA_EXPECT_HELP_NAME', X.STAGE_HELPER),
    value('CTA_EXPECT_ZONE', CODEC_BE16, X.STAGE_ZONE),
    value('CTA_EXPECT_FLAGS', CODEC_BE32, X.STAGE_FLAGS),
    value('CTA_EXPECT_CLASS', CODEC_BE32, X.STAGE_CLASS),
    nest('CTA_EXPECT_NAT', EXPECT_NAT),
    text('CTA_EXPECT_FN', X.STAGE_FN),
  ],
};
