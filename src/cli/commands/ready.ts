import type { Command } from 'commander';
import type { CommandContext } from '../context.js';

/** `conntwin ready`. */
export function addReady(program: Command, context: CommandContext): void {
  program
    .command('ready')
    .description('may this node take over now without a loss?')
    .option('--check', 'look now what a takeover needs of this kernel, not at the last look (one a minute)')
    .addHelpText(
      'after',
      `
Ready: a primary; a backup whose replica of the last primary is proven; any node while nobody ever was primary.
Exit code 0: ready; 1: not, with the reasons; 4: no daemon.
keepalived need not call this: failover.track_file says the same in a file (docs/keepalived.md).

Examples:
  conntwin ready
  conntwin ready --check --json | jq -r '.reasons[]'
`,
    )
    .action(({ check = false }: { check?: boolean }) =>
      context.withDaemon(async (client) => {
        const report = await client.ready(check);
        const { isReady, reasons } = report;
        const text = isReady
          ? 'ready\n'
          : ['NOT ready', ...reasons.map((reason) => `! ${reason}`), ''].join('\n');
        await (context.isJson ? context.json(report) : context.terminal.out(text));
        context.exitCode = report.exitCode;
      }),
    );
}
