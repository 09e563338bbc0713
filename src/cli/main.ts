#!/usr/bin/env node
import { basename } from 'node:path';
import { processTerminal } from './terminal.js';

const [, script = '', ...words] = process.argv;
// As a link of that name it is conntrack(8), and its command line is not this one's: the rest is not even loaded then.
const isConntrack = basename(script) === 'conntrack';
if (isConntrack || words[0] === 'conntrack') {
  const { runConntrack } = await import('../conntrack/main.js');
  process.exitCode = await runConntrack(isConntrack ? words : words.slice(1));
} else {
  const { runCli } = await import('./program.js');
  process.exitCode = await runCli(words, processTerminal());
}
