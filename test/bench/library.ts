/**
 * `npm run bench:library`: the library beside Debian's conntrack(8) on the same kernel table, by turns: whole list, list of
 * one port, delete by a filter, events at a rate. Wall time with the start of both programs; it prints and judges nothing.
 */
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { Command } from 'commander';
import { generate } from '../lab/background-flows.js';
import { flowsThatFit } from '../lab/kernel-limits.js';
import { Lab } from '../lab/lab.js';
import { program } from '../lab/program.js';
import { figure, line } from './figures.js';
import type { LibraryReport } from './library-program.js';
import { describeMachine } from './machine.js';

const PROGRAM = 'test/bench/library-program';

interface Run {
  readonly wallMs: number;
  readonly cpuMs: number;
  readonly output: string;
}

/** Runs a command in fw1 by a shell that tells its CPU. */
async function timed(lab: Lab, argv: readonly string[]): Promise<Run> {
  const start = performance.now();
  const output = await lab.exec('fw1', ['sh', '-c', `${argv.map((a) => `'${a}'`).join(' ')}; times`], {
    timeoutMs: 600_000,
  });
  const wallMs = performance.now() - start;
  const lines = output.trim().split('\n');
  // The last line of `times` is of the children: user, system.
  const cpuMs = (lines.at(-1)?.match(/(\d+)m([\d.]+)s/g) ?? [])
    .map((text) => /(\d+)m([\d.]+)s/.exec(text)!)
    .reduce((sum, [, minutes, seconds]) => sum + Number(minutes) * 60_000 + Number(seconds) * 1000, 0);
  return { wallMs, cpuMs, output: lines.slice(0, -2).join('\n') };
}

const median = (values: readonly number[]): number => values.toSorted((a, b) => a - b)[values.length >> 1];

class Comparison {
  constructor(
    private readonly lab: Lab,
    private readonly rounds: number,
  ) {}

  /** Both by turns; `prepare` comes before each. */
  async row(
    what: string,
    theirs: string,
    ours: readonly string[],
    prepare?: () => Promise<unknown>,
  ): Promise<void> {
    const runs: [Run[], Run[]] = [[], []];
    let report: LibraryReport | undefined;
    for (let round = 0; round < this.rounds; round++) {
      await prepare?.();
      runs[0].push(await timed(this.lab, ['sh', '-c', `${theirs} >/dev/null 2>/dev/null || true`]));
      await prepare?.();
      const run = await timed(this.lab, [...program(PROGRAM), ...ours]);
      report = JSON.parse(run.output) as LibraryReport;
      runs[1].push(run);
    }
    for (const key of ['wallMs', 'cpuMs'] as const) {
      const [a, b] = runs.map((side) => median(side.map((run) => run[key])));
      const name = `${what}: ${key === 'wallMs' ? 'wall time' : 'CPU'} (ms)`;
      say(line([name, figure(a, 0), figure(b, 0), figure(b / a, 2)]));
    }
    if (report === undefined) return;
    say(line([`${what}: flows`, '', String(report.flows)]));
    say(line([`${what}: peak memory (MiB)`, '', figure(report.peakBytes / 2 ** 20, 0)]));
  }

  /** How many of `count` creations at a rate the library is told of. */
  async events(count: number, perSecond: number): Promise<void> {
    const child = this.lab.spawn('fw1', [...program(PROGRAM), 'events'], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const lines = createInterface({ input: child.stdout! });
    await once(lines, 'line');
    const last = once(lines, 'line');
    const { perSecond: reached } = await generate(this.lab, 'fw1', 'create', count, {
      first: 2_000_000,
      perSecond,
    });
    child.kill('SIGTERM');
    const report = JSON.parse(String((await last)[0])) as LibraryReport;
    const told = `${report.flows} of ${count} at ${Math.round(reached)}/s, ${report.lost} lost`;
    say(line([`events: ${told}`]));
    await generate(this.lab, 'fw1', 'delete', count, { first: 2_000_000 });
  }
}

const say = (text: string): boolean => process.stdout.write(`${text}\n`);

async function main(): Promise<void> {
  const options = new Command('npm run bench:library --')
    .option('--flows <n>', 'flows of the table', '1000000')
    .option('--rounds <n>', 'rounds of each row; medians are printed', '3')
    .parse()
    .opts<{ flows: string; rounds: string }>();
  const { flows, note } = flowsThatFit(Number(options.flows));
  if (note !== undefined) say(note);
  const { kernel, cores, node, loadBefore } = await describeMachine();
  say(`Linux ${kernel}, ${cores} cores, Node.js ${node}, load before ${loadBefore}, ${flows} flows`);
  const lab = await Lab.create({ flows: flows + 200_000 });
  try {
    const fill = () => generate(lab, 'fw1', 'create', flows);
    await fill();
    const comparison = new Comparison(lab, Number(options.rounds));
    say(line(['', 'conntrack(8)', 'library', 'ratio']));
    await comparison.row('list all', 'conntrack -L', ['list']);
    const port = JSON.stringify({ family: 'ipv4', protocol: 'tcp', destinationPort: 22 });
    await comparison.row('find one port', 'conntrack -L -p tcp --dport 22', ['list', port]);
    const source = JSON.stringify({ family: 'ipv4', protocol: 'tcp', destinationPort: 443 });
    await comparison.row('delete by port', 'conntrack -D -p tcp --dport 443', ['delete', source], fill);
    await comparison.events(100_000, 20_000);
  } finally {
    await lab.close();
  }
}

await main();
