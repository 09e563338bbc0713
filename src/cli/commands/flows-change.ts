/** `conntwin flows get|create|update|delete`. */
import { type Command, InvalidArgumentError } from 'commander';
import { ControlError } from '../../control/backend.js';
import { type CommandContext, EXIT_OK } from '../context.js';
import type { ChangeCounts, Changer, UpdateOptions } from '../flow-changer.js';
import type { CreateOptions } from '../flow-maker.js';
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
import { helperName, u16 } from '../options.js';
import { grouped } from '../terminal.js';

/** No such flow; and what could not be done of much. */
const EXIT_NONE = 1;
const EXIT_IN_PART = 3;
/** Work that is over sooner shows no progress. Milliseconds. */
const PROGRESS_AFTER_MS = 1000;
const PROGRESS_EVERY_MS = 200;

const THREE_WORDS = 'protocol, source and destination: tcp 10.0.0.1:1234 10.2.0.1:443';

const GET_EXAMPLES = `
Exit code 1: there is no such flow.

Examples:
  conntwin flows get tcp 10.0.0.1:1234 10.2.0.1:443
  conntwin flows get icmp 10.0.0.1 10.2.0.1 --json
  conntwin flows get udp [fd00::1]:5000 [fd00::2]:53 --table mirror
`;

const CREATE_EXAMPLES = `
Without --state a TCP flow is established, seen both ways and assured; without --timeout a flow lives 30 s. Translation
needs a nat chain of the family. What is created on the primary is replicated like any other flow.

Examples:
  conntwin flows create tcp 10.0.0.1:1234 10.2.0.1:443 --snat 10.2.0.254:4000 --state established --timeout 60s --mark 0x1/0xff
  conntwin flows create udp 10.0.0.1:5000 10.2.0.9:53 --dnat 10.2.0.1 --timeout 5m
  conntwin flows create icmp 10.0.0.1 10.2.0.1 --icmp-id 77 --timeout 1m
`;

const UPDATE_EXAMPLES = `
Only what differs is changed; status bits can be added and never taken away. Exit code 3: the kernel refused some.

Examples:
  conntwin flows update --where 'src=10.1.0.0/16 and dport=443' --mark 5
  conntwin flows update --where 'mark=0x10/0xf0' --mark 0x20/0xf0 --dry-run
  conntwin flows update tcp 10.0.0.1:1234 10.2.0.1:443 --timeout 1h
`;

const DELETE_EXAMPLES = `
Each flow is deleted by its tuple and id, so that none is hit that began meanwhile. A connection whose flow is gone goes
on with its next packet if the rules and nf_conntrack_tcp_loose let it. On a backup the flows that its kernel holds for a
peer come back when the peer speaks of them, and with a takeover: delete on the primary (docs/flows.md).

Examples:
  conntwin flows delete --where 'proto=tcp and dport=22' --dry-run
  conntwin flows delete --where 'proto=tcp and dport=22'
  conntwin flows delete tcp 10.0.0.1:1234 10.2.0.1:443
  conntwin flows delete --all
`;

interface ChangeOptions extends FilterWords {
  all?: boolean;
  dryRun?: boolean;
}

