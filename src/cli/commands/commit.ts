import type { Command } from 'commander';
import type { CommandContext } from '../context.js';

/** `conntwin commit`. */
export function addCommit(program: Command, context: CommandContext): void {
  program
    .command('commit')
    .description('write the replicas into this kernel, without a change of role')
    .addHelpText(
      'after',
      `
The flows stay their owners': this node's stream does not speak of them. For tests, and for own failover scripts.

Examples:
  conntwin commit
  conntwin commit --json | jq .promote.rejectedBy
`,
    )
    .action(() =>
      context.withDaemon(async (client) => {
        const progress = context.progress();
        const report = await client.commit(progress.show).finally(progress.end);
        const { failoverText } = await import('../report-text.js');
        await (context.isJson ? context.json(report) : context.terminal.out(failoverText(report)));
        context.exitCode = report.exitCode;
      }),
    );
}
