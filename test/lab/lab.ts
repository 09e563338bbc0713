/**
 * A firewall cluster in network namespaces of one machine:
 *
 *     client ---- br0 ---- fw1, fw2[, fw3] ---- br1 ---- server        bridges stand in `switch`
 *                           |____ sync ____|
 *
 * 10.1.0.0/16 inside (client .0.100, gateway .0.254), 10.2.0.0/16 outside (server .0.100, SNAT to .0.254), 10.9.0.0/24
 * sync. Firewall N has .0.N everywhere; the active one has both .254 as well. With IPv6, fd00:1::/64 is inside and
 * fd00:2::/64 outside, with the same last parts.
 */
import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type CommandResult, commandEnvironment, ended, type RunOptions, run, tryRun } from './command.js';
import { makeRoom } from './kernel-limits.js';
import { addNamespace, freePrefix, LabError, removeNamespace, removeStaleLabs } from './namespaces.js';
import {
  FIREWALL_RULESET,
  INSIDE_GATEWAY,
  INSIDE_GATEWAY6,
  OUTSIDE_ADDRESS,
  OUTSIDE_ADDRESS6,
} from './ruleset.js';

export type FirewallName = 'fw1' | 'fw2' | 'fw3';
export type NodeName = FirewallName | 'client' | 'server' | 'switch';

const CLIENT_ADDRESS = '10.1.0.100';
export const SERVER_ADDRESS = '10.2.0.100';

export interface LabOptions {
  /** Two are joined by one sync cable, three by a bridge. */
  readonly firewalls?: 2 | 3;
  /** tcp_loose of the firewalls: off means that a TCP flow which is not in the table never comes back. */
  readonly isLoose?: boolean;
  /** Flows that one firewall is to hold: where it may, the lab makes room for them as long as it stands. */
  readonly flows?: number;
  /** IPv6 on both sides as well. */
  readonly hasIpv6?: boolean;
  /** Rules instead of the lab's own, as `nft -f` takes them. */
  readonly ruleset?: string;
  /** More addresses that the active firewall has, as `ip address add` takes them. */
  readonly sharedAddresses?: readonly string[];
}

/** One lab: made by `Lab.create`, gone with everything in it after `close`, also when the program is ended. */
export class Lab {
  readonly firewalls: readonly FirewallName[];
  /** A directory for configuration, sockets and logs; removed by close. */
  readonly directory: string;
  private readonly children = new Set<ChildProcess>();
  private readonly onExit = () => this.closeNow();
  private readonly onSignal = (signal: NodeJS.Signals) => {
    this.closeNow();
    process.exit(signal === 'SIGINT' ? 130 : 143);
  };
  private isClosed = false;
  private giveBackRoom: () => void = () => undefined;

  private constructor(
    readonly prefix: string,
    private readonly options: LabOptions,
  ) {
    this.firewalls = (['fw1', 'fw2', 'fw3'] as const).slice(0, options.firewalls ?? 2);
    this.directory = mkdtempSync(join(tmpdir(), prefix));
    process.on('exit', this.onExit);
    process.on('SIGINT', this.onSignal);
    process.on('SIGTERM', this.onSignal);
  }

  /** Builds the lab with fw1 active. Throws LabError where namespaces cannot be made. */
  static async create(options: LabOptions = {}): Promise<Lab> {
    removeStaleLabs();
    const lab = new Lab(freePrefix(), options);
    try {
      await lab.build();
      // Only now the kernel is sure to have connection tracking loaded.
      lab.giveBackRoom = makeRoom(options.flows ?? 0);
    } catch (error) {
      await lab.close();
      throw error;
    }
    return lab;
  }

  /** The name of a node's namespace. */
  namespace(node: NodeName): string {
    return `${this.prefix}${node}`;
  }

  /** Runs a program in a node and resolves with its output; throws CommandError if it fails. */
  exec(node: NodeName, argv: readonly string[], options?: RunOptions): Promise<string> {
    return run(['ip', 'netns', 'exec', this.namespace(node), ...argv], options);
  }

  /** Runs a program in a node and resolves with its exit code and output. */
  tryExec(node: NodeName, argv: readonly string[], options?: RunOptions): Promise<CommandResult> {
    return tryRun(['ip', 'netns', 'exec', this.namespace(node), ...argv], options);
  }

