/** One measured failover: live connections among many flows, the active firewall cut off, the backup takes over. */
import type { ChildProcess } from 'node:child_process';
import { createInterface } from 'node:readline';
import { setTimeout as pause } from 'node:timers/promises';
import { generate } from '../lab/background-flows.js';
import { ended } from '../lab/command.js';
import { eventually } from '../lab/deadline.js';
import { Lab } from '../lab/lab.js';
import { LiveTraffic } from '../lab/live-traffic.js';
import { program } from '../lab/program.js';
import { PushTraffic } from '../lab/push-traffic.js';
import { countResets, resetsSeen } from '../lab/reset-counter.js';
import type { Contender, TakeOver } from './contender.js';
import type { FirstFlow } from './first-flow-program.js';
import { conntrackListeners } from './listeners.js';

/** What a firewall is like. */
export interface Scenario {
  readonly flows: number;
  readonly connections: number;
  readonly isHot: boolean;
  /** tcp_loose: strays are taken for new connections. */
  readonly isLoose: boolean;
  /** The input chain's policy is accept: the kernel answers strays to the firewall's own addresses. */
  readonly isOpen: boolean;
}

/** What came out; NaN where the contender does not tell. Times are milliseconds. */
export interface FailoverResult {
  readonly survivors: number;
  /** Of the connections on which the server speaks by itself, where there are some. */
  readonly pushedSurvivors: number;
  readonly dead: Readonly<Record<string, number>>;
  readonly medianSilenceMs: number;
  readonly longestSilenceMs: number;
  /** Connections that lost a packet between the cut and the first flows of theirs in the other kernel. */
  readonly retransmitted: number;
  readonly resets: number;
  /** From being told to take over until the first flows were in the kernel. */
  readonly firstFlowsMs: number;
  readonly commitMs: number;
  readonly committed: number;
  readonly rejected: number;
  readonly commitPerSecond: number;
  /** What the same kernel takes of a loop that does nothing else, flows a second. */
  readonly kernelPerSecond: number;
  /** Other programs on this kernel that listened to conntrack events: they slow every creation down. */
  readonly strangers: number;
}

/** Connections on which the server speaks, where strays are answered. */
const PUSHED_CONNECTIONS = 50;
const PUSH_WITHIN_MS = 15_000;
const SETTLE_POLL_MS = 250;
const SETTLED_MS = 2000;
const SETTLE_LIMIT_MS = 120_000;
/** Flows after which the commit counts as begun; a few of the kernel's own may come and go. */
const FIRST_FLOWS = 50;
/** Time for every connection to have been silent for as long as it will be, and to talk again. */
const TALK_WITHIN_MS = 30_000;
const WATCH_MS = 2000;

export class FailoverRun {
  private constructor(
    private readonly lab: Lab,
    private readonly contender: Contender,
    private readonly scenario: Scenario,
    private readonly step: (text: string) => void,
  ) {}

  /** Builds the lab, runs the scenario in it, and removes it. */
  static async of(
    make: (lab: Lab) => Contender,
    scenario: Scenario,
    onStep: (text: string) => void,
  ): Promise<FailoverResult> {
    const lab = await Lab.create({ flows: scenario.flows + scenario.connections, isLoose: scenario.isLoose });
    try {
      const contender = make(lab);
      const step = (text: string) => onStep(`${contender.name}: ${text}`);
      return await new FailoverRun(lab, contender, scenario, step).measure();
    } finally {
      await lab.close();
    }
  }

