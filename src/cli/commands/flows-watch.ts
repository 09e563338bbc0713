/** `conntwin flows watch`. */
import type { Command } from 'commander';
import { ControlError } from '../../control/backend.js';
import { type CommandContext, EXIT_OK } from '../context.js';
import { type FilterWords, queryOf, WHERE_HELP, withFilter } from '../flow-query.js';
import type { EventKind } from '../flow-watch.js';
import { atMost } from '../options.js';

/** Events were lost: what was shown is not all. */
const EXIT_IN_PART = 3;
const EVENTS_MAX = 1_000_000_000;
const SECONDS_MAX = 86_400 * 14;
const KINDS: readonly EventKind[] = ['new', 'update', 'destroy'];

const EXAMPLES = `
The kernel's events, without the daemon, until Ctrl-C. An expression is asked of what an event tells: an update has the
mark, the state or the labels only if those changed, counters come with destroy (and net.netfilter.nf_conntrack_acct).
On a terminal the rates stand below; at the end it is said how many there were, and whether any were lost (exit code 3).

Examples:
  conntwin flows watch --where 'proto=tcp and dport=443'
  conntwin flows watch --events new,destroy --for 10s
  conntwin flows watch --rates --count 3
  conntwin flows watch --json --events destroy | jq -r .original.source
`;

interface Options extends FilterWords {
  events?: EventKind[];
  rates?: boolean;
  count?: number;
  for?: string;
}

export function addFlowsWatch(flows: Command, context: CommandContext): void {
  withFilter(flows.command('watch'))
    .description('show what happens in the kernel, and how often')
    .option('--events <kinds>', `some of ${KINDS.join(', ')}, with commas between`, kinds)
    .option('--rates', 'only how many there are a second')
    .option(
      '--count <count>',
      'end after so many events (with --rates: seconds)',
      atMost('count', EVENTS_MAX),
    )
    .option('--for <time>', 'end after this time: 10s, 5m')
    .addHelpText('after', WHERE_HELP + EXAMPLES)
    .action((options: Options) => watch(context, options));
}

function kinds(text: string): EventKind[] {
  return text.split(',').map((word) => {
    const kind = KINDS.find((known) => known === word);
    if (kind === undefined)
      throw new ControlError('invalid', `--events: "${word}" is not one of ${KINDS.join(', ')}`);
    return kind;
  });
}

async function watch(context: CommandContext, options: Options): Promise<void> {
  const query = await queryOf({ ...options, table: 'kernel' });
  if (query.where?.needsOwner) {
    throw new ControlError(
      'invalid',
      '--where: an event does not say whose the flow is: leave own, held, owner, node out',
    );
  }
  const { seconds } = await import('../flow-words.js');
  const limit = options.for === undefined ? undefined : seconds('--for', options.for);
  if (limit !== undefined && limit > SECONDS_MAX) throw new ControlError('invalid', '--for: at most 14d');
  const isRates = options.rates === true;
  const { count = Number.POSITIVE_INFINITY } = options;
  const { FlowWatch } = await import('../flow-watch.js');
  const flowWatch = new FlowWatch(context.terminal, query, {
    kinds: options.events ?? KINDS,
    isJson: context.isJson,
    isRates,
    signal: context.terminal.interruption(),
    maxEvents: isRates ? Number.POSITIVE_INFINITY : count,
    maxTicks: isRates ? count : Number.POSITIVE_INFINITY,
    maxMs: limit === undefined ? undefined : limit * 1000,
  });
  await flowWatch.run();
  context.exitCode = flowWatch.lost > 0 ? EXIT_IN_PART : EXIT_OK;
}
