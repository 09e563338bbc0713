/**
 * `npm run bench:basics`: conntwin beside Debian's conntrackd in the same run: CPU an event, bytes on the link,
 * memory a flow, commit. It prints what it measured and judges nothing. --json, --flows N, --full N, --only NAME.
 */
import { Command } from 'commander';
import { tryRun } from '../lab/command.js';
import { flowsThatFit } from '../lab/kernel-limits.js';
import type { Lab } from '../lab/lab.js';
import { type BasicsResult, BasicsRun, type BasicsSizes } from './basics-run.js';
import { ConntrackdContender } from './contender-conntrackd.js';
import { ConntwinContender } from './contender-conntwin.js';
import { figure, line } from './figures.js';
import { clockTicks } from './process-usage.js';

interface BenchOptions {
  readonly json: boolean;
  readonly flows: string;
  readonly full: string;
  readonly only?: string;
}

const CONTENDERS = {
  conntrackd: (lab: Lab) => new ConntrackdContender(lab),
  conntwin: (lab: Lab) => new ConntwinContender(lab),
};
type ContenderName = keyof typeof CONTENDERS;

const ROWS: readonly [keyof BasicsResult, string, number][] = [
  ['createActiveUs', 'CPU per create event, active (us)', 2],
  ['createBackupUs', 'CPU per create event, backup (us)', 2],
  ['updateActiveUs', 'CPU per update event, active (us)', 2],
  ['updateBackupUs', 'CPU per update event, backup (us)', 2],
  ['burstMs', 'burst until the backup has it (ms)', 0],
  ['burstMissing', 'flows missing after the burst', 0],
  ['linkBytesPerFlow', 'bytes on the link per new flow', 1],
  ['memoryActiveBytes', 'memory per flow, active (bytes)', 0],
  ['memoryBackupBytes', 'memory per flow, backup (bytes)', 0],
  ['commitMs', 'commit (ms)', 0],
  ['commitPerSecond', 'commit (flows/s)', 0],
  ['kernelPerSecond', 'the same kernel table from a plain loop (flows/s)', 0],
  ['commitShare', 'commit, of that (%)', 0],
  ['pauseActiveMs', 'longest pause of the loop, active (ms)', 1],
  ['pauseBackupMs', 'longest pause of the loop, backup (ms)', 1],
];

function table(results: Partial<Record<ContenderName, BasicsResult>>): string[] {
  const { conntrackd, conntwin } = results;
  const rows = ROWS.map(([key, name, digits]) => {
    const [theirs, ours] = [conntrackd?.[key], conntwin?.[key]];
    const ratio = theirs && ours ? ours / theirs : undefined;
    return line([name, figure(theirs, digits), figure(ours, digits), figure(ratio, 2)]);
  });
  return [line(['', 'conntrackd', 'conntwin', 'ratio']), ...rows];
}

async function main(): Promise<void> {
  const options = new Command('npm run bench:basics --')
    .option('--json', 'print the result as JSON', false)
    .option('--flows <n>', 'flows of the burst', '300000')
    .option('--full <n>', 'flows at which memory and commit are measured', '1000000')
    .option('--only <name>', `one of ${Object.keys(CONTENDERS).join(', ')}`)
    .parse()
    .opts<BenchOptions>();
  const say = (text: string) => process.stderr.write(`${text}\n`);
  const { flows: full, note } = flowsThatFit(Number(options.full));
  const sizes: BasicsSizes = { burst: Math.min(Number(options.flows), full), full };
  if (note !== undefined) say(note);
  const results: Partial<Record<ContenderName, BasicsResult>> = {};
  for (const [name, make] of Object.entries(CONTENDERS) as [
    ContenderName,
    (typeof CONTENDERS)[ContenderName],
  ][]) {
    if (options.only !== undefined && options.only !== name) continue;
    if (name === 'conntrackd' && (await tryRun(['sh', '-c', 'command -v conntrackd'])).code !== 0) {
      say('conntrackd is not installed: only conntwin is measured');
      continue;
    }
    results[name] = await BasicsRun.of(make, sizes, clockTicks(), say);
  }
  if (options.json) {
    process.stdout.write(`${JSON.stringify({ sizes, ...results })}\n`);
    return;
  }
  process.stdout.write(`burst ${sizes.burst} flows, memory and commit at ${sizes.full}\n`);
  process.stdout.write(`${table(results).join('\n')}\n`);
}

await main();
