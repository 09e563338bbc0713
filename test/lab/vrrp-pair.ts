/** A lab whose two daemons are driven by real keepalived processes: nobody else says who is primary. */
import type { Role } from '../../src/control/messages.js';
import { eventually } from './deadline.js';
import { Keepalived, type KeepalivedOptions, vrrpPaths } from './keepalived.js';
import { type FirewallName, Lab, type LabOptions } from './lab.js';
import { type ConfigOverrides, LabDaemon } from './lab-daemon.js';

export interface VrrpPairOptions extends LabOptions {
  readonly keepalived?: KeepalivedOptions;
  /** More keys of `failover` in the daemons' configuration. */
  readonly failover?: ConfigOverrides;
}

/** One firewall: its daemon and its keepalived. */
export interface VrrpFirewall {
  readonly name: FirewallName;
  readonly daemon: LabDaemon;
  readonly keepalived: Keepalived;
}

export class VrrpPair {
  readonly fw1: VrrpFirewall;
  readonly fw2: VrrpFirewall;

  private constructor(
    readonly lab: Lab,
    options: VrrpPairOptions,
  ) {
    const firewall = (name: FirewallName): VrrpFirewall => {
      const { fifo, trackFile } = vrrpPaths(lab, name);
      const isScript = options.keepalived?.notify === 'script';
      const vrrp = isScript ? {} : { vrrp_fifo: fifo, vrrp_name: 'edge' };
      const failover = { ...vrrp, track_file: trackFile, ...options.failover };
      const daemon = new LabDaemon(lab, name, { failover });
      return { name, daemon, keepalived: new Keepalived(lab, name, options.keepalived) };
    };
    this.fw1 = firewall('fw1');
    this.fw2 = firewall('fw2');
  }

  /** Builds the lab; nothing runs in it yet. */
  static async create(options: VrrpPairOptions = {}): Promise<VrrpPair> {
    return new VrrpPair(await Lab.create(options), options);
  }

  /** Starts both daemons and both keepaliveds, all at once, and waits until fw1 is primary and they know each other. */
  async start(): Promise<void> {
    const all = [this.fw1.daemon, this.fw2.daemon, this.fw1.keepalived, this.fw2.keepalived];
    await Promise.all(all.map((each) => each.start()));
    await this.settled('fw1');
  }

  /** As `start`, fw1 first: where nobody preempts, a machine that is busy could make fw2 the MASTER. */
  async startInOrder(): Promise<void> {
    await Promise.all([this.fw1, this.fw2].map(({ daemon }) => daemon.start()));
    await this.fw1.keepalived.start();
    await this.settledRole('fw1', 'primary');
    await this.fw2.keepalived.start();
    await this.settled('fw1');
  }

  /** Waits until one firewall is MASTER and primary, the other BACKUP and backup, with a proven replica. */
  async settled(primary: FirewallName, withinMs = 60_000): Promise<void> {
    const [one, other] = primary === 'fw1' ? [this.fw1, this.fw2] : [this.fw2, this.fw1];
    await eventually(`${primary} is primary, and the other its backup`, { withinMs }, async () => {
      const [first, second] = await Promise.all([one.daemon.status(), other.daemon.status()]);
      const seen = [one.keepalived.state, first.role, other.keepalived.state, second.role].join(' ');
      const replica = second.replicas.find(({ node }) => node === primary);
      if (seen === 'MASTER primary BACKUP backup' && replica?.inSync) return true;
      throw new Error(
        `${primary} is ${seen}; replica ${JSON.stringify(replica)}; ${first.warnings}; ${second.warnings}`,
      );
    });
  }

  /** Waits until a firewall has the role. */
  async settledRole(fw: 'fw1' | 'fw2', role: Role, withinMs = 30_000): Promise<void> {
    await eventually(`${fw} is ${role}`, { withinMs }, async () => {
      return (await this[fw].daemon.status()).role === role;
    });
  }

  /** A verification comes to 0 on both within the time. */
  async verified(withinMs = 30_000): Promise<void> {
    await Promise.all([this.fw1.daemon.verified(withinMs), this.fw2.daemon.verified(withinMs)]);
  }

  /** The ends of what daemons and keepaliveds have logged. */
  logs(): string[] {
    return [this.fw1, this.fw2].flatMap(({ name, daemon, keepalived }) => [
      `--- log of ${name}\n${daemon.logEnd()}`,
      `--- keepalived of ${name}\n${keepalived.log().slice(-2000)}`,
    ]);
  }

  async close(): Promise<void> {
    await this.lab.close();
  }
}
