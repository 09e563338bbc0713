/** Failovers back and forth between two firewalls, each in one of the ways in which they happen. */
import { eventually } from '../deadline.js';
import type { Lab } from '../lab.js';
import type { LabDaemon } from '../lab-daemon.js';
import { TrafficLostError } from './all-traffic.js';
import { flowsOf } from './kernel-states.js';

const VERIFY_WITHIN_MS = 30_000;
const HEARD_WITHIN_MS = 30_000;
/** Flows that were already as they are to be; the others changed in the last moment. */
const KEPT_SHARE = 0.9;

/** Two firewalls in a lab, whoever tells them their roles. */
interface Pair {
  readonly lab: Lab;
  /** A verification comes to 0 on both within the time. */
  verified(withinMs: number): Promise<void>;
  /** The ends of what its programs have logged. */
  logs(): string[];
  close(): Promise<void>;
}

/** Who is primary, and how that changes; what a failover is differs with who says so. */
export abstract class Failovers<Way extends string> {
  private beganAtMs = 0;

  constructor(
    readonly pair: Pair,
    public active: LabDaemon,
    public standby: LabDaemon,
    /** Both are configured with `standby: hot`. */
    readonly isHot: boolean,
  ) {}

  /** Takes the addresses, and the role, from one to the other. */
  async over(way: Way): Promise<void> {
    const { active: old, standby: next } = this;
    this.beganAtMs = Date.now();
    await this.change(way, old, next);
    [this.active, this.standby] = [next, old];
  }

  /** The old primary comes back, if it was away, and learns that it is none any more. */
  abstract back(way: Way): Promise<void>;

  protected abstract change(way: Way, old: LabDaemon, next: LabDaemon): Promise<void>;

  /** Waits until each of the two has heard the other. */
  protected async heard(): Promise<void> {
    const both = [this.active, this.standby];
    await eventually('the firewalls hear each other', { withinMs: HEARD_WITHIN_MS }, async () => {
      const all = await Promise.all(both.map((daemon) => daemon.status()));
      return all.every(({ peers }) => peers.some((peer) => peer.alive));
    });
  }

  /** A verification says 0 on both; a hot standby's kernel has what the primary has. */
  async verified(): Promise<void> {
    await Promise.all([this.active, this.standby].map((daemon) => daemon.verified(VERIFY_WITHIN_MS)));
    if (this.isHot) await this.inStep();
  }

  /** The takeover has ended; a hot standby's has found next to all flows in the kernel, as they are to be. */
  async tookOver(): Promise<void> {
    const { active } = this;
    const report = await eventually('the promote has ended', { withinMs: HEARD_WITHIN_MS }, async () => {
      const { lastPromote } = await active.status();
      return lastPromote !== null && lastPromote.endedAtMs >= this.beganAtMs && lastPromote;
    });
    if (!this.isHot) return;
    const { total, kept } = report;
    if (total === 0 || kept < KEPT_SHARE * total) throw new Error(`only ${kept} of ${total} were kept`);
  }

  private async inStep(): Promise<void> {
    const { active, standby } = this;
    await eventually(`${standby.name} has all flows`, { withinMs: HEARD_WITHIN_MS }, async () => {
      const { standby: report, replicas } = await standby.status();
      const flows = replicas.find(({ node }) => node === active.name)?.flows ?? 0;
      if (report.waiting === 0 && report.refused === 0 && flows > 0 && report.held >= flows) return true;
      throw new Error(`${JSON.stringify(report)} of ${flows}`);
    });
  }

  /**
   * Fails with the last report, what both kernels have of the kinds that were lost, and the ends of all logs: whoever
   * reads it in the morning cannot look any more.
   */
  async withLogs(what: string, action: () => Promise<void>): Promise<void> {
    try {
      await action();
    } catch (error) {
      const daemons = [this.active, this.standby];
      const kinds = error instanceof TrafficLostError ? error.kinds : [];
      const status = await this.active.status().catch(() => undefined);
      const lines = [`${what}: ${(error as Error).message}`, JSON.stringify(status?.lastPromote)];
      for (const { name } of daemons) lines.push(...(await flowsOf(this.pair.lab, name, kinds)));
      lines.push(...this.pair.logs());
      throw new Error(lines.join('\n'), { cause: error });
    }
  }
}
