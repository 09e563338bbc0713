import type { Command } from 'commander';
import type { CommandContext } from '../context.js';

/** `conntwin daemon`. */
export function addDaemon(program: Command, context: CommandContext): void {
  program
    .command('daemon')
    .description('run the daemon in the foreground; SIGTERM stops it, SIGHUP reloads its configuration')
    .option('--log-level <level>', 'debug, info, warn or error', 'info')
    .addHelpText(
      'after',
      `
Needs CAP_NET_ADMIN. Logs JSON lines to standard output, tells systemd READY.

Examples:
  conntwin daemon
  conntwin --config ./fw1.yaml daemon --log-level debug
`,
    )
    .action(async ({ logLevel }: { logLevel: string }) => {
      const { LOG_LEVELS } = await import('../../control/messages.js');
      const { ControlError } = await import('../../control/backend.js');
      const level = LOG_LEVELS.find((known) => known === logLevel);
      if (!level) {
        throw new ControlError('invalid', `--log-level ${logLevel} is not one of ${LOG_LEVELS.join(', ')}`);
      }
      const { loadConfig } = await import('../../daemon/config-load.js');
      const loaded = loadConfig(context.configFile);
      const { socket } = context.globals();
      const config = socket === undefined ? loaded : { ...loaded, control: { ...loaded.control, socket } };
      const { runDaemon } = await import('../../daemon/daemon.js');
      context.exitCode = await runDaemon(config, { logLevel: level });
    });
}
