/** A filter's words, checked and split: what the kernel judges in a dump, what it drops of events, and the rest. */
import { FlowFilter as CompiledFilter, type FilterOptions } from '../flow/filter.js';
import { protocolNumber } from '../flow/flow-to-record.js';
import type { Memory } from '../flow/record.js';
import type { ReplicateRules } from '../flow/replicate-filter.js';
import type { DumpFilter } from '../kernel/dump-request.js';
import type { EventFilter } from '../kernel/event-program.js';
import { dumpsOf } from '../kernel/flow-dumps.js';

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
