/** npm run simulate -- [--seeds 500]: many seeds, or with --seed N one and its trace. `--help` tells the rest. */
import { fileURLToPath } from 'node:url';
import { Command, Option } from 'commander';
import { atMost } from '../../../src/cli/options.js';
import { runSeed, SeedFailure } from './run.js';
import { runSeeds, type SeedOutcome } from './seed-pool.js';
import { INVARIANTS, Violation } from './violation.js';

/** Every so many seeds one is run twice, once with a steady wall clock (invariants 22 and 23). */
const TWICE_EVERY = 25;
const PROGRESS_MS = 1000;
const PATIENCE_MS = 120_000;
const FAILURES_SHOWN = 20;

/** Runs a seed, and some of them twice. */
async function judge(seed: number): Promise<SeedOutcome> {
  const before = process.cpuUsage().user;
  const cpuMs = () => (process.cpuUsage().user - before) / 1000;
  try {
    const { hash, decisions, changes } = await runSeed(seed);
    if (seed % TWICE_EVERY === 0) await judgeAgain(seed, hash, decisions);
    return { seed, hash, changes, cpuMs: cpuMs() };
  } catch (error) {
    if (!(error instanceof SeedFailure)) throw error;
    const { invariant } = error.violation;
    const name = `invariant ${invariant}: ${INVARIANTS[invariant]}`;
    return { seed, cpuMs: cpuMs(), failure: error.message, invariant: name };
  }
}

/** The same run again, once as it was and once with a steady wall clock. */
async function judgeAgain(seed: number, hash: string, decisions: string): Promise<void> {
  if ((await runSeed(seed)).hash !== hash) {
    throw new SeedFailure(seed, 0, [], new Violation(23, 'another run had another trace'));
  }
  if ((await runSeed(seed, { isWallSteady: true })).decisions !== decisions) {
    throw new SeedFailure(seed, 0, [], new Violation(22, 'a run with a steady clock had another trace'));
  }
}

/** Replays one seed with its trace. */
async function replay(seed: number, isQuiet: boolean): Promise<void> {
  const write = isQuiet ? undefined : (line: string) => process.stdout.write(`${line}\n`);
  try {
    const { hash, changes, faults, quietMs, lulls } = await runSeed(seed, { write });
    process.stdout.write(
      `seed ${seed} holds: ${changes} kernel changes, faults ${faults.join(', ')}; ` +
        `at rest after ${quietMs.toFixed(0)} ms, ${lulls} looks at kernels, trace ${hash}\n`,
    );
  } catch (error) {
    process.stdout.write(
      `${error instanceof SeedFailure ? `${error.message}\n${error.stack}` : String(error)}\n`,
    );
    process.exitCode = 1;
  }
}

async function simulate(from: number, seeds: number, jobs: number, isQuiet: boolean): Promise<void> {
  const startedAt = performance.now();
  let done = 0;
  let failed = 0;
  const say = (line: string) => process.stdout.write(`${line}\n`);
  const timer = setInterval(() => {
    if (!isQuiet) say(`${done} of ${seeds} seeds, ${failed} failed`);
  }, PROGRESS_MS);
  const worker = fileURLToPath(import.meta.url);
  const outcomes = await runSeeds({
    worker,
    jobs,
    from,
    seeds,
    stopAtFailure: false,
    patienceMs: PATIENCE_MS,
    onSeed: (outcome) => {
      done++;
      if (outcome.failure === undefined || ++failed > FAILURES_SHOWN) return;
      say(`FAILED ${outcome.failure}\n  again: npm run simulate -- --seed ${outcome.seed}`);
    },
  });
  clearInterval(timer);
  const seconds = (performance.now() - startedAt) / 1000;
  const changes = outcomes.reduce((sum, o) => sum + (o.changes ?? 0), 0);
  const cpu = outcomes.reduce((sum, o) => sum + o.cpuMs, 0) / 1000;
  say(
    `${seeds - failed} of ${seeds} seeds hold, ${changes} kernel changes, ` +
      `${seconds.toFixed(0)} s, ${(cpu / seeds).toFixed(2)} s of CPU a seed`,
  );
  if (failed > 0) process.exitCode = 1;
}

const number = atMost('number', 2 ** 31 - 1);
const values = new Command('npm run simulate --')
  .description(
    'Whole clusters of the real core in one thread, with faults, judged by the invariants of PROTOCOL.md.\n' +
      'Exit code 1 if a seed failed; each failure comes with its invariant and the command that replays it.',
  )
  .option('--seeds <n>', 'how many', number, 500)
  .option('--from <n>', 'the first of them', number, 1)
  .option('--jobs <n>', 'processes', number, 2)
  .option('--seed <n>', 'replay this one, with its trace', number)
  .option('--quiet', 'no progress, no trace', false)
  .addOption(new Option('--worker').hideHelp())
  .parse()
  .opts<{ seeds: number; from: number; jobs: number; seed?: number; quiet: boolean; worker?: true }>();
if (values.worker) process.on('message', async (seed) => process.send?.(await judge(seed as number)));
else if (values.seed !== undefined) await replay(values.seed, values.quiet);
else await simulate(values.from, values.seeds, values.jobs, values.quiet);
