/**
 * `npm run bench`: Conntwin beside Debian's conntrackd and beside the kernel alone, in the same lab on the same workloads,
 * several rounds by turns. Prints medians with their spread, ratios and targets, and judges them; --write puts
 * all of it into bench/results and docs/performance.md. Progress goes to standard error.
 */
import { Command, InvalidArgumentError } from 'commander';
import { flowsThatFit } from '../lab/kernel-limits.js';
import { Lab } from '../lab/lab.js';
import { repositoryRoot } from '../lab/program.js';
import { SIDES, type Side } from './figure.js';
import { conntrackListeners } from './listeners.js';
import { describeMachine } from './machine.js';
import { measureRounds } from './measurements.js';
import { plainTable } from './outcome-table.js';
import { hasConntrackd, type Part, type Sizes } from './part.js';
import { BULK } from './parts/bulk.js';
import { CONNECTIONS } from './parts/connections.js';
import { EVENTS } from './parts/events.js';
import { GROWTH } from './parts/growth.js';
import { IDLE } from './parts/idle.js';
import { LATENCY } from './parts/latency.js';
import { MIXED } from './parts/mixed.js';
import { RATE } from './parts/rate.js';
import { REPAIR } from './parts/repair.js';
import { TABLE } from './parts/table.js';
import { type BenchReport, writePage, writeResults } from './performance-page.js';
import { reasonOf } from './reasons.js';

const PARTS: readonly Part[] = [EVENTS, MIXED, TABLE, CONNECTIONS, RATE, LATENCY, BULK, REPAIR, IDLE, GROWTH];
const PART_NAMES = PARTS.map(({ name }) => name);
/** In the quick run nothing is measured of them, unless they are asked for. */
const FULL_ONLY: readonly string[] = [MIXED.name, REPAIR.name, GROWTH.name];

const FULL: Sizes = {
  burst: 300_000,
  full: 1_000_000,
  seconds: 8,
  rest: 80,
  connectionRates: [1000, 5000, 20_000],
  growth: [10_000, 100_000, 300_000, 1_000_000, 2_000_000],
};
const QUICK: Sizes = {
  burst: 150_000,
  full: 1_000_000,
  seconds: 3,
  rest: 12,
  connectionRates: [1000, 5000],
  growth: [10_000, 100_000, 1_000_000],
};
const TINY: Sizes = {
  burst: 5000,
  full: 10_000,
  seconds: 1,
  rest: 1,
  connectionRates: [500],
  growth: [5000],
};
const FULL_ROUNDS = 5;

interface BenchOptions {
  readonly quick: boolean;
  readonly tiny: boolean;
  readonly parts?: readonly string[];
  readonly sides?: readonly Side[];
  readonly rounds?: number;
  readonly json: boolean;
  readonly write: boolean;
}

function readParts(text: string): string[] {
  const names = text.split(',');
  const unknown = names.filter((name) => !PART_NAMES.includes(name));
  if (unknown.length === 0) return names;
  throw new InvalidArgumentError(`no such part: ${unknown.join(', ')}; there are ${PART_NAMES.join(', ')}`);
}

function readSides(text: string): Side[] {
  const unknown = text.split(',').filter((name) => !(SIDES as readonly string[]).includes(name));
  if (unknown.length === 0) return text.split(',') as Side[];
  throw new InvalidArgumentError(`no such side: ${unknown.join(', ')}; there are ${SIDES.join(', ')}`);
}

function readRounds(text: string): number {
  const rounds = Number(text);
  if (Number.isInteger(rounds) && rounds > 0) return rounds;
  throw new InvalidArgumentError('a number of rounds, 1 or more, for example --rounds 3');
}

const HELP = `
Parts:
${PARTS.map(({ name, about }) => `  ${name.padEnd(13)}${about}`).join('\n')}

Examples:
  npm run bench                                     everything, ${FULL_ROUNDS} rounds: about an hour
  npm run bench -- --quick                          under eight minutes
  npm run bench -- --parts events --rounds 3        one part, and how sure its figures are
  npm run bench -- --quick --json >figures.json     for other programs
  npm run bench -- --quick --write                  into bench/results and docs/performance.md
`;

