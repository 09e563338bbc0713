/**
 * `npm run bench:flows`: the commands of `conntwin flows` over a large table, beside two daemons that replicate it: wall
 * time, CPU and largest memory of each, what the daemon that serves it took meanwhile, and for how long at most it held its
 * event loop. It prints and judges nothing.
 */
import { closeSync, openSync, readFileSync } from 'node:fs';
import { Command } from 'commander';
import { generate } from '../lab/background-flows.js';
import { ended } from '../lab/command.js';
import { eventually } from '../lab/deadline.js';
import { flowsThatFit } from '../lab/kernel-limits.js';
import { Lab } from '../lab/lab.js';
import { LabDaemon } from '../lab/lab-daemon.js';
import { CONNTWIN_PROGRAM, program } from '../lab/program.js';
import { figure, line } from './figures.js';
import { describeMachine } from './machine.js';
import { clockTicks, cpuMicros, processUsage } from './process-usage.js';

const LOOK_MS = 20;
const MIB = 2 ** 20;
const ticks = clockTicks();
const say = (text: string): boolean => process.stdout.write(`${text}\n`);

/** Arguments of `conntwin` on the backup; {socket} is the primary's, {file} a list that was written before. */
const COMMANDS: readonly string[] = [
  'flows count',
  'flows count --where dport=443',
  'flows count --table mirror',
  'flows count --table external',
  "flows count --table external --where 'dport=443 and state=established'",
  'flows list',
  'flows list --where dport=443',
  'flows list --where mark=7',
  'flows list --json',
  'flows list --table external',
  'flows list --table external -o save',
  'flows list --top 10 --sort timeout',
  'flows list --sort src',
  'flows list --table external --sort src',
  'flows diff fw1',
  'flows diff fw1 --peer-socket {socket}',
];

interface Measured {
  readonly seconds: number;
  readonly cpuS: number;
  readonly peakMib: number;
  readonly code: number;
}

/** VmHWM of a process, MiB; 0 when it is gone. */
function peakMib(pid: number): number {
  try {
    return Number(/VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1] ?? 0) / 1024;
  } catch {
    return 0;
  }
}

async function measure(lab: Lab, argv: readonly string[]): Promise<Measured> {
  const sink = openSync('/dev/null', 'w');
  const since = performance.now();
  const child = lab.spawn('fw2', argv, { stdio: ['ignore', sink, 'inherit'] });
  closeSync(sink);
  const pid = child.pid ?? 0;
  let [peak, cpuS] = [0, 0];
  const timer = setInterval(() => {
    peak = Math.max(peak, peakMib(pid));
    try {
      const { userS, systemS } = processUsage(pid, ticks);
      cpuS = userS + systemS;
    } catch {
      // It has ended.
    }
  }, LOOK_MS);
  await ended(child);
  clearInterval(timer);
  return { seconds: (performance.now() - since) / 1000, cpuS, peakMib: peak, code: child.exitCode ?? -1 };
}

async function row(lab: Lab, daemon: LabDaemon, command: string, socket: string): Promise<void> {
  const words = command.replace('{socket}', socket).match(/'[^']*'|\S+/g) ?? [];
  const argv = [
    ...program(CONNTWIN_PROGRAM),
    ...['--config', daemon.configFile],
    ...words.map((word) => word.replaceAll("'", '')),
  ];
  const pid = daemon.pid ?? 0;
  const before = processUsage(pid, ticks);
  const { seconds, cpuS, peakMib: peak, code } = await measure(lab, argv);
  const after = processUsage(pid, ticks);
  const { loopMaxHeldMs } = await daemon.status();
  say(
    line([
      command,
      `${figure(seconds, 2)} s`,
      `${figure(cpuS, 2)} s`,
      `${figure(peak, 0)} MiB`,
      `${figure(cpuMicros(before, after) / 1e6, 2)} s`,
      `${figure((after.residentBytes - before.residentBytes) / MIB, 0)} MiB`,
      `${figure(loopMaxHeldMs, 1)} ms`,
      `exit ${code}`,
    ]),
  );
}

async function main(): Promise<void> {
  const options = new Command('npm run bench:flows --')
    .option('--flows <n>', 'flows of the table', '1000000')
    .option('--only <text>', 'only commands with this text in them', '')
    .parse()
    .opts<{ flows: string; only: string }>();
  // Two firewalls with the same flows: half of what the kernel's table takes.
  const { flows, note } = flowsThatFit(Number(options.flows));
  if (note !== undefined) say(note);
  const { kernel, cores, node, loadBefore } = await describeMachine();
  say(`Linux ${kernel}, ${cores} cores, Node.js ${node}, load before ${loadBefore}, ${flows} flows`);
  const lab = await Lab.create({ flows: 2 * flows + 100_000 });
  try {
    const failover = { standby: 'hot' };
    const [fw1, fw2] = (['fw1', 'fw2'] as const).map((fw) => new LabDaemon(lab, fw, { failover }));
    await Promise.all([fw1.start(), fw2.start()]);
    await fw1.failover('primary');
    await generate(lab, 'fw1', 'create', flows);
    await eventually('the backup holds all flows', { withinMs: 300_000, everyMs: 500 }, async () => {
      const { standby } = await fw2.status();
      return standby.held >= flows && standby.waiting === 0;
    });
    const { loopMaxHeldMs } = await fw2.status();
    say(`before: held its loop for ${figure(loopMaxHeldMs, 1)} ms at most`);
    say(line(['on the backup', 'wall', 'CPU', 'peak', 'daemon CPU', 'daemon grew', 'held so far', '']));
    for (const command of COMMANDS) {
      if (command.includes(options.only)) await row(lab, fw2, command, fw1.socket);
    }
    await Promise.all([fw1.stop(), fw2.stop()]);
  } finally {
    await lab.close();
  }
}

await main();
