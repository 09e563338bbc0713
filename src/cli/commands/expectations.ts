import { type Command, InvalidArgumentError } from 'commander';
import { ControlError } from '../../control/backend.js';
import { type CommandContext, EXIT_OK } from '../context.js';
import { type TableOptions, whereOf, withTable } from '../flow-query.js';
import { atMost, choice, helperName, u16 } from '../options.js';
import { grouped } from '../terminal.js';

const FORMATS = ['table', 'conntrack', 'json'] as const;
/** No such expectation; and events were lost. */
const EXIT_NONE = 1;
const EXIT_IN_PART = 3;
const EVENTS_MAX = 1_000_000_000;
/** Of an expectation's timeout, which has 16 bits. Seconds. */
const TIMEOUT_MAX_S = 0xffff;
const CLASS_MAX = 255;
/** NF_CT_EXPECT_PERMANENT, linux/netfilter/nf_conntrack_common.h. */
const PERMANENT = 1;

const THREE_WORDS = 'protocol, source (or any) and destination: tcp any 10.2.0.254:4001';
const WHERE_HELP = `
--where is an expression over what is expected: proto, family, src, dst, sport, dport, zone, helper, timeout, owner, node;
docs/flows.md tells how it is written.
`;
const LIST_EXAMPLES = `
OWNER tells whose the flow is that expects it: this node's own, or held for a peer.

Examples:
  conntwin expectations list
  conntwin expectations list --where 'proto=tcp and dport>1024' --json
  conntwin expectations list --table replica --node fw2
  conntwin expectations count
`;
const CREATE_EXAMPLES = `
The flow that expects it must be there and have a helper; it is named by --master, as one word in quotes. Without --timeout
the helper's own holds.

Examples:
  conntwin expectations create tcp any 10.1.0.7:40001 --master 'tcp 10.1.0.7:40000 10.2.0.9:7000' --timeout 30s
  conntwin expectations get tcp any 10.1.0.7:40001
  conntwin expectations delete tcp any 10.1.0.7:40001
`;
const WATCH_EXAMPLES = `
Examples:
  conntwin expectations watch
  conntwin expectations watch --json --for 10s
`;

interface Options extends TableOptions {
  where?: string;
  output?: (typeof FORMATS)[number];
}

/** `conntwin expectations ...`. */
export function addExpectations(program: Command, context: CommandContext): void {
  const expectations = program
    .command('expectations')
    .description('the flows that helpers expect: look at them, make them, take them back')
    .addHelpText('after', LIST_EXAMPLES);
  const where = "'dport=4001 and helper=ftp': the fields below";
  withTable(expectations.command('list'))
    .description('print expectations, a line each')
    .option('--where <expression>', where)
    .option(
      '-o, --output <format>',
      `${FORMATS.join(', ')} (default: a table on a terminal, else conntrack)`,
      choice('format', FORMATS),
    )
    .addHelpText('after', WHERE_HELP + LIST_EXAMPLES)
    .action((options: Options) => list(context, options));
  withTable(expectations.command('count'))
    .description('print how many there are')
    .option('--where <expression>', where)
    .addHelpText('after', WHERE_HELP + LIST_EXAMPLES)
    .action((options: Options) => count(context, options));
  withTable(expectations.command('get'))
    .description('show one')
    .argument('<expectation...>', THREE_WORDS)
    .addHelpText('after', CREATE_EXAMPLES)
    .action((words: string[], options: Options) => get(context, words, options));
  addChanges(expectations, context);
  expectations
    .command('watch')
    .description('show what is expected, and what no longer is')
    .option('--where <expression>', where)
    .option('--count <count>', 'end after so many events', atMost('count', EVENTS_MAX))
    .option('--for <time>', 'end after this time: 10s, 5m')
    .addHelpText('after', WHERE_HELP + WATCH_EXAMPLES)
    .action((options: WatchOptions) => watch(context, options));
}

