/**
 * Whole cores over kernel twins and a network twin, in virtual time, without faults but those that a test makes: what
 * two or three nodes do to each other when roles change.
 */

import type { FailoverReport } from '../../src/control/messages.js';
import { Core, type CoreOptions } from '../../src/daemon/core.js';
import type { PersistedState } from '../../src/failover/state.js';
import { IPS_ASSURED, IPS_SEEN_REPLY, TCP_CONNTRACK_ESTABLISHED } from '../../src/flow/conntrack-enums.js';
import { CounterMap } from '../../src/flow/counters.js';
import { SEEN_MARK } from '../../src/flow/kernel-port.js';
import { offMark } from '../../src/flow/record.js';
import { OWNER_SELF } from '../../src/table/slot-bits.js';
import { KernelTwin } from './kernel-twin.js';
import { NetworkTwin } from './network-twin.js';
import { Random } from './random.js';
import { type FlowDescription, makeRecord } from './record-maker.js';

/** Flow number `n`: an established TCP connection. */
export const flowOf = (n: number): FlowDescription => ({
  source: '10.0.0.1',
  destination: '10.9.0.1',
  sourcePort: 1000 + n,
  destinationPort: 80,
  status: IPS_SEEN_REPLY | IPS_ASSURED,
  state: TCP_CONNTRACK_ESTABLISHED,
  wscale: [7, 7],
  timeout: 432_000,
});

/** One machine: its kernel, its disk, and the daemon that runs on it. */
export class CoreNode {
  readonly name: string;
  twin: KernelTwin;
  bootId: string;
  disk: PersistedState | undefined;
  core: Core | undefined;
  /** Kernel calls and writes that the daemon lives to see. */
  effectsLeft = Number.POSITIVE_INFINITY;
  isDiskFull = false;
  counters = new CounterMap();
  readonly logged: string[] = [];
  /** Of each line of `logged`. */
  readonly fields: Readonly<Record<string, unknown>>[] = [];
  readonly #cluster: CoreCluster;
  #boots = 1;

  constructor(cluster: CoreCluster, name: string) {
    this.name = name;
    this.#cluster = cluster;
    this.bootId = `boot-${name}`;
    this.twin = this.#newTwin();
  }

