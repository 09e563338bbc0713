import type { Command } from 'commander';
import {
  FLOW_TABLES,
  type FlowFilterSpec,
  type FlowsRequest,
  type FlowTableName,
} from '../../control/messages.js';
import type { CommandContext } from '../context.js';
import { choice, u16, words } from '../options.js';

const FORMATS = ['conntrack', 'extended', 'json'] as const;
type Format = (typeof FORMATS)[number];

interface FlowsOptions {
  table: FlowTableName;
  node?: string;
  output?: Format;
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

const EXAMPLES = `
Filters hold all at once, on the original direction, as in conntrack(8). STATUS is one or more of EXPECTED,
SEEN_REPLY, ASSURED, SRC_NAT, DST_NAT, ..., UNREPLIED with commas between.

Examples:
  conntwin flows list --protocol tcp --dport 443 --state ESTABLISHED
  conntwin flows list --src 10.1.0.0/16 --status ASSURED,SRC_NAT -o extended
  conntwin flows count --table external --node fw2
  conntwin flows list --json --mark 0x10/0xf0 | jq .original
`;

/** `conntwin flows list|count`. */
export function addFlows(program: Command, context: CommandContext): void {
  const flows = program.command('flows').description('look into the tables').addHelpText('after', EXAMPLES);
  filtered(flows.command('list'))
    .description('print flows, a line each')
    .option('-o, --output <format>', `${FORMATS.join(', ')} (default: conntrack)`, choice('format', FORMATS))
    .action((options: FlowsOptions) => list(context, options));
  filtered(flows.command('count'))
    .description('print how many flows there are')
    .action((options: FlowsOptions) => count(context, options));
}

function filtered(command: Command): Command {
  return command
    .option(
      '--table <table>',
      'kernel, internal (mirror) or external (replicas)',
      choice('table', FLOW_TABLES),
      'kernel',
    )
    .option('--node <node>', "of external: this node's replica only")
    .option('-p, --protocol <protocol>', 'name or number')
    .option('-s, --src <address>', 'source, address or address/length')
    .option('-d, --dst <address>', 'destination')
    .option('-r, --reply-src <address>', 'source of the reply direction')
    .option('-q, --reply-dst <address>', 'destination of the reply direction: what SNAT made of the source')
    .option('--sport <port>', 'source port', u16('port'))
    .option('--dport <port>', 'destination port', u16('port'))
    .option('-m, --mark <mark>', 'value or value/mask')
    .option('-w, --zone <zone>', 'conntrack zone', u16('zone'))
    .option('--state <state>', 'protocol state, as ESTABLISHED', (text) => text.toUpperCase())
    .option('-u, --status <status>', 'status bits, as ASSURED', words)
    .option('-f, --family <family>', 'ipv4 or ipv6', choice('family', ['ipv4', 'ipv6'] as const))
    .addHelpText('after', EXAMPLES);
}

/** The request of these options. Throws ControlError (`invalid`) if a filter value is not possible. */
async function requestOf(options: FlowsOptions): Promise<FlowsRequest> {
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
  const { FlowFilter } = await import('../../flow/filter.js');
  const { ControlError } = await import('../../control/backend.js');
  if (options.node !== undefined && options.table !== 'external') {
    throw new ControlError('invalid', '--node names a replica: add --table external');
  }
  try {
    new FlowFilter(filter);
  } catch (cause) {
    if (cause instanceof RangeError) throw new ControlError('invalid', cause.message, { cause });
    throw cause;
  }
  return { table: options.table, node: options.node ?? '', filter };
}

async function list(context: CommandContext, options: FlowsOptions): Promise<void> {
  const request = await requestOf(options);
  const { FlowPrinter } = await import('../flow-printer.js');
  const printer = new FlowPrinter(options.output ?? (context.isJson ? 'json' : 'conntrack'));
  await context.withDaemon((client) =>
    client.flows(request, (packed) => context.terminal.out(printer.text(packed))),
  );
  if (context.terminal.isInteractive) context.terminal.err(`${printer.count} flows\n`);
}

async function count(context: CommandContext, options: FlowsOptions): Promise<void> {
  const request = await requestOf(options);
  await context.withDaemon(async (client) => {
    const flows = await client.countFlows(request);
    await (context.isJson ? context.json({ count: flows }) : context.terminal.out(`${flows}\n`));
  });
}
