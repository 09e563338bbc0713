import type { Command } from 'commander';
import type { CommandContext } from '../context.js';

/** `conntwin config check|show`. */
export function addConfig(program: Command, context: CommandContext): void {
  const config = program.command('config').description('look at the configuration; needs no daemon');
  config
    .command('check')
    .description('print ok, or every problem with its line')
    .argument('[file]', 'instead of --config')
    .addHelpText(
      'after',
      `
Examples:
  conntwin config check
  conntwin config check ./new.yaml && cp new.yaml /etc/conntwin/conntwin.yaml
`,
    )
    .action(async (file?: string) => {
      const { loadConfig } = await import('../../daemon/config-load.js');
      const { file: name } = loadConfig(file ?? context.configFile);
      await (context.isJson ? context.json({ file: name, ok: true }) : context.terminal.out(`${name}: ok\n`));
    });
  config
    .command('show')
    .description('print the configuration with every default')
    .argument('[file]', 'instead of --config')
    .addHelpText(
      'after',
      `
What it prints is a configuration itself.

Examples:
  conntwin config show
  conntwin config show --json | jq .links
`,
    )
    .action(async (file?: string) => {
      const { loadConfig } = await import('../../daemon/config-load.js');
      const { configAsYaml, configInFileKeys } = await import('../../daemon/config-show.js');
      const loaded = loadConfig(file ?? context.configFile);
      await (context.isJson
        ? context.json(configInFileKeys(loaded))
        : context.terminal.out(configAsYaml(loaded)));
    });
}