function addChanges(expectations: Command, context: CommandContext): void {
  expectations
    .command('create')
    .description('expect a flow')
    .argument('<expectation...>', THREE_WORDS)
    .requiredOption('--master <flow>', "the flow that expects it: 'tcp 10.1.0.7:40000 10.2.0.9:21'")
    .option('--timeout <time>', '30s, 5m')
    .option('--class <class>', "one of its helper's classes", atMostFromZero)
    .option('--helper <name>', 'helper of the expected flow', helperName)
    .option('-w, --zone <zone>', 'zone of its master', u16('zone'))
    .option('--permanent', 'it stays when it was met')
    .addHelpText('after', CREATE_EXAMPLES)
    .action((words: string[], options: CreateOptions) => create(context, words, options));
  expectations
    .command('delete')
    .description('expect something no longer')
    .argument('[expectation...]', THREE_WORDS)
    .option('--where <expression>', 'all that it means')
    .option('--all', 'every expectation there is')
    .option('--dry-run', 'delete nothing, say how many would be')
    .addHelpText('after', WHERE_HELP + CREATE_EXAMPLES)
    .action((words: string[], options: DeleteOptions) => remove(context, words, options));
}

function atMostFromZero(text: string): number {
  const value = /^\d{1,3}$/.test(text) ? Number(text) : CLASS_MAX + 1;
  if (value > CLASS_MAX) throw new InvalidArgumentError(`The class is a number from 0 to ${CLASS_MAX}.`);
  return value;
}

async function rowsOf(context: CommandContext, options: Options) {
  const rows = await import('../expectation-rows.js');
  const where = await whereOf(options.where, rows.EXPECTATION_SCOPE);
  return rows.expectationRows(context, options, where);
}

async function list(context: CommandContext, options: Options): Promise<void> {
  const found = await rowsOf(context, options);
  const { expectationJson, expectationLine, expectationTable } = await import('../expectation-rows.js');
  const { terminal } = context;
  const width = terminal.screenColumns();
  const format = options.output ?? (context.isJson ? 'json' : width === undefined ? 'conntrack' : 'table');
  const line = format === 'json' ? expectationJson : expectationLine;
  const text =
    format === 'table' ? expectationTable(found, width) : found.map((row) => `${line(row)}\n`).join('');
  if (text !== '') await terminal.out(text);
}

async function count(context: CommandContext, options: Options): Promise<void> {
  const found = await rowsOf(context, options);
  await (context.isJson ? context.json({ count: found.length }) : context.terminal.out(`${found.length}\n`));
}

async function get(context: CommandContext, words: string[], options: Options): Promise<void> {
  const { expectationJson, expectationLine, isNamed, namedExpectation } = await import(
    '../expectation-rows.js'
  );
  const named = namedExpectation(words);
  const found = (await rowsOf(context, options)).filter(({ expectation }) => isNamed(expectation, named));
  const line = context.isJson ? expectationJson : expectationLine;
  for (const row of found) await context.terminal.out(`${line(row)}\n`);
  if (found.length > 0) return;
  context.terminal.err('conntwin: nothing like that is expected: conntwin expectations list shows what is\n');
  context.exitCode = EXIT_NONE;
}

interface CreateOptions {
  master: string;
  timeout?: string;
  class?: number;
  helper?: string;
  zone?: number;
  permanent?: boolean;
}

async function create(context: CommandContext, words: string[], options: CreateOptions): Promise<void> {
  const { namedExpectation } = await import('../expectation-rows.js');
  const { refuse, seconds, tuple } = await import('../flow-words.js');
  const named = namedExpectation(words);
  const timeout = options.timeout === undefined ? undefined : seconds('--timeout', options.timeout);
  if (timeout !== undefined && (timeout < 1 || timeout > TIMEOUT_MAX_S)) {
    refuse('--timeout', options.timeout ?? '', `a time from 1s to ${TIMEOUT_MAX_S}s`);
  }
  const { helper, zone } = options;
  let master: ReturnType<typeof tuple>;
  try {
    master = tuple(options.master.trim().split(/\s+/));
  } catch (cause) {
    throw new ControlError('invalid', `--master: ${(cause as Error).message}`, { cause });
  }
  const { Conntrack } = await import('../../library/conntrack.js');
  const { expectationOf } = await import('../../library/expectation-input.js');
  const { formatExpectation } = await import('../../flow/expectation-text.js');
  const expectation = invalidIfImpossible(() =>
    expectationOf({
      ...named,
      master: { ...master, ...(zone === undefined ? {} : { zone }) },
      ...(timeout === undefined ? {} : { timeout }),
      ...(options.class === undefined ? {} : { class: options.class }),
      ...(helper === undefined ? {} : { helper }),
      ...(options.permanent ? { flags: PERMANENT } : {}),
    }),
  );
  const ct = await Conntrack.open();
  try {
    const made = await ct.expectations.create(expectation);
    await context.terminal.out(`${context.isJson ? JSON.stringify(made) : formatExpectation(made)}\n`);
  } finally {
    ct.close();
  }
}

