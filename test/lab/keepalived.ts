/**
 * A real keepalived in a firewall of the lab, with the sample of config/keepalived made to fit: VRRP between the
 * firewalls over both bridges, the shared addresses, and the notify FIFO or script that drives the daemon.
 */
import type { ChildProcess } from 'node:child_process';
import { copyFileSync, openSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type CommandResult, ended, tryRun } from './command.js';
import { eventually } from './deadline.js';
import type { FirewallName, Lab } from './lab.js';
import { repositoryRoot } from './program.js';
import { INSIDE_GATEWAY } from './ruleset.js';

const STARTS_WITHIN_MS = 30_000;
const STOPS_WITHIN_MS = 30_000;
const SAMPLES = { fifo: 'keepalived.conf', script: 'keepalived-script.conf' } as const;
const STATE_LINE = /\(inside\) Entering (MASTER|BACKUP|FAULT) STATE/g;

export interface KeepalivedOptions {
  /** How the daemon hears of a change: it reads the FIFO (default), or a script is started. */
  readonly notify?: keyof typeof SAMPLES;
  /** The first firewall's is 110, the others' 100, as in the sample; ready counts 50. */
  readonly priority?: number;
  /** Seconds; none unless told. */
  readonly preemptDelayS?: number;
  /** Shared addresses of the other family, as `fd00:1::254/64`, by side. */
  readonly excluded?: { readonly inside?: readonly string[]; readonly outside?: readonly string[] };
  /** Further replacements in the sample. */
  readonly edit?: (config: string) => string;
}

/** Where a firewall's FIFO and track file are: `failover: { vrrp_fifo, track_file }` of its daemon. */
export function vrrpPaths(lab: Lab, fw: FirewallName): { readonly fifo: string; readonly trackFile: string } {
  const directory = join(lab.directory, fw);
  return { fifo: join(directory, 'vrrp.fifo'), trackFile: join(directory, 'ready') };
}

/** One firewall's keepalived; it can be started again after a stop or a kill. */
export class Keepalived {
  readonly configFile: string;
  readonly logFile: string;
  readonly scriptLogFile: string;
  private readonly pidFile: string;
  private readonly vrrpPidFile: string;
  private child: ChildProcess | undefined;
  /** Where the log of this run begins. */
  private logStart = 0;

  /** The daemon of this firewall must have been made before: its directory and control socket are used. */
  constructor(
    private readonly lab: Lab,
    readonly name: FirewallName,
    options: KeepalivedOptions = {},
  ) {
    const directory = join(lab.directory, name);
    this.configFile = join(directory, 'keepalived.conf');
    this.logFile = join(directory, 'keepalived.log');
    this.scriptLogFile = join(directory, 'notify.log');
    this.pidFile = join(directory, 'keepalived.pid');
    this.vrrpPidFile = join(directory, 'keepalived-vrrp.pid');
    this.configure(options);
  }

  /** Writes its configuration, for its next start or `reload`. */
  configure(options: KeepalivedOptions): void {
    const { notify = 'fifo', preemptDelayS = 0, excluded = {}, edit } = options;
    const sample = join(repositoryRoot(), 'config/keepalived', SAMPLES[notify]);
    const { fifo, trackFile } = vrrpPaths(this.lab, this.name);
    const script = join(this.lab.directory, this.name, 'conntwin-notify.sh');
    copyFileSync(join(repositoryRoot(), 'config/keepalived/notify.sh'), script);
    let config = readFileSync(sample, 'utf8')
      .replace(/router_id .*/, `router_id ${this.name}`)
      .replaceAll('/run/conntwin/vrrp.fifo conntwin conntwin', fifo)
      .replaceAll('/run/conntwin/ready', trackFile)
      // A script must be allowed to stand in a directory of the lab.
      .replace(/^\s*enable_script_security\n/m, '')
      .replace('/etc/keepalived/conntwin-notify.sh', `"/bin/sh ${script}"`)
      .replace(/^(\s*)preempt_delay .*/gm, preemptDelayS > 0 ? `$1preempt_delay ${preemptDelayS}` : '');
    if (this.priorityOf(options) !== 110) {
      config = config.replace(/priority 110/g, `priority ${this.priorityOf(options)}`);
    }
    for (const side of ['inside', 'outside'] as const) {
      const addresses = (excluded[side] ?? []).map((address) => `        ${address}\n`).join('');
      if (addresses === '') continue;
      const block = `    virtual_ipaddress_excluded {\n${addresses}    }\n`;
      config = config.replace(new RegExp(`vrrp_instance ${side} \\{\\n`), (start) => start + block);
    }
    writeFileSync(this.configFile, edit ? edit(config) : config);
  }

  private priorityOf({ priority }: KeepalivedOptions): number {
    return priority ?? (this.name === 'fw1' ? 110 : 100);
  }

