/**
 * Random command lines against Debian's conntrack and Conntwin's, each in a network namespace of its own:
 *
 *     npm run test:conntrack -- --seed 1 --count 2000
 *
 * A round makes some flows and does 60 command lines; rounds have the seeds SEED, SEED + 1, ... Exit code 1 if anything
 * differed.
 */
import { parseArgs } from 'node:util';
import { randomFrom } from '../random.js';
import { commandLine, creation } from './command-lines.js';
import { compare, differenceOf } from './comparison.js';
import { Twins } from './twins.js';

const FLOWS_PER_ROUND = 30;
const LINES_PER_ROUND = 60;
/** A segmentation fault of Debian's program: nothing to compare with. */
const CRASHED = 128;
const SHOWN_MAX = 10;
const LOOKS = 3;

const { values } = parseArgs({
  options: {
    seed: { type: 'string', default: String(Date.now() % 1_000_000) },
    count: { type: 'string', default: '2000' },
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

const done = { lines: 0, differing: 0, crashed: 0 };

const isChanging = (words: readonly string[]): boolean =>
  words.some((word) => /^-[DIAUF]$|^--create$/.test(word));

/** What differs in the two tables. Read again if need be: a dump is not whole while somebody resizes the hash table. */
function tableDifference(): string | undefined {
  let difference: string | undefined;
  for (let look = 0; look < LOOKS; look++) {
    const tables = twins.tables();
    difference = differenceOf(tables.debian, tables.twin);
    if (difference === undefined) return undefined;
  }
  return `  the tables differ:\n${difference}`;
}

/** Runs one command line in both; false if the two came apart, or the round cannot go on. */
async function step(seed: number, words: string[]): Promise<boolean> {
  const isChange = isChanging(words);
  let difference: string | undefined;
  for (let look = 0; look < (isChange ? 1 : LOOKS); look++) {
    const debian = twins.runDebian(words);
    const twin = await twins.runTwin(words);
    if (debian.code >= CRASHED) {
      done.crashed++;
      return false;
    }
    // Debian's -U shows some of the flows that it has changed.
    difference = compare(debian, twin, words[0] === '-U');
    if (difference === undefined) break;
  }
  done.lines++;
  if (difference === undefined && isChange) difference = tableDifference();
  if (difference === undefined) return true;
  done.differing++;
  if (done.differing <= SHOWN_MAX) say(`seed ${seed}: conntrack ${words.join(' ')}\n${difference}`);
  return !isChange;
}

async function round(seed: number): Promise<void> {
  const random = randomFrom(seed);
  const kind = { hasZones: random(2) === 0 };
  twins.flush();
  for (let i = 0; i < FLOWS_PER_ROUND && done.lines < count; i++) {
    if (!(await step(seed, creation(random, kind)))) return;
  }
  for (let i = 0; i < LINES_PER_ROUND && done.lines < count; i++) {
    if (!(await step(seed, commandLine(random, kind)))) return;
  }
}

say(`seeds from ${firstSeed}`);
for (let seed = firstSeed; done.lines < count && done.differing < SHOWN_MAX; seed++) await round(seed);
say(`${done.lines} command lines, ${done.differing} differ; Debian's program crashed ${done.crashed} times`);
process.exit(done.differing === 0 ? 0 : 1);