  /** Starts a program in a node; its pid is the child's own (ip becomes the program). Killed by close. */
  spawn(node: NodeName, argv: readonly string[], options: SpawnOptions = {}): ChildProcess {
    const [file, ...args] = ['ip', 'netns', 'exec', this.namespace(node), ...argv];
    const child = spawn(file, args, { env: commandEnvironment(), ...options });
    this.children.add(child);
    child.once('exit', () => this.children.delete(child));
    return child;
  }

  /** Moves the shared addresses to a firewall, as keepalived would. */
  async activate(active: FirewallName): Promise<void> {
    await Promise.all(
      this.firewalls.map((fw) => (fw === active ? this.shared(fw, 'replace') : this.withdraw(fw))),
    );
    await Promise.all(
      (['client', 'server'] as const).map((node) => this.ip(node, ['neighbour flush all nud all'])),
    );
  }

  /** Takes the shared addresses from a firewall. */
  withdraw(fw: FirewallName): Promise<void> {
    return this.shared(fw, 'del');
  }

  private async shared(fw: FirewallName, verb: 'replace' | 'del'): Promise<void> {
    const commands = this.sharedAddresses().map((address) => `address ${verb} ${address}\n`);
    // A firewall without the address has nothing to delete, and says so: -force goes on.
    await tryRun(['ip', '-force', '-n', this.namespace(fw), '-batch', '-'], { input: commands.join('') });
  }

  /** The addresses that move with the active role, as `ip address add` takes them. */
  sharedAddresses(): string[] {
    const { hasIpv6, sharedAddresses = [] } = this.options;
    // Without nodad an IPv6 address is of no use for its first second.
    const v6 = [`${INSIDE_GATEWAY6}/64 dev lan nodad`, `${OUTSIDE_ADDRESS6}/64 dev wan nodad`];
    const v4 = [`${INSIDE_GATEWAY}/16 dev lan`, `${OUTSIDE_ADDRESS}/16 dev wan`];
    return [...v4, ...(hasIpv6 ? v6 : []), ...sharedAddresses];
  }

  /** Pulls a firewall's data cables (inside and outside), at the switch. */
  cut(fw: FirewallName): Promise<void> {
    return this.ip('switch', [`link set ${fw}lan down`, `link set ${fw}wan down`]);
  }

  /** Puts a firewall's data cables back. */
  mend(fw: FirewallName): Promise<void> {
    return this.ip('switch', [`link set ${fw}lan up`, `link set ${fw}wan up`]);
  }

  /** Pulls a firewall's sync cable. */
  cutSync(fw: FirewallName): Promise<void> {
    return this.ip(fw, ['link set sync down']);
  }

  /** Puts a firewall's sync cable back. */
  mendSync(fw: FirewallName): Promise<void> {
    return this.ip(fw, ['link set sync up']);
  }

  /** Bytes a firewall has sent on its sync link so far, link headers included. */
  async syncBytesSent(fw: FirewallName): Promise<number> {
    const device = (await this.exec(fw, ['cat', '/proc/net/dev']))
      .split('\n')
      .find((l) => /^\s*sync:/.test(l));
    return Number(device?.split(':')[1].trim().split(/\s+/)[8] ?? Number.NaN);
  }

  /** Flows in a firewall's kernel by its own counter (expired ones that were not yet collected included). */
  async kernelFlows(fw: FirewallName): Promise<number> {
    return Number(await this.exec(fw, ['cat', '/proc/sys/net/netfilter/nf_conntrack_count']));
  }

  /** Ends everything that runs in the lab and removes it. */
  async close(): Promise<void> {
    const children = [...this.children];
    this.closeNow();
    await Promise.all(children.map(ended));
  }

  private closeNow(): void {
    if (this.isClosed) return;
    this.isClosed = true;
    process.off('exit', this.onExit);
    process.off('SIGINT', this.onSignal);
    process.off('SIGTERM', this.onSignal);
    for (const child of this.children) child.kill('SIGKILL');
    for (const node of this.nodes()) removeNamespace(this.namespace(node));
    rmSync(this.directory, { recursive: true, force: true });
    this.giveBackRoom();
  }

