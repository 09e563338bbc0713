import type { Command } from 'commander';
import type { CommandContext } from '../context.js';

/** `conntwin key generate`. */
export function addKey(program: Command, context: CommandContext): void {
  program
    .command('key')
    .description('make keys for the sync links; needs no daemon')
    .command('generate')
    .description('make a key of 32 random bytes in base64')
    .argument('[file]', 'written with mode 0600, never over an existing file; standard output if absent')
    .addHelpText(
      'after',
      `
Examples:
  conntwin key generate /etc/conntwin/key
  conntwin key generate | ssh fw2 'umask 077; cat > /etc/conntwin/key'
`,
    )
    .action(async (file?: string) => {
      const { generateKey, writeKeyFile } = await import('../../daemon/key-file.js');
      if (file === undefined) return context.terminal.out(`${generateKey()}\n`);
      writeKeyFile(file, generateKey());
      await context.terminal.out(`${file}: written; copy it to every node of the cluster\n`);
    });
}