export function addFlowChanges(flows: Command, context: CommandContext): void {
  withTable(flows.command('get'))
    .description('show all that is known of one flow')
    .argument('<flow...>', THREE_WORDS)
    .option('-w, --zone <zone>', 'conntrack zone', u16('zone'))
    .addHelpText('after', GET_EXAMPLES)
    .action((words: string[], options: TableOptions & FilterWords) => get(context, words, options));
  flows
    .command('create')
    .description('put a flow into the kernel')
    .argument('<flow...>', THREE_WORDS)
    .option('--snat <address>', 'what its source becomes: address or address:port')
    .option('--dnat <address>', 'what its destination becomes')
    .option('--state <state>', 'established, syn-sent, ...')
    .option('--status <status>', 'seen-reply, assured, ..., with commas between')
    .option('--timeout <time>', '60s, 5m, 2h')
    .option('-m, --mark <mark>', 'value, or value/mask')
    .option('-w, --zone <zone>', 'conntrack zone', u16('zone'))
    .option('--label <labels>', 'numbers of labels, with commas between')
    .option('--helper <name>', 'ftp, sip, ...', helperName)
    .option('--icmp-type <type>', 'of ICMP: 8 or, in IPv6, 128 unless given', u8('type'))
    .option('--icmp-code <code>', 'of ICMP', u8('code'))
    .option('--icmp-id <id>', 'of ICMP', u16('id'))
    .addHelpText('after', CREATE_EXAMPLES)
    .action((words: string[], options: CreateOptions) => create(context, words, options));
  // Their --mark and --timeout say what is to be, so that only --where asks what there is.
  flows
    .command('update')
    .description('change flows of the kernel')
    .argument('[flow...]', THREE_WORDS)
    .option('--where <expression>', "which flows: 'src=10.1.0.0/16 and dport=443'")
    .option('--all', 'every flow there is')
    .option('--dry-run', 'change nothing, say how many would be')
    .option('-m, --mark <mark>', 'the new mark; with value/mask only the bits of the mask')
    .option('--timeout <time>', 'the new timeout, 60s, 5m, 2h')
    .option('--set-state <state>', 'the new state, established, ...')
    .option('--set-status <status>', 'status to add: assured, ...')
    .option('--add-label <labels>', 'numbers of labels, with commas between')
    .option('--remove-label <labels>', 'the same, or all')
    .addHelpText('after', WHERE_HELP + UPDATE_EXAMPLES)
    .action((words: string[], options: ChangeOptions & UpdateOptions) => update(context, words, options));
  withFilter(flows.command('delete'))
    .description('delete flows from the kernel')
    .argument('[flow...]', THREE_WORDS)
    .option('--all', 'every flow there is: CONNECTIONS BREAK')
    .option('--dry-run', 'delete nothing, say how many would be')
    .addHelpText('after', WHERE_HELP + DELETE_EXAMPLES)
    .action((words: string[], options: ChangeOptions) => remove(context, words, options));
}

function u8(what: string): (text: string) => number {
  return (text) => {
    const value = /^\d{1,3}$/.test(text) ? Number(text) : 256;
    if (value > 255) throw new InvalidArgumentError(`The ${what} is a number from 0 to 255.`);
    return value;
  };
}

async function get(
  context: CommandContext,
  words: string[],
  options: TableOptions & FilterWords,
): Promise<void> {
  const { tupleFilter } = await import('../flow-words.js');
  const { table, node, zone } = options;
  const only = { table, ...(node === undefined ? {} : { node }), ...(zone === undefined ? {} : { zone }) };
  const query: FlowQuery = await queryOf(only);
  Object.assign(query.filter, tupleFilter(words));
  const { walkFlows } = await import('../flow-walk.js');
  const { flowJson } = await import('../flow-printer.js');
  const { cardText } = await import('../flow-card.js');
  const { flowFromRecord } = await import('../../flow/flow.js');
  let text = '';
  const flush = async (): Promise<void> => {
    const piece = text;
    text = '';
    if (piece !== '') await context.terminal.out(piece);
  };
  let count = 0;
  await walkFlows(context, query, {
    take: (m, at, about) => {
      count++;
      text += context.isJson ? `${flowJson(m, at, about)}\n` : cardText(flowFromRecord(m, at), about);
    },
    between: flush,
  });
  await flush();
  if (count > 0) return;
  context.terminal.err('conntwin: there is no such flow: conntwin flows list shows what there is\n');
  context.exitCode = EXIT_NONE;
}

async function create(context: CommandContext, words: string[], options: CreateOptions): Promise<void> {
  const { flowOf } = await import('../flow-maker.js');
  const input = flowOf(words, options);
  const { Conntrack } = await import('../../library/conntrack.js');
  const { formatConntrack, formatJson } = await import('../../flow/text.js');
  const ct = await Conntrack.open();
  try {
    const flow = await ct.create(input);
    await context.terminal.out(`${context.isJson ? formatJson(flow) : formatConntrack(flow)}\n`);
  } finally {
    ct.close();
  }
}

