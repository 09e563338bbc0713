/**
 * `npm run bench:failover`: live connections through SNAT, the active firewall cut off, the other one takes over:
 * Debian's conntrackd and conntwin in the same lab, in turn. It prints what it measured and judges nothing.
 */
import { availableParallelism, loadavg } from 'node:os';
import { Command, Option } from 'commander';
import { tryRun } from '../lab/command.js';
import { flowsThatFit } from '../lab/kernel-limits.js';
import type { Lab } from '../lab/lab.js';
import type { Contender } from './contender.js';
import { ConntrackdContender } from './contender-conntrackd.js';
import { ConntwinContender } from './contender-conntwin.js';
import { type FailoverResult, FailoverRun, type Scenario } from './failover-run.js';
import { figure, line } from './figures.js';

type Side = 'conntrackd' | 'conntwin';
type SceneName = keyof typeof SCENES;

interface BenchOptions {
  readonly json: boolean;
  readonly flows: string;
  readonly connections: string;
  readonly rounds: string;
  readonly only?: Side;
  readonly scenes: string;
}

const SCENES = {
  cold: { isHot: false, isLoose: false, isOpen: false, text: 'cold, strict firewall (tcp_loose=0)' },
  hot: { isHot: true, isLoose: false, isOpen: false, text: 'hot, strict firewall' },
  loose: { isHot: false, isLoose: true, isOpen: false, text: 'cold, tcp_loose=1' },
  open: {
    isHot: false,
    isLoose: false,
    isOpen: true,
    text: 'cold, strict, input policy accept; conntwin with its gate',
  },
} as const;

const SIDES: Readonly<Record<Side, (lab: Lab, scenario: Scenario) => Contender>> = {
  conntrackd: (lab, { isHot }) => new ConntrackdContender(lab, { isHot }),
  conntwin: (lab, { isHot, isOpen }) =>
    new ConntwinContender(lab, {
      hasFifo: true,
      failover: { standby: isHot ? 'hot' : 'cold', gate: isOpen ? 'drop' : 'none' },
    }),
};

/** One row of a table: a figure of a result, and what the project set itself for it. */
const ROWS: readonly [name: string, of: (result: FailoverResult) => number, digits: number][] = [
  ['connections that survived', (r) => r.survivors, 0],
  ['of 50 on which the server speaks, survived', (r) => r.pushedSurvivors, 0],
  ['longest silence, median connection (s)', (r) => r.medianSilenceMs / 1000, 2],
  ['longest silence, worst connection (s)', (r) => r.longestSilenceMs / 1000, 2],
  ['connections that lost a packet', (r) => r.retransmitted, 0],
  ['RSTs that reached a client or the server', (r) => r.resets, 0],
  ['told to take over until first flows in the kernel (ms)', (r) => r.firstFlowsMs, 1],
  ['commit (ms)', (r) => r.commitMs, 0],
  ['commit (flows/s)', (r) => r.commitPerSecond, 0],
  ['the same kernel table from a plain loop (flows/s)', (r) => r.kernelPerSecond, 0],
  ['commit, of that (%)', (r) => (r.commitPerSecond / r.kernelPerSecond) * 100, 0],
  ['flows refused', (r) => r.rejected, 0],
  ['other listeners to conntrack events on this kernel', (r) => r.strangers, 0],
];

interface Measured {
  readonly scene: SceneName;
  readonly scenario: Scenario;
  readonly round: number;
  readonly conntrackd?: FailoverResult;
  readonly conntwin?: FailoverResult;
}

function table({ scene, scenario, round, conntrackd, conntwin }: Measured, rounds: number): string[] {
  const rows = ROWS.map(([name, of, digits]) => {
    const [theirs, ours] = [conntrackd, conntwin].map((result) => (result ? of(result) : undefined));
    const ratio = theirs && ours ? ours / theirs : undefined;
    return line([name, figure(theirs, digits), figure(ours, digits), figure(ratio, 2)]);
  });
  const which = rounds > 1 ? `, round ${round}` : '';
  return [
    `${scenario.flows} flows and ${scenario.connections} connections, ${SCENES[scene].text}${which}`,
    line(['', 'conntrackd', 'conntwin', 'ratio']),
    ...rows,
    ...deaths('conntrackd', conntrackd),
    ...deaths('conntwin', conntwin),
    '',
  ];
}

