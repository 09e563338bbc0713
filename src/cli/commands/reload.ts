import type { Command } from 'commander';
import { type CommandContext, EXIT_OK } from '../context.js';

/** Something of the new configuration waits for a restart. */
const EXIT_IN_PART = 3;

/** `conntwin reload`. */
export function addReload(program: Command, context: CommandContext): void {
  program
    .command('reload')
    .description('let the daemon read its configuration and key files again, as SIGHUP does')
    .addHelpText(
      'after',
      `
Keys take effect at once; what else differs is named and waits for a restart (exit code 3). A configuration with an
error changes nothing.

Examples:
  conntwin config check && conntwin reload
`,
    )
    .action(() =>
      context.withDaemon(async (client) => {
        const report = await client.reload();
        const { changed, needsRestart } = report;
        context.exitCode = needsRestart.length === 0 ? EXIT_OK : EXIT_IN_PART;
        if (context.isJson) return context.json(report);
        const lines = [`changed: ${changed.join(', ') || 'nothing'}`];
        if (needsRestart.length > 0) lines.push(`needs a restart: ${needsRestart.join(', ')}`);
        await context.terminal.out(`${lines.join('\n')}\n`);
      }),
    );
}
