/** `npm run demo`: a firewall pair fails over before your eyes. See --help. */
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { Command, InvalidArgumentError } from 'commander';
import { ended } from './command.js';
import { FailoverShow, type ShowResult } from './failover-show.js';
import { flowsThatFit } from './kernel-limits.js';
import { LabError } from './namespaces.js';
import { drawPicture } from './picture.js';
import { CONNTWIN_PROGRAM, program, repositoryRoot } from './program.js';
import { Screen } from './screen.js';

const REDRAW_MS = 250;

interface DemoOptions {
  readonly json: boolean;
  flows: number;
  readonly connections: number;
  readonly hold: boolean;
}

function wholeNumber(text: string): number {
  if (!/^\d{1,8}$/.test(text)) throw new InvalidArgumentError('give a whole number.');
  return Number(text);
}

function parseOptions(): DemoOptions {
  return new Command('npm run demo --')
    .description(
      'Builds two firewalls, a client and a server in network namespaces, keeps the firewalls in step,\n' +
        'kills the first in the middle of live TCP connections and lets the second take over.\n' +
        'Exit code 0 only if every connection survived. Nothing outside the namespaces is touched.',
    )
    .option('--json', 'print the result as JSON (progress goes to standard error)', false)
    .option('--flows <n>', 'background flows in the table', wholeNumber, 20_000)
    .option('--connections <n>', 'live TCP connections', wholeNumber, 200)
    .option('--hold', 'leave it running at the end, and say how to play with it', false)
    .parse()
    .opts<DemoOptions>();
}

function table(result: ShowResult): string[] {
  const { connections, survived, dead } = result;
  const reasons = Object.entries(dead).map(([reason, count]) => `${count} ${reason}`);
  const rows = [
    [
      'connections survived',
      `${survived} of ${connections}${reasons.length ? ` (${reasons.join(', ')})` : ''}`,
    ],
    [
      'longest silence',
      `${(result.longestSilenceMs / 1000).toFixed(2)} s (median ${(result.medianSilenceMs / 1000).toFixed(2)} s)`,
    ],
    [
      'flows committed',
      `${result.committed} in ${Math.round(result.commitMs)} ms: ${result.flowsPerSecond} a second`,
    ],
    ['records lost', String(result.recordsLost)],
  ];
  if (result.rejected > 0) rows.push(['flows refused by the kernel', String(result.rejected)]);
  return rows.map(([name, value]) => `  ${name.padEnd(28)}${value}`);
}

/** Where namespaces are those of a user namespace, another terminal has to enter it first. */
function isUserNamespace(): boolean {
  return !/^\s*0\s+0\s+4294967295\s*$/.test(readFileSync('/proc/self/uid_map', 'utf8'));
}

function howToPlay(show: FailoverShow): string[] {
  const command = program(CONNTWIN_PROGRAM).join(' ');
  const settings = show.daemons.flatMap(({ name, socket }) => [
    `  ${name}='ip netns exec ${show.lab.namespace(name)}'`,
    `  twin${name.slice(2)}='${command} --socket ${socket}'`,
  ]);
  const enter = `  nsenter --target ${process.pid} --user --mount --net --preserve-credentials sh`;
  return [
    '',
    'It goes on running until Ctrl-C. In another terminal (as root), paste this:',
    ...(isUserNamespace() ? [enter] : []),
    ...settings,
    'and then, for example:',
    '  $twin2 status                        what the second firewall holds',
    '  $fw2 conntrack -L | head             the flows that it took over',
    '  $fw1 ip link set sync up             the first one comes back: two are primary now,',
    '  $twin1 failover backup               until it steps back',
    '  $twin2 verify                        both are equal again: exit code 0',
  ];
}

/** Runs this program again as root of a user namespace; resolves with its exit code. */
async function runRooted(): Promise<number> {
  const argv = [join(repositoryRoot(), 'test/lab/rooted.sh'), process.execPath, ...process.argv.slice(1)];
  // Ctrl-C reaches the child by the terminal; this process waits for its clean-up.
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => undefined);
  const child = spawn('sh', argv, { stdio: 'inherit' });
  await ended(child);
  return child.exitCode ?? 130;
}

/** Redraws the picture while the show runs. */
async function animate(show: FailoverShow, screen: Screen, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    screen.draw(drawPicture(await show.view()));
    await pause(REDRAW_MS);
  }
  screen.draw(drawPicture(await show.view()));
}

async function play(options: DemoOptions): Promise<number> {
  const screen = new Screen(options.json ? process.stderr : process.stdout);
  const startedMs = performance.now();
  const onStep = (text: string) => {
    const seconds = ((performance.now() - startedMs) / 1000).toFixed(1).padStart(6);
    if (!screen.isTerminal) screen.print(`${seconds} s  ${text}`);
  };
  const show = await FailoverShow.create({ ...options, onStep });
  try {
    const ending = new AbortController();
    const drawing = screen.isTerminal ? animate(show, screen, ending.signal) : Promise.resolve();
    const result = await show.run().finally(() => ending.abort());
    await drawing;
    const isFine = result.survived === options.connections;
    if (options.json) process.stdout.write(`${JSON.stringify({ ...result, passed: isFine })}\n`);
    else for (const line of ['', ...table(result)]) screen.print(line);
    if (options.hold) {
      await show.talkOn();
      for (const line of howToPlay(show)) screen.print(line);
      // Ctrl-C ends the program: the lab takes itself down.
      await new Promise(() => setInterval(() => undefined, 1 << 30));
    }
    return isFine ? 0 : 1;
  } finally {
    await show.lab.close();
  }
}

async function main(): Promise<number> {
  const options = parseOptions();
  if (process.getuid?.() !== 0) return runRooted();
  const { flows, note } = flowsThatFit(options.flows + options.connections);
  if (note !== undefined) process.stderr.write(`demo: ${note}\n`);
  options.flows = Math.max(0, flows - options.connections);
  try {
    return await play(options);
  } catch (error) {
    const text = error instanceof LabError ? error.message : ((error as Error).stack ?? String(error));
    process.stderr.write(`demo: ${text}\n`);
    return 1;
  }
}

process.exitCode = await main();
