import type { Command } from 'commander';
import type { CommandContext } from '../context.js';

/** `conntwin verify`. */
export function addVerify(program: Command, context: CommandContext): void {
  program
    .command('verify')
    .description('prove that kernel and mirror are equal here, and that every replica equals its node')
    .addHelpText(
      'after',
      `
Works under load: what changes meanwhile does not count as a difference.
Exit code 0: all proven; 1: a difference, which is named; 3: not provable (no peer, or one silent or suspect).

Examples:
  conntwin verify
  conntwin verify --json | jq .differences
`,
    )
    .action(() =>
      context.withDaemon(async (client) => {
        const progress = context.progress();
        const report = await client.verify(progress.show).finally(progress.end);
        const { verifyText } = await import('../report-text.js');
        await (context.isJson ? context.json(report) : context.terminal.out(verifyText(report)));
        context.exitCode = report.exitCode;
      }),
    );
}