function deaths(side: Side, result: FailoverResult | undefined): string[] {
  const reasons = Object.entries(result?.dead ?? {});
  return reasons.length === 0
    ? []
    : [`${side}: died of ${reasons.map(([why, n]) => `${why} (${n})`).join(', ')}`];
}

function numbers(text: string, what: string): number[] {
  const all = text.split(',').map(Number);
  if (all.every((n) => Number.isInteger(n) && n >= 0)) return all;
  throw new RangeError(`${what}: "${text}" are no whole numbers, write them as 1000,300000`);
}

function scenesOf(text: string): SceneName[] {
  const names = text.split(',');
  const unknown = names.find((name) => !(name in SCENES));
  if (unknown === undefined) return names as SceneName[];
  throw new RangeError(`--scenes: there is no "${unknown}", write some of ${Object.keys(SCENES).join(',')}`);
}

const EXAMPLES = `
Examples:
  npm run bench:failover                                                 all of it
  npm run bench:failover -- --scenes cold,hot                            both systems, three sizes: five minutes
  npm run bench:failover -- --flows 300000 --scenes cold --rounds 3      how sure one figure is
  npm run bench:failover -- --only conntwin --json >silences.json        for other programs
`;

function optionsOf(): BenchOptions {
  return new Command('npm run bench:failover --')
    .description(
      'Live TCP connections through two firewalls of which one dies, with conntrackd and with conntwin.',
    )
    .option('--json', 'print the results as JSON', false)
    .option('--flows <n,n,...>', 'flows beside the live connections', '1000,300000,1000000')
    .option('--connections <n>', 'live connections', '200')
    .option('--rounds <n>', 'how often each is measured', '1')
    .addOption(new Option('--only <side>', 'measure one side').choices(Object.keys(SIDES)))
    .option('--scenes <name,name,...>', Object.keys(SCENES).join(','), Object.keys(SCENES).join(','))
    .addHelpText('after', EXAMPLES)
    .parse()
    .opts<BenchOptions>();
}

async function sidesOf({ only }: BenchOptions, say: (text: string) => void): Promise<Side[]> {
  const wanted = (Object.keys(SIDES) as Side[]).filter((side) => only === undefined || only === side);
  const hasConntrackd = (await tryRun(['sh', '-c', 'command -v conntrackd'])).code === 0;
  if (hasConntrackd || !wanted.includes('conntrackd')) return wanted;
  say('conntrackd is not installed (Debian: conntrackd): only conntwin is measured');
  return wanted.filter((side) => side !== 'conntrackd');
}

async function main(): Promise<void> {
  const options = optionsOf();
  const say = (text: string) => process.stderr.write(`${text}\n`);
  const print = (text: string) => options.json || process.stdout.write(`${text}\n`);
  const [sizes, rounds] = [numbers(options.flows, '--flows'), Number(options.rounds)];
  const connections = Number(options.connections);
  const scenes = scenesOf(options.scenes);
  const sides = await sidesOf(options, say);
  const all: Measured[] = [];
  print(
    `load ${loadavg()[0].toFixed(1)} on ${availableParallelism()} cores at the start; silences count from the cut, ` +
      'and one TCP retransmission (0.2 s) is the least; addresses move when the other side is told, and where there is a gate once it is up (keepalived moves them a moment before)\n',
  );
  for (const wanted of sizes) {
    const { flows, note } = flowsThatFit(wanted);
    if (note !== undefined) say(note);
    for (const scene of scenes) {
      const scenario: Scenario = { flows, connections, ...SCENES[scene] };
      for (let round = 1; round <= rounds; round++) {
        const results: Partial<Record<Side, FailoverResult>> = {};
        for (const side of sides) {
          const step = (text: string) => say(`${flows} flows, ${scene}: ${text}`);
          results[side] = await FailoverRun.of((lab) => SIDES[side](lab, scenario), scenario, step);
        }
        const measured: Measured = { scene, scenario, round, ...results };
        all.push(measured);
        print(table(measured, rounds).join('\n'));
      }
    }
  }
  if (options.json) process.stdout.write(`${JSON.stringify(all)}\n`);
}

await main();
