/** -R: command lines from a file or standard input. All are read before the first is carried out. */
import { readFileSync } from 'node:fs';
import { COMMAND_FILE_MAX_BYTES } from '../limits.js';
import { EXIT_OK, ParameterError } from './errors.js';
import { parseCommand } from './parse.js';
import type { Run } from './run.js';
import type { Settings } from './settings.js';
import { splitWords } from './split-words.js';

/** Commands that a file may hold: those that change flows. */
const FILE_LETTERS = 'IAUD';

function readCommands(path: string): string {
  let bytes: Buffer;
  try {
    bytes = readFileSync(path === '-' ? 0 : path);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new ParameterError(
      `--load-file: "${path}" cannot be read (${code}): give a file, or - for standard input`,
    );
  }
  if (bytes.length > COMMAND_FILE_MAX_BYTES) {
    const max = COMMAND_FILE_MAX_BYTES >>> 20;
    throw new ParameterError(`--load-file: "${path}" is longer than ${max} MiB: split it`);
  }
  return bytes.toString('latin1');
}

/** Calls `use` with each command line; an error names its line. */
function eachLine(text: string, path: string, use: (words: string[]) => void): void {
  let number = 0;
  for (let from = 0; from < text.length; ) {
    const newline = text.indexOf('\n', from);
    const to = newline < 0 ? text.length : newline;
    number++;
    try {
      const words = splitWords(text.slice(from, to));
      // A line may begin with the program's name.
      if (words[0] === 'conntrack') words.shift();
      if (words.length > 0) use(words);
    } catch (error) {
      if (error instanceof ParameterError)
        throw new ParameterError(`${path}, line ${number}: ${error.message}`);
      throw error;
    }
    from = to + 1;
  }
}

function parseLine(words: readonly string[]): Settings {
  const settings = parseCommand(words);
  if (!FILE_LETTERS.includes(settings.letter) || settings.table !== 'conntrack') {
    const letters = [...FILE_LETTERS].join(', -');
    throw new ParameterError(`-${settings.letter}: a file holds changes of flows only: -${letters}`);
  }
  return settings;
}

/** Carries out every line; stops at the first that the kernel refuses. */
export function loadFile(path: string, run: Run, perform: (run: Run, settings: Settings) => number): number {
  const text = readCommands(path);
  // Twice, so that a bad line is found before anything is changed, and a million lines are not held as objects.
  eachLine(text, path, parseLine);
  eachLine(text, path, (words) => void perform(run, parseLine(words)));
  return EXIT_OK;
}
