/** What most lab tests start from: a lab with a running daemon in fw1, which is primary, and in fw2. */
import { eventually } from './deadline.js';
import { Lab, type LabOptions } from './lab.js';
import { LabDaemon } from './lab-daemon.js';

/** Two firewalls with their daemons; `close` ends everything. */
export class FirewallPair {
  readonly fw1: LabDaemon;
  readonly fw2: LabDaemon;

  private constructor(readonly lab: Lab) {
    this.fw1 = new LabDaemon(lab, 'fw1');
    this.fw2 = new LabDaemon(lab, 'fw2');
  }

  /** Builds the lab, starts both daemons, makes fw1 primary and waits until they know each other. */
  static async create(options?: LabOptions): Promise<FirewallPair> {
    const pair = new FirewallPair(await Lab.create(options));
    try {
      await Promise.all([pair.fw1.start(), pair.fw2.start()]);
      await pair.fw1.failover('primary');
      await pair.acquainted();
    } catch (error) {
      await pair.close();
      throw error;
    }
    return pair;
  }

  /** Waits until each has a proven, empty or full, replica of the other. */
  async acquainted(): Promise<void> {
    await eventually('fw1 and fw2 know each other', { withinMs: 15_000 }, async () => {
      const replicas = [await this.fw1.replicaOf('fw2'), await this.fw2.replicaOf('fw1')];
      return replicas.every((replica) => replica?.inSync === true);
    });
  }

  /** `conntwin verify` exits 0 on both within the time. */
  async verified(withinMs: number): Promise<void> {
    await Promise.all([this.fw1.verified(withinMs), this.fw2.verified(withinMs)]);
  }

  /** Flows in fw2's replicas of fw1, whatever its incarnation. */
  async replicatedFlows(): Promise<number> {
    const { replicas } = await this.fw2.status();
    return replicas.filter((r) => r.node === 'fw1').reduce((sum, r) => sum + r.flows, 0);
  }

  async close(): Promise<void> {
    await this.lab.close();
  }
}
