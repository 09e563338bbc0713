/** What most lab tests start from: a lab with a running daemon in fw1, which is primary, and in fw2. */
import { type ClusterOptions, FirewallCluster } from './firewall-cluster.js';
import { Lab } from './lab.js';
import type { LabDaemon } from './lab-daemon.js';

/** Two firewalls with their daemons, whatever else is in the lab. */
export class FirewallPair extends FirewallCluster {
  /** Builds the lab, starts both daemons, makes fw1 primary and waits until they know each other. */
  static override async create(options: ClusterOptions = {}): Promise<FirewallPair> {
    const two = { ...options, daemons: 2 };
    return new FirewallPair(await Lab.create(two), two).started(options.isEstranged);
  }

  get fw1(): LabDaemon {
    return this.daemons[0];
  }

  get fw2(): LabDaemon {
    return this.daemons[1];
  }

  /** Flows in fw2's replicas of fw1, whatever its incarnation. */
  async replicatedFlows(): Promise<number> {
    const { replicas } = await this.fw2.status();
    return replicas.filter((r) => r.node === 'fw1').reduce((sum, r) => sum + r.flows, 0);
  }
}