  #newTwin(): KernelTwin {
    const twin = new KernelTwin({ now: () => this.#cluster.now });
    twin.beforeCall = () => this.effect();
    return twin;
  }

  /** The daemon, or an error where it does not run. */
  get up(): Core {
    if (this.core === undefined) throw new Error(`${this.name} does not run`);
    return this.core;
  }

  start(): void {
    const { network, random } = this.#cluster;
    let clock = 0;
    this.counters = new CounterMap();
    while (this.twin.drain({ event: () => undefined }, 10));
    this.core = new Core(
      {
        kernel: this.twin,
        send: (frame, length) => network.send(this.name, frame, length),
        clock: () => {
          clock = Math.max(clock + this.#cluster.lookMs, this.#cluster.now);
          return clock;
        },
        wallClock: () => 1_700_000_000_000 + this.#cluster.now,
        random: () => random.next(),
        randomBytes: (n) => random.bytes(n),
        counters: this.counters,
        log: (level, message, fields) => {
          this.logged.push(`${level}: ${message}`);
          this.fields.push(fields ?? {});
        },
        persist: (state) => {
          this.effect();
          if (this.isDiskFull) throw new Error('no space left');
          this.disk = state;
        },
      },
      {
        node: this.name,
        cluster: 'sim',
        incarnation: random.bytes(16),
        bootId: this.bootId,
        mtu: 1500,
        auditIntervalMs: 60_000,
        maxFlows: 1 << 14,
        ...this.#cluster.options,
        ...(this.disk?.bootId === this.bootId ? { restored: this.disk } : {}),
      },
    );
    network.attach(this.name, (u8, length) => this.core?.receive(u8, 0, length, 0));
  }

  /** kill -9. */
  kill(): void {
    this.core = undefined;
    this.effectsLeft = Number.POSITIVE_INFINITY;
    this.#cluster.network.detach(this.name);
  }

  /** The kernel forgets everything; `start` comes later. */
  reboot(): void {
    this.kill();
    this.bootId = `boot-${this.name}-${++this.#boots}`;
    this.twin = this.#newTwin();
  }

  effect(): void {
    if (--this.effectsLeft < 0) throw new Killed();
  }

  /** Traffic begins flow `n`. */
  born(n: number, more: Partial<FlowDescription> = {}): void {
    this.twin.born(makeRecord({ ...flowOf(n), ...more }).m, 0);
  }

  /** Traffic changes flow `n`. */
  mark(n: number, mark: number): void {
    const flow = this.twin.find(makeRecord(flowOf(n)).m, 0);
    if (flow === undefined) throw new Error(`${this.name} has no flow ${n}`);
    this.twin.change(flow, SEEN_MARK, (m) => {
      m.u32[offMark(4) >>> 2] = mark;
    });
  }

  die(n: number): void {
    const flow = this.twin.find(makeRecord(flowOf(n)).m, 0);
    if (flow !== undefined) this.twin.die(flow);
  }

  /** Mark of flow `n` in the kernel; undefined: it is not there. */
  markOf(n: number): number | undefined {
    return this.twin.find(makeRecord(flowOf(n)).m, 0)?.m.u32[offMark(4) >>> 2];
  }

  get mirrorFlows(): number {
    return this.up.table.countOf(OWNER_SELF);
  }

  /** What this node's replica of another is called by it. */
  peer(name: string) {
    const peer = this.up.replicator.peers().find(({ node }) => node === name);
    if (peer === undefined) throw new Error(`${this.name} does not know ${name}`);
    return peer;
  }

  /** Flows that the last absorb created, and all others that it looked at. */
  get absorbed(): [created: number, others: number] | undefined {
    const report = this.up.roles.lastAbsorb;
    return report && [report.committed, report.kept + report.updated + report.replaced];
  }

  promote(): Promise<FailoverReport> {
    return this.up.roles.promote(() => undefined);
  }

  demote(role: 'backup' | 'fault' = 'backup'): Promise<FailoverReport> {
    return this.up.roles.demote(role, () => undefined);
  }
}

/** The daemon was killed at this effect. */
export class Killed extends Error {
  override readonly name = 'Killed';
}

export class CoreCluster {
  now = 1000;
  /** What one look at the clock costs: long ones make short slices. Milliseconds. */
  lookMs = 0.02;
  readonly random: Random;
  readonly network: NetworkTwin;
  readonly nodes: CoreNode[];
  /** What the nodes' options are to be, beside what they need. */
  readonly options: Partial<CoreOptions>;

  constructor(names: readonly string[], seed = 1, options: Partial<CoreOptions> = {}) {
    this.options = options;
    this.random = new Random(seed);
    this.network = new NetworkTwin(this.random);
    this.network.now = this.now;
    this.nodes = names.map((name) => new CoreNode(this, name));
  }

  /** Starts all, makes the first one primary and lets them come to know each other. */
  async begin(): Promise<void> {
    for (const node of this.nodes) node.start();
    await this.done(this.nodes[0].promote());
    await this.until('they know each other', () => this.isInStep());
  }

  /** `ms` milliseconds, one at a time. */
  async run(ms: number): Promise<void> {
    for (let i = 0; i < ms; i++) {
      this.now++;
      this.network.run(this.now);
      for (const node of this.nodes) this.#turn(node);
    }
    // Whoever waits for a report hears of it.
    await new Promise((resolve) => setImmediate(resolve));
  }

  async until(what: string, isSo: () => boolean, withinMs = 20_000): Promise<void> {
    for (let ms = 0; ms < withinMs; ms++) {
      if (isSo()) return;
      await this.run(1);
    }
    throw new Error(`not within ${withinMs} ms: ${what}`);
  }

  /** Lets time pass until the promise is settled. */
  async done<T>(promise: Promise<T>): Promise<T> {
    let result: { value: T } | { error: unknown } | undefined;
    promise.then(
      (value) => {
        result = { value };
      },
      (error: unknown) => {
        result = { error };
      },
    );
    await this.until('the call is answered', () => result !== undefined);
    if (result !== undefined && 'value' in result) return result.value;
    throw (result as unknown as { error: unknown }).error;
  }

  /** Every node that runs has a proven replica of every other one, and nothing left to say. */
  isInStep(): boolean {
    const up = this.nodes.filter(({ core }) => core !== undefined);
    return up.every(({ up: core }) => {
      const alive = core.replicator.peers().filter((p) => p.alive);
      const areProven = alive.every((p) => p.myVerdict === 'proven' && p.verdict === 'proven');
      return areProven && alive.length === up.length - 1 && core.table.dirtyCount === 0 && core.jobs.isIdle;
    });
  }

  /** No frame goes between the first node and the others. */
  cut(): void {
    this.network.isolate(this.nodes[0].name);
  }

  #turn(node: CoreNode): void {
    try {
      node.core?.tick(this.now);
      node.core?.turn(this.now);
    } catch (error) {
      if (!(error instanceof Killed)) throw error;
      node.kill();
    }
  }
}