function readOptions(): BenchOptions {
  return new Command('npm run bench --')
    .option('--quick', 'smaller bursts and fewer rounds: under eight minutes', false)
    .option('--tiny', 'nothing but a proof that it all runs: the figures mean nothing', false)
    .option('--parts <list>', 'what is measured, separated by commas; all when absent', readParts)
    .option('--sides <list>', `of ${SIDES.join(', ')}; all when absent`, readSides)
    .option('--rounds <n>', 'rounds of every part', readRounds)
    .option('--json', 'print everything as JSON', false)
    .option('--write', 'write bench/results, docs/performance.md and its pictures', false)
    .addHelpText('after', HELP)
    .parse()
    .opts<BenchOptions>();
}

function sizesOf({ quick, tiny }: BenchOptions, say: (text: string) => void): Sizes {
  const wanted = tiny ? TINY : quick ? QUICK : FULL;
  const { flows: full, note } = flowsThatFit(wanted.full);
  if (note !== undefined) say(note);
  const growth = wanted.growth.filter((flows) => flows <= full || flows <= flowsThatFit(flows).flows);
  return { ...wanted, full, burst: Math.min(wanted.burst, full), growth };
}

/** The first lab has the kernel load connection tracking: before that nobody knows how much fits. */
async function warnOfListeners(say: (text: string) => void): Promise<void> {
  await (await Lab.create()).close();
  const others = conntrackListeners().size;
  if (others > 0) say(`${others} other processes listen to conntrack events: every creation costs more`);
}

async function main(): Promise<void> {
  const options = readOptions();
  const say = (text: string) => process.stderr.write(`${text}\n`);
  const machine = await describeMachine();
  await warnOfListeners(say);
  const sizes = sizesOf(options, say);
  const hasTheirs = await hasConntrackd();
  if (!hasTheirs) say('conntrackd is not installed: only Conntwin is measured (apt-get install conntrackd)');
  const isQuick = options.quick || options.tiny;
  const parts = PARTS.filter(
    ({ name }) => options.parts?.includes(name) ?? !(isQuick && FULL_ONLY.includes(name)),
  );
  const measurements = await measureRounds({
    parts,
    sizes,
    rounds: ({ quickRounds }) => options.rounds ?? (options.tiny ? 1 : isQuick ? quickRounds : FULL_ROUNDS),
    isWanted: (side) => (side !== 'conntrackd' || hasTheirs) && (options.sides?.includes(side) ?? true),
    say,
  });
  const outcomes = measurements.outcomes(parts.flatMap((part) => part.figures(sizes)));
  const report: BenchReport = {
    machine,
    sizes,
    command: ['npm run bench', ...(process.argv.length > 2 ? ['--', ...process.argv.slice(2)] : [])].join(
      ' ',
    ),
    outcomes,
    problems: measurements.problems,
  };
  if (options.json) process.stdout.write(`${JSON.stringify({ ...report, values: measurements.raw() })}\n`);
  else print(report);
  if (options.write) {
    say(`wrote ${writeResults(repositoryRoot(), report, measurements)}`);
    writePage(repositoryRoot(), report);
  }
  if (report.problems.length > 0) process.exitCode = 1;
}

function print({ machine, outcomes, problems }: BenchReport): void {
  const say = (text: string) => process.stdout.write(text);
  say(`Linux ${machine.kernel}, ${machine.cores} cores, Node.js ${machine.node}, ${machine.date} UTC\n`);
  say(plainTable(outcomes.filter(({ figure }) => !figure.isDetail)));
  say(`\nDetails\n${plainTable(outcomes.filter(({ figure }) => figure.isDetail))}`);
  for (const { figure, verdict } of outcomes) {
    if (verdict === 'miss') say(`missed: ${figure.name}: ${reasonOf(figure.id)}\n`);
  }
  for (const problem of problems) say(`failed: ${problem}\n`);
}

await main();
