import { type Command, InvalidArgumentError } from 'commander';
import type { StatusReport } from '../../control/messages.js';
import type { CommandContext } from '../context.js';
import { pause, Screen } from '../screen.js';

/** What a person can follow; a status costs the daemon a millisecond. Milliseconds. */
const INTERVAL_MIN_MS = 100;
const INTERVAL_MAX_MS = 3_600_000;

/** `conntwin status`. */
export function addStatus(program: Command, context: CommandContext): void {
  program
    .command('status')
    .description('show role, peers, replicas, links, what is in step and what is not')
    .option('--watch', 'draw it anew every second, until Ctrl-C')
    .option('--interval <seconds>', 'time between two looks of --watch', seconds, 1000)
    .addHelpText(
      'after',
      `
Where the output is no terminal, --watch writes one page an interval, with a line of dashes between them.

Examples:
  conntwin status
  conntwin status --watch --interval 0.5
  conntwin status --json | jq '.replicas[] | select(.inSync | not)'
`,
    )
    .action(async ({ watch: isWatched, interval }: { watch?: boolean; interval: number }) => {
      const { statusText } = await import('../status-text.js');
      const { isJson, terminal } = context;
      if (isWatched) return watch(context, interval, isJson ? jsonLine : statusText);
      return context.withDaemon(async (client) => {
        const status = await client.status();
        await (isJson ? context.json(status) : terminal.out(statusText(status)));
      });
    });
}

const jsonLine = (status: StatusReport) => `${JSON.stringify(status)}\n`;

/** Draws the status again and again. A daemon that goes away is waited for; one that was never there is an error. */
async function watch(
  context: CommandContext,
  intervalMs: number,
  textOf: (status: StatusReport) => string,
): Promise<void> {
  const { ControlError } = await import('../../control/backend.js');
  const signal = context.terminal.interruption();
  const screen = new Screen(context.terminal, context.isJson);
  let isKnown = false;
  while (!signal.aborted) {
    try {
      await context.withDaemon(async (client) => {
        while (!signal.aborted) {
          await screen.draw(textOf(await client.status()));
          isKnown = true;
          await pause(intervalMs, signal);
        }
      });
    } catch (error) {
      if (!isKnown || !(error instanceof ControlError)) throw error;
      await screen.note(`${error.message}; trying again`);
      await pause(intervalMs, signal);
    }
  }
}

function seconds(text: string): number {
  const ms = /^\d{1,5}(\.\d{1,3})?$/.test(text) ? Number(text) * 1000 : -1;
  if (ms >= INTERVAL_MIN_MS && ms <= INTERVAL_MAX_MS) return ms;
  throw new InvalidArgumentError('The interval is a number of seconds from 0.1 to 3600.');
}