async function update(
  context: CommandContext,
  words: string[],
  options: ChangeOptions & UpdateOptions,
): Promise<void> {
  const { where, all, dryRun = false, ...changes } = options;
  const query = await chosen(words, {
    ...(where === undefined ? {} : { where }),
    ...(all === true ? { all } : {}),
  });
  const { FlowUpdater } = await import('../flow-changer.js');
  const changer = new FlowUpdater(changes, dryRun);
  await change(context, query, changer, 'update', dryRun);
}

async function remove(context: CommandContext, words: string[], options: ChangeOptions): Promise<void> {
  const query = await chosen(words, options);
  const { FlowDeleter } = await import('../flow-changer.js');
  const { dryRun = false } = options;
  await change(context, query, new FlowDeleter(dryRun), 'delete', dryRun);
}

/** The flows that are meant; that it is all of them must have been said. */
async function chosen(words: string[], options: ChangeOptions): Promise<FlowQuery> {
  const query = await queryOf({ ...options, table: 'kernel' });
  if (words.length > 0) {
    const { tupleFilter } = await import('../flow-words.js');
    Object.assign(query.filter, tupleFilter(words));
  }
  if (isEverything(query) === (options.all === true)) return query;
  const problem = options.all
    ? '--all means every flow, and a filter stands beside it: leave one of them out'
    : 'which flows? Name one (tcp 10.0.0.1:1234 10.2.0.1:443), give --where EXPRESSION, or say --all';
  throw new ControlError('invalid', problem);
}

async function change(
  context: CommandContext,
  query: FlowQuery,
  changer: Changer,
  verb: 'update' | 'delete',
  isDry: boolean,
): Promise<void> {
  const { walkFlows, walkKernel } = await import('../flow-walk.js');
  const { counts } = changer;
  const progress = context.progress();
  let shownAt = performance.now() + PROGRESS_AFTER_MS - PROGRESS_EVERY_MS;
  const walk = {
    take: (m: Parameters<Changer['take']>[0], at: number) => changer.take(m, at),
    between: async () => {
      changer.flush();
      const now = performance.now();
      if (now - shownAt < PROGRESS_EVERY_MS) return;
      shownAt = now;
      progress.show({ phase: verb, done: counts.done, total: 0 });
    },
  };
  try {
    if (query.where?.needsOwner) await walkFlows(context, query, walk);
    else await walkKernel(query, walk);
    changer.flush();
  } finally {
    progress.end();
    changer.close();
  }
  context.exitCode = counts.refused > 0 ? EXIT_IN_PART : EXIT_OK;
  await (context.isJson
    ? context.json({
        [verb === 'update' ? 'updated' : 'deleted']: counts.done,
        ...withoutDone(counts),
        isDryRun: isDry,
      })
    : context.terminal.out(`${outcome(verb, counts, isDry)}\n`));
  if (!isDry && counts.done > 0) await noteBackup(context, verb);
}

const withoutDone = ({ unchanged, gone, refused, reason }: ChangeCounts) => ({
  unchanged,
  gone,
  refused,
  ...(reason === '' ? {} : { reason }),
});

function outcome(
  verb: string,
  { done, unchanged, gone, refused, reason }: ChangeCounts,
  isDry: boolean,
): string {
  const parts = [
    `${grouped(done)} ${done === 1 ? 'flow' : 'flows'} ${isDry ? `would be ${verb}d` : `${verb}d`}`,
  ];
  if (unchanged > 0) parts.push(`${grouped(unchanged)} were so already`);
  if (gone > 0) parts.push(`${grouped(gone)} had ended`);
  if (refused > 0) parts.push(`${grouped(refused)} refused (${reason})`);
  return parts.join(', ');
}

const ON_A_BACKUP = {
  update:
    'what was changed of a flow held for a peer stays until the peer speaks of it: change it on the primary',
  delete:
    'a flow held for a peer comes back when the peer speaks of it, and with a takeover: delete on the primary',
};

/** What is done to held flows does not last, and whoever does it should know. */
async function noteBackup(context: CommandContext, verb: 'update' | 'delete'): Promise<void> {
  await context.withDaemonIfAny(false, async (client) => {
    const { role } = await client.status();
    if (role === 'backup') context.terminal.err(`conntwin: this node is a backup: ${ON_A_BACKUP[verb]}\n`);
  });
}