  /** Process id while it runs. */
  get pid(): number | undefined {
    return this.child?.exitCode === null && this.child.signalCode === null ? this.child.pid : undefined;
  }

  /** Starts it and resolves when its instances have a state; throws with its log if they get none. */
  async start(): Promise<void> {
    if (this.pid !== undefined) throw new Error(`the keepalived of ${this.name} runs already`);
    for (const file of [this.pidFile, this.vrrpPidFile]) rmSync(file, { force: true });
    this.logStart = statSync(this.logFile, { throwIfNoEntry: false })?.size ?? 0;
    const log = openSync(this.logFile, 'a');
    const files = ['-f', this.configFile, '-p', this.pidFile, '-r', this.vrrpPidFile];
    const argv = ['keepalived', '--vrrp', '-n', '-l', '-D', '--no-syslog', ...files];
    const env = {
      ...process.env,
      PATH: `${process.env.PATH ?? ''}:/usr/local/sbin:/usr/sbin:/sbin`,
      // The script's: the daemon's socket, the conntwin of this repository, and a log of its own.
      CONNTWIN_SOCKET: join(this.lab.directory, this.name, 'control.sock'),
      CONNTWIN_COMMAND: `${process.execPath} ${join(repositoryRoot(), 'dist/src/cli/main.js')}`,
      CONNTWIN_LOG: this.scriptLogFile,
    };
    this.child = this.lab.spawn(this.name, argv, { stdio: ['ignore', log, log], env });
    const what = `the keepalived of ${this.name} has a state`;
    try {
      await eventually(what, { withinMs: STARTS_WITHIN_MS }, () => {
        return this.pid === undefined || this.state !== undefined;
      });
      if (this.pid === undefined) throw new Error(`the keepalived of ${this.name} ended`);
    } catch (error) {
      throw new Error(`${(error as Error).message}\n${this.log().slice(-3000)}`, { cause: error });
    }
  }

  /** What it says its instance `inside` is, in this run; undefined before it said so. */
  get state(): 'MASTER' | 'BACKUP' | 'FAULT' | undefined {
    let last: string | undefined;
    for (const [, state] of this.log().matchAll(STATE_LINE)) last = state;
    return last as 'MASTER' | 'BACKUP' | 'FAULT' | undefined;
  }

  /** Waits until it has this state. */
  async becomes(state: 'MASTER' | 'BACKUP' | 'FAULT', withinMs = 30_000): Promise<void> {
    const what = `the keepalived of ${this.name} is ${state}`;
    await eventually(what, { withinMs, everyMs: 20 }, () => this.state === state);
  }

  /** True if the firewall has the shared addresses. */
  async hasAddresses(): Promise<boolean> {
    const argv = ['ip', '-n', this.lab.namespace(this.name), '-brief', 'address', 'show', 'dev', 'lan'];
    return (await tryRun(argv)).stdout.includes(` ${INSIDE_GATEWAY}/`);
  }

  /** Ends it as an operator does (SIGTERM): it says STOP, gives the addresses up and tells the others at once. */
  async stop(): Promise<void> {
    const { child } = this;
    if (child === undefined) return;
    child.kill('SIGTERM');
    await eventually(`the keepalived of ${this.name} stops`, { withinMs: STOPS_WITHIN_MS }, () => {
      return this.pid === undefined;
    });
    this.child = undefined;
  }

  /**
   * Ends it at once (SIGKILL), with its child that does VRRP: it says nothing, and the addresses stay. The others
   * take over when they have missed three adverts.
   */
  async kill(): Promise<void> {
    const { child } = this;
    if (child === undefined) return;
    // The parent first, or it would start another child.
    child.kill('SIGKILL');
    await ended(child);
    const vrrp = Number(readFileSync(this.vrrpPidFile, 'utf8'));
    if (vrrp > 1) process.kill(vrrp, 'SIGKILL');
    await eventually(`the VRRP process ${vrrp} is gone`, { withinMs: STOPS_WITHIN_MS }, () => {
      try {
        process.kill(vrrp, 0);
        return false;
      } catch {
        return true;
      }
    });
    this.child = undefined;
  }

  /** Reads its configuration again (SIGHUP). */
  reload(): void {
    this.child?.kill('SIGHUP');
  }

  /** Takes the shared addresses from the firewall, as the loss of its power would after a kill. */
  dropAddresses(): Promise<CommandResult> {
    return this.lab.tryExec(this.name, [
      'sh',
      '-c',
      `ip address del ${INSIDE_GATEWAY}/16 dev lan; ip address del 10.2.0.254/16 dev wan; true`,
    ]);
  }

  /** Its log of this run. */
  log(): string {
    try {
      return readFileSync(this.logFile, 'utf8').slice(this.logStart);
    } catch {
      return '';
    }
  }
}
