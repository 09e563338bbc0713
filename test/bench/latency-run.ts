/**
 * From the moment a flow is due to be created on the active node until the backup has it: open loop, one machine, one
 * clock. Conntwin's end is the record in the replica; conntrackd's, which tells nobody of its cache, the flow in the
 * backup's kernel with the external cache off.
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
import { ConntrackdContender } from './contender-conntrackd.js';
import type { LatencyAnswer, LatencyQuestion } from './latency-receiver-program.js';

/** A measured rate: latencies in milliseconds, and how late the generator itself was at worst. */
export interface LatencyResult extends LatencyAnswer {
  readonly lateMs: number;
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
  contender: 'conntrackd' | 'conntwin',
  rates: readonly number[],
  seconds: number,
  onStep: (text: string) => void,
): Promise<Map<number, LatencyResult>> {
  const warm = Math.max(...rates) * WARM_SECONDS;
  const flows = warm + rates.reduce((sum, rate) => sum + rate * seconds, 0);
  const lab = await Lab.create({ flows });
  try {
    onStep(`${contender}: start`);
    const receiver = await (contender === 'conntwin'
      ? startConntwin(lab, flows)
      : startConntrackd(lab, flows));
    await generate(lab, 'fw1', 'create', warm, { perSecond: Math.max(...rates) });
    await pause(SETTLE_MS);
    const results = new Map<number, LatencyResult>();
    let first = warm;
    for (const perSecond of rates) {
      onStep(`${contender}: ${perSecond} creations/s for ${seconds} s`);
      const count = perSecond * seconds;
      const argv = [...program(GENERATOR_PROGRAM), 'schedule', ...[count, first, perSecond].map(String)];
      const report = JSON.parse(await lab.exec('fw1', argv)) as ScheduledReport;
      await pause(SETTLE_MS);
      const answer = await receiver.ask({ first, count, startNs: report.startNs, perSecond });
      results.set(perSecond, { ...answer, lateMs: report.lateMs });
      first += count;
    }
    return results;
  } finally {
    await lab.close();
  }
}

async function startConntwin(lab: Lab, flows: number): Promise<Receiver> {
  const active = new LabDaemon(lab, 'fw1');
  await active.start();
  await active.failover('primary');
  const receiver = await Receiver.start(lab, 'replica', flows);
  await eventually('the receiver has a proven replica', { withinMs: 15_000 }, async () => {
    return (await active.status()).peers.some((peer) => peer.verdict === 'proven');
  });
  return receiver;
}

async function startConntrackd(lab: Lab, flows: number): Promise<Receiver> {
  const contender = new ConntrackdContender(lab, { isHot: true });
  await contender.start();
  return Receiver.start(lab, 'kernel', flows);
}
