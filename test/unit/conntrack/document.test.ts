/** docs/conntrack.md names every command and option, and none that does not exist. */
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { COMMAND_OPTIONS, GENERAL_OPTIONS } from '../../../src/conntrack/options.js';
import { protocolSpec } from '../../../src/conntrack/protocols.js';
import { repositoryRoot } from '../../lab/program.js';

const DOCUMENT = readFileSync(`${repositoryRoot()}/docs/conntrack.md`, 'utf8');
const written = new Set(DOCUMENT.match(/(?<![\w-])--?[a-zA-Z][\w-]*\*?/g));
const protocolOptions = [6, 132, 33, 47, 1, 58].flatMap((protocol) => protocolSpec(protocol).options);
const every = [...COMMAND_OPTIONS, ...GENERAL_OPTIONS, ...protocolOptions];
const names = every.flatMap(({ name, also = [], letter }) => [
  ...[name, ...also].map((long) => `--${long}`),
  ...(letter === undefined ? [] : [`-${letter}`]),
]);
/** Those that belong to no table of options: the file's, and words of a protocol with a common beginning. */
const OTHERS = ['--load-file', '-R'];
const isNamed = (name: string) =>
  written.has(name) || [...written].some((word) => word.endsWith('*') && name.startsWith(word.slice(0, -1)));

test('every option has a place in the table', () => {
  // Second names of ports and keys stand for the first ones.
  const missing = names.filter((name) => !isNamed(name) && !/^--orig-(port|key)-/.test(name));
  expect(missing).toEqual([]);
});

test('no option is named that does not exist', () => {
  const known = (word: string) =>
    word.endsWith('*') ? names.some((name) => name.startsWith(word.slice(0, -1))) : names.includes(word);
  expect([...written].filter((word) => !known(word) && !OTHERS.includes(word))).toEqual([]);
});
