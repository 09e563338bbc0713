/** Which dumps show all that a filter means: the part of it that the kernel can judge is left to the kernel. */
import { parseAddressBlock } from '../flow/address.js';
import {
  AF_INET,
  AF_INET6,
  IPPROTO_SCTP,
  IPPROTO_TCP,
  IPPROTO_UDP,
  IPPROTO_UDPLITE,
} from '../flow/conntrack-enums.js';
import { type FilterOptions, parseMark, statusMask } from '../flow/filter.js';
import { protocolNumber } from '../flow/flow-to-record.js';
import type { DumpFilter, DumpTuple } from './dump-request.js';

/** Protocols whose ports the kernel compares in a dump. */
const PORT_PROTOCOLS = [IPPROTO_TCP, IPPROTO_UDP, IPPROTO_UDPLITE, IPPROTO_SCTP];

/** The family that the filter can only mean; undefined if it may be both. */
function familyOf(options: FilterOptions): number | undefined {
  if (options.family !== undefined) return options.family === 'ipv6' ? AF_INET6 : AF_INET;
  const { source, destination, replySource, replyDestination } = options;
  const address = source ?? destination ?? replySource ?? replyDestination;
  if (address === undefined) return undefined;
  return address.includes(':') ? AF_INET6 : AF_INET;
}

/**
 * The dumps that together show every flow that may match, and others: every row is to be looked at again. Undefined
 * is the whole table. The options must be possible ones (FlowFilter checks them).
 */
export function dumpsOf(options: FilterOptions): (DumpFilter | undefined)[] {
  const family = familyOf(options);
  const original = tupleOf(options, family, options.source, options.destination, [
    options.sourcePort,
    options.destinationPort,
  ]);
  const reply = tupleOf(options, family, options.replySource, options.replyDestination, [
    options.replySourcePort,
    options.replyDestinationPort,
  ]);
  const { set, clear } = statusMask(options.status ?? []);
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
  family: number | undefined,
  source: string | undefined,
  destination: string | undefined,
  [sourcePort, destinationPort]: readonly (number | undefined)[],
): DumpTuple | undefined {
  const protocol = options.protocol ?? (options.state === undefined ? undefined : 'tcp');
  const number = protocol === undefined ? undefined : protocolNumber('protocol', protocol);
  const hasPorts = number !== undefined && PORT_PROTOCOLS.includes(number);
  const from = family === AF_INET6 ? undefined : wholeAddress(source);
  const to = family === AF_INET6 ? undefined : wholeAddress(destination);
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
