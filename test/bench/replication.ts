/**
 * `npm run bench:replication`: how fast, how surely and how cheaply a replica comes and stays equal, beside Debian's
 * conntrackd where it has an equivalent. It prints what it measured and judges nothing.
 */
import { Command } from 'commander';
import { conntrackdBulk, conntwinBulk } from './bulk-run.js';
import { figure, line } from './figures.js';
import { measureLatency } from './latency-run.js';

interface BenchOptions {
  readonly json: boolean;
  readonly flows: string;
  readonly rounds: string;
  readonly rates: string;
  readonly seconds: string;
  readonly parts: string;
}

/** One figure of both sides; NaN or nothing where a side has no equivalent. */
interface Row {
  readonly name: string;
  readonly conntrackd?: number;
  readonly conntwin?: number;
  readonly digits: number;
  /** What the project set itself. */
  readonly limit?: string;
}

type Part = (options: BenchOptions, say: (text: string) => void) => Promise<Row[]>;

const PARTS: Readonly<Record<string, Part>> = { bulk, latency };

async function bulk(options: BenchOptions, say: (text: string) => void): Promise<Row[]> {
  const [flows, rounds] = [Number(options.flows), Number(options.rounds)];
  const theirs = await conntrackdBulk(flows, rounds, say);
  const ours = await conntwinBulk(flows, rounds, say);
  return [
    {
      name: `bulk of ${flows} flows (ms)`,
      conntrackd: theirs.bulkMs,
      conntwin: ours.bulkMs,
      digits: 0,
      limit: '1.5x',
    },
    {
      name: 'bytes on the link of that, a flow',
      conntrackd: theirs.bulkBytes / flows,
      conntwin: ours.bulkBytes / flows,
      digits: 1,
    },
  ];
}

async function latency(options: BenchOptions, say: (text: string) => void): Promise<Row[]> {
  const rates = options.rates.split(',').map(Number);
  const seconds = Number(options.seconds);
  const theirs = await measureLatency('conntrackd', rates, seconds, say);
  const ours = await measureLatency('conntwin', rates, seconds, say);
  return rates.flatMap((rate) => {
    const [conntrackd, conntwin] = [theirs.get(rate)!, ours.get(rate)!];
    const row = (name: string, key: keyof typeof conntwin, digits: number, limit?: string): Row => ({
      name: `${rate}/s: ${name}`,
      conntrackd: conntrackd[key],
      conntwin: conntwin[key],
      digits,
      ...(limit === undefined ? {} : { limit }),
    });
    return [
      row('creation to replica (kernel), p50 (ms)', 'p50', 3, '1'),
      row('p99 (ms)', 'p99', 3, '5'),
      row('max (ms)', 'max', 1),
      row('missing', 'missing', 0),
      row('the generator itself late, at worst (ms)', 'lateMs', 1),
    ];
  });
}

function print(rows: readonly Row[]): void {
  const lines = rows.map(({ name, conntrackd, conntwin, digits, limit }) => {
    const ratio = conntrackd && conntwin ? conntwin / conntrackd : undefined;
    return line([name, figure(conntrackd, digits), figure(conntwin, digits), figure(ratio, 2), limit ?? '']);
  });
  const head = line(['', 'conntrackd', 'conntwin', 'ratio', 'limit']);
  process.stdout.write(`${[head, ...lines].join('\n')}\n`);
}

async function main(): Promise<void> {
  const options = new Command('npm run bench:replication --')
    .option('--json', 'print the result as JSON', false)
    .option('--flows <n>', 'flows of a bulk', '300000')
    .option('--rounds <n>', 'bulks of each, of which the shortest counts', '3')
    .option('--rates <list>', 'creations a second at which latency is measured', '1000,10000')
    .option('--seconds <n>', 'duration of a latency measurement', '10')
    .option('--parts <list>', 'what is measured', Object.keys(PARTS).join(','))
    .parse()
    .opts<BenchOptions>();
  const say = (text: string) => process.stderr.write(`${text}\n`);
  const results: Record<string, Row[]> = {};
  for (const part of options.parts.split(',')) {
    if (!(part in PARTS))
      throw new RangeError(`no such part: ${part}; there are ${Object.keys(PARTS).join(', ')}`);
    results[part] = await PARTS[part](options, say);
    if (!options.json) print(results[part]);
  }
  if (options.json) process.stdout.write(`${JSON.stringify(results)}\n`);
}

await main();
