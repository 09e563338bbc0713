/** Which flows a command means: its options, and what they come to. */
import { type Command, Option } from 'commander';
import { ControlError } from '../control/backend.js';
import type { FlowFilterSpec, FlowTableName } from '../control/messages.js';
import type { Where, WhereScope } from '../flow/where/where.js';
import { choice, nodeName, u16, words } from './options.js';

/** Words of --table; two of them are those of the glossary. */
const TABLES = ['kernel', 'internal', 'external', 'mirror', 'replica'] as const;
const SAME: Readonly<Record<string, FlowTableName>> = { mirror: 'internal', replica: 'external' };

export interface TableOptions {
  table: FlowTableName;
  node?: string;
}

export interface FilterWords {
  where?: string;
  protocol?: string;
  src?: string;
  dst?: string;
  replySrc?: string;
  replyDst?: string;
  sport?: number;
  dport?: number;
  mark?: string;
  zone?: number;
  state?: string;
  status?: string[];
  family?: 'ipv4' | 'ipv6';
}

/** What to look for, and where. */
export interface FlowQuery {
  readonly table: FlowTableName;
  readonly node: string;
  readonly filter: FlowFilterSpec;
  readonly where: Where | undefined;
}

export function withTable(command: Command): Command {
  const parse = choice('table', TABLES);
  return command
    .option(
      '--table <table>',
      'kernel, internal (the mirror) or external (the replicas); also: mirror, replica',
      (text) => SAME[text] ?? parse(text),
      'kernel',
    )
    .option('--node <node>', "of external: this node's replica only", nodeName);
}

export function withWhere(command: Command): Command {
  return command.option('--where <expression>', "'proto=tcp and dport=443 and bytes>1M': all fields below");
}

export function withFilter(command: Command): Command {
  return withWhere(command)
    .option('-p, --protocol <protocol>', 'name or number')
    .option('-s, --src <address>', 'source, address or address/length')
    .option('-d, --dst <address>', 'destination')
    .option('-r, --reply-src <address>', 'source of the reply direction')
    .option('-q, --reply-dst <address>', 'destination of the reply direction: what SNAT made of the source')
    .option('--sport <port>', 'source port', u16('port'))
    .option('--dport <port>', 'destination port', u16('port'))
    .addOption(new Option('-m, --mark <mark>', 'value or value/mask'))
    .option('-w, --zone <zone>', 'conntrack zone', u16('zone'))
    .option('--state <state>', 'protocol state, as ESTABLISHED', (text) =>
      text.toUpperCase().replaceAll('-', '_'),
    )
    .option('-u, --status <status>', 'status bits, as ASSURED', words)
    .option('-f, --family <family>', 'ipv4 or ipv6', choice('family', ['ipv4', 'ipv6'] as const));
}

export const WHERE_HELP = `
--where is an expression: FIELD = != < <= > >= VALUE, FIELD in (VALUE, ...), words that stand alone (assured, unreplied,
snat, dnat, nat, own, held, ...), joined by and, or, not and brackets. Addresses are compared with blocks
(src=10.1.0.0/16), bytes and packets have units (1M, 2GiB), times too (90s, 1h30m). Fields: proto, family, src, dst,
sport, dport, reply.src, reply.dst, reply.sport, reply.dport, address and port (any of the four), icmp.type, icmp.code,
icmp.id, state, status, timeout, mark, zone, label, helper, bytes, packets, orig.bytes, ..., age, id, owner, node.
docs/flows.md has each.
`;

/** Options by what FlowFilter calls their values. */
const OPTION_OF: Readonly<Record<string, string>> = {
  ...{ source: '--src', destination: '--dst', protocol: '--protocol', mark: '--mark' },
  ...{
    'reply source': '--reply-src',
    'reply destination': '--reply-dst',
    state: '--state',
    status: '--status',
  },
};

/** Throws ControlError (`invalid`) naming the option, if a value is not possible. */
export async function queryOf(options: TableOptions & FilterWords): Promise<FlowQuery> {
  if (options.node !== undefined && options.table !== 'external') {
    throw new ControlError('invalid', '--node names a replica: add --table external');
  }
  const filter = await filterOf(options);
  const where = await whereOf(options.where);
  if (options.table !== 'kernel' && where !== undefined && where.shownFields.length > 0) {
    throw new ControlError(
      'invalid',
      `--where: only the kernel's table has ${where.shownFields.join(', ')}: leave it out, or use --table kernel`,
    );
  }
  return { table: options.table, node: options.node ?? '', filter, where };
}

async function filterOf(options: FilterWords): Promise<FlowFilterSpec> {
  const filter: FlowFilterSpec = {
    family: options.family,
    protocol: options.protocol?.toLowerCase(),
    source: options.src,
    destination: options.dst,
    replySource: options.replySrc,
    replyDestination: options.replyDst,
    sourcePort: options.sport,
    destinationPort: options.dport,
    mark: options.mark,
    zone: options.zone,
    state: options.state,
    status: options.status,
  };
  const { FlowFilter } = await import('../flow/filter.js');
  try {
    new FlowFilter(filter);
  } catch (cause) {
    if (!(cause instanceof RangeError)) throw cause;
    const option = OPTION_OF[cause.message.split(':')[0]];
    throw new ControlError('invalid', option === undefined ? cause.message : `${option}: ${cause.message}`, {
      cause,
    });
  }
  return filter;
}

/** Throws ControlError (`invalid`) that shows where the expression is wrong. */
export async function whereOf(text: string | undefined, scope?: WhereScope): Promise<Where | undefined> {
  if (text === undefined) return undefined;
  const { Where } = await import('../flow/where/where.js');
  try {
    return new Where(text, scope);
  } catch (cause) {
    if (!(cause instanceof RangeError)) throw cause;
    throw new ControlError('invalid', `--where: ${cause.message}`, { cause });
  }
}

/** Nothing was asked for: every flow is meant. */
export const isEverything = (query: FlowQuery): boolean =>
  query.where === undefined &&
  Object.values(query.filter).every(
    (value) => value === undefined || (Array.isArray(value) && value.length === 0),
  );
