/**
 * From the moment a flow is due to be created on the active node until the backup has it: open loop, one machine, one
 * clock. Hot, its end is the flow in the backup's kernel, which both can do (conntrackd: without the external cache).
 * Conntwin's cold end is the record in the replica; conntrackd tells nobody of its cache.
 */
import type { ChildProcess } from 'node:child_process';
import { createInterface } from 'node:readline';
import { setTimeout as pause } from 'node:timers/promises';
import { GENERATOR_PROGRAM, generate } from '../lab/background-flows.js';
import { eventually } from '../lab/deadline.js';
import type { ScheduledReport } from '../lab/flow-generator.js';
import { Lab } from '../lab/lab.js';
import { LabDaemon } from '../lab/lab-daemon.js';
import { program } from '../lab/program.js';
import type { Contender } from './contender.js';
import { CpuMeter } from './cpu-meter.js';
import type { LatencyAnswer, LatencyQuestion } from './latency-receiver-program.js';
import { contenderOf } from './part.js';

/** A measured rate: latencies in milliseconds, and how late the generator itself was at worst. */
export interface LatencyResult extends LatencyAnswer {
  readonly lateMs: number;
  /** Microseconds of CPU for each flow, both nodes; NaN where the backup is the receiver itself. */
  readonly cpuMicros: number;
}

/** Who is measured, and how its backup stands by. */
export type LatencySubject = 'conntrackd hot' | 'conntwin hot' | 'conntwin cold';

/** The far end, and the processes whose CPU is measured. */
interface Subject {
  readonly receiver: Receiver;
  readonly pids: readonly number[];
}

/** Flows before the measurement: compilers warm up. They come at the highest rate that is measured. */
const WARM_SECONDS = 5;
const SETTLE_MS = 1000;
const RECEIVER = 'test/bench/latency-receiver-program';

class Receiver {
  private constructor(
    private readonly child: ChildProcess,
    private readonly lines: AsyncIterator<string>,
  ) {}

  static async start(lab: Lab, what: 'replica' | 'kernel', flows: number): Promise<Receiver> {
    const argv = [...program(RECEIVER), what, String(flows)];
    const child = lab.spawn('fw2', argv, { stdio: ['pipe', 'pipe', 'inherit'] });
    const lines = createInterface({ input: child.stdout! })[Symbol.asyncIterator]();
    await lines.next();
    return new Receiver(child, lines);
  }

  async ask(question: LatencyQuestion): Promise<LatencyAnswer> {
    this.child.stdin?.write(`${JSON.stringify(question)}\n`);
    const { value } = await this.lines.next();
    return JSON.parse(value) as LatencyAnswer;
  }
}

/** Measures each rate for so many seconds. */
export async function measureLatency(
  contender: LatencySubject,
  rates: readonly number[],
  seconds: number,
  onStep: (text: string) => void,
): Promise<Map<number, LatencyResult>> {
  const warm = Math.max(...rates) * WARM_SECONDS;
  const flows = warm + rates.reduce((sum, rate) => sum + rate * seconds, 0);
  const lab = await Lab.create({ flows });
  try {
    onStep(`${contender}: start`);
    const { receiver, pids } = await (contender === 'conntwin cold'
      ? startCold(lab, flows)
      : startHot(
          contenderOf(contender === 'conntwin hot' ? 'conntwin' : 'conntrackd', lab, true),
          lab,
          flows,
        ));
    const meter = new CpuMeter(() => pids);
    await generate(lab, 'fw1', 'create', warm, { perSecond: Math.max(...rates) });
    await pause(SETTLE_MS);
    const results = new Map<number, LatencyResult>();
    let first = warm;
    for (const perSecond of rates) {
      onStep(`${contender}: ${perSecond} creations/s for ${seconds} s`);
      const count = perSecond * seconds;
      meter.lap();
      const argv = [...program(GENERATOR_PROGRAM), 'schedule', ...[count, first, perSecond].map(String)];
      const report = JSON.parse(await lab.exec('fw1', argv)) as ScheduledReport;
      await pause(SETTLE_MS);
      const answer = await receiver.ask({ first, count, startNs: report.startNs, perSecond });
      const spent = meter.lap().reduce((sum, { total }) => sum + total, 0);
      const cpuMicros = pids.length > 0 ? spent / count : Number.NaN;
      results.set(perSecond, { ...answer, lateMs: report.lateMs, cpuMicros });
      first += count;
    }
    return results;
  } finally {
    await lab.close();
  }
}

async function startCold(lab: Lab, flows: number): Promise<Subject> {
  const active = new LabDaemon(lab, 'fw1');
  await active.start();
  await active.failover('primary');
  const receiver = await Receiver.start(lab, 'replica', flows);
  await eventually('the receiver has a proven replica', { withinMs: 15_000 }, async () => {
    return (await active.status()).peers.some((peer) => peer.verdict === 'proven');
  });
  return { receiver, pids: [] };
}

async function startHot(contender: Contender, lab: Lab, flows: number): Promise<Subject> {
  await contender.start();
  return { receiver: await Receiver.start(lab, 'kernel', flows), pids: contender.pids() };
}
