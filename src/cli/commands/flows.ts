import type { Command } from 'commander';
import type { FlowTaker } from '../../flow/flow-sorter.js';
import { TOP_FLOWS_MAX } from '../../limits.js';
import type { CommandContext } from '../context.js';
import type { Format } from '../flow-printer.js';
import {
  type FilterWords,
  type FlowQuery,
  isEverything,
  queryOf,
  type TableOptions,
  WHERE_HELP,
  withFilter,
  withTable,
} from '../flow-query.js';
import { atMost, choice } from '../options.js';
import { addFlowChanges } from './flows-change.js';
import { addFlowsDiff } from './flows-diff.js';
import { addFlowsWatch } from './flows-watch.js';

/** As FORMATS of the printer, which is loaded when it is needed. */
const FORMATS = ['table', 'conntrack', 'extended', 'save', 'xml', 'json'] as const satisfies Format[];

export interface ListOptions extends TableOptions, FilterWords {
  output?: Format;
  sort?: string;
  reverse?: boolean;
  top?: number;
}

const LIST_EXAMPLES = `
On a terminal it is a table with a line for each flow; into a file or pipe it is the lines of conntrack -L. OWNER tells
flows of this node (own) from those that its kernel has for a peer (held fw2) and those that only its replica has.
--sort puts the largest numbers first (addresses: the smallest), --reverse turns that round; --top N keeps the first N
and memory for no more. Without a daemon the kernel's table is read directly, and nobody knows whose the flows are.

Examples:
  conntwin flows list --where 'proto=tcp and dport=443 and state=established'
  conntwin flows list --where 'address in (10.1.0.0/16, fd00:1::/64) and not assured'
  conntwin flows list --top 10 --sort bytes
  conntwin flows list --where 'timeout<30s and proto in (tcp, sctp)' --sort timeout --reverse
  conntwin flows list --table replica --node fw2 --where held
  conntwin flows list --protocol tcp --dport 443 --state ESTABLISHED -o extended
  conntwin flows list --json --mark 0x10/0xf0 | jq .original
`;

const COUNT_EXAMPLES = `
Examples:
  conntwin flows count
  conntwin flows count --where 'proto=udp and unreplied'
  conntwin flows count --table external --node fw2
`;

/** `conntwin flows ...`. */
export function addFlows(program: Command, context: CommandContext): void {
  const flows = program
    .command('flows')
    .description('look into the tables, change them, watch them')
    .addHelpText('after', LIST_EXAMPLES);
  withFilter(withTable(flows.command('list')))
    .description('print flows, a line each')
    .option(
      '-o, --output <format>',
      `${FORMATS.join(', ')} (default: a table on a terminal, else conntrack)`,
      choice('format', FORMATS),
    )
    .option('--sort <field>', 'in the order of a field, the largest first')
    .option('--reverse', 'the other way round')
    .option(
      '--top <count>',
      'only the first so many (by bytes unless --sort says)',
      atMost('count', TOP_FLOWS_MAX),
    )
    .addHelpText('after', WHERE_HELP + LIST_EXAMPLES)
    .action((options: ListOptions) => list(context, options));
  withFilter(withTable(flows.command('count')))
    .description('print how many flows there are')
    .addHelpText('after', WHERE_HELP + COUNT_EXAMPLES)
    .action((options: ListOptions) => count(context, options));
  addFlowChanges(flows, context);
  addFlowsWatch(flows, context);
  addFlowsDiff(flows, context);
}

async function list(context: CommandContext, options: ListOptions): Promise<void> {
  const query = await queryOf(options);
  const { sorterOf } = await import('../flow-sorting.js');
  const sorter = sorterOf(options);
  const { walkFlows } = await import('../flow-walk.js');
  const { FlowPrinter } = await import('../flow-printer.js');
  const { terminal } = context;
  const isTable = terminal.screenColumns() !== undefined;
  const format = options.output ?? (context.isJson ? 'json' : isTable ? 'table' : 'conntrack');
  const printer = new FlowPrinter(terminal, format);
  const isKnown = await walkFlows(context, query, {
    take: (m, at, about) => (sorter ?? printer).take(m, at, about),
    between: () => printer.flush(),
  });
  const take: FlowTaker = (m, at, about) => printer.take(m, at, about);
  await sorter?.each(take, () => printer.flush(), Date.now() / 1000);
  await printer.end();
  if (terminal.isInteractive) {
    const note = isKnown ? '' : ' (no daemon answers: whose they are is not known)';
    terminal.err(`${printer.count} flows${note}\n`);
  }
  await noteCounters(context, query, sorter?.field);
}

/** A filter or an order by what the kernel does not count finds nothing: say why. */
async function noteCounters(
  context: CommandContext,
  { where }: FlowQuery,
  sorted: string | undefined,
): Promise<void> {
  const fields = [...(where?.shownFields ?? []), ...(sorted === undefined ? [] : [sorted])];
  const { readSysctl } = await import('../../kernel/sysctl.js');
  const note = (pattern: RegExp, setting: string, what: string) => {
    const field = fields.find((name) => pattern.test(name));
    if (field === undefined || readSysctl(setting) !== 0) return;
    context.terminal.err(`conntwin: ${field}: ${what} while net.netfilter.nf_conntrack_${setting} is 0\n`);
  };
  note(/bytes|packets/, 'acct', 'flows that begin are not counted');
  note(/age/, 'timestamp', 'flows that begin have no time');
}

async function count(context: CommandContext, options: ListOptions): Promise<void> {
  const query = await queryOf(options);
  const flows = (await kernelCount(context, query)) ?? (await daemonCount(context, query));
  await (context.isJson ? context.json({ count: flows }) : context.terminal.out(`${flows}\n`));
}

/**
 * Flows of this machine's kernel, counted here: whose they are does not matter, and the daemon has better to do.
 * Undefined where the daemon is to say it: it was named, only it knows, or this process may not read the table.
 */
async function kernelCount(context: CommandContext, query: FlowQuery): Promise<number | undefined> {
  const isOurs = query.table === 'kernel' && context.globals().socket === undefined;
  if (!isOurs || query.where?.needsOwner === true) return undefined;
  const { readSysctl } = await import('../../kernel/sysctl.js');
  const known = isEverything(query) ? readSysctl('count') : undefined;
  if (known !== undefined) return known;
  const { walkKernel } = await import('../flow-walk.js');
  const { NetAdminMissingError } = await import('../../kernel/kernel-error.js');
  let flows = 0;
  try {
    await walkKernel(query, { take: () => flows++, between: async () => undefined });
  } catch (error) {
    if (!(error instanceof NetAdminMissingError)) throw error;
    if (await context.hasDaemon()) return undefined;
    throw error;
  }
  return flows;
}

async function daemonCount(context: CommandContext, query: FlowQuery): Promise<number> {
  const { table, node, filter, where } = query;
  let flows = 0;
  await context.withDaemon(async (client) => {
    flows = await client.countFlows({ table, node, filter, ...(where && { where: where.text }) });
  });
  return flows;
}
