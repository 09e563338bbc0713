/** What a program says of a connection that it expects, and the whole expectation the kernel wants of it. */
import { formatAddress, parseAddress, parseAddressBlock } from '../flow/address.js';
import { prefixMask } from '../flow/address-blocks.js';
import type { Expectation } from '../flow/expectation-text.js';
import type { Tuple } from '../flow/flow.js';
import { protocolNumber } from '../flow/flow-to-record.js';
import { usesPorts } from '../flow/tuple.js';
import type { FlowKey } from './flow-input.js';

/** A connection that belongs to another one: rules see its first packet as `related`, and it counts as EXPECTED. */
export interface ExpectationInput {
  /** The flow that it belongs to, by its original tuple; it must have a helper (a rule `ct helper set`). */
  master: FlowKey;
  /** Name, or number as text; the master's unless given. */
  protocol?: string;
  /** Who opens it: an address or a block; anybody unless given. */
  source?: string;
  /** From which port; any unless given. */
  sourcePort?: number;
  /** Where to, as its first packet says: before a destination is translated. */
  destination: string;
  /** Needed by protocols with ports. */
  destinationPort?: number;
  /** One of the helper's classes, 0 unless given. A class has room for few: one more puts out the oldest. */
  class?: number;
  /** NF_CT_EXPECT_* bits: 1 stays when it was met (PERMANENT), 2 waits (INACTIVE). */
  flags?: number;
  /** Helper of the expected flow. */
  helper?: string;
  /** What the kernel calls when it comes: "nat-follow-master" translates it as its master. */
  fn?: string;
  /** Translates the expected flow's source (original) or destination (reply). */
  nat?: Expectation['nat'];
  /** Seconds; the helper's own unless given. */
  timeout?: number;
}

/** The whole expectation; one that is whole passes as it is. Throws RangeError naming what is missing or no value. */
export function expectationOf(input: ExpectationInput | Expectation): Expectation {
  if ('tuple' in input) return input;
  const { master } = input;
  const protocol = input.protocol ?? master.protocol;
  const destination = parseAddress(input.destination);
  if (destination === undefined) {
    throw new RangeError(`expectation.destination: "${input.destination}" is not an address`);
  }
  const bytes = destination.length;
  const source = input.source === undefined ? anybody(bytes) : parseAddressBlock(input.source);
  if (source?.bytes.length !== bytes) {
    throw new RangeError(
      `expectation.source: "${input.source}" is no address or block of its destination's family`,
    );
  }
  const hasPorts = usesPorts(protocolNumber('expectation.protocol', protocol));
  if (hasPorts && input.destinationPort === undefined) {
    throw new RangeError(`expectation.destinationPort: missing, and ${protocol} has ports`);
  }
  const ports = (from: number, to: number): Partial<Tuple> =>
    hasPorts ? { sourcePort: from, destinationPort: to } : {};
  const sourcePort = port('sourcePort', input.sourcePort);
  return {
    family: bytes === 16 ? 'ipv6' : 'ipv4',
    protocol,
    tuple: {
      source: formatAddress(source.bytes, 0, bytes),
      destination: input.destination,
      ...ports(sourcePort, port('destinationPort', input.destinationPort)),
    },
    mask: {
      source: formatAddress(prefixMask(bytes, source.prefix), 0, bytes),
      // The kernel compares destinations whole, whatever a mask says.
      destination: formatAddress(prefixMask(bytes, 8 * bytes), 0, bytes),
      ...ports(input.sourcePort === undefined ? 0 : 0xffff, 0xffff),
    },
    master: { protocol: master.protocol, ...master.original },
    class: input.class ?? 0,
    flags: input.flags ?? 0,
    ...(master.zone === undefined ? {} : { zone: master.zone }),
    ...(input.helper === undefined ? {} : { helper: input.helper }),
    ...(input.fn === undefined ? {} : { fn: input.fn }),
    ...(input.nat === undefined ? {} : { nat: input.nat }),
    ...(input.timeout === undefined ? {} : { timeout: input.timeout }),
  };
}

const anybody = (bytes: number) => ({ bytes: new Uint8Array(bytes), prefix: 0 });

function port(field: string, value: number | undefined): number {
  if (value === undefined) return 0;
  if (!Number.isInteger(value) || value < 0 || value > 0xffff) {
    throw new RangeError(`expectation.${field}: ${value} is not an integer from 0 to 65535`);
  }
  return value;
}