function invalidIfImpossible<T>(make: () => T): T {
  try {
    return make();
  } catch (cause) {
    if (!(cause instanceof RangeError)) throw cause;
    throw new ControlError('invalid', cause.message, { cause });
  }
}

interface DeleteOptions {
  where?: string;
  all?: boolean;
  dryRun?: boolean;
}

async function remove(context: CommandContext, words: string[], options: DeleteOptions): Promise<void> {
  const { isNamed, namedExpectation } = await import('../expectation-rows.js');
  const isChosen = words.length > 0 || options.where !== undefined;
  if (isChosen === (options.all === true)) {
    const problem = isChosen
      ? '--all means every expectation, and a choice stands beside it: leave one of them out'
      : 'which expectations? Name one (tcp any 10.2.0.254:4001), give --where EXPRESSION, or say --all';
    throw new ControlError('invalid', problem);
  }
  const named = words.length > 0 ? namedExpectation(words) : undefined;
  const found = (await rowsOf(context, { ...options, table: 'kernel' })).filter(
    ({ expectation }) => named === undefined || isNamed(expectation, named),
  );
  const isDry = options.dryRun === true;
  let deleted = 0;
  if (!isDry) {
    const { Conntrack } = await import('../../library/conntrack.js');
    const ct = await Conntrack.open();
    try {
      for (const { expectation } of found) if (await ct.expectations.delete(expectation)) deleted++;
    } finally {
      ct.close();
    }
  }
  const done = isDry ? found.length : deleted;
  const text = `${grouped(done)} ${done === 1 ? 'expectation' : 'expectations'} ${isDry ? 'would be deleted' : 'deleted'}\n`;
  await (context.isJson
    ? context.json({ deleted: done, gone: isDry ? 0 : found.length - deleted, isDryRun: isDry })
    : context.terminal.out(text));
}

interface WatchOptions {
  where?: string;
  count?: number;
  for?: string;
}

async function watch(context: CommandContext, options: WatchOptions): Promise<void> {
  const { EXPECTATION_SCOPE, expectationLine, holds } = await import('../expectation-rows.js');
  const where = await whereOf(options.where, EXPECTATION_SCOPE);
  if (where?.needsOwner) {
    throw new ControlError('invalid', '--where: an event does not say whose it is: leave owner and node out');
  }
  const { seconds } = await import('../flow-words.js');
  const limitMs = options.for === undefined ? undefined : 1000 * seconds('--for', options.for);
  const { Conntrack } = await import('../../library/conntrack.js');
  const ct = await Conntrack.open();
  const stream = ct.expectations.events();
  const timer = limitMs === undefined ? undefined : setTimeout(() => stream.close(), limitMs);
  context.terminal.interruption().addEventListener('abort', () => stream.close());
  let [events, lost] = [0, 0];
  try {
    for await (const event of stream) {
      if (event.type === 'overrun') {
        lost += event.lost;
        continue;
      }
      const row = { expectation: event.expectation, owner: 0, node: '' };
      if (where !== undefined && !holds(where, row)) continue;
      const { type, portId, expectation } = event;
      const json = () => JSON.stringify({ event: type, ...(portId === 0 ? {} : { portId }), ...expectation });
      await context.terminal.out(
        `${context.isJson ? json() : `${type.padEnd(7)}  ${expectationLine(row)}`}\n`,
      );
      if (++events === options.count) break;
    }
  } finally {
    clearTimeout(timer);
    ct.close();
  }
  context.terminal.err(`${grouped(events)} events; ${lost === 0 ? 'none lost' : `${grouped(lost)} LOST`}\n`);
  context.exitCode = lost > 0 ? EXIT_IN_PART : EXIT_OK;
}
