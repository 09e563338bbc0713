import type { Command } from 'commander';
import type { CommandContext } from '../context.js';

const WATCH_INTERVAL_MS = 1000;
const CLEAR_SCREEN = '\x1b[H\x1b[2J';

/** `conntwin status`. */
export function addStatus(program: Command, context: CommandContext): void {
  program
    .command('status')
    .description('show role, peers, replicas, what is in step and what is not')
    .option('--watch', 'draw it anew every second, until Ctrl-C')
    .addHelpText(
      'after',
      `
Examples:
  conntwin status
  conntwin status --watch
  conntwin status --json | jq '.replicas[] | select(.inSync | not)'
`,
    )
    .action((options: { watch?: boolean }) =>
      context.withDaemon(async (client) => {
        const { statusText } = await import('../status-text.js');
        const { terminal, isJson } = context;
        if (!options.watch) {
          const status = await client.status();
          return isJson ? context.json(status) : terminal.out(statusText(status));
        }
        while (!terminal.signal.aborted) {
          const status = await client.status();
          await terminal.out(isJson ? `${JSON.stringify(status)}\n` : CLEAR_SCREEN + statusText(status));
          await pause(WATCH_INTERVAL_MS, terminal.signal);
        }
      }),
    );
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      signal.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal.addEventListener('abort', done);
  });
}
