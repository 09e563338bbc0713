import type { Command } from 'commander';
import { RESYNC_KINDS, type ResyncKind } from '../../control/messages.js';
import type { CommandContext } from '../context.js';
import { choice } from '../options.js';

/** `conntwin resync`. */
export function addResync(program: Command, context: CommandContext): void {
  program
    .command('resync')
    .description('bring two tables in step again')
    .argument('<kind>', RESYNC_KINDS.join(', '), choice('kind', RESYNC_KINDS))
    .addHelpText(
      'after',
      `
kernel   read the kernel's table again into the mirror (conntrackd -R)
request  ask the peers to send their tables again    (conntrackd -n)
send     send this node's table to the peers again   (conntrackd -B)

Examples:
  conntwin resync kernel
  conntwin resync request
`,
    )
    .action((kind: ResyncKind) =>
      context.withDaemon(async (client) => {
        const progress = context.progress();
        const report = await client.resync(kind, progress.show).finally(progress.end);
        await (context.isJson ? context.json(report) : context.terminal.out(`${report.message}\n`));
        context.exitCode = report.exitCode;
      }),
    );
}
