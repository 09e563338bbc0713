/** Words to settings: reads the options in order, judges them, and reads their values. */
import { ParameterError } from './errors.js';
import { type Given, OptionReader } from './getopt.js';
import { readLabelMap, readNamedLabelMap } from './labels.js';
import { judge, TABLES, type TableName } from './legality.js';
import { applyOption } from './option-values.js';
import {
  COMMAND_OPTIONS,
  COMMANDS,
  type CommandLetter,
  GENERAL_OPTIONS,
  type OptionSpec,
} from './options.js';
import { protocolNumber, protocolSpec, protocolsWith } from './protocols.js';
import { newSettings, type Settings } from './settings.js';
import { oneOf, refuse } from './values.js';

const BASE: readonly OptionSpec[] = [...COMMAND_OPTIONS, ...GENERAL_OPTIONS];

/** What stands on a command line: a command, its table, and options in order. */
interface Line {
  readonly letter: CommandLetter;
  readonly table: TableName;
  readonly options: readonly Given[];
  readonly protocol: number | undefined;
}

function read(words: readonly string[]): Line {
  const reader = new OptionReader(words, BASE);
  const options: Given[] = [];
  let command: Given | undefined;
  let protocol: number | undefined;
  const explain = (name: string): string => {
    const protocols = protocolsWith(name);
    if (protocols.length > 0)
      return `it belongs to a protocol: put -p ${protocols.join(' or -p ')} before it`;
    if (name === 'R' || name === 'load-file') return 'it must be the first word, with its file behind it';
    return 'there is no such option: conntrack --help lists them';
  };
  for (let given = reader.next(explain); given !== undefined; given = reader.next(explain)) {
    if (given.spec.isCommand) {
      if (command !== undefined) {
        throw new ParameterError(
          `${given.written}: ${command.written} stands there already: give one command`,
        );
      }
      command = given;
    } else {
      options.push(given);
      if (given.spec.name === 'protonum') {
        const text = given.value ?? '';
        const wanted = 'a protocol: a name such as tcp, or a number from 0 to 255';
        protocol = protocolNumber(text) ?? refuse(given.written, text, wanted);
        reader.know([...BASE, ...protocolSpec(protocol).options]);
      }
    }
  }
  if (command === undefined) {
    const letters = Object.keys(COMMANDS).join(', -');
    throw new ParameterError(`no command: one of -${letters} must say what to do`);
  }
  const letter = command.spec.letter as CommandLetter;
  return { letter, table: tableOf(command, reader.rest), options, protocol };
}

/** The table behind the command, or the first word that is no option. */
function tableOf(command: Given, rest: readonly string[]): TableName {
  const [first, ...more] = [...(command.value === undefined ? [] : [command.value]), ...rest];
  if (more.length > 0) {
    throw new ParameterError(`"${more[0]}": this word belongs to no option: leave it out, or quote it`);
  }
  return first === undefined ? 'conntrack' : (oneOf('table', first, TABLES) as TableName);
}

/**
 * The settings of a command line without the program's name. Throws ParameterError; nothing was done to the kernel
 * then.
 */
export function parseCommand(words: readonly string[]): Settings {
  const line = read(words);
  const given = new Set(line.options.map(({ spec }) => spec.name));
  const settings = newSettings(line.letter, line.table, given);
  if (line.protocol !== undefined) settings.protocol = line.protocol;
  // Labels are looked up by name, so their file is read before any value.
  const file = line.options.find(({ spec }) => spec.name === 'labelmap');
  if (file !== undefined) settings.labelMap = readNamedLabelMap(file.written, file.value ?? '');
  else if (given.has('label') || given.has('label-add') || given.has('label-del')) knowLabels(settings);
  for (const { spec, written, value } of line.options) applyOption(settings, spec.name, written, value);
  // An address with a length counts as --mask-src: it goes where that goes.
  for (const [name, bytes] of [
    ['mask-src', settings.mask.source],
    ['mask-dst', settings.mask.destination],
  ] as const) {
    if (bytes !== undefined) given.add(name);
  }
  judge({ letter: line.letter, table: line.table, given, protocol: line.protocol });
  if (settings.output.hasLabels && settings.labelMap === undefined) knowLabels(settings);
  return settings;
}

function knowLabels(settings: Settings): void {
  const map = readLabelMap();
  if (map !== undefined) settings.labelMap = map;
}
