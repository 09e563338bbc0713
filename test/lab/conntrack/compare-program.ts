/**
 * Random command lines against Debian's conntrack and Conntwin's, each in a network namespace of its own:
 *
 *     npm run test:conntrack -- --seed 1 --count 2000
 *
 * A round makes some flows and does 60 command lines; rounds have the seeds SEED, SEED + 1, ... At the end it says which
 * options were given, and which quirks of Debian's program had to be known. Exit code 1 if anything differed.
 */
import { Command, InvalidArgumentError } from 'commander';
import { randomFrom } from '../random.js';
import { Round } from './round.js';
import { Tally } from './tally.js';
import { Twins } from './twins.js';

const DIFFERENCES_MAX = 10;

function readNumber(text: string): number {
  const number = Number(text);
  if (!Number.isInteger(number) || number < 1)
    throw new InvalidArgumentError('A whole number above 0 is wanted.');
  return number;
}

const {
  seed: first = 1 + (Date.now() % 1_000_000),
  count,
  verbose,
} = new Command('npm run test:conntrack --')
  .description(
    "Random command lines against Debian's conntrack and Conntwin's, each in a network namespace of its own.\n" +
      'Exit code 1 if anything differed.',
  )
  .option('--seed <n>', 'seed of the first round of 60 lines; each differs when absent', readNumber)
  .option('--count <n>', 'how many command lines', readNumber, 2000)
  .option('--verbose', 'say at the end which options were given, and what crashed the other program', false)
  .addHelpText(
    'after',
    '\nExamples:\n  npm run test:conntrack -- --count 200          a minute or less\n' +
      '  npm run test:conntrack -- --seed 42004 --count 60    one round again\n',
  )
  .exitOverride((error) => process.exit(error.exitCode === 0 ? 0 : 2))
  .parse()
  .opts<{ seed?: number; count: number; verbose: boolean }>();
const say = (text: string) => process.stdout.write(`${text}\n`);

const twins = await Twins.create();
process.on('exit', () => twins.close());
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => process.exit(1));

const tally = new Tally(count, verbose);
let seed = first;
for (; tally.hasRoom && tally.differing < DIFFERENCES_MAX; seed++) {
  await new Round(twins, tally, seed, randomFrom(seed)).play();
  if (process.stderr.isTTY) process.stderr.write(`\r${tally.lines} of ${count}, ${tally.differing} differ`);
}
if (process.stderr.isTTY) process.stderr.write('\n');
for (const line of tally.report()) say(line);
say(`seeds ${first} to ${seed - 1}`);
say(tally.summary());
process.exit(tally.differing === 0 ? 0 : 1);
