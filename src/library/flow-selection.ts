/** A filter's words, checked and split: what the kernel judges in a dump, what it drops of events, and the rest. */
import { parseAddressBlock } from '../flow/address.js';
import {
  AF_INET,
  AF_INET6,
  IPPROTO_SCTP,
  IPPROTO_TCP,
  IPPROTO_UDP,
  IPPROTO_UDPLITE,
} from '../flow/conntrack-enums.js';
import { FlowFilter as CompiledFilter, type FilterOptions, parseMark, statusMask } from '../flow/filter.js';
import { protocolNumber } from '../flow/flow-to-record.js';
import type { Memory } from '../flow/record.js';
import type { ReplicateRules } from '../flow/replicate-filter.js';
import type { DumpFilter, DumpTuple } from '../kernel/dump-request.js';
import type { EventFilter } from '../kernel/event-program.js';

/**
 * Which flows are meant: all that have everything named here. Addresses are one, or a block ("10.0.0.0/8"); `protocol` is
 * a name ("tcp") or a number as text; ports need no protocol, but with one the kernel looks for them itself.
 */
export interface FlowFilter extends Omit<FilterOptions, 'mark'> {
  /** A value, or "value/mask" ("0x10/0xf0"). */
  mark?: number | string;
}

const KEYS: Readonly<Record<keyof FlowFilter, true>> = {
  family: true,
  protocol: true,
  source: true,
  destination: true,
  replySource: true,
  replyDestination: true,
  sourcePort: true,
  destinationPort: true,
  replySourcePort: true,
  replyDestinationPort: true,
  mark: true,
  zone: true,
  state: true,
  status: true,
};

/** Protocols whose ports the kernel compares in a dump. */
const PORT_PROTOCOLS = [IPPROTO_TCP, IPPROTO_UDP, IPPROTO_UDPLITE, IPPROTO_SCTP];
const NO_RULES: ReplicateRules = {
  protocols: [],
  addresses: [],
  ports: [],
  zones: [],
  marks: [],
  tcpStates: [],
  status: [],
  direction: 'original',
  ignore: { protocols: [], addresses: [], ports: [], zones: [], marks: [] },
};

/** A filter, compiled. The constructor throws RangeError naming the word that is none, or whose value is impossible. */
export class FlowSelection {
  /** It asks for nothing: every flow is meant. */
  readonly isEverything: boolean;
  /** The dumps that together show every flow that may match; undefined is the whole table. */
  readonly dumps: readonly (DumpFilter | undefined)[];
  /** Flows whose events need not reach this process. */
  readonly events: EventFilter | undefined;
  private readonly compiled: CompiledFilter;

  constructor(filter: FlowFilter = {}) {
    const entries = Object.entries(filter).filter(([, value]) => value !== undefined);
    for (const [key] of entries) {
      if (!Object.hasOwn(KEYS, key)) {
        throw new RangeError(`filter: "${key}" is none of ${Object.keys(KEYS).join(', ')}`);
      }
    }
    if (filter.family !== undefined && filter.family !== 'ipv4' && filter.family !== 'ipv6') {
      throw new RangeError(`filter: family "${filter.family}" is not ipv4 or ipv6`);
    }
    const options = Object.fromEntries(entries) as FilterOptions;
    if (filter.mark !== undefined) options.mark = String(filter.mark);
    this.isEverything = entries.length === 0;
    this.compiled = new CompiledFilter(options);
    this.dumps = dumpsOf(options);
    this.events = eventsOf(options);
  }

  /** True if the record is meant. */
  matches(m: Memory, at: number): boolean {
    return this.isEverything || this.compiled.matches(m, at);
  }
}

/** The family that the filter can only mean; undefined if it may be both. */
function familyOf(options: FilterOptions): number | undefined {
  if (options.family !== undefined) return options.family === 'ipv6' ? AF_INET6 : AF_INET;
  const { source, destination, replySource, replyDestination } = options;
  const address = source ?? destination ?? replySource ?? replyDestination;
  if (address === undefined) return undefined;
  return address.includes(':') ? AF_INET6 : AF_INET;
}

function dumpsOf(options: FilterOptions): (DumpFilter | undefined)[] {
  const original = tupleOf(options, options.source, options.destination, [
    options.sourcePort,
    options.destinationPort,
  ]);
  const reply = tupleOf(options, options.replySource, options.replyDestination, [
    options.replySourcePort,
    options.replyDestinationPort,
  ]);
  const { set, clear } = statusMask(options.status ?? []);
  const family = familyOf(options);
  const filter: DumpFilter = {
    ...(family === undefined ? {} : { family }),
    ...(options.mark === undefined ? {} : { mark: parseMark(options.mark) }),
    ...((set | clear) === 0 ? {} : { status: { value: set, mask: set | clear } }),
    ...(options.zone === undefined ? {} : { zone: options.zone }),
    ...(original === undefined ? {} : { original }),
    ...(reply === undefined ? {} : { reply }),
  };
  if (Object.keys(filter).length === 0) return [undefined];
  if (family !== undefined || (original ?? reply) === undefined) return [filter];
  // The kernel compares tuples of one family at a time; twice through the table is still far less than telling all of it.
  return [AF_INET, AF_INET6].map((each) => ({ ...filter, family: each }));
}

/** The part of one tuple's conditions that the kernel compares; undefined if there is none. */
function tupleOf(
  options: FilterOptions,
  source: string | undefined,
  destination: string | undefined,
  [sourcePort, destinationPort]: readonly (number | undefined)[],
): DumpTuple | undefined {
  const protocol = options.protocol ?? (options.state === undefined ? undefined : 'tcp');
  const number = protocol === undefined ? undefined : protocolNumber('protocol', protocol);
  const hasPorts = number !== undefined && PORT_PROTOCOLS.includes(number);
  const from = wholeAddress(source);
  const to = wholeAddress(destination);
  const tuple: DumpTuple = {
    ...(from === undefined ? {} : { source: from }),
    ...(to === undefined ? {} : { destination: to }),
    ...(number === undefined ? {} : { protocol: number }),
    ...(hasPorts && sourcePort !== undefined ? { sourcePort } : {}),
    ...(hasPorts && destinationPort !== undefined ? { destinationPort } : {}),
  };
  return Object.keys(tuple).length === 0 ? undefined : tuple;
}

/** The bytes of one IPv4 address: the kernel compares no blocks, and IPv6 wrongly. */
function wholeAddress(text: string | undefined): Uint8Array | undefined {
  const block = text === undefined ? undefined : parseAddressBlock(text);
  return block?.bytes.length === 4 && block.prefix === 32 ? block.bytes : undefined;
}

/** What the socket's program can tell by: protocol and one address of the original tuple. */
function eventsOf(options: FilterOptions): EventFilter | undefined {
  const protocol = options.protocol ?? (options.state === undefined ? undefined : 'tcp');
  const address = options.source ?? options.destination;
  if (protocol === undefined && address === undefined) return undefined;
  return {
    own: [],
    rules: {
      ...NO_RULES,
      protocols: protocol === undefined ? [] : [protocolNumber('protocol', protocol)],
      addresses: address === undefined ? [] : [address],
    },
  };
}
