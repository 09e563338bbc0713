/** A conntwin daemon in a firewall of the lab: its configuration, its life, and the commands sent to it. */
import type { ChildProcess } from 'node:child_process';
import { mkdirSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { constants, getPriority, setPriority } from 'node:os';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { ControlClient } from '../../src/control/client.js';
import type {
  FailoverReport,
  ReplicaReport,
  Role,
  StatusReport,
  VerifyReport,
} from '../../src/control/messages.js';
import { type CommandResult, ended } from './command.js';
import { eventually } from './deadline.js';
import type { FirewallName, Lab } from './lab.js';
import { CONNTWIN_PROGRAM, program } from './program.js';

const START_WITHIN_MS = 30_000;
const STOP_WITHIN_MS = 10_000;
/** Group and port of the labs' sync links. */
export const SYNC_GROUP = '225.0.0.50';
export const SYNC_PORT = 3780;

/** Configuration sections that differ from the lab's own; each replaces the whole section. */
export type ConfigOverrides = Readonly<Record<string, unknown>>;

/** One firewall's daemon; it can be started again after a stop or a kill and finds its run directory as it was. */
export class LabDaemon {
  readonly configFile: string;
  readonly socket: string;
  readonly logFile: string;
  /** Boot id that the daemon is shown from its next start on; the kernel's own when absent. */
  bootId: string | undefined;
  private child: ChildProcess | undefined;
  private client: ControlClient | undefined;
  private readonly conntwin = program(CONNTWIN_PROGRAM);

  constructor(
    private readonly lab: Lab,
    readonly name: FirewallName,
    overrides: ConfigOverrides = {},
  ) {
    const directory = join(lab.directory, name);
    mkdirSync(directory, { recursive: true });
    this.configFile = join(directory, 'conntwin.yaml');
    this.socket = join(directory, 'control.sock');
    this.logFile = join(directory, 'daemon.log');
    this.configure(overrides);
  }

  /** Writes its configuration, for its next start or `reload`. */
  configure(overrides: ConfigOverrides): void {
    const number = this.lab.firewalls.indexOf(this.name) + 1;
    const config = {
      node: { name: this.name, cluster: 'lab' },
      links: [
        { interface: 'sync', address: `10.9.0.${number}`, group: SYNC_GROUP, port: SYNC_PORT, mtu: 1500 },
      ],
      security: 'none',
      control: { socket: this.socket },
      state_dir: join(this.lab.directory, this.name),
      ...overrides,
    };
    writeFileSync(this.configFile, stringify(config));
  }

  /** Process id while it runs. */
  get pid(): number | undefined {
    return this.child?.exitCode === null && this.child.signalCode === null ? this.child.pid : undefined;
  }

  /** Starts it and resolves when it answers `status`; throws with the end of its log if it does not. */
  async start(): Promise<void> {
    if (this.pid !== undefined) throw new Error(`the daemon of ${this.name} runs already`);
    const log = openSync(this.logFile, 'a');
    const command = [...this.bootCommand(), ...this.conntwin, '--config', this.configFile, 'daemon'];
    const child = this.lab.spawn(this.name, command, { stdio: ['ignore', log, log] });
    this.child = child;
    try {
      await eventually(`the daemon of ${this.name} answers`, { withinMs: START_WITHIN_MS }, async () => {
        return this.pid === undefined || (await this.status());
      });
    } catch (error) {
      throw new Error(`${(error as Error).message}\n${this.logEnd()}`, { cause: error });
    }
    if (this.pid === undefined) throw new Error(`the daemon of ${this.name} ended:\n${this.logEnd()}`);
  }

  /** Asks it to end (SIGTERM) and resolves with its exit code. */
  async stop(): Promise<number> {
    const child = this.child;
    if (child === undefined) return 0;
    child.kill('SIGTERM');
    await eventually(`the daemon of ${this.name} stops`, { withinMs: STOP_WITHIN_MS }, () => {
      return this.pid === undefined;
    });
    this.forget();
    return child.exitCode ?? 128;
  }

  /** Ends it at once (SIGKILL). */
  async kill(): Promise<void> {
    const child = this.child;
    if (child === undefined) return;
    child.kill('SIGKILL');
    await ended(child);
    this.forget();
  }

  /** Stops the process until `resume`. */
  pause(): void {
    this.signal('SIGSTOP');
  }

  resume(): void {
    this.signal('SIGCONT');
  }

  /** It runs behind all other processes (nice 19), or as they do. */
  set isInNoHurry(isSo: boolean) {
    if (this.pid !== undefined) setPriority(this.pid, isSo ? constants.priority.PRIORITY_LOW : getPriority());
  }

  /** Removes what it remembers of its role, as a reboot does. */
  forgetState(): void {
    rmSync(join(this.lab.directory, this.name, `${this.name}.state`), { force: true });
  }

  /** What `conntwin status` says, asked through the control socket from this process. */
  async status(): Promise<StatusReport> {
    this.client ??= await ControlClient.connect(this.socket);
    try {
      return await this.client.status();
    } catch (error) {
      this.forget(false);
      throw error;
    }
  }

  /** Changes the role through the control socket and resolves with the report, without the start of a process. */
  async failover(role: Role): Promise<FailoverReport> {
    const client = await ControlClient.connect(this.socket);
    try {
      return await client.failover(role, () => undefined);
    } finally {
      client.close();
    }
  }

  /** `conntwin verify` through the control socket, once, without the start of a process. */
  async verify(): Promise<VerifyReport> {
    const client = await ControlClient.connect(this.socket);
    try {
      return await client.verify(() => undefined);
    } finally {
      client.close();
    }
  }

  /** `conntwin resync kernel`: an audit of the whole kernel table, at full speed, to its end. */
  async auditKernel(withinMs = 120_000): Promise<void> {
    const { runs } = (await this.status()).audit;
    const client = await ControlClient.connect(this.socket);
    // The call is given ten seconds, and on a crowded machine a million flows take more.
    const asked = client.resync('kernel', () => undefined).catch(() => undefined);
    try {
      await eventually(`${this.name} has read its kernel`, { withinMs, everyMs: 200 }, async () => {
        const { audit } = await this.status();
        return audit.runs > runs && !audit.isRunning;
      });
      await asked;
    } finally {
      client.close();
    }
  }

  /** `conntwin flows count --table external`: what the replicas here hold, asked from this process. */
  async externalFlows(): Promise<number> {
    const client = await ControlClient.connect(this.socket);
    try {
      return await client.countFlows({ table: 'external', node: '', filter: {} });
    } finally {
      client.close();
    }
  }

  /** Has it read its configuration again, by SIGHUP, as `systemctl reload` does. */
  reload(): void {
    this.signal('SIGHUP');
  }

  /** Memory that it holds, bytes. */
  residentBytes(): number {
    const text = readFileSync(`/proc/${this.pid}/status`, 'utf8');
    return Number(/^VmRSS:\s*(\d+) kB/m.exec(text)?.[1] ?? Number.NaN) * 1024;
  }

  /** All of its log, of every run. */
  log(): string {
    return readFileSync(this.logFile, 'utf8');
  }

  /** This node's replica of another, or undefined while it has none. */
  async replicaOf(node: FirewallName): Promise<ReplicaReport | undefined> {
    return (await this.status()).replicas.find((replica) => replica.node === node);
  }

  /** Runs a conntwin command as a user of this firewall would; resolves whatever its exit code. */
  cli(args: readonly string[], timeoutMs = 60_000): Promise<CommandResult> {
    return this.lab.tryExec(this.name, [...this.conntwin, '--config', this.configFile, ...args], {
      timeoutMs,
    });
  }

  /** A verification, tried until it comes to 0; throws with the last answer after the deadline. */
  async verified(withinMs: number): Promise<void> {
    await eventually(`verify comes to 0 on ${this.name}`, { withinMs, everyMs: 100 }, async () => {
      const { exitCode, differences, peers, reasons } = await this.verify();
      if (exitCode === 0) return true;
      throw new Error(JSON.stringify({ exitCode, differences, peers, reasons }));
    });
  }

  /** `conntwin verify`, tried until it exits 0; throws with the last answer after the deadline. */
  async commandVerifies(withinMs: number): Promise<void> {
    await eventually(`verify exits 0 on ${this.name}`, { withinMs, everyMs: 200 }, async () => {
      const { code, stdout, stderr } = await this.cli(['verify']);
      if (code !== 0) throw new Error(`exit code ${code}: ${stdout}${stderr}`);
      return true;
    });
  }

  /** The end of its log. */
  logEnd(): string {
    return this.log().slice(-3000);
  }

  /** `ip netns exec` gives each process its own mounts, so nobody else sees this boot id. */
  private bootCommand(): string[] {
    if (this.bootId === undefined) return [];
    const file = join(this.lab.directory, this.name, 'boot_id');
    writeFileSync(file, `${this.bootId}\n`);
    const script = 'mount --bind "$0" /proc/sys/kernel/random/boot_id && exec "$@"';
    return ['sh', '-ec', script, file];
  }

  private signal(signal: NodeJS.Signals): void {
    if (this.pid === undefined) throw new Error(`the daemon of ${this.name} does not run`);
    process.kill(this.pid, signal);
  }

  private forget(isProcessGone = true): void {
    this.client?.close();
    this.client = undefined;
    if (isProcessGone) this.child = undefined;
  }
}
