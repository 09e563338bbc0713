import type { Command } from 'commander';
import type { CommandContext } from '../context.js';

/** `conntwin drill`. */
export function addDrill(program: Command, context: CommandContext): void {
  program
    .command('drill')
    .description(
      'rehearse a failover to this node: what would be committed, kept or refused; changes nothing',
    )
    .addHelpText(
      'after',
      `
The promote itself is run on a copy of the flow table and on a kernel that only pretends to take what it gets. The report is
that of \`conntwin failover primary\` after it, count for count if no flow changes in between; its duration is an estimate.
Predicted are also conflicts with flows of this kernel, a full table (nf_conntrack_max), helpers that this kernel lacks, and
masters that are gone. While it runs it needs as much memory as the flow table once more.

Exit codes as of \`conntwin failover primary\`: 0, or 3 with the reasons behind "!".

Examples:
  conntwin drill
  conntwin drill --json | jq .promote.rejectedFlows
  conntwin drill --json | jq -e '.promote.rejected == 0'
`,
    )
    .action(() =>
      context.withDaemon(async (client) => {
        const progress = context.progress();
        const report = await client.drill(progress.show).finally(progress.end);
        const { drillText } = await import('../report-text.js');
        await (context.isJson ? context.json(report) : context.terminal.out(drillText(report)));
        context.exitCode = report.exitCode;
      }),
    );
}
