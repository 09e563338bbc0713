/** Debian's conntrackd as a contender: FTFW mode over multicast, with buffers and tables as large as they need be. */
import type { ChildProcess } from 'node:child_process';
import { openSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { ended } from '../lab/command.js';
import { eventually } from '../lab/deadline.js';
import type { FirewallName, Lab } from '../lab/lab.js';
import { ACTIVE_GONE_MS, type Contender, type TakeOver } from './contender.js';

const NODES = ['fw1', 'fw2'] as const;
const TABLE_FLOWS = 2 << 20;

export interface ConntrackdOptions {
  /** Without an external cache: what comes from the peer goes into the kernel at once. */
  readonly isHot?: boolean;
}

function configuration(directory: string, fw: FirewallName, isHot: boolean): string {
  const number = NODES.indexOf(fw as (typeof NODES)[number]) + 1;
  return `Sync {
  Mode FTFW { ResendQueueSize 131072 PurgeTimeout 60 ACKWindowSize 300 DisableExternalCache ${isHot ? 'On' : 'Off'} }
  Multicast {
    IPv4_address 225.0.0.50
    Group 3780
    IPv4_interface 10.9.0.${number}
    Interface sync
    SndSocketBuffer 24985600
    RcvSocketBuffer 24985600
    Checksum on
  }
}
General {
  Systemd off
  Syslog off
  HashSize ${TABLE_FLOWS / 8}
  HashLimit ${TABLE_FLOWS}
  LogFile ${directory}/${fw}.log
  LockFile ${directory}/${fw}.lock
  UNIX { Path ${directory}/${fw}.sock }
  NetlinkBufferSize ${16 << 20}
  NetlinkBufferSizeMaxGrowth ${128 << 20}
  NetlinkOverrunResync On
  EventIterationLimit 200
  Filter From Userspace {
    Protocol Accept { TCP SCTP UDP ICMP }
    Address Ignore { IPv4_address 127.0.0.1 IPv4_address 10.9.0.1 IPv4_address 10.9.0.2 }
  }
}
`;
}

export class ConntrackdContender implements Contender {
  readonly name = 'conntrackd';
  private readonly children = new Map<FirewallName, ChildProcess>();

  constructor(
    private readonly lab: Lab,
    private readonly options: ConntrackdOptions = {},
  ) {}

  async start(): Promise<void> {
    for (const fw of NODES) this.spawn(fw);
    for (const fw of NODES) await this.answers(fw);
  }

  /** Ends the backup and starts it anew, with an empty external cache. */
  async restartBackup(): Promise<void> {
    const backup = this.children.get('fw2');
    backup?.kill('SIGTERM');
    if (backup) await ended(backup);
    this.spawn('fw2');
    await this.answers('fw2');
  }

  /** Asks the active node for all its flows (-n); milliseconds until the backup has `flows` of them. */
  async bulk(flows: number): Promise<number> {
    const start = performance.now();
    await this.lab.exec('fw2', ['conntrackd', '-C', this.file('fw2'), '-n']);
    await eventually(`conntrackd has ${flows} flows`, { withinMs: 60_000, everyMs: 10 }, async () => {
      return (await this.replicated()) >= flows;
    });
    return performance.now() - start;
  }

  /** Flows of its own kernel that the active node knows of. */
  async mirrored(): Promise<number> {
    return (await this.flows('fw1', 'internal')) ?? 0;
  }

  private spawn(fw: FirewallName): void {
    const { lab } = this;
    writeFileSync(this.file(fw), configuration(lab.directory, fw, this.options.isHot ?? false));
    const log = openSync(join(lab.directory, `${fw}.out`), 'w');
    const command = ['conntrackd', '-C', this.file(fw)];
    this.children.set(fw, lab.spawn(fw, command, { stdio: ['ignore', log, log] }));
  }

  private async answers(fw: FirewallName): Promise<void> {
    await eventually(`conntrackd answers in ${fw}`, { withinMs: 15_000 }, async () => {
      return (await this.flows(fw, 'internal')) !== undefined;
    });
  }

  pids(): readonly [number, number] {
    const [active, backup] = NODES.map((fw) => this.children.get(fw)?.pid ?? 0);
    return [active, backup];
  }

  async replicated(): Promise<number> {
    if (this.options.isHot === true) return this.lab.kernelFlows('fw2');
    return (await this.flows('fw2', 'external')) ?? 0;
  }

  async commit(): Promise<number> {
    await this.killActive();
    await pause(ACTIVE_GONE_MS);
    return (await this.takeOver()).commitMs;
  }

  async guarded(): Promise<void> {}

  /** It makes no difference between flows. */
  async learn(): Promise<void> {}

  async killActive(): Promise<void> {
    const active = this.children.get('fw1');
    if (!active) throw new Error('conntrackd of fw1 was not started');
    active.kill('SIGKILL');
    await ended(active);
    this.children.delete('fw1');
  }

  /** The command returns when the commit is through. Without an external cache there is nothing to commit. */
  async takeOver(): Promise<TakeOver> {
    const start = performance.now();
    const toldNs = process.hrtime.bigint();
    if (this.options.isHot !== true) await this.lab.exec('fw2', ['conntrackd', '-C', this.file('fw2'), '-c']);
    return {
      toldNs,
      commitMs: this.options.isHot ? Number.NaN : performance.now() - start,
      committed: Number.NaN,
      kept: Number.NaN,
      rejected: Number.NaN,
    };
  }

  async verify(): Promise<boolean> {
    return true;
  }

  async longestPauses(): Promise<readonly [undefined, undefined]> {
    return [undefined, undefined];
  }

  async stop(): Promise<void> {
    for (const child of this.children.values()) child.kill('SIGTERM');
    await Promise.all([...this.children.values()].map(ended));
  }

  private file(fw: FirewallName): string {
    return join(this.lab.directory, `${fw}.conf`);
  }

  /** Flows in its internal or external cache, or undefined while it does not answer. */
  private async flows(fw: FirewallName, cache: 'internal' | 'external'): Promise<number | undefined> {
    const { stdout } = await this.lab.tryExec(fw, ['conntrackd', '-C', this.file(fw), '-s']);
    const count = new RegExp(`cache ${cache}:\\s*\\n\\s*current active connections:\\s*(\\d+)`).exec(stdout);
    return count ? Number(count[1]) : undefined;
  }
}
