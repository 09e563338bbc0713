/**
 * `npm run bench:replication`: how fast, how surely and how cheaply a replica comes and stays equal, beside Debian's
 * conntrackd where it has an equivalent. It prints what it measured and judges nothing.
 */
import { Command } from 'commander';
import { measureAudit } from './audit-run.js';
import { conntrackdBulk, conntwinBulk } from './bulk-run.js';
import { figure, line } from './figures.js';
import { measureLatency } from './latency-run.js';
import { conntrackdLoss, conntwinLoss } from './loss-run.js';
import { clockTicks } from './process-usage.js';
import { measureRejoin } from './rejoin-run.js';
import { measureSealing } from './sealing.js';

interface BenchOptions {
  readonly json: boolean;
  readonly flows: string;
  readonly rounds: string;
  readonly rates: string;
  readonly seconds: string;
  readonly full: string;
  readonly differences: string;
  readonly loss: string;
  readonly events: string;
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

const PARTS: Readonly<Record<string, Part>> = { bulk, latency, rejoin, loss, sealing, audit };
const KILO = 1000;
const PERCENT = 100;

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
      name: 'the same to a backup that starts anew (ms)',
      ...(ours.restartMs === undefined ? {} : { conntwin: ours.restartMs }),
      digits: 0,
    },
    {
      name: 'bytes on the link of a bulk, a flow',
      conntrackd: theirs.bulkBytes / flows,
      conntwin: ours.bulkBytes / flows,
      digits: 1,
    },
  ];
}

async function latency(options: BenchOptions, say: (text: string) => void): Promise<Row[]> {
  const rates = options.rates.split(',').map(Number);
  const seconds = Number(options.seconds);
  const theirs = await measureLatency('conntrackd hot', rates, seconds, say);
  const ours = await measureLatency('conntwin cold', rates, seconds, say);
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

async function rejoin(options: BenchOptions, say: (text: string) => void): Promise<Row[]> {
  const [flows, differences] = [Number(options.full), Number(options.differences)];
  const { cutBytes, restartBytes, repairBytes, repairMs, bulkBytes } = await measureRejoin(
    { flows, differences },
    say,
  );
  const row = (name: string, conntwin: number, digits: number, limit = ''): Row => ({
    name,
    conntwin,
    digits,
    limit,
  });
  return [
    row(`${flows} equal flows after a cut (kB)`, cutBytes / KILO, 1, '200'),
    row('after a restart of the active daemon (kB)', restartBytes / KILO, 1, '200'),
    row(`${differences} differences (kB)`, repairBytes / KILO, 1),
    row('full bulk (kB)', bulkBytes / KILO, 0),
    row('differences, of a full bulk (%)', (repairBytes / bulkBytes) * PERCENT, 2, '3'),
    row('differences until proven (ms)', repairMs, 0),
  ];
}

async function loss(options: BenchOptions, say: (text: string) => void): Promise<Row[]> {
  const sizes = {
    lossPercent: Number(options.loss),
    eventsPerSecond: Number(options.events),
    seconds: Number(options.seconds) * 2,
  };
  say(`conntrackd: ${options.loss} % loss`);
  const theirs = await conntrackdLoss(sizes, clockTicks());
  say(`conntwin: ${options.loss} % loss`);
  const ours = await conntwinLoss(sizes, clockTicks());
  const row = (name: string, key: keyof typeof ours, digits: number, limit = ''): Row => ({
    name: `${options.loss} % loss: ${name}`,
    conntrackd: theirs[key],
    conntwin: ours[key],
    digits,
    limit,
  });
  return [
    row('MARKs', 'marks', 0),
    row('of them proven (%)', 'provenShare', 1, '100'),
    row('lag, p50 (ms)', 'lagP50Ms', 1),
    row('lag, p99 (ms)', 'lagP99Ms', 1),
    row('lag, max (ms)', 'lagMaxMs', 1),
    row('flows missing or stale 5 s after', 'differing', 0, '0'),
    row('CPU, active (% of a core)', 'activeCpu', 1),
    row('CPU, backup (% of a core)', 'backupCpu', 1),
  ];
}

async function sealing(): Promise<Row[]> {
  const { sealUs, openUs } = measureSealing();
  return [
    { name: 'sealing a record in a full frame (us)', conntwin: sealUs, digits: 3, limit: '0.5' },
    { name: 'opening it (us)', conntwin: openUs, digits: 3 },
  ];
}

async function audit(options: BenchOptions, say: (text: string) => void): Promise<Row[]> {
  const cost = await measureAudit(Number(options.full), Number(options.seconds) * 2, say);
  const { idleCpu, auditCpu } = cost;
  return [
    { name: 'idle daemon (% of a core)', conntwin: idleCpu, digits: 2 },
    { name: 'with the background audit (% of a core)', conntwin: auditCpu, digits: 2 },
    { name: 'the audit alone (% of a core)', conntwin: auditCpu - idleCpu, digits: 2, limit: '0.25' },
  ];
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
    .option('--rounds <n>', 'bulks of each, of which the shortest counts', '5')
    .option('--rates <list>', 'creations a second at which latency is measured', '1000,10000')
    .option(
      '--seconds <n>',
      'duration of a latency measurement; twice that with loss and for the audit',
      '10',
    )
    .option('--full <n>', 'flows of the tables that re-join, and of the audit', '1000000')
    .option('--differences <n>', 'random differences that are repaired', '1000')
    .option('--loss <percent>', 'loss of the cable, each direction', '5')
    .option('--events <n>', 'events a second on the lossy cable', '20000')
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
