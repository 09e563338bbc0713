/**
 * Random command lines against Debian's conntrack and Conntwin's, each in a network namespace of its own:
 *
 *     npm run test:conntrack -- --seed 1 --count 2000
 *
 * A round makes some flows and does 60 command lines; rounds have the seeds SEED, SEED + 1, ... At the end it says which
 * options were given, and which quirks of Debian's program had to be known. Exit code 1 if anything differed.
 */
import { parseArgs } from 'node:util';
import { randomFrom } from '../random.js';
import { Round } from './round.js';
import { Tally } from './tally.js';
import { Twins } from './twins.js';

const DIFFERENCES_MAX = 10;

const { values } = parseArgs({
  options: {
    seed: { type: 'string', default: String(Date.now() % 1_000_000) },
    count: { type: 'string', default: '2000' },
    verbose: { type: 'boolean', default: false },
  },
});
const firstSeed = Number(values.seed);
const count = Number(values.count);
const say = (text: string) => process.stdout.write(`${text}\n`);
if (!Number.isInteger(firstSeed) || !Number.isInteger(count) || count < 1) {
  say('--seed and --count are whole numbers');
  process.exit(2);
}

const twins = await Twins.create();
process.on('exit', () => twins.close());
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => process.exit(1));

const tally = new Tally(count, values.verbose);
let seed = firstSeed;
for (; tally.hasRoom && tally.differing < DIFFERENCES_MAX; seed++) {
  await new Round(twins, tally, seed, randomFrom(seed)).play();
}
for (const line of tally.report()) say(line);
say(`seeds ${firstSeed} to ${seed - 1}`);
say(tally.summary());
process.exit(tally.differing === 0 ? 0 : 1);
