/**
 * The rules of the gate, as nft lists them (PROTOCOL.md, section 6):
 *
 *     table inet conntwin_gate { flags owner
 *       chain gate { type filter hook prerouting priority mangle
 *         ct state & (invalid | new) == 0 accept
 *         meta nfproto != @raised accept                       # elements of 5 s: the kernel itself ends it
 *         iifname "lo" accept                                  # and the links, and `allow.interfaces`
 *         meta pkttype != host accept
 *         meta l4proto vrrp accept                             # and igmp, ospf, pim
 *         fib daddr type local ip saddr 192.0.2.0/24 accept    # allow.sources
 *         fib daddr type local tcp dport 22 tcp flags syn / fin,syn,rst,ack accept
 *         fib daddr type local udp dport 3784 accept
 *         counter name dropped drop } }
 *
 * Between conntrack (-200), which says what is new, and NAT (-100), which would give a new flow the port of a live one.
 */

import { type Block, prefixMask } from '../flow/address-blocks.js';
import { IPPROTO_TCP, IPPROTO_UDP } from '../flow/conntrack-enums.js';
import { NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL } from './enums.js';
import { type Attribute, NfTablesBatch, singleMessage } from './nf-tables-batch.js';
import * as N from './nf-tables-enums.js';

const GATE_TABLE = 'conntwin_gate';
const CHAIN = 'gate';
const RAISED = 'raised';
const COUNTER = 'dropped';
const SET_ID = 1;
/** nft's number for the type "nf_proto", so that it can list the set. */
const NF_PROTO_TYPE = 2;
/** NF_CT_STATE_BIT(IP_CT_NEW), linux/netfilter/nf_conntrack_common.h: no plain constant. */
const NEW_BIT = 8;
const SYN = 0x02;
const FIN_SYN_RST_ACK = 0x17;
const TCP_FLAGS_OFFSET = 13;
const DESTINATION_PORT_OFFSET = 2;
const SOURCE_OFFSETS = { 4: 12, 16: 8 } as const;
/** What firewalls say to each other, and no NAT changes: VRRP, IGMP, OSPF, PIM (linux/in.h, IANA). */
const ROUTING_PROTOCOLS = [112, 2, 89, 103];

/** Inclusive. */
export interface Ports {
  readonly first: number;
  readonly last: number;
}

/** What passes a raised gate, beside what every gate lets pass. */
export interface GateOptions {
  /** All that comes in here: management networks, and the sync links. */
  readonly interfaces: readonly string[];
  /** All that comes from here to an address of this machine. */
  readonly sources: readonly Block[];
  /** Openings of connections to an address of this machine. */
  readonly tcpPorts: readonly Ports[];
  readonly udpPorts: readonly Ports[];
}

type Expression = readonly [name: string, attributes: readonly Attribute[]];

const word = (value: number): Uint8Array => new Uint8Array(Uint32Array.of(value).buffer);
const byte = (value: number): Uint8Array => Uint8Array.of(value);
const port = (value: number): Uint8Array => Uint8Array.of(value >>> 8, value);

const meta = (key: number): Expression => [
  'meta',
  [
    [N.NFTA_META_DREG, N.NFT_REG_1],
    [N.NFTA_META_KEY, key],
  ],
];

const compare = (op: number, value: Uint8Array): Expression => [
  'cmp',
  [
    [N.NFTA_CMP_SREG, N.NFT_REG_1],
    [N.NFTA_CMP_OP, op],
    [N.NFTA_CMP_DATA, [[N.NFTA_DATA_VALUE, value]]],
  ],
];
const equals = (value: Uint8Array): Expression => compare(N.NFT_CMP_EQ, value);

const masked = (mask: Uint8Array): Expression => [
  'bitwise',
  [
    [N.NFTA_BITWISE_SREG, N.NFT_REG_1],
    [N.NFTA_BITWISE_DREG, N.NFT_REG_1],
    [N.NFTA_BITWISE_LEN, mask.length],
    [N.NFTA_BITWISE_MASK, [[N.NFTA_DATA_VALUE, mask]]],
    [N.NFTA_BITWISE_XOR, [[N.NFTA_DATA_VALUE, new Uint8Array(mask.length)]]],
  ],
];

const payload = (base: number, offset: number, length: number): Expression => [
  'payload',
  [
    [N.NFTA_PAYLOAD_DREG, N.NFT_REG_1],
    [N.NFTA_PAYLOAD_BASE, base],
    [N.NFTA_PAYLOAD_OFFSET, offset],
    [N.NFTA_PAYLOAD_LEN, length],
  ],
];

