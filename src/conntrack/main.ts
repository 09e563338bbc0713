/**
 * The conntrack command: conntrack(8)'s command line, its output and its exit codes, over Conntwin's own sockets. It
 * needs no daemon.
 */
import { SystemError } from '../../native/system-error.js';
import { EXIT_OK, EXIT_OTHER, EXIT_PARAMETERS, OperationError, ParameterError } from './errors.js';
import { createExpectation, deleteExpectation, getExpectation, listExpectations } from './expectations.js';
import { helpText } from './help.js';
import { deleteFlows, listFlows, updateFlows } from './list-flows.js';
import { loadFile } from './load-file.js';
import { parseCommand } from './parse.js';
import { COMPATIBLE_VERSION, Run } from './run.js';
import type { Settings } from './settings.js';
import { createFlow, getFlow } from './single-flow.js';
import { processStreams, type Streams } from './streams.js';
import { watchEvents } from './watch-events.js';
import { countTable, flushTable, showStats } from './whole-table.js';

type Command = (run: Run, settings: Settings) => number | Promise<number>;

function print(run: Run, text: string): number {
  run.out.text(text);
  run.out.flush();
  return EXIT_OK;
}

/** What each command does to each table. */
const COMMANDS: Readonly<Record<string, Command>> = {
  'L conntrack': listFlows,
  'L dying': listFlows,
  'L unconfirmed': listFlows,
  'L expect': listExpectations,
  'G conntrack': getFlow,
  'G expect': getExpectation,
  'D conntrack': deleteFlows,
  'D expect': deleteExpectation,
  'I conntrack': createFlow,
  'I expect': createExpectation,
  'A conntrack': createFlow,
  'U conntrack': updateFlows,
  'E conntrack': watchEvents,
  'E expect': watchEvents,
  'F conntrack': flushTable,
  'F expect': flushTable,
  'C conntrack': countTable,
  'C expect': countTable,
  'S conntrack': showStats,
  'S expect': showStats,
  'V conntrack': (run) => print(run, `conntrack v${COMPATIBLE_VERSION} (conntwin)\n`),
  'h conntrack': (run) => print(run, helpText()),
};

const FILE_COMMANDS: Readonly<Record<string, (run: Run, settings: Settings) => number>> = {
  I: createFlow,
  A: createFlow,
  U: updateFlows,
  D: deleteFlows,
};

/** The file of -R FILE, -RFILE, --load-file FILE or --load-file=FILE, which stands first. */
function commandFile(words: readonly string[]): string | undefined {
  const [first = '', second, ...more] = words;
  const glued = /^(?:-R|--load-file=)(.+)$/s.exec(first)?.[1];
  if (glued === undefined && first !== '-R' && first !== '--load-file') return undefined;
  const file = glued ?? second;
  if (file === undefined) {
    throw new ParameterError(`${first}: it needs a file, or - for standard input, and none follows`);
  }
  const [extra] = glued === undefined ? more : words.slice(1);
  if (extra !== undefined) {
    throw new ParameterError(
      `"${extra}": -R takes its file and nothing else: options stand in the file's lines`,
    );
  }
  return file;
}

async function perform(words: readonly string[], streams: Streams): Promise<number> {
  const file = commandFile(words);
  const settings = file === undefined && words.length > 0 ? parseCommand(words) : undefined;
  const run = new Run(streams, file !== undefined);
  try {
    if (file !== undefined) return loadFile(file, run, (to, line) => FILE_COMMANDS[line.letter](to, line));
    if (settings === undefined) return print(run, helpText());
    if (settings.given.has('nat-range')) run.note('WARNING: -a has no meaning any more and is ignored.');
    return await COMMANDS[`${settings.letter} ${settings.table}`](run, settings);
  } finally {
    run.close();
  }
}

/** Runs one command line (without the program's name) and returns its exit code; never throws. */
export async function runConntrack(words: readonly string[], streams = processStreams()): Promise<number> {
  const say = (text: string) => streams.err(`conntrack v${COMPATIBLE_VERSION} (conntwin): ${text}\n`);
  try {
    return await perform(words, streams);
  } catch (error) {
    if (error instanceof ParameterError) {
      say(`${error.message}\n(conntrack --help lists all commands and options)`);
      return EXIT_PARAMETERS;
    }
    if (!(error instanceof OperationError) && !(error instanceof SystemError)) throw error;
    say(`Operation failed: ${error.message}`);
    return EXIT_OTHER;
  }
}
