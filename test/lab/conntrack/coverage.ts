/** Which options the lines of a comparison had, command by command, and which they never had. */
import { allowedOptions } from '../../../src/conntrack/legality.js';
import { COMMANDS, type CommandLetter } from '../../../src/conntrack/options.js';
import { parseCommand } from '../../../src/conntrack/parse.js';
import { FLOW_ID } from './command-lines.js';
import { commandLetter } from './debian-quirks.js';

/** Options that no random line of these commands has, each with the reason. */
const LEFT_OUT: Readonly<Record<string, string>> = {
  'U src-nat': "Debian's sends the translation along, which the kernel refuses to change",
  'U dst-nat': 'the same',
  labelmap: "Debian's 1.4.7 does not have it yet",
};
const FORMS = /^(-o|--output)$/;

export class Coverage {
  /** Times by "L conntrack" and option. */
  private readonly given = new Map<string, Map<string, number>>();

  /** Counts a line that both took; words of files are lines of their own. */
  add(words: readonly string[]): void {
    if (/^(-R|--load-file)/.test(words[0])) this.count('R', words[1] === '-' ? '-' : 'FILE');
    else if (commandLetter(words) !== undefined) this.addOptions(words);
  }

  private addOptions(words: readonly string[]): void {
    const { letter, table, given } = parseCommand(
      words.map((word) => (word.startsWith(FLOW_ID) ? '1' : word)),
    );
    const command = `${letter} ${table}`;
    this.count(command, '(all)');
    for (const name of given) this.count(command, name);
    const at = words.findIndex((word) => FORMS.test(word));
    if (at >= 0) for (const form of words[at + 1].split(',')) this.count(command, `-o ${form}`);
  }

  private count(command: string, name: string): void {
    let options = this.given.get(command);
    if (options === undefined) {
      options = new Map();
      this.given.set(command, options);
    }
    options.set(name, (options.get(name) ?? 0) + 1);
  }

  /** A line for each command: how often each option was given, and what never was. */
  *report(): Generator<string> {
    for (const [command, options] of [...this.given].sort(([a], [b]) => (a < b ? -1 : 1))) {
      const list = [...options].map(([name, times]) => `${name} ${times}`).join(', ');
      const never = this.missing(command);
      yield `-${command}: ${list}${never.length > 0 ? `; never: ${never.join(', ')}` : ''}`;
    }
    const commands = Object.keys(COMMANDS).flatMap((letter) =>
      ['conntrack', 'expect', 'dying', 'unconfirmed'].map((table) => `${letter} ${table}`),
    );
    const unused = commands.filter((command) => !this.given.has(command) && optionsOf(command) !== undefined);
    if (unused.length > 0) yield `never: -${unused.join(', -')}`;
    for (const [what, why] of Object.entries(LEFT_OUT)) yield `left out: -${what}: ${why}`;
  }

  private missing(command: string): string[] {
    const options = this.given.get(command);
    const isLeftOut = (name: string) =>
      name in LEFT_OUT || `${command.replace(' conntrack', '')} ${name}` in LEFT_OUT;
    return (optionsOf(command) ?? []).filter((name) => options?.has(name) !== true && !isLeftOut(name));
  }
}

function optionsOf(command: string): readonly string[] | undefined {
  const [letter, table] = command.split(' ');
  return allowedOptions(letter as CommandLetter, table);
}
