/** Every option of conntrack(8) that does not belong to a protocol, and its commands: names, letters, arguments. */

/** Whether an option takes a value; an optional one may stand in the next word (unlike getopt's own). */
export type ArgumentKind = 'none' | 'required' | 'optional';

/** One option. `name` is its key in all other tables, and its first long name. */
export interface OptionSpec {
  readonly name: string;
  readonly letter?: string;
  readonly argument: ArgumentKind;
  /** Other long names. */
  readonly also?: readonly string[];
  /** It is a command: its table may follow as a word, more letters may be glued to its own. */
  readonly isCommand?: true;
}

/** Commands by letter; each is an option too. */
export const COMMANDS = {
  L: 'dump',
  G: 'get',
  D: 'delete',
  I: 'create',
  A: 'add',
  U: 'update',
  E: 'event',
  F: 'flush',
  C: 'count',
  S: 'stats',
  V: 'version',
  h: 'help',
} as const;
export type CommandLetter = keyof typeof COMMANDS;

const option = (
  name: string,
  letter: string | undefined,
  argument: ArgumentKind,
  ...also: string[]
): OptionSpec => ({ name, argument, also, ...(letter === undefined ? {} : { letter }) });

/** What each command is when it is written as an option: the table's name may follow. */
export const COMMAND_OPTIONS: readonly OptionSpec[] = Object.entries(COMMANDS).map(([letter, name]) => ({
  ...option(name, letter, 'optional'),
  isCommand: true,
}));

export const GENERAL_OPTIONS: readonly OptionSpec[] = [
  option('src', 's', 'required', 'orig-src'),
  option('dst', 'd', 'required', 'orig-dst'),
  option('reply-src', 'r', 'required'),
  option('reply-dst', 'q', 'required'),
  option('protonum', 'p', 'required', 'proto'),
  option('family', 'f', 'required'),
  option('timeout', 't', 'required'),
  option('status', 'u', 'required'),
  option('mark', 'm', 'required'),
  option('secmark', 'c', 'required'),
  option('id', 'i', 'required'),
  option('zone', 'w', 'required'),
  option('orig-zone', undefined, 'required'),
  option('reply-zone', undefined, 'required'),
  option('label', 'l', 'required'),
  option('label-add', undefined, 'required'),
  option('label-del', undefined, 'optional'),
  option('labelmap', undefined, 'required'),
  option('src-nat', 'n', 'optional'),
  option('dst-nat', 'g', 'optional'),
  option('any-nat', 'j', 'optional'),
  option('tuple-src', undefined, 'required'),
  option('tuple-dst', undefined, 'required'),
  option('mask-src', undefined, 'required'),
  option('mask-dst', undefined, 'required'),
  option('zero', 'z', 'none'),
  option('event-mask', 'e', 'required'),
  option('buffer-size', 'b', 'required'),
  option('output', 'o', 'required'),
  option('nat-range', 'a', 'required'),
];

/** How an operator writes it: `-s` or `--orig-zone`. */
export const spelled = (name: string): string => `--${name}`;
