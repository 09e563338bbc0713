/**
 * The far end of the latency measurement, in fw2: notes when each numbered flow came.
 *   latency-receiver-program.js replica FLOWS    a node of its own: the real core and link, its table watched
 *   latency-receiver-program.js kernel FLOWS     the events of fw2's kernel, into which conntrackd injects
 * Says "ready" when it listens; for each line {first, count, startNs, perSecond} on standard input it answers with the
 * latencies of those flows, counted from when the schedule had them due.
 */
import { randomBytes } from 'node:crypto';
import { createInterface } from 'node:readline';
import { MulticastChannel } from '../../src/channel/multicast-channel.js';
import { Core } from '../../src/daemon/core.js';
import { Loop } from '../../src/daemon/loop.js';
import { readBootId } from '../../src/daemon/state-file.js';
import { CounterMap } from '../../src/flow/counters.js';
import { EVENT_NEW } from '../../src/flow/kernel-port.js';
import type { Memory } from '../../src/flow/record.js';
import { Kernel } from '../../src/kernel/kernel.js';
import { SLICE_BUDGET_MS } from '../../src/limits.js';
import { flowNumber } from '../lab/flow-generator.js';
import { SYNC_GROUP, SYNC_PORT } from '../lab/lab-daemon.js';
import { percentile } from './figures.js';

/** What is asked on standard input. */
export interface LatencyQuestion {
  readonly first: number;
  readonly count: number;
  readonly startNs: string;
  readonly perSecond: number;
}

/** Milliseconds. */
export interface LatencyAnswer {
  readonly missing: number;
  readonly p50: number;
  readonly p99: number;
  readonly p999: number;
  readonly max: number;
}

const HOUR_MS = 3_600_000;
const MTU_BYTES = 1500;

const [what, flows] = process.argv.slice(2);
/** CLOCK_MONOTONIC, nanoseconds since the start of this program. */
const base = process.hrtime.bigint();
const cameAt = new Float64Array(Number(flows)).fill(Number.NaN);
const counters = new CounterMap();
const log = () => undefined;

function came(m: Memory, at: number): void {
  const n = flowNumber(m.u8, at);
  if (n >= 0 && n < cameAt.length) cameAt[n] = Number(process.hrtime.bigint() - base);
}

async function startReplica(): Promise<void> {
  const kernel = Kernel.open({ isPooled: true, counters, log });
  let core: Core | undefined;
  const channel = new MulticastChannel(
    { interface: 'sync', address: '10.9.0.2', group: SYNC_GROUP, port: SYNC_PORT, mtu: MTU_BYTES },
    (u8, from, to) => core?.receive(u8, from, to, 0),
  );
  await channel.open();
  core = new Core(
    {
      kernel,
      send: (frame, length) => channel.send(frame, length),
      clock: () => performance.now(),
      wallClock: () => Date.now(),
      random: () => Math.random(),
      randomBytes: (n) => randomBytes(n),
      counters,
      log,
      persist: () => undefined,
    },
    {
      node: 'fw2',
      cluster: 'lab',
      incarnation: randomBytes(16),
      bootId: readBootId(),
      mtu: MTU_BYTES,
      auditIntervalMs: HOUR_MS,
    },
  );
  const { table } = core;
  const insertNew = table.insertNew.bind(table);
  table.insertNew = (m, at, owner, bits) => {
    came(m, at);
    return insertNew(m, at, owner, bits);
  };
  const loop = new Loop(
    core,
    () => channel.read(1),
    () => {},
  );
  kernel.start(() => loop.wake());
  loop.start();
}

function startKernel(): void {
  const kernel = Kernel.open({ counters, log });
  const sink = {
    event: (kind: number, m: Memory, at: number) => {
      if (kind === EVENT_NEW) came(m, at);
    },
  };
  kernel.start(() => kernel.drain(sink, SLICE_BUDGET_MS));
}

function answer({ first, count, startNs, perSecond }: LatencyQuestion): LatencyAnswer {
  const start = Number(BigInt(startNs) - base);
  const latencies = cameAt
    .slice(first, first + count)
    .map((at, i) => (at - start - (i / perSecond) * 1e9) / 1e6)
    .filter((ms) => !Number.isNaN(ms))
    .sort();
  const [p50, p99, p999, max] = [0.5, 0.99, 0.999, 1].map((p) => percentile(latencies, p));
  return { missing: count - latencies.length, p50, p99, p999, max };
}

if (what === 'replica') await startReplica();
else startKernel();
process.stdout.write('ready\n');
for await (const question of createInterface({ input: process.stdin })) {
  process.stdout.write(`${JSON.stringify(answer(JSON.parse(question) as LatencyQuestion))}\n`);
}
process.exit();
