/** A lab with a running daemon in each of its first firewalls; fw1 is primary. */
import { availableParallelism, loadavg } from 'node:os';
import { eventually } from './deadline.js';
import { type FirewallName, Lab, type LabOptions } from './lab.js';
import { type ConfigOverrides, LabDaemon } from './lab-daemon.js';

export interface ClusterOptions extends LabOptions {
  /** How many of the firewalls run a daemon; all when absent. */
  readonly daemons?: number;
  /** They are not expected to come to know each other. */
  readonly isEstranged?: boolean;
  /** What their configurations have that the lab's own has not. */
  readonly config?: ConfigOverrides | ((fw: FirewallName, lab: Lab) => ConfigOverrides);
}

const ACQUAINTED_WITHIN_MS = 15_000;

/** Any number of firewalls with their daemons; `close` ends everything. */
export class FirewallCluster {
  readonly daemons: readonly LabDaemon[];

  protected constructor(
    readonly lab: Lab,
    options: ClusterOptions,
  ) {
    const { config = {} } = options;
    const names = lab.firewalls.slice(0, options.daemons);
    this.daemons = names.map(
      (fw) => new LabDaemon(lab, fw, typeof config === 'function' ? config(fw, lab) : config),
    );
  }

  /** Builds the lab, starts the daemons, makes fw1 primary and waits until they know each other. */
  static async create(options: ClusterOptions = {}): Promise<FirewallCluster> {
    return new FirewallCluster(await Lab.create(options), options).started(options.isEstranged);
  }

  /** Starts the daemons, makes fw1 primary and waits until they know each other; closes all if that fails. */
  protected async started(isEstranged = false): Promise<this> {
    try {
      await Promise.all(this.daemons.map((daemon) => daemon.start()));
      await this.daemons[0].failover('primary');
      if (!isEstranged) await this.acquainted();
    } catch (error) {
      await this.close();
      throw error;
    }
    return this;
  }

  /** Waits until each has a proven, empty or full, replica of every other. */
  async acquainted(withinMs = ACQUAINTED_WITHIN_MS): Promise<void> {
    await eventually('the firewalls know each other', { withinMs }, async () => {
      for (const daemon of this.daemons) {
        const { replicas } = await daemon.status();
        for (const { name } of this.daemons) {
          if (name !== daemon.name && !replicas.some((r) => r.node === name && r.inSync)) return false;
        }
      }
      return true;
    });
  }

  /** A verification comes to 0 on all within the time. */
  async verified(withinMs: number): Promise<void> {
    await Promise.all(this.daemons.map((daemon) => daemon.verified(withinMs)));
  }

  /**
   * The same to the second, by command: `conntwin verify` has exited 0 on all when the time is over. On a
   * machine where more than two processes a core wait the time is longer in proportion. Resolves with what it took.
   */
  async converged(withinMs: number): Promise<number> {
    const start = performance.now();
    const crowd = Math.max(1, loadavg()[0] / (2 * availableParallelism()));
    const limitMs = Math.round(withinMs * crowd);
    await Promise.all(this.daemons.map((daemon) => daemon.commandVerifies(limitMs)));
    const tookMs = Math.round(performance.now() - start);
    if (tookMs > limitMs) throw new Error(`verify exits 0 on all after ${tookMs} ms, not within ${limitMs}`);
    return tookMs;
  }

  /** The ends of what the daemons have logged. */
  logs(): string[] {
    return this.daemons.map((daemon) => `--- log of ${daemon.name}\n${daemon.logEnd()}`);
  }

  async close(): Promise<void> {
    await this.lab.close();
  }
}
