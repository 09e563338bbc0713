import { Command, CommanderError } from 'commander';
import { ControlError } from '../control/backend.js';
import { ConfigError, DEFAULT_CONFIG_FILE, DEFAULT_CONTROL_SOCKET } from '../daemon/config.js';
import { packageVersion } from '../daemon/version.js';
import { addCommit } from './commands/commit.js';
import { addConfig } from './commands/config.js';
import { addDaemon } from './commands/daemon.js';
import { addDrill } from './commands/drill.js';
import { addExpectations } from './commands/expectations.js';
import { addFailover } from './commands/failover.js';
import { addFlows } from './commands/flows.js';
import { addFlush } from './commands/flush.js';
import { addKey } from './commands/key.js';
import { addPurge } from './commands/purge.js';
import { addReady } from './commands/ready.js';
import { addReload } from './commands/reload.js';
import { addResync } from './commands/resync.js';
import { addStatus } from './commands/status.js';
import { addVerify } from './commands/verify.js';
import { CommandContext, EXIT_OK, EXIT_OPERATION, EXIT_USAGE, type Globals } from './context.js';
import { fileName, socketPath } from './options.js';
import type { Terminal } from './terminal.js';

const AFTER_HELP = `
Exit codes:
  0  done, or equal
  1  a difference was found
  2  the command line or the configuration is wrong
  3  not provable now, or done only in part
  4  no daemon, no permission, or the system refused

Examples:
  conntwin status                       is all well?
  conntwin failover primary             take over now
  conntwin drill                        what would a takeover come to?
  conntwin verify && echo equal         prove that kernel, mirror and replicas agree
  conntwin --socket /tmp/fw2.sock status --json
  conntwin conntrack -L -p tcp          conntrack(8)'s own command line, without the daemon
`;

/** Runs one command line (without node and script) and returns its exit code; never throws. */
export async function runCli(argv: readonly string[], terminal: Terminal): Promise<number> {
  const program = new Command('conntwin');
  const context = new CommandContext(terminal, () => program.opts<Globals>());
  describe(program, terminal);
  const adders = [
    addDaemon,
    addStatus,
    addFailover,
    addResync,
    addVerify,
    addReady,
    addDrill,
    addPurge,
    addCommit,
    addFlush,
    addFlows,
    addExpectations,
  ];
  for (const add of [...adders, addReload, addConfig, addKey]) add(program, context);
  try {
    await program.parseAsync([...argv], { from: 'user' });
    return context.exitCode;
  } catch (error) {
    return report(error, terminal);
  }
}

function describe(program: Command, terminal: Terminal): void {
  program
    .description(
      'Keeps the conntrack tables of Linux firewalls in step, so that a failover breaks no connection.',
    )
    .version(packageVersion())
    .option('--config <file>', `configuration (default: ${DEFAULT_CONFIG_FILE})`, fileName)
    .option(
      '--socket <path>',
      `the daemon's control socket (default: the configuration's, or ${DEFAULT_CONTROL_SOCKET})`,
      socketPath,
    )
    .option('--json', 'write JSON')
    .addHelpText('after', AFTER_HELP)
    .configureHelp({ showGlobalOptions: true })
    .configureOutput({
      writeOut: (text) => void terminal.out(text),
      writeErr: (text) => terminal.err(text),
      // One line, also with commander's "(Did you mean ...?)".
      outputError: (text, write) =>
        write(
          `${shortened(text)
            .trim()
            .replace(/^error: /, 'conntwin: ')
            .replaceAll('\n', ' ')}\n`,
        ),
    })
    .exitOverride();
}

/** The first line with its longest value cut: a value of megabytes must not hide what is wrong with it. */
const shortened = (text: string): string =>
  text.replace(/^[^\n]*/, (line) => line.replace(/(["'])([^"']{100})[^"']*\1/g, '$1$2...$1'));

function report(error: unknown, terminal: Terminal): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT_OK : EXIT_USAGE;
  if (error instanceof ConfigError) {
    terminal.err(`${error.message}\n`);
    return EXIT_USAGE;
  }
  terminal.err(`conntwin: ${shortened(error instanceof Error ? error.message : String(error))}\n`);
  return error instanceof ControlError && error.kind === 'invalid' ? EXIT_USAGE : EXIT_OPERATION;
}
