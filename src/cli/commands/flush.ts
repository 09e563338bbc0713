import type { Command } from 'commander';
import { FLOW_TABLES, type FlowTableName } from '../../control/messages.js';
import type { CommandContext } from '../context.js';
import { choice } from '../options.js';

/** `conntwin flush`. */
export function addFlush(program: Command, context: CommandContext): void {
  program
    .command('flush')
    .description('empty a table')
    .argument('<table>', FLOW_TABLES.join(', '), choice('table', FLOW_TABLES))
    .addHelpText(
      'after',
      `
internal  forget the mirror, then read the kernel again; no connection is touched
external  forget the replicas; the peers send them again
kernel    delete every flow from the kernel's table: CONNECTIONS BREAK

Examples:
  conntwin flush external
`,
    )
    .action((table: FlowTableName) =>
      context.withDaemon(async (client) => {
        const report = await client.flush(table);
        await (context.isJson ? context.json(report) : context.terminal.out(`${report.message}\n`));
      }),
    );
}
