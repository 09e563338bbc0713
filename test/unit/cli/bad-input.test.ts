/** Every option of `flows` and `expectations`, as commander knows it, with values that are none. */
import { Command, type Option } from 'commander';
import { describe, expect, test } from 'vitest';
import { addExpectations } from '../../../src/cli/commands/expectations.js';
import { addFlows } from '../../../src/cli/commands/flows.js';
import { CommandContext } from '../../../src/cli/context.js';
import { runCli } from '../../../src/cli/program.js';
import type { Terminal } from '../../../src/cli/terminal.js';

const EXIT_USAGE = 2;
/** Words that a command needs before an option of it is looked at. */
const NEEDED: Readonly<Record<string, readonly string[]>> = {
  'flows get': ['tcp', '10.0.0.1:1', '10.2.0.1:2'],
  'flows diff': ['fw2'],
  'flows create': ['icmp', '10.0.0.1', '10.2.0.1'],
  'flows update': ['tcp', '10.0.0.1:1', '10.2.0.1:2', '--dry-run'],
  'expectations get': ['tcp', 'any', '10.2.0.1:2'],
  'expectations create': ['tcp', 'any', '10.2.0.1:2', '--master', 'tcp 10.0.0.1:1 10.2.0.1:21'],
};
/** What of it is right all the same: nearly everything is a path, and a node may be called 1.5x. */
const RIGHT: Readonly<Record<string, RegExp>> = { '--peer-socket': /./, '--node': /^(1\.5x|0x)$/ };
/** --node names a replica. */
const BESIDE: Readonly<Record<string, readonly string[]>> = { '--node': ['--table', 'external'] };
const OVERLONG = ['9'.repeat(5000), 'x'.repeat(9000)];
/** What belongs to other options. */
const FOREIGN = [
  '',
  ' ',
  'a b',
  '10.0.0.1:80:90',
  '1.5x',
  '-1',
  '0x',
  'ESTABLISHED;NEW',
  '[::1',
  '10.0.0.0/33/1',
];

function terminal(said: { out: string; err: string }): Terminal {
  return {
    out: async (text) => {
      said.out += text;
    },
    err: (text) => {
      said.err += text;
    },
    isInteractive: false,
    screenLines: () => undefined,
    screenColumns: () => undefined,
    interruption: () => new AbortController().signal,
  };
}

/** Subcommands by their words. */
function commands(): [string, Command][] {
  const program = new Command('conntwin');
  const context = new CommandContext(terminal({ out: '', err: '' }), () => ({}));
  addFlows(program, context);
  addExpectations(program, context);
  return program.commands.flatMap((group) =>
    group.commands.map((command): [string, Command] => [`${group.name()} ${command.name()}`, command]),
  );
}

async function refuses(words: readonly string[], named: string): Promise<void> {
  const said = { out: '', err: '' };
  const code = await runCli(['--socket', '/nowhere/control.sock', ...words], terminal(said));
  const shown = words.join(' ').slice(0, 200);
  expect([shown, code, said.out]).toEqual([shown, EXIT_USAGE, '']);
  const [first] = said.err.split('\n');
  expect([shown, first]).toEqual([shown, expect.stringContaining(named)]);
  expect([shown, first.length < 700]).toEqual([shown, true]);
}

/** Every option of every command, as the test's name has it. */
const every = commands().flatMap(([name, command]) =>
  command.options.map((option): [string, string, Option] => [`${name} ${option.long}`, name, option]),
);

describe('an empty global option', () => {
  for (const option of ['--socket', '--config']) {
    test(`${option} is a script's unset variable, and refused before anything is asked`, async () => {
      const said = { out: '', err: '' };
      expect(await runCli([option, '', 'status'], terminal(said))).toBe(EXIT_USAGE);
      expect(said.err).toMatch(new RegExp(`^conntwin: option '${option} <.*empty|1 to 107`));
      expect(said.err.trim().split('\n')).toHaveLength(1);
    });
  }
});

describe('flows and expectations refuse bad input with exit code 2 and a line that names the option', () => {
  const takingValues = every.filter(([, , option]) => option.required);
  const before = (name: string, option: Option) => [
    ...name.split(' '),
    ...(NEEDED[name] ?? []),
    ...(BESIDE[option.long ?? ''] ?? []),
  ];

  test('no option is forgotten, and none takes a value or not', () => {
    expect(takingValues.length).toBeGreaterThan(60);
    expect(every.filter(([, , option]) => option.optional)).toEqual([]);
  });

  test.each(takingValues)('%s without its value', async (_, name, option) => {
    for (const word of [option.long, option.short]) {
      if (word) await refuses([...before(name, option), word], option.long ?? '');
    }
  });

  test.each(takingValues)('%s with values that are none', async (_, name, option) => {
    const isRight = RIGHT[option.long ?? ''];
    for (const value of [...FOREIGN.filter((text) => isRight?.test(text) !== true), ...OVERLONG]) {
      await refuses([...before(name, option), `${option.long}=${value}`], option.long ?? '');
    }
  });

  test.each(every.filter(([, , option]) => !option.required))(
    '%s with a value that it does not take',
    async (_, name, option) => {
      await refuses([...before(name, option), `${option.long}=1`], option.long ?? '');
    },
  );
});
