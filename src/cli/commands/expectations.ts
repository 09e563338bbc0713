import type { Command } from 'commander';
import { FLOW_TABLES, type FlowTableName } from '../../control/messages.js';
import type { CommandContext } from '../context.js';
import { choice } from '../options.js';

interface ExpectationsOptions {
  table: FlowTableName;
  node?: string;
}

/** `conntwin expectations list|count`. */
export function addExpectations(program: Command, context: CommandContext): void {
  const expectations = program.command('expectations').description('look at the flows that helpers expect');
  withTable(expectations.command('list'))
    .description('print expectations, a line each')
    .action((options: ExpectationsOptions) => list(context, options, true));
  withTable(expectations.command('count'))
    .description('print how many there are')
    .action((options: ExpectationsOptions) => list(context, options, false));
}

function withTable(command: Command): Command {
  const tables = 'kernel, internal (mirror) or external (replicas)';
  return command
    .option('--table <table>', tables, choice('table', FLOW_TABLES), 'kernel')
    .option('--node <node>', "of external: this node's replica only");
}

async function list(context: CommandContext, options: ExpectationsOptions, isShown: boolean): Promise<void> {
  const { ControlError } = await import('../../control/backend.js');
  if (options.node !== undefined && options.table !== 'external') {
    throw new ControlError('invalid', '--node names a replica: add --table external');
  }
  const { expectationFromRecord, formatExpectation } = await import('../../flow/expectation-text.js');
  const { validateExpectation } = await import('../../flow/expectation.js');
  const { allocateMemory } = await import('../../flow/record.js');
  let count = 0;
  await context.withDaemon((client) =>
    client.expectations({ table: options.table, node: options.node ?? '' }, async ({ records }) => {
      const memory = allocateMemory(records.length);
      memory.u8.set(records);
      let text = '';
      for (let at = 0; at < records.length; at += memory.u16[at >>> 1]) {
        if (validateExpectation(memory, at, memory.u16[at >>> 1]) !== undefined) {
          throw new ControlError(
            'failed',
            'the daemon speaks another layout: use the same version of conntwin',
          );
        }
        count++;
        if (!isShown) continue;
        const expectation = expectationFromRecord(memory, at);
        text += `${context.isJson ? JSON.stringify(expectation) : formatExpectation(expectation)}\n`;
      }
      if (text !== '') await context.terminal.out(text);
    }),
  );
  if (!isShown) await (context.isJson ? context.json({ count }) : context.terminal.out(`${count}\n`));
}