const verdict = (code: number): Expression => [
  'immediate',
  [
    [N.NFTA_IMMEDIATE_DREG, N.NFT_REG_VERDICT],
    [N.NFTA_IMMEDIATE_DATA, [[N.NFTA_DATA_VERDICT, [[N.NFTA_VERDICT_CODE, code]]]]],
  ],
];

const CT_STATE: Expression = [
  'ct',
  [
    [N.NFTA_CT_DREG, N.NFT_REG_1],
    [N.NFTA_CT_KEY, N.NFT_CT_STATE],
  ],
];

const NOT_RAISED: Expression = [
  'lookup',
  [
    [N.NFTA_LOOKUP_SET, RAISED],
    [N.NFTA_LOOKUP_SREG, N.NFT_REG_1],
    [N.NFTA_LOOKUP_SET_ID, SET_ID],
    [N.NFTA_LOOKUP_FLAGS, N.NFT_LOOKUP_F_INV],
  ],
];

const COUNT: Expression = [
  'objref',
  [
    [N.NFTA_OBJREF_IMM_TYPE, N.NFT_OBJECT_COUNTER],
    [N.NFTA_OBJREF_IMM_NAME, COUNTER],
  ],
];

/** Only what ends on this machine: the address that SNAT writes is one of its own too. */
const TO_THIS_MACHINE: readonly Expression[] = [
  [
    'fib',
    [
      [N.NFTA_FIB_DREG, N.NFT_REG_1],
      [N.NFTA_FIB_RESULT, N.NFT_FIB_RESULT_ADDRTYPE],
      [N.NFTA_FIB_FLAGS, N.NFTA_FIB_F_DADDR],
    ],
  ],
  equals(word(N.RTN_LOCAL)),
];

function fromInterface(name: string): readonly Expression[] {
  const padded = new Uint8Array(N.IFNAMSIZ);
  padded.set(new TextEncoder().encode(name).subarray(0, N.IFNAMSIZ - 1));
  return [meta(N.NFT_META_IIFNAME), equals(padded)];
}

function fromSource({ bytes, prefix }: Block): readonly Expression[] {
  const family = bytes.length === 4 ? N.NFPROTO_IPV4 : N.NFPROTO_IPV6;
  const offset = SOURCE_OFFSETS[bytes.length as 4 | 16];
  return [
    ...TO_THIS_MACHINE,
    meta(N.NFT_META_NFPROTO),
    equals(byte(family)),
    payload(N.NFT_PAYLOAD_NETWORK_HEADER, offset, bytes.length),
    masked(prefixMask(bytes.length, prefix)),
    equals(bytes),
  ];
}

function toPorts(protocol: number, { first, last }: Ports): readonly Expression[] {
  return [
    ...TO_THIS_MACHINE,
    meta(N.NFT_META_L4PROTO),
    equals(byte(protocol)),
    payload(N.NFT_PAYLOAD_TRANSPORT_HEADER, DESTINATION_PORT_OFFSET, 2),
    ...(first === last
      ? [equals(port(first))]
      : [compare(N.NFT_CMP_GTE, port(first)), compare(N.NFT_CMP_LTE, port(last))]),
  ];
}

/** An opening: what comes in the middle of a connection would be answered with RST. */
const IS_OPENING: readonly Expression[] = [
  payload(N.NFT_PAYLOAD_TRANSPORT_HEADER, TCP_FLAGS_OFFSET, 1),
  masked(byte(FIN_SYN_RST_ACK)),
  equals(byte(SYN)),
];

/** What each rule accepts, in order; whatever is left is dropped. */
function acceptRules({ interfaces, sources, tcpPorts, udpPorts }: GateOptions): (readonly Expression[])[] {
  return [
    [CT_STATE, masked(word(N.NF_CT_STATE_INVALID_BIT | NEW_BIT)), equals(word(0))],
    [meta(N.NFT_META_NFPROTO), NOT_RAISED],
    ...['lo', ...interfaces].map(fromInterface),
    [meta(N.NFT_META_PKTTYPE), compare(N.NFT_CMP_NEQ, byte(N.PACKET_HOST))],
    ...ROUTING_PROTOCOLS.map((protocol) => [meta(N.NFT_META_L4PROTO), equals(byte(protocol))]),
    ...sources.map(fromSource),
    ...tcpPorts.map((ports) => [...toPorts(IPPROTO_TCP, ports), ...IS_OPENING]),
    ...udpPorts.map((ports) => toPorts(IPPROTO_UDP, ports)),
  ];
}

const expression = ([name, attributes]: Expression): Attribute => [
  N.NFTA_LIST_ELEM,
  [
    [N.NFTA_EXPR_NAME, name],
    [N.NFTA_EXPR_DATA, attributes],
  ],
];