  private async measure(): Promise<FailoverResult> {
    const { lab, contender, scenario, step } = this;
    if (scenario.isOpen) {
      const rule = 'add chain inet filter input { policy accept; }';
      for (const fw of lab.firewalls) await lab.exec(fw, ['nft', rule]);
    }
    step('start');
    await contender.start();
    step(`${scenario.connections} connections`);
    const traffic = await LiveTraffic.start(lab, scenario.connections);
    // Their packets go on coming to the address of SNAT, whatever the client hears.
    const pushed = scenario.isOpen ? await PushTraffic.start(lab, PUSHED_CONNECTIONS) : undefined;
    step(`${scenario.flows} flows`);
    if (scenario.flows > 0) await generate(lab, 'fw1', 'create', scenario.flows);
    await this.settled();
    step('audits');
    await contender.learn();
    const own = new Set(contender.pids());
    const strangers = [...conntrackListeners()].filter((pid) => !own.has(pid)).length;
    await countResets(lab);
    step('cut');
    const { takeOver, firstNs } = await this.failOver(traffic);
    step('watch');
    await this.talking(traffic);
    const resets = await resetsSeen(lab);
    // Who only listens does not hear that the server has given up.
    await pushed?.talks(PUSH_WITHIN_MS).catch(() => undefined);
    const pushedSurvivors = pushed?.state.talking ?? Number.NaN;
    const report = await traffic.finish();
    await contender.stop();
    step('the kernel alone');
    const inKernel = scenario.isHot ? Number.NaN : await lab.kernelFlows('fw2');
    await lab.exec('fw2', ['conntrack', '-F']);
    const { perSecond } = await generate(lab, 'fw2', 'create', Math.max(scenario.flows, 1));
    const committed = Number.isNaN(takeOver.committed) ? inKernel : takeOver.committed;
    return {
      survivors: report.alive,
      pushedSurvivors,
      dead: report.dead,
      medianSilenceMs: report.medianSilenceMs,
      longestSilenceMs: report.longestSilenceMs,
      retransmitted: report.retransmitted,
      resets,
      firstFlowsMs: firstNs === undefined ? Number.NaN : Number(firstNs - takeOver.toldNs) / 1e6,
      commitMs: takeOver.commitMs,
      committed,
      rejected: takeOver.rejected,
      // Where the kernel has it all before, there is no rate to speak of.
      commitPerSecond: scenario.isHot ? Number.NaN : (committed / takeOver.commitMs) * 1000,
      kernelPerSecond: perSecond,
      strangers,
    };
  }

  /** A dead firewall's daemon is dead: it must not slow the other one down from within the same kernel. */
  private async failOver(traffic: LiveTraffic): Promise<{ takeOver: TakeOver; firstNs: bigint | undefined }> {
    const { lab, contender } = this;
    const watch = this.scenario.isHot ? undefined : await FirstFlowWatch.start(lab);
    traffic.reset();
    // Its end takes a while where there is much memory to free, and until then it listens to the kernel's events.
    await contender.killActive();
    await Promise.all([lab.cut('fw1'), lab.cutSync('fw1')]);
    // The role first, the addresses at once after it, or once the gate is up.
    const taking = contender.takeOver();
    await contender.guarded();
    await lab.activate('fw2');
    const takeOver = await taking;
    return { takeOver, firstNs: await watch?.end() };
  }

  /** Waits until the backup's flows do not change any more. */
  private async settled(): Promise<void> {
    const { flows, connections } = this.scenario;
    const end = performance.now() + SETTLE_LIMIT_MS;
    let seen = -1;
    let changedAt = performance.now();
    while (performance.now() - changedAt < SETTLED_MS && performance.now() < end) {
      const now = await this.contender.replicated();
      if (now !== seen) changedAt = performance.now();
      seen = now;
      await pause(SETTLE_POLL_MS);
    }
    if (seen < flows + connections) this.step(`the backup has ${seen} of ${flows + connections} flows`);
  }

  /** Who never talks again is counted by the report. */
  private async talking(traffic: LiveTraffic): Promise<void> {
    const isOver = () => traffic.state?.alive === 0 || traffic.isTalking;
    await eventually('every connection talks', { withinMs: TALK_WITHIN_MS }, isOver).catch(() => undefined);
    await pause(WATCH_MS);
  }
}

/** The program that sees the first flows of a commit in fw2's kernel. */
class FirstFlowWatch {
  private firstNs: bigint | undefined;
  private isReady = false;

  private constructor(private readonly child: ChildProcess) {
    createInterface({ input: child.stdout! }).on('line', (text) => {
      const { kind, atNs } = JSON.parse(text) as FirstFlow;
      if (kind === 'ready') this.isReady = true;
      else this.firstNs = BigInt(atNs);
    });
  }

  static async start(lab: Lab): Promise<FirstFlowWatch> {
    const command = [...program('test/bench/first-flow-program'), String(FIRST_FLOWS)];
    const watch = new FirstFlowWatch(lab.spawn('fw2', command, { stdio: ['ignore', 'pipe', 'inherit'] }));
    await eventually('the watch looks', { withinMs: 10_000, everyMs: 10 }, () => watch.isReady);
    return watch;
  }

  /** When they came; undefined if they never did. */
  async end(): Promise<bigint | undefined> {
    this.child.kill('SIGKILL');
    await ended(this.child);
    return this.firstNs;
  }
}