  private nodes(): NodeName[] {
    return ['client', 'server', ...this.firewalls, 'switch'];
  }

  /** Runs commands of ip(8) in a node by one process. */
  private async ip(node: NodeName, commands: readonly string[]): Promise<void> {
    await run(['ip', '-n', this.namespace(node), '-batch', '-'], { input: `${commands.join('\n')}\n` });
  }

  private async build(): Promise<void> {
    for (const node of this.nodes()) await addNamespace(this.namespace(node));
    for (const node of this.nodes()) await this.ip(node, ['link set lo up']);
    const hasBridgedSync = this.firewalls.length > 2;
    const bridges = hasBridgedSync ? ['br0', 'br1', 'br9'] : ['br0', 'br1'];
    // Snooping would hold multicast back from ports on which no membership report was seen yet.
    const bridgeCommands = bridges.flatMap((name) => [
      `link add ${name} type bridge mcast_snooping 0`,
      `link set ${name} up`,
    ]);
    await this.ip('switch', bridgeCommands);
    await this.attach('client', 'eth0', 'br0', [`${CLIENT_ADDRESS}/16`, 'fd00:1::100/64']);
    await this.attach('server', 'eth0', 'br1', [`${SERVER_ADDRESS}/16`, 'fd00:2::100/64']);
    for (const [index, fw] of this.firewalls.entries()) {
      await this.attach(fw, 'lan', 'br0', [`10.1.0.${index + 1}/16`, `fd00:1::${index + 1}/64`]);
      await this.attach(fw, 'wan', 'br1', [`10.2.0.${index + 1}/16`, `fd00:2::${index + 1}/64`]);
      if (hasBridgedSync) await this.attach(fw, 'sync', 'br9', [`10.9.0.${index + 1}/24`]);
    }
    if (!hasBridgedSync) await this.joinByCable();
    for (const fw of this.firewalls) await this.configure(fw);
    await this.ip('client', [`route add default via ${INSIDE_GATEWAY}`]);
    if (this.options.hasIpv6) {
      await this.ip('client', [`route add default via ${INSIDE_GATEWAY6}`]);
      await this.ip('server', [`route add fd00:1::/64 via ${OUTSIDE_ADDRESS6}`]);
    }
    await this.activate('fw1');
  }

  private async attach(
    node: NodeName,
    device: string,
    bridge: string,
    [v4, v6]: readonly string[],
  ): Promise<void> {
    const port = `${node}${device}`.slice(0, 15);
    await this.ip(node, [
      `link add ${device} type veth peer name ${port} netns ${this.namespace('switch')}`,
      `address add ${v4} dev ${device}`,
      ...(v6 !== undefined && this.options.hasIpv6 ? [`address add ${v6} dev ${device} nodad`] : []),
      `link set ${device} up`,
    ]);
    await this.ip('switch', [`link set ${port} master ${bridge} up`]);
  }

  private async joinByCable(): Promise<void> {
    await this.ip('fw1', [`link add sync type veth peer name sync netns ${this.namespace('fw2')}`]);
    for (const [index, fw] of this.firewalls.entries()) {
      await this.ip(fw, [`address add 10.9.0.${index + 1}/24 dev sync`, 'link set sync up']);
    }
  }

  private async configure(fw: FirewallName): Promise<void> {
    const { isLoose, hasIpv6, ruleset = FIREWALL_RULESET } = this.options;
    const settings = {
      'net/ipv4/ip_forward': 1,
      ...(hasIpv6 ? { 'net/ipv6/conf/all/forwarding': 1 } : {}),
      'net/netfilter/nf_conntrack_tcp_loose': isLoose ? 1 : 0,
      'net/netfilter/nf_conntrack_events': 1,
    };
    // The rules come first: loading them loads connection tracking where it is a module.
    await this.exec(fw, ['nft', '-f', '-'], { input: ruleset });
    const script = Object.entries(settings).map(([path, value]) => `echo ${value} > /proc/sys/${path}`);
    const result = await this.tryExec(fw, ['sh', '-ec', script.join('\n')]);
    if (result.code === 0) return;
    throw new LabError(
      `this kernel has no connection tracking: modprobe nf_conntrack (${result.stderr.trim()})`,
    );
  }
}
