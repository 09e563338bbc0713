/** What the demo does: two firewalls in step, live connections through the first, which then dies. */
import { generate } from './background-flows.js';
import { eventually } from './deadline.js';
import { type FirewallName, Lab } from './lab.js';
import { LabDaemon } from './lab-daemon.js';
import { LiveTraffic } from './live-traffic.js';
import type { DemoView, FirewallView } from './picture.js';
import { program } from './program.js';

export interface ShowOptions {
  readonly flows: number;
  readonly connections: number;
  /** Told what is happening, in a few words, whenever that changes. */
  readonly onStep: (text: string) => void;
}

/** How it went. Times are milliseconds. */
export interface ShowResult {
  readonly connections: number;
  readonly survived: number;
  readonly dead: Readonly<Record<string, number>>;
  readonly longestSilenceMs: number;
  readonly medianSilenceMs: number;
  readonly committed: number;
  readonly commitMs: number;
  readonly flowsPerSecond: number;
  readonly rejected: number;
  /** Flows in the first firewall's kernel that the second one's has not. */
  readonly recordsLost: number;
}

const IN_SYNC_WITHIN_MS = 60_000;
const TALKING_WITHIN_MS = 30_000;
/** Long enough for every connection to have talked many times before and after. */
const WATCH_MS = 1500;
/** Hexadecimal characters of a key in a record's durable bytes: 16 bytes for IPv4 (family 2), else 40. */
const keyOf = (record: string) => record.slice(0, record.startsWith('02') ? 32 : 80);

/** One run of the demo; `view` can be asked at any time. */
export class FailoverShow {
  readonly daemons: readonly [LabDaemon, LabDaemon];
  private traffic: LiveTraffic | undefined;
  private step = '';
  private active: FirewallName = 'fw1';
  private isCut = false;
  private readonly startedMs = performance.now();

  private constructor(
    readonly lab: Lab,
    private readonly options: ShowOptions,
  ) {
    this.daemons = [new LabDaemon(lab, 'fw1'), new LabDaemon(lab, 'fw2')];
  }

  /** Builds the lab. The caller closes `lab`. */
  static async create(options: ShowOptions): Promise<FailoverShow> {
    options.onStep('building two firewalls, a client and a server in network namespaces');
    const lab = await Lab.create({ flows: options.flows + options.connections });
    return new FailoverShow(lab, options);
  }

  /** The whole show, from the first daemon's start to the result. */
  async run(): Promise<ShowResult> {
    const [fw1, fw2] = this.daemons;
    this.say('starting a daemon in each firewall');
    await Promise.all([fw1.start(), fw2.start()]);
    await fw1.failover('primary');
    await this.fill();
    this.say('waiting until both firewalls prove that they hold the same flows');
    await this.inSync();
    await this.watch('in step; connections run through fw1');
    this.say('cutting all cables of fw1, and making fw2 primary');
    const report = await this.failOver();
    this.say('waiting until every connection talks again');
    await this.talking();
    await this.watch('connections run through fw2');
    this.say('counting');
    const recordsLost = await this.countLost();
    const traffic = await this.traffic?.finish();
    if (!traffic || !report.promote) throw new Error('no report of the traffic, or of the promote');
    const { committed, durationMs, rejected } = report.promote;
    return {
      connections: traffic.connections,
      survived: traffic.alive,
      dead: traffic.dead,
      longestSilenceMs: traffic.longestSilenceMs,
      medianSilenceMs: traffic.medianSilenceMs,
      committed,
      commitMs: durationMs,
      flowsPerSecond: Math.round((committed / Math.max(durationMs, 1)) * 1000),
      rejected,
      recordsLost,
    };
  }

  /** Opens new connections through the second firewall, for who goes on to play with it. */
  async talkOn(): Promise<void> {
    this.traffic = await LiveTraffic.start(this.lab, this.options.connections);
  }

  /** Everything as it is now, for the picture. */
  async view(): Promise<DemoView> {
    const [upper, lower] = await Promise.all(this.daemons.map((daemon) => this.viewOf(daemon)));
    const elapsedMs = performance.now() - this.startedMs;
    return { elapsedMs, now: this.step, firewalls: [upper, lower], traffic: this.traffic?.state };
  }

  private async viewOf(daemon: LabDaemon): Promise<FirewallView> {
    const { name } = daemon;
    const status = daemon.pid === undefined ? undefined : await daemon.status().catch(() => undefined);
    return { name, status, hasAddresses: this.active === name, isCut: this.isCut && name === 'fw1' };
  }

  private say(text: string): void {
    this.step = text;
    this.options.onStep(text);
  }

  private async fill(): Promise<void> {
    const { flows, connections } = this.options;
    this.say(`opening ${connections} TCP connections through fw1`);
    this.traffic = await LiveTraffic.start(this.lab, connections);
    this.say(`putting ${flows} background flows into the kernel of fw1`);
    if (flows > 0) await generate(this.lab, 'fw1', 'create', flows);
  }

  private async inSync(): Promise<void> {
    const [fw1, fw2] = this.daemons;
    const expected = this.options.flows + this.options.connections;
    await eventually('the replica of fw1 is in sync', { withinMs: IN_SYNC_WITHIN_MS }, async () => {
      const replica = await fw2.replicaOf('fw1');
      return replica?.inSync === true && replica.flows >= expected;
    });
    await fw1.verified(IN_SYNC_WITHIN_MS);
  }

  private async failOver() {
    await Promise.all([this.lab.cut('fw1'), this.lab.cutSync('fw1')]);
    this.isCut = true;
    const [report] = await Promise.all([this.daemons[1].failover('primary'), this.lab.activate('fw2')]);
    this.active = 'fw2';
    return report;
  }

  /** Lets the connections run on for a while. */
  private async watch(text: string): Promise<void> {
    this.say(text);
    const until = performance.now() + WATCH_MS;
    await eventually('the time is over', { withinMs: WATCH_MS * 2 }, () => performance.now() >= until);
  }

  private async talking(): Promise<void> {
    const answersAt = this.traffic?.state?.answers ?? 0;
    const isTalking = () => {
      const state = this.traffic?.state;
      if (state?.alive === 0) return true;
      return this.traffic?.isTalking === true && (state?.answers ?? 0) > answersAt + (state?.alive ?? 0);
    };
    // Who never talks again is counted by the report.
    await eventually('every connection talks', { withinMs: TALKING_WITHIN_MS }, isTalking).catch(
      () => undefined,
    );
  }

  private async countLost(): Promise<number> {
    const tables = this.daemons.map(({ name }) =>
      this.lab.exec(name, program('test/lab/kernel-records-program')),
    );
    const [before, after] = (await Promise.all(tables)).map((text) => text.split('\n').map(keyOf));
    const present = new Set(after);
    return before.filter((key) => !present.has(key)).length;
  }
}
