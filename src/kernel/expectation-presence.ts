/** Which table of the flattened expectation message is which nest, and the masks of what a tuple must have. */
import { AF_INET, IPPROTO_ICMP, IPPROTO_ICMPV6 } from '../flow/conntrack-enums.js';
import { usesPorts } from '../flow/tuple.js';
import { EXPECTATION_TABLES } from './compiled-tables.js';
import * as E from './enums.js';
import * as X from './expectation-stage.js';

/** The tables of one tuple: the tuple's own, its addresses', its protocol's; and its place in the stage. */
export interface TupleTables {
  readonly tuple: number;
  readonly ip: number;
  readonly proto: number;
  readonly place: number;
}

const tablesAt = (place: number, ...path: number[]): TupleTables => ({
  tuple: EXPECTATION_TABLES.tableAt(...path),
  ip: EXPECTATION_TABLES.tableAt(...path, E.CTA_TUPLE_IP),
  proto: EXPECTATION_TABLES.tableAt(...path, E.CTA_TUPLE_PROTO),
  place,
});

export const TOP = 0;
export const MASTER = tablesAt(X.STAGE_MASTER, E.CTA_EXPECT_MASTER);
export const TUPLE = tablesAt(X.STAGE_TUPLE, E.CTA_EXPECT_TUPLE);
export const MASK = tablesAt(X.STAGE_MASK, E.CTA_EXPECT_MASK);
export const NAT = EXPECTATION_TABLES.tableAt(E.CTA_EXPECT_NAT);
export const NAT_TUPLE = tablesAt(X.STAGE_NAT_TUPLE, E.CTA_EXPECT_NAT, E.CTA_EXPECT_NAT_TUPLE);

/** What a tuple of the family has: its addresses. */
export const ipTypes = (family: number): number =>
  family === AF_INET
    ? (1 << E.CTA_IP_V4_SRC) | (1 << E.CTA_IP_V4_DST)
    : (1 << E.CTA_IP_V6_SRC) | (1 << E.CTA_IP_V6_DST);

/** What a tuple of the protocol is sent with. */
export function protoTypes(protocol: number): number {
  const number = 1 << E.CTA_PROTO_NUM;
  if (protocol === IPPROTO_ICMP) {
    return number | (1 << E.CTA_PROTO_ICMP_ID) | (1 << E.CTA_PROTO_ICMP_TYPE) | (1 << E.CTA_PROTO_ICMP_CODE);
  }
  if (protocol === IPPROTO_ICMPV6) {
    return (
      number | (1 << E.CTA_PROTO_ICMPV6_ID) | (1 << E.CTA_PROTO_ICMPV6_TYPE) | (1 << E.CTA_PROTO_ICMPV6_CODE)
    );
  }
  return usesPorts(protocol) ? number | (1 << E.CTA_PROTO_SRC_PORT) | (1 << E.CTA_PROTO_DST_PORT) : number;
}
