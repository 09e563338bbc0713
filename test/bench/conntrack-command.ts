/**
 * `npm run bench:conntrack`: the conntrack command and Debian's over one table, run after one another: wall time, CPU and
 * largest memory of a listing to /dev/null, and of a delete with a filter.
 */
import { spawn } from 'node:child_process';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { enterNetNamespace } from '../../native/net-namespace.js';
import { CounterMap } from '../../src/flow/counters.js';
import { recordFromFlow } from '../../src/flow/flow.js';
import { KernelBatch, OP_CREATE } from '../../src/flow/kernel-port.js';
import { allocateMemory, MAX_RECORD_BYTES } from '../../src/flow/record.js';
import { Injector } from '../../src/kernel/injector.js';
import { commandEnvironment } from '../lab/command.js';
import { Twins } from '../lab/conntrack/twins.js';
import { makeRoom } from '../lab/kernel-limits.js';
import { CONNTWIN_PROGRAM, program } from '../lab/program.js';
import { figure, line } from './figures.js';

const BATCH = 128;
const LOOK_MS = 20;
const { values } = parseArgs({
  options: { flows: { type: 'string', default: '1000000' }, rounds: { type: 'string', default: '3' } },
});
const flows = Number(values.flows);
const giveBack = makeRoom(flows);
const twins = await Twins.create();
process.on('exit', () => {
  twins.close();
  giveBack();
});

function inside<T>(use: () => T): T {
  const leave = enterNetNamespace(twins.twin);
  try {
    return use();
  } finally {
    leave();
  }
}

/** Every tenth flow has the mark 5. */
const MARKED = 10;

/** Established TCP flows: each one, or those with the mark. */
function fill(step = 1): void {
  const injector = inside(() => new Injector(new CounterMap()));
  const batch = new KernelBatch(BATCH);
  const m = allocateMemory(MAX_RECORD_BYTES);
  for (let n = 0; n < flows; n += step) {
    const source = `10.${n >>> 16}.${(n >>> 8) & 255}.${n & 255}`;
    recordFromFlow(
      {
        family: 'ipv4',
        protocol: 'tcp',
        original: { source, destination: '192.0.2.1', sourcePort: 1024 + (n % 60_000), destinationPort: 443 },
        protoinfo: { kind: 'tcp', state: 'ESTABLISHED' },
        status: ['SEEN_REPLY', 'ASSURED'],
        mark: n % MARKED === 0 ? 5 : 0,
        timeout: 30_000,
      },
      m,
      0,
    );
    batch.add(OP_CREATE, 0, m, 0);
    if (!batch.isFull && n < flows - step) continue;
    injector.execute(batch);
    batch.clear();
  }
  injector.close();
}

interface Measured {
  readonly seconds: number;
  readonly megabytes: number;
  /** CPU of its own and the kernel's for it, at the last look. Seconds. */
  readonly cpu: number;
}

function highWater(pid: number): number {
  try {
    return Number(/VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1] ?? 0) / 1024;
  } catch {
    return 0;
  }
}

/** User and system time in clock ticks of 10 ms: fields 14 and 15, counted behind the name in brackets. */
function cpuSeconds(pid: number): number {
  try {
    const fields = readFileSync(`/proc/${pid}/stat`, 'latin1').split(') ')[1].split(' ');
    return (Number(fields[11]) + Number(fields[12])) / 100;
  } catch {
    return 0;
  }
}

function measure([file, ...args]: readonly string[]): Promise<Measured> {
  const sink = openSync('/dev/null', 'w');
  const since = performance.now();
  const child = inside(() =>
    spawn(file, args, { stdio: ['ignore', sink, 'ignore'], env: commandEnvironment() }),
  );
  closeSync(sink);
  let megabytes = 0;
  let cpu = 0;
  const timer = setInterval(() => {
    const pid = child.pid ?? 0;
    megabytes = Math.max(megabytes, highWater(pid));
    cpu = Math.max(cpu, cpuSeconds(pid));
  }, LOOK_MS);
  return new Promise((resolve) => {
    child.once('exit', () => {
      clearInterval(timer);
      resolve({ seconds: (performance.now() - since) / 1000, megabytes, cpu });
    });
  });
}

const PROGRAMS: Readonly<Record<string, readonly string[]>> = {
  "Debian's conntrack": ['conntrack'],
  'conntwin conntrack': [...program(CONNTWIN_PROGRAM), 'conntrack'],
};

async function compare(what: string, words: readonly string[], before: () => void): Promise<void> {
  for (const [name, argv] of Object.entries(PROGRAMS)) {
    before();
    const { seconds, megabytes, cpu } = await measure([...argv, ...words]);
    const cells = [
      `${what}, ${name}`,
      `${figure(seconds, 2)} s`,
      `cpu ${figure(cpu, 2)} s`,
      `${figure(megabytes, 0)} MB`,
    ];
    process.stdout.write(`${line(cells)}\n`);
  }
}

fill();
process.stdout.write(`${flows} flows\n`);
for (let round = 0; round < Number(values.rounds); round++) {
  await compare('-L', ['-L'], () => undefined);
  await compare('-L -m 5', ['-L', '-m', '5'], () => undefined);
  // What the one deletes the other is to find again.
  await compare('-D -m 5', ['-D', '-m', '5'], () => fill(MARKED));
}
process.exit(0);
