import type { Command } from 'commander';
import type { CommandContext } from '../context.js';

/** `conntwin purge`. */
export function addPurge(program: Command, context: CommandContext): void {
  program
    .command('purge')
    .description("delete from this backup's kernel what a former primary or a commit left in it")
    .addHelpText(
      'after',
      `
A backup does this by itself after failover.purge_after; 0 there means only by hand. It takes some seconds: every held flow
is looked at twice. With standby: cold all held flows go, with hot those that the primary no longer has. What stays:

local      it ends on this machine
touched    the kernel changed it here: its packets pass
refreshed  its timer was set again between the two looks: its packets pass
new        it came after the first look
ended      it had ended by itself
refused    the kernel did not answer, or would not delete it

Refused (exit 4) on a primary, and where no live primary with a proven replica is heard: the flows may be the last ones.
A promote ends a purge at once, and what it had not reached is as it was.

Examples:
  conntwin purge
  conntwin purge --json | jq .skippedBy
`,
    )
    .action(() =>
      context.withDaemon(async (client) => {
        const progress = context.progress();
        const report = await client.purge(progress.show).finally(progress.end);
        const { purgeText } = await import('../report-text.js');
        await (context.isJson ? context.json(report) : context.terminal.out(`${purgeText(report)}\n`));
      }),
    );
}
