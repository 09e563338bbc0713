import { describe, expect, test } from 'vitest';
import { EXIT_PARAMETERS } from '../../../src/conntrack/errors.js';
import { runConntrack } from '../../../src/conntrack/main.js';
import { MEANT_OPTIONS } from '../../../src/conntrack/option-values.js';
import { COMMAND_OPTIONS, GENERAL_OPTIONS, type OptionSpec } from '../../../src/conntrack/options.js';
import { protocolSpec } from '../../../src/conntrack/protocols.js';

/** A command that takes the option, by its name, and what must stand before it. */
const PLACES: readonly (readonly [RegExp, string])[] = [
  [/^timeout$/, '-D'],
  [/^id$/, '-D'],
  [/^(event-mask|buffer-size)$/, '-E'],
  [/^label-/, '-U'],
  [/^tuple-(src|dst)$/, '-I expect'],
  [/^mask-(src|dst)$/, '-L -s 192.0.2.1 -d 192.0.2.1'],
  [/^(tuple|mask)-port-|^(orig|reply)-vtag$/, '-U -p sctp'],
  [/^(tuple|mask)-key-|^(src|dst)key$|^reply-key-/, '-L -p gre'],
  [/^role$/, '-U -p dccp'],
  [/^icmp-/, '-L -p icmp'],
  [/^icmpv6-/, '-L -p icmpv6'],
  [/^(sport|dport|reply-port-.*|state)$/, '-L -p tcp'],
  [/./, '-L'],
];
/** Options whose value may be anything, or nothing. */
const FREE = ['nat-range', 'zero'];
const OVERLONG = '9'.repeat(5000);
/** What belongs to other options. */
const FOREIGN = [
  'ESTABLISHED,NEW',
  '192.0.2.1/24/24',
  '192.0.2.1:80:90',
  '0x',
  '-1',
  'ipv5',
  '1.5',
  '[::1',
  ' ',
];

const protocolOptions = [6, 17, 132, 33, 47, 1, 58].flatMap((protocol) => protocolSpec(protocol).options);
const every: readonly OptionSpec[] = [...new Set([...GENERAL_OPTIONS, ...protocolOptions])];
const placeOf = ({ name }: OptionSpec): string[] =>
  PLACES.find(([pattern]) => pattern.test(name))![1].split(' ');

async function run(words: readonly string[]): Promise<{ code: number; out: string; err: string }> {
  const said = { out: '', err: '' };
  const code = await runConntrack(words, {
    out: (bytes) => {
      said.out += Buffer.from(bytes).toString('latin1');
    },
    err: (text) => {
      said.err += text;
    },
  });
  return { code, ...said };
}

/** The command line must be refused with one line that names the option. */
async function refuses(words: readonly string[], named: string): Promise<void> {
  const { code, out, err } = await run(words);
  const [first, second, ...more] = err.split('\n');
  expect([words.join(' ').slice(0, 200), code, out]).toEqual([
    words.join(' ').slice(0, 200),
    EXIT_PARAMETERS,
    '',
  ]);
  expect(first).toContain(named);
  expect(first.length).toBeLessThan(400);
  expect([second, ...more]).toEqual(['(conntrack --help lists all commands and options)', '']);
}

describe('bad input is refused with exit code 2 and a line that names the option', () => {
  const needing = every.filter(({ argument }) => argument === 'required');

  test.each(needing.map((spec) => [spec.name, spec] as const))(
    '--%s without its value',
    async (name, spec) => {
      await refuses([...placeOf(spec), `--${name}`], `--${name}: it needs a value`);
      if (spec.letter)
        await refuses([...placeOf(spec), `-${spec.letter}`], `-${spec.letter}: it needs a value`);
    },
  );

  const judged = every.filter(({ argument, name }) => argument !== 'none' && !FREE.includes(name));
  test.each(judged.map((spec) => [spec.name, spec] as const))(
    '--%s with values that are none',
    async (name, spec) => {
      for (const value of ['', 'nonsense', OVERLONG, ...FOREIGN]) {
        // Masks, lists and addresses of another kind are foreign to some and right for others: these are not.
        await refuses([...placeOf(spec), `--${name}=${value}`], `--${name}: `);
      }
    },
  );

  test.each(every.filter(({ argument }) => argument === 'none').map((spec) => [spec.name]))(
    '--%s with a value that it does not take',
    (name) => refuses(['-L', `--${name}=1`], `--${name}: it takes no value`),
  );

  test.each([
    ['-L --sport 1', '--sport: it belongs to a protocol'],
    ['-L --nonsense', '--nonsense: there is no such option'],
    ['-L -X', '-X: there is no such option'],
    ['-L -t 5', '--timeout: it does not go with -L (dump)'],
    ['-L expect -s 192.0.2.1', '--src: it does not go with -L (dump) expect'],
    ['-L -p sctp --orig-vtag 1', '--orig-vtag: it does not go with -L'],
    ['-U expect', 'it does not work on the table expect'],
    ['-G dying', 'it does not work on the table dying: use conntrack or expect'],
    ['-G', '--protonum: it is missing'],
    ['-I -p tcp', '--timeout: it is missing'],
    ['-I -p tcp -t 5', '--state: it is missing'],
    ['-I -p udp -t 5', '--src: it is missing'],
    ['-I -p udp -t 5 -s 192.0.2.1 -d 192.0.2.2 --sport 1', '--dport: it is missing'],
    ['-L --mask-src 255.0.0.0', '--mask-src: it masks the address of --src'],
    ['-L -n -j', '--any-nat: it stands for'],
    ['-L -o save,xml', '-o: save is a form of its own'],
    ['-R', '-R: it needs a file'],
    ['-R /nonexistent', '"/nonexistent" cannot be read (ENOENT)'],
    ['-R - -L', '"-L": -R takes its file and nothing else'],
    ['-L -R /dev/null', '-R: it must be the first word'],
    ['-L -l nonsense', '-l: '],
  ])('%s', (line, named) => refuses(line.split(' '), named));
});

test('every option has a meaning', () => {
  const names = every.map(({ name }) => name);
  expect([...names].sort()).toEqual([...MEANT_OPTIONS].sort());
  expect(new Set(names).size).toBe(names.length);
  const letters = [...COMMAND_OPTIONS, ...GENERAL_OPTIONS].flatMap(({ letter }) => letter ?? []);
  expect(new Set(letters).size).toBe(letters.length);
});

test('without words, with -h and with -V it says what it is, and nothing is wrong', async () => {
  for (const words of [[], ['-h'], ['--help']]) {
    const { code, out, err } = await run(words);
    expect([code, err]).toEqual([0, '']);
    expect(out).toContain('conntrack COMMAND [TABLE] [OPTIONS]');
  }
  expect((await run(['-V'])).out).toMatch(/^conntrack v1\.4\.9 \(conntwin\)\n$/);
});
