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

What became of the flows:
committed  created in this kernel, as its replica had them
kept       this kernel had them, equal
updated    this kernel had them, and was told what differed
replaced   deleted and created: other in what no update changes, or TCP windows from before this node was backup
rejected   not in this kernel: kernel-full (nf_conntrack_max), reply-taken and live-here (a live flow of this kernel has the
           tuple), conflict, refused, unanswered; the first ones are shown

Exit code 0: done; a primary that fell silent while its replica was proven loses nothing.
Exit code 3: done, and one thing is not as it should be, printed behind "!": the replica was not proven, nobody had flows to take
over (as in a cluster's first failover), another node is primary too, or the role could not be written down.

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
