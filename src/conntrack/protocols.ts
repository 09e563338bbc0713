/** The options that each protocol adds behind `-p`, what commands need of them, and the names of its states. */
import { readFileSync } from 'node:fs';
import {
  DCCP_STATE_NAMES,
  IPPROTO_DCCP,
  IPPROTO_GRE,
  IPPROTO_ICMP,
  IPPROTO_ICMPV6,
  IPPROTO_SCTP,
  IPPROTO_TCP,
  IPPROTO_UDP,
  IPPROTO_UDPLITE,
  PROTOCOL_NAMES,
  SCTP_STATE_NAMES,
  TCP_STATE_NAMES,
} from '../flow/conntrack-enums.js';
import type { OptionSpec } from './options.js';

/** Where the system keeps the numbers of protocols that conntrack has no word for. */
const PROTOCOLS_FILE = '/etc/protocols';

const required = (name: string, ...also: string[]): OptionSpec => ({ name, argument: 'required', also });

const PORTS: readonly OptionSpec[] = [
  required('sport', 'orig-port-src'),
  required('dport', 'orig-port-dst'),
  required('reply-port-src'),
  required('reply-port-dst'),
  required('tuple-port-src'),
  required('tuple-port-dst'),
  required('mask-port-src'),
  required('mask-port-dst'),
];
const KEYS: readonly OptionSpec[] = [
  required('srckey', 'orig-key-src'),
  required('dstkey', 'orig-key-dst'),
  required('reply-key-src'),
  required('reply-key-dst'),
  required('tuple-key-src'),
  required('tuple-key-dst'),
  required('mask-key-src'),
  required('mask-key-dst'),
];
const STATE = required('state');

/** What a protocol adds to the command line. */
export interface ProtocolSpec {
  readonly options: readonly OptionSpec[];
  /** Needed to create a flow, besides the ends of its tuple. */
  readonly createNeeds: readonly string[];
  /** The two ends of the original tuple, and the same of the reply, the expected tuple and its mask. */
  readonly ends: readonly (readonly [string, string])[];
  readonly states?: readonly string[];
}

const PORT_ENDS = ends('port', ['sport', 'dport']);
const KEY_ENDS = ends('key', ['srckey', 'dstkey']);

function ends(what: string, original: readonly [string, string]): (readonly [string, string])[] {
  const pair = (side: string) => [`${side}-${what}-src`, `${side}-${what}-dst`] as const;
  return [original, pair('reply'), pair('tuple'), pair('mask')];
}

const icmp = (name: string): ProtocolSpec => ({
  options: [required(`${name}-type`), required(`${name}-code`), required(`${name}-id`)],
  createNeeds: [`${name}-type`, `${name}-code`],
  ends: [],
});

const NONE: ProtocolSpec = { options: [], createNeeds: [], ends: [] };

const SPECS: ReadonlyMap<number, ProtocolSpec> = new Map([
  [
    IPPROTO_TCP,
    { options: [...PORTS, STATE], createNeeds: ['state'], ends: PORT_ENDS, states: TCP_STATE_NAMES },
  ],
  [IPPROTO_UDP, { options: PORTS, createNeeds: [], ends: PORT_ENDS }],
  [IPPROTO_UDPLITE, { options: PORTS, createNeeds: [], ends: PORT_ENDS }],
  [
    IPPROTO_SCTP,
    {
      options: [...PORTS, STATE, required('orig-vtag'), required('reply-vtag')],
      createNeeds: ['state', 'orig-vtag', 'reply-vtag'],
      ends: PORT_ENDS,
      states: SCTP_STATE_NAMES,
    },
  ],
  [
    IPPROTO_DCCP,
    {
      options: [...PORTS, STATE, required('role')],
      createNeeds: ['state', 'role'],
      ends: PORT_ENDS,
      states: DCCP_STATE_NAMES,
    },
  ],
  [IPPROTO_GRE, { options: KEYS, createNeeds: [], ends: KEY_ENDS }],
  [IPPROTO_ICMP, icmp('icmp')],
  [IPPROTO_ICMPV6, icmp('icmpv6')],
]);

/** What this protocol adds to the command line; a protocol without ports adds nothing. */
export const protocolSpec = (protocol: number): ProtocolSpec => SPECS.get(protocol) ?? NONE;

/**
 * What names a flow of this protocol, and what makes one: with none of its options given a DCCP flow is one that Linux
 * 6.17 and later track, without ports and state. So -R takes what -o save wrote of it.
 */
export function neededSpec(protocol: number, given: ReadonlySet<string>): ProtocolSpec {
  const spec = protocolSpec(protocol);
  const isBare = protocol === IPPROTO_DCCP && !spec.options.some(({ name }) => given.has(name));
  return isBare ? NONE : spec;
}

/** Names of all options that protocols add. */
export const protocolOptions = (): string[] =>
  [...SPECS.values()].flatMap(({ options }) => options.map(({ name }) => name));

/** Protocols that have an option of this name, in words. */
export function protocolsWith(optionName: string): string[] {
  const has = ({ options }: ProtocolSpec) =>
    options.some(({ name, also }) => name === optionName || also?.includes(optionName));
  return [...SPECS].filter(([, spec]) => has(spec)).map(([number]) => PROTOCOL_NAMES.get(number)!);
}

/** The state's number, also of the one name that the header and conntrack(8) have twice; undefined if there is none. */
export function stateNumber(protocol: number, name: string): number | undefined {
  const states = protocolSpec(protocol).states ?? [];
  const number = protocol === IPPROTO_TCP && name === 'LISTEN' ? states.length - 1 : states.indexOf(name);
  return number < 0 ? undefined : number;
}

const NUMBER = /^(0x[0-9a-f]{1,2}|[0-9]{1,3})$/i;

/** The number of a protocol by its name (conntrack's, then the system's) or number; undefined if it is none. */
export function protocolNumber(text: string): number | undefined {
  if (NUMBER.test(text)) {
    const number = /^0[0-7]+$/.test(text) ? Number.parseInt(text, 8) : Number(text);
    return number <= 255 ? number : undefined;
  }
  const name = text.toLowerCase();
  for (const [number, known] of PROTOCOL_NAMES) if (known === name) return number;
  return systemProtocol(text);
}

function systemProtocol(name: string): number | undefined {
  let lines: string[];
  try {
    lines = readFileSync(PROTOCOLS_FILE, 'latin1').split('\n');
  } catch {
    return undefined;
  }
  for (const line of lines) {
    const [first, number, ...aliases] = line.replace(/#.*/, '').trim().split(/\s+/);
    if (number !== undefined && [first, ...aliases].includes(name)) return Number(number);
  }
  return undefined;
}
