/** Conntwin as a contender: a primary and a backup that share a lab. */
import { setTimeout as pause } from 'node:timers/promises';
import type { Lab } from '../lab/lab.js';
import { LabDaemon } from '../lab/lab-daemon.js';
import { ACTIVE_GONE_MS, type Contender } from './contender.js';

const running = (pid: number | undefined): number => {
  if (pid === undefined) throw new Error('a conntwin daemon ended during the benchmark');
  return pid;
};

export class ConntwinContender implements Contender {
  readonly name = 'conntwin';
  private readonly active: LabDaemon;
  private readonly backup: LabDaemon;

  constructor(lab: Lab) {
    this.active = new LabDaemon(lab, 'fw1');
    this.backup = new LabDaemon(lab, 'fw2');
  }

  async start(): Promise<void> {
    await Promise.all([this.active.start(), this.backup.start()]);
    await this.active.failover('primary');
  }

  pids(): readonly [number, number] {
    return [running(this.active.pid), running(this.backup.pid)];
  }

  async replicated(): Promise<number> {
    return (await this.backup.replicaOf('fw1'))?.flows ?? 0;
  }

  /** The daemon's own figure: a promote, from the request to the last batch. */
  async commit(): Promise<number> {
    await this.active.kill();
    await pause(ACTIVE_GONE_MS);
    const { promote } = await this.backup.failover('primary');
    if (!promote) throw new Error('the promote committed nothing');
    return promote.durationMs;
  }

  async longestPauses(): Promise<readonly [number | undefined, number | undefined]> {
    const statuses = await Promise.all([this.active.status(), this.backup.status()]);
    const [active, backup] = statuses.map((status) => (status as { loopMaxPauseMs?: number }).loopMaxPauseMs);
    return [active, backup];
  }

  async stop(): Promise<void> {
    await Promise.all([this.active.stop(), this.backup.stop()]);
  }
}
