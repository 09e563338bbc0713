// Runs every check and every test and counts them: a check (types, lint, ...) counts as one, a test as one.
// `node .ci/test.mjs [NAME...]` runs only the steps named. Exit code 1 if anything failed.
import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const CHECKS = {
  build: ['tsc', '-p', 'tsconfig.build.json'],
  types: ['tsc', '-p', 'tsconfig.json', '--noEmit'],
  lint: ['biome', 'check', '.'],
  imports: ['depcruise', '--config', '.dependency-cruiser.cjs', 'src', 'native', 'test'],
  'dead-code': ['knip'],
};
/** Vitest's projects by step: the lab has two. */
const PROJECTS = { unit: 'unit', property: 'property', simulation: 'simulation', lab: 'lab*' };
/** Seeds of the cluster simulator; each counts as a test. About half a second of CPU each. */
const SEEDS = 500;
const LINES_SHOWN = 60;

const counted = { passed: 0, failed: 0, skipped: 0 };
const reports = mkdtempSync(join(tmpdir(), 'conntwin-test-'));
process.on('exit', () => rmSync(reports, { recursive: true, force: true }));

const say = (line) => process.stdout.write(`${line}\n`);
const seconds = (since) => `${((performance.now() - since) / 1000).toFixed(1)} s`;

/** The first lines of a text, indented. */
function excerpt(text) {
  const lines = text.trim().split('\n');
  const more = lines.length > LINES_SHOWN ? [`... ${lines.length - LINES_SHOWN} more lines`] : [];
  return [...lines.slice(0, LINES_SHOWN), ...more].map((line) => `    ${line}`).join('\n');
}

function fail(what, details) {
  counted.failed++;
  say(`  FAILED ${what}${details ? `\n${excerpt(details)}` : ''}`);
}

/** Runs a program of node_modules/.bin; with `isRooted` where it may make network namespaces. */
function runTool([tool, ...args], isRooted = false) {
  const path = join(root, 'node_modules', '.bin', tool);
  const [file, ...rest] = isRooted ? ['sh', join(root, 'test/lab/rooted.sh'), path] : [path];
  const env = { ...process.env, NO_COLOR: '1', FORCE_COLOR: '0' };
  const done = spawnSync(file, [...rest, ...args], { cwd: root, env, encoding: 'utf8', maxBuffer: 1 << 28 });
  return { code: done.status ?? 128, output: `${done.error ?? ''}${done.stdout ?? ''}${done.stderr ?? ''}` };
}

function check(name) {
  const since = performance.now();
  const { code, output } = runTool(CHECKS[name]);
  say(`${name}: ${code === 0 ? 'passed' : 'failed'} (${seconds(since)})`);
  if (code === 0) counted.passed++;
  else fail(name, output);
  return code === 0;
}

/** Counts one test file of a report; returns its number of failures. */
function countFile(file, tally) {
  for (const test of file.assertionResults) {
    const name = `${relative(root, file.name)}: ${test.fullName}`;
    if (test.status === 'passed') {
      tally.passed++;
      if (test.meta?.note) say(`  note on ${name}: ${test.meta.note}`);
    } else if (test.status === 'failed') {
      tally.failed++;
      fail(name, test.failureMessages.join('\n'));
    } else if (test.meta?.note) {
      tally.skipped++;
      say(`  skipped ${name}: ${test.meta.note}`);
    } else {
      tally.failed++;
      fail(`${name}: skipped without a reason`);
    }
  }
  const hasFailedTest = file.assertionResults.some((test) => test.status === 'failed');
  if (file.status === 'failed' && !hasFailedTest) {
    tally.failed++;
    fail(relative(root, file.name), file.message);
  }
}

function project(name) {
  const since = performance.now();
  const outputFile = join(reports, `${name}.json`);
  const reporter = ['--reporter', join(root, '.ci/vitest-json.mjs'), '--outputFile', outputFile];
  const { code, output } = runTool(
    ['vitest', 'run', '--project', PROJECTS[name], ...reporter],
    name === 'lab',
  );
  const tally = { passed: 0, failed: 0, skipped: 0 };
  try {
    for (const file of JSON.parse(readFileSync(outputFile, 'utf8')).testResults) countFile(file, tally);
  } catch (error) {
    fail(`${name}: no report of its tests`, `${error}\n${output}`);
    tally.failed++;
  }
  // An error outside of any test, and a project without tests, are told by the exit code alone.
  if (code !== 0 && tally.failed === 0) {
    fail(`${name}: vitest ended with exit code ${code}`, output);
    tally.failed++;
  }
  counted.passed += tally.passed;
  counted.skipped += tally.skipped;
  say(
    `${name}: ${tally.passed} passed, ${tally.failed} failed, ${tally.skipped} skipped (${seconds(since)})`,
  );
}

/** Runs a command on what others leave of the machine: a nice one alone would make who wakes up wait for its turn. */
const IDLY = 'if chrt --idle 0 true 2>/dev/null; then exec chrt --idle 0 "$@"; else exec nice -n 19 "$@"; fi';

/**
 * Whole clusters over seeds, each one test, of the compiled code; they take what the other steps leave of the machine.
 * Returns what waits for the end and counts.
 */
function startSimulate() {
  const since = performance.now();
  const program = join(root, 'dist/test/simulation/cluster/simulate.js');
  const argv = [process.execPath, program, '--seeds', String(SEEDS), '--quiet'];
  const child = spawn('sh', ['-c', IDLY, 'sh', ...argv], { cwd: root, stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (text) => (output += text));
  const ended = new Promise((resolve) => {
    child.on('close', resolve);
    child.on('error', (error) => {
      output += error;
      resolve();
    });
  });
  return async () => {
    await ended;
    const held = Number(/^(\d+) of \d+ seeds hold/m.exec(output)?.[1] ?? 0);
    counted.passed += held;
    counted.failed += SEEDS - held;
    if (held < SEEDS) say(`  FAILED simulate\n${excerpt(output)}`);
    say(`simulate: ${held} seeds passed, ${SEEDS - held} failed (${seconds(since)})`);
  };
}

const wanted = process.argv.slice(2);
const STEPS = [...Object.keys(CHECKS), 'simulate', ...Object.keys(PROJECTS)];
const unknown = wanted.filter((name) => !STEPS.includes(name));
if (unknown.length > 0) {
  say(`no such step: ${unknown.join(', ')}; there are ${STEPS.join(', ')}`);
  process.exit(2);
}
const isWanted = (name) => wanted.length === 0 || wanted.includes(name);
// The lab and the seeds run the compiled code.
const isBuilt = ['build', 'simulate', 'lab'].some(isWanted) && check('build');
const simulated = isWanted('simulate') && isBuilt ? startSimulate() : undefined;
if (isWanted('simulate') && !isBuilt) fail('simulate: there is no build to run');
for (const name of Object.keys(CHECKS)) if (name !== 'build' && isWanted(name)) check(name);
for (const name of Object.keys(PROJECTS)) if (isWanted(name)) project(name);
await simulated?.();
if (counted.skipped > 0) say(`${counted.skipped} skipped`);
say(`${counted.passed} passed, ${counted.failed} failed`);
process.exitCode = counted.failed > 0 ? 1 : 0;
