/** npm run simulate:mutants: the code is broken in one place at a time, and seeds must notice. See `--help`. */
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Command, Option } from 'commander';
import { atMost } from '../../../src/cli/options.js';
import { MUTANTS, type Mutant } from './mutant-list.js';
import { runSeeds, type SeedOutcome } from './seed-pool.js';

const DIST = fileURLToPath(new URL('../../../', import.meta.url));
const WORKER = 'test/simulation/cluster/simulate.js';
const PATIENCE_MS = 120_000;
const say = (line: string) => process.stdout.write(`${line}\n`);

/** A copy of the compiled tree with the mutant in it. Throws if its place is not there exactly once. */
function breed({ file, find, replace }: Mutant): string {
  const source = readFileSync(join(DIST, file), 'utf8');
  const found = source.split(find).length - 1;
  if (found !== 1) throw new Error(`the text to replace stands ${found} times in dist/${file}: ${find}`);
  const folder = mkdtempSync(join(tmpdir(), 'conntwin-mutant-'));
  for (const name of ['src', 'native', 'test/simulation']) {
    cpSync(join(DIST, name), join(folder, 'dist', name), { recursive: true });
  }
  for (const name of ['node_modules', 'package.json'])
    symlinkSync(join(DIST, '..', name), join(folder, name));
  writeFileSync(
    join(folder, 'dist', file),
    source.replace(find, () => replace),
  );
  return folder;
}

/** True if a seed noticed the mutant. */
async function hunt(mutant: Mutant, seeds: number, jobs: number): Promise<boolean> {
  let folder: string;
  try {
    folder = breed(mutant);
  } catch (error) {
    say(`${mutant.name}: BROKEN, ${error instanceof Error ? error.message : error}`);
    return false;
  }
  const startedAt = performance.now();
  try {
    const worker = join(folder, 'dist', WORKER);
    const options = { worker, jobs, from: 1, seeds, stopAtFailure: true, patienceMs: PATIENCE_MS };
    const outcomes = await runSeeds(options);
    const killer = outcomes.find((o: SeedOutcome) => o.failure !== undefined);
    const seconds = ((performance.now() - startedAt) / 1000).toFixed(0);
    if (killer === undefined) say(`${mutant.name}: SURVIVED ${seeds} seeds (${seconds} s)`);
    else say(`${mutant.name}: killed by seed ${killer.seed}, ${killer.invariant} (${seconds} s)`);
    return killer !== undefined;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

const number = atMost('number', 2 ** 31 - 1);
const values = new Command('npm run simulate:mutants --')
  .description(
    'Breaks the compiled code in one place at a time, in a copy of it, and runs seeds until one notices.\n' +
      'Exit code 1 if a mutant survives, or if the place that it breaks is no longer there.',
  )
  .addOption(new Option('--only <name>', 'this mutant').choices(MUTANTS.map((mutant) => mutant.name)))
  .option('--seeds <n>', 'how many it has to survive', number, 500)
  .option('--jobs <n>', 'processes', number, 2)
  .parse()
  .opts<{ only?: string; seeds: number; jobs: number }>();
const chosen = MUTANTS.filter((m) => values.only === undefined || m.name === values.only);
let killed = 0;
for (const mutant of chosen) if (await hunt(mutant, values.seeds, values.jobs)) killed++;
say(`${killed} of ${chosen.length} mutants killed`);
if (killed < chosen.length) process.exitCode = 1;
