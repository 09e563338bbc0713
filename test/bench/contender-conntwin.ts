/** Conntwin as a contender: a primary and a backup that share a lab. */
import { writeFileSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import type { PromoteReport } from '../../src/control/messages.js';
import { eventually } from '../lab/deadline.js';
import { vrrpPaths } from '../lab/keepalived.js';
import type { Lab } from '../lab/lab.js';
import { LabDaemon } from '../lab/lab-daemon.js';
import { ACTIVE_GONE_MS, type Contender, type TakeOver } from './contender.js';

/** More than the idle classes' tolerance of 5 s; and time for what the second audit found to be told. Milliseconds. */
const AUDITS_APART_MS = 7000;
const CLASSES_TOLD_MS = 2000;

const running = (pid: number | undefined): number => {
  if (pid === undefined) throw new Error('a conntwin daemon ended during the benchmark');
  return pid;
};

/** keepalived's line for the group of both sides. */
const MASTER_LINE = 'GROUP "edge" MASTER 150\n';
const PROMOTED_WITHIN_MS = 60_000;

export interface ConntwinOptions {
  /** Keys of `failover`. */
  readonly failover?: Readonly<Record<string, unknown>>;
  /** The section `security`; frames are not sealed when absent. */
  readonly security?: unknown;
  /** It is told to take over by keepalived's notify FIFO, not by a command. */
  readonly hasFifo?: boolean;
}

export class ConntwinContender implements Contender {
  readonly name = 'conntwin';
  private readonly active: LabDaemon;
  private readonly backup: LabDaemon;
  private readonly fifo: string | undefined;
  private readonly hasGate: boolean;

  constructor(lab: Lab, { failover = {}, hasFifo = false, security = 'none' }: ConntwinOptions = {}) {
    const [active, backup] = (['fw1', 'fw2'] as const).map((fw) => {
      const vrrp = hasFifo ? { vrrp_fifo: vrrpPaths(lab, fw).fifo, vrrp_name: 'edge' } : {};
      return new LabDaemon(lab, fw, { security, failover: { ...failover, ...vrrp } });
    });
    this.hasGate = failover.gate === 'drop';
    this.active = active;
    this.backup = backup;
    this.fifo = hasFifo ? vrrpPaths(lab, 'fw2').fifo : undefined;
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
    await this.killActive();
    await pause(ACTIVE_GONE_MS);
    return (await this.takeOver()).commitMs;
  }

  killActive(): Promise<void> {
    return this.active.kill();
  }

  /** Two audits, far enough apart that a flow which had packets in between is told from one which had none. */
  async learn(): Promise<void> {
    await this.active.auditKernel();
    await pause(AUDITS_APART_MS);
    await this.active.auditKernel();
    await pause(CLASSES_TOLD_MS);
  }

  async guarded(): Promise<void> {
    if (!this.hasGate) return;
    await eventually('the gate is up', { withinMs: 5000, everyMs: 1 }, async () => {
      return (await this.backup.status()).gate.raised > 0;
    });
  }

  async takeOver(): Promise<TakeOver> {
    const toldNs = process.hrtime.bigint();
    const promote = await (this.fifo === undefined ? this.byCommand() : this.byFifo(this.fifo));
    const { durationMs, committed, kept, rejected } = promote;
    return { toldNs, commitMs: durationMs, committed, kept, rejected };
  }

  private async byCommand(): Promise<PromoteReport> {
    const { promote } = await this.backup.failover('primary');
    if (!promote) throw new Error('the promote committed nothing');
    return promote;
  }

  private async byFifo(path: string): Promise<PromoteReport> {
    writeFileSync(path, MASTER_LINE, { flag: 'a' });
    return eventually('the promote is through', { withinMs: PROMOTED_WITHIN_MS, everyMs: 250 }, async () => {
      return (await this.backup.status()).lastPromote ?? undefined;
    });
  }

  async verify(): Promise<boolean> {
    return (await this.active.verify()).exitCode === 0;
  }

  async longestPauses(): Promise<readonly [number | undefined, number | undefined]> {
    const ask = (daemon: LabDaemon) =>
      daemon.pid === undefined ? undefined : daemon.status().then((status) => status.loopMaxHeldMs);
    const [active, backup] = await Promise.all([ask(this.active), ask(this.backup)]);
    return [active, backup];
  }

  async stop(): Promise<void> {
    await Promise.all([this.active.stop(), this.backup.stop()]);
  }
}