const element = (family: number, raisedMs: number): Attribute => [
  N.NFTA_LIST_ELEM,
  [
    [N.NFTA_SET_ELEM_KEY, [[N.NFTA_DATA_VALUE, byte(family)]]],
    [N.NFTA_SET_ELEM_TIMEOUT, BigInt(raisedMs)],
  ],
];

/** The batch that makes the gate's table; it drops for `raisedMs`, and nothing at all if that is 0. */
export function makeGate(options: GateOptions, raisedMs: number): NfTablesBatch {
  const batch = new NfTablesBatch(N.NFPROTO_INET);
  const create = NLM_F_CREATE | NLM_F_EXCL;
  batch.add('make the table', N.NFT_MSG_NEWTABLE, create | NLM_F_ACK, [
    [N.NFTA_TABLE_NAME, GATE_TABLE],
    [N.NFTA_TABLE_FLAGS, N.NFT_TABLE_F_OWNER],
  ]);
  batch.add('make the counter', N.NFT_MSG_NEWOBJ, create, [
    [N.NFTA_OBJ_TABLE, GATE_TABLE],
    [N.NFTA_OBJ_NAME, COUNTER],
    [N.NFTA_OBJ_TYPE, N.NFT_OBJECT_COUNTER],
    [N.NFTA_OBJ_DATA, []],
  ]);
  batch.add('make the set', N.NFT_MSG_NEWSET, create, [
    [N.NFTA_SET_TABLE, GATE_TABLE],
    [N.NFTA_SET_NAME, RAISED],
    [N.NFTA_SET_FLAGS, N.NFT_SET_TIMEOUT],
    [N.NFTA_SET_KEY_TYPE, NF_PROTO_TYPE],
    [N.NFTA_SET_KEY_LEN, 1],
    [N.NFTA_SET_ID, SET_ID],
  ]);
  if (raisedMs > 0) {
    batch.add('fill the set', N.NFT_MSG_NEWSETELEM, create, [
      [N.NFTA_SET_ELEM_LIST_TABLE, GATE_TABLE],
      [N.NFTA_SET_ELEM_LIST_SET, RAISED],
      [N.NFTA_SET_ELEM_LIST_SET_ID, SET_ID],
      [N.NFTA_SET_ELEM_LIST_ELEMENTS, [N.NFPROTO_IPV4, N.NFPROTO_IPV6].map((f) => element(f, raisedMs))],
    ]);
  }
  batch.add('make the chain', N.NFT_MSG_NEWCHAIN, create, [
    [N.NFTA_CHAIN_TABLE, GATE_TABLE],
    [N.NFTA_CHAIN_NAME, CHAIN],
    [
      N.NFTA_CHAIN_HOOK,
      [
        [N.NFTA_HOOK_HOOKNUM, N.NF_INET_PRE_ROUTING],
        [N.NFTA_HOOK_PRIORITY, N.NF_IP_PRI_MANGLE >>> 0],
      ],
    ],
    [N.NFTA_CHAIN_POLICY, N.NF_ACCEPT],
    [N.NFTA_CHAIN_TYPE, 'filter'],
  ]);
  const rules = acceptRules(options).map((rule) => [...rule, verdict(N.NF_ACCEPT)]);
  for (const [i, rule] of [...rules, [COUNT, verdict(N.NF_DROP)]].entries()) {
    batch.add(`make rule ${i + 1}`, N.NFT_MSG_NEWRULE, NLM_F_CREATE | N.NLM_F_APPEND, [
      [N.NFTA_RULE_TABLE, GATE_TABLE],
      [N.NFTA_RULE_CHAIN, CHAIN],
      [N.NFTA_RULE_EXPRESSIONS, rule.map(expression)],
    ]);
  }
  return batch;
}

/** The batch that removes the table with all that is in it. */
export function removeGate(): NfTablesBatch {
  const batch = new NfTablesBatch(N.NFPROTO_INET);
  batch.add('remove the table', N.NFT_MSG_DELTABLE, NLM_F_ACK, [[N.NFTA_TABLE_NAME, GATE_TABLE]]);
  return batch;
}

/** Asks for the counter of dropped packets: one message, no batch. */
export function counterRequest(): Uint8Array {
  return singleMessage(N.NFPROTO_INET, N.NFT_MSG_GETOBJ, [
    [N.NFTA_OBJ_TABLE, GATE_TABLE],
    [N.NFTA_OBJ_NAME, COUNTER],
    [N.NFTA_OBJ_TYPE, N.NFT_OBJECT_COUNTER],
  ]);
}
