import type { Command } from 'commander';
import { ROLES, type Role } from '../../control/messages.js';
import type { CommandContext } from '../context.js';
import { choice } from '../options.js';

/** `conntwin failover`. */
export function addFailover(program: Command, context: CommandContext): void {
  program
    .command('failover')
    .description('take this role now, and wait until it is taken')
    .argument('<role>', ROLES.join(', '), choice('role', ROLES))
    .addHelpText(
      'after',
      `
primary  commits what the last primary had into this kernel; safe to repeat
backup   hands over: the flows stay until the new primary has declared itself
fault    as backup, and says so to the others

Exit code 3: done, but a source was suspect, silent or missing; the reasons are printed.

Examples:
  conntwin failover primary
  conntwin failover backup --json
`,
    )
    .action((role: Role) =>
      context.withDaemon(async (client) => {
        const progress = context.progress();
        const report = await client.failover(role, progress.show).finally(progress.end);
        const { failoverText } = await import('../report-text.js');
        await (context.isJson ? context.json(report) : context.terminal.out(failoverText(report)));
        context.exitCode = report.exitCode;
      }),
    );
}
