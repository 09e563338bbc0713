/**
 * One seed: a cluster joins, suffers faults under traffic, and is left in peace; then every replica must be proven
 * and every table equal to its kernel.
 */
import { RING_FRAMES } from '../../../src/limits.js';
import type { PeerStatus } from '../../../src/replication/ports.js';
import { Random } from '../random.js';
import { Cluster } from './cluster.js';
import { Faults } from './faults.js';
import { STANDBY_FAULTS } from './standby-faults.js';
import { restStandby } from './standby-rest.js';
import { standbyShape } from './standby-shape.js';
import { Violation } from './violation.js';
import { hexOf } from './watch.js';

/** Kernel changes of a seed, at least. */
const CHANGES_MIN = 5000;
const JOIN_MS = 2500;
const CHAOS_MS = 16_000;
/** Time in which a cluster that is left in peace must have converged (invariant 14). */
const QUIET_MS = 30_000;
const SETTLE_STEP_MS = 10;
/** How long an operator looks at a suspect replica before asking for a repair once more. */
const ASK_AGAIN_MS = 5000;
/** Bytes on the links that a repair may take beyond its records: sums of all levels, a few times. */
const SUMS_BYTES = 400_000;
const RECORD_BYTES = 200;
const FRAME_BYTES = 1500;
/** Faults that make a node say everything again, for which no difference is to blame. */
const ASKS_FOR_ALL = new Set(['forged-requests', 'resync', 'replay']);

export interface SeedOptions {
  readonly write?: ((line: string) => void) | undefined;
  /** Steps of the wall clock are left out: nothing may change (invariant 22). */
  readonly isWallSteady?: boolean;
}

export interface SeedResult {
  readonly seed: number;
  readonly hash: string;
  /** Hash of what was decided, whatever the wall clock. */
  readonly decisions: string;
  readonly changes: number;
  readonly faults: readonly string[];
  readonly quietMs: number;
  readonly lulls: number;
}

/** A seed failed. */
export class SeedFailure extends Error {
  override readonly name = 'SeedFailure';
  readonly seed: number;
  readonly violation: Violation;

  constructor(seed: number, atMs: number, faults: readonly string[], violation: Violation) {
    super(`seed ${seed}, at ${atMs.toFixed(2)} ms, faults ${faults.join(', ')}: ${violation.message}`);
    this.seed = seed;
    this.violation = violation;
    this.stack = violation.cause instanceof Error ? violation.cause.stack : violation.stack;
  }
}

/** Runs a seed; throws a SeedFailure. */
export async function runSeed(seed: number, options: SeedOptions = {}): Promise<SeedResult> {
  const random = new Random(seed);
  const nodes = [2, 2, 3, 3, 4, 5][random.below(6)];
  const isLarge = random.chance(0.04);
  const isCrowded = random.chance(0.05);
  const tuples = isCrowded ? 80 : isLarge ? 4000 : [60, 250, 600][random.below(3)];
  const cluster = new Cluster({
    seed,
    nodes,
    links: random.chance(0.35) ? 2 : 1,
    traffic: { tuples, sharedShare: random.chance(0.4) ? 0.05 : 0, isCrowded },
    receiveBufferBytes: [8 << 20, 256 << 10][random.below(2)],
    // Only without a ring is there a hole in the middle of a run of ops.
    mode: isCrowded ? 'best-effort' : 'reliable',
    maxFlows: isLarge ? 1 << 16 : 1 << 15,
    auditIntervalMs: [1000, 3000, 60_000][random.below(3)],
    isSealed: random.chance(0.85),
    standby: standbyShape(seed, nodes, Object.keys(STANDBY_FAULTS)),
    write: options.write,
  });
  const faults = new Faults(cluster, new Random(seed ^ 0x5eed), options.isWallSteady ?? false);
  try {
    return await new SeedRun(cluster, faults, random, tuples).run(seed);
  } catch (error) {
    const violation =
      error instanceof Violation ? error : new Violation(106, `the harness: ${String(error)}`, error);
    throw new SeedFailure(seed, cluster.schedule.now, faults.names, violation);
  }
}

class SeedRun {
  readonly #cluster: Cluster;
  readonly #faults: Faults;
  readonly #random: Random;
  readonly #tuples: number;

  constructor(cluster: Cluster, faults: Faults, random: Random, tuples: number) {
    this.#cluster = cluster;
    this.#faults = faults;
    this.#random = random;
    this.#tuples = tuples;
  }

  async run(seed: number): Promise<SeedResult> {
    const cluster = this.#cluster;
    for (const machine of cluster.machines) {
      if (this.#random.chance(0.7)) cluster.traffic.fill(machine, this.#random.below(this.#tuples * 0.6));
      const startsAt = this.#random.chance(0.7) ? this.#random.next() * 20 : this.#random.next() * 2000;
      cluster.schedule.after(startsAt, () => cluster.start(machine));
    }
    await cluster.pass(JOIN_MS);
    await this.#chaos();
    const quietMs = await this.#quiet();
    return {
      seed,
      hash: cluster.trace.hash,
      decisions: cluster.trace.decisions,
      changes: cluster.traffic.changes,
      faults: this.#faults.names,
      quietMs,
      lulls: cluster.watch.lulls,
    };
  }

  async #chaos(): Promise<void> {
    const cluster = this.#cluster;
    const end = cluster.schedule.now + CHAOS_MS;
    this.#faults.plan(cluster.schedule.now, CHAOS_MS * 0.95);
    const before = cluster.traffic.changes;
    this.#burst(end, CHAOS_MS / CHANGES_MIN);
    await cluster.pass(CHAOS_MS);
    while (cluster.traffic.changes - before < CHANGES_MIN) {
      for (const machine of cluster.machines) cluster.change(machine);
      await cluster.pass(1);
    }
  }

  /** Changes in bursts: one flow now, fifteen hundred at once then. */
  #burst(end: number, meanMs: number): void {
    const cluster = this.#cluster;
    if (cluster.schedule.now >= end) return;
    const machine = cluster.machines[this.#random.below(cluster.machines.length)];
    const roll = this.#random.next();
    const size = roll < 0.9 ? 1 + this.#random.below(8) : roll < 0.995 ? 60 : 1500;
    for (let i = 0; i < size; i++) cluster.change(machine);
    const pause = meanMs * Math.min(size, 100) * 2 * this.#random.next();
    cluster.schedule.after(pause, () => this.#burst(end, meanMs));
  }

  /** Faults off, no kernel changes, loops running: how long until everything is proven. */
  async #quiet(): Promise<number> {
    const cluster = this.#cluster;
    this.#faults.end();
    cluster.trace.say('cluster', 'is left in peace');
    for (const machine of cluster.machines) {
      machine.twin.collect();
      machine.run?.news();
    }
    await this.#resync();
    const begin = cluster.schedule.now;
    await this.#settle(begin, 'the end of the faults');
    // What no event has told is found by an audit, and told.
    for (const { core } of cluster.liveRuns) core.auditSoon();
    for (const run of cluster.liveRuns) run.news();
    await cluster.pass(1200);
    // What was taken over in peace is not proven by itself either.
    await this.#resync();
    await this.#settle(cluster.schedule.now, 'a last audit');
    await this.#rest();
    cluster.watch.splits.judge();
    for (const machine of cluster.machines) {
      const { run } = machine;
      if (run !== undefined) cluster.watch.checkKernel(run, 'in the end');
    }
    return cluster.schedule.now - begin;
  }

  /** What backups do with their kernels takes its time, and changes nothing that is said. */
  async #rest(): Promise<void> {
    const cluster = this.#cluster;
    const { standby } = cluster.options;
    await this.#restRoles();
    await restStandby(cluster, standby);
    if (standby.isPurging || standby.hot.includes(true))
      await this.#settle(cluster.schedule.now, 'the purges');
  }

  /** One primary, which has taken over all others (invariant 11). */
  async #restRoles(): Promise<void> {
    const cluster = this.#cluster;
    const end = cluster.schedule.now + QUIET_MS;
    let askedAt = cluster.schedule.now;
    for (;;) {
      const why = cluster.watch.roles.unsettled(this.#faults.operator.master);
      if (why === undefined) return;
      if (cluster.schedule.now > end) throw new Violation(11, `${QUIET_MS} ms after peace: ${why}`);
      await cluster.pass(100);
      if (cluster.schedule.now - askedAt < ASK_AGAIN_MS) continue;
      askedAt = cluster.schedule.now;
      this.#askAgain(0);
    }
  }

  /** Without repairs by itself a cluster converges when its operator asks for it. */
  async #resync(): Promise<void> {
    if (this.#cluster.options.mode === 'reliable') return;
    await this.#cluster.pass(JOIN_MS);
    this.#askForRepairs(() => true);
  }

  #askForRepairs(isWanted: (peer: PeerStatus) => boolean): void {
    for (const { core } of this.#cluster.liveRuns) {
      for (const peer of core.replicator.peers()) {
        if (isWanted(peer)) core.replicator.requestRepair(peer.node);
      }
    }
  }

  /** Who was stalled, or away, steps back after the first question: the operator sees a suspect replica and asks again. */
  #askAgain(sinceMs: number): void {
    const { options } = this.#cluster;
    if (options.mode === 'reliable' || sinceMs % ASK_AGAIN_MS >= SETTLE_STEP_MS) return;
    this.#askForRepairs(({ alive, myVerdict }) => alive && myVerdict === 'suspect');
  }

  async #settle(begin: number, what: string): Promise<void> {
    const cluster = this.#cluster;
    const bytes = cluster.network.sentBytes;
    let allowed = 0;
    for (;;) {
      const why = this.#unsettled();
      if (why === undefined) break;
      if (cluster.schedule.now - begin > QUIET_MS) {
        throw new Violation(14, `${QUIET_MS} ms after ${what}: ${why}`);
      }
      await cluster.pass(SETTLE_STEP_MS);
      this.#askAgain(cluster.schedule.now - begin);
      // Who was away tells what it lacks only when it is a peer again.
      allowed = Math.max(allowed, this.#repairBytes());
    }
    this.#compare();
    const seconds = (cluster.schedule.now - begin) / 1000;
    const heartbeats = cluster.machines.length * cluster.network.links * (seconds + 1) * 20_000;
    const spent = cluster.network.sentBytes - bytes;
    // What somebody has forged a request for, or an operator has asked for, is still being said.
    if (this.#faults.names.some((name) => ASKS_FOR_ALL.has(name))) return;
    if (spent > allowed + heartbeats + SUMS_BYTES * cluster.machines.length * cluster.network.links) {
      throw new Violation(14, `${spent} bytes after ${what}, ${allowed} were worth it`);
    }
  }

  /** Why the cluster is not at rest; undefined if it is. */
  #unsettled(): string | undefined {
    const runs = this.#cluster.liveRuns;
    for (const run of runs) {
      const { replicator, table, state, jobs } = run.core;
      if (state !== 'ready') return `${run.name} is not ready`;
      if (table.dirtyCount > 0) return `${run.name} has ${table.dirtyCount} flows to say`;
      if (this.#cluster.machineOf(run).twin.queue.length > 0) return `${run.name} has events to read`;
      if (run.asked > 0) return `${run.name} still changes its role`;
      if (!jobs.isIdle) return `${run.name} still runs ${jobs.current?.name}`;
      const peers = replicator.peers();
      for (const other of runs) {
        if (other === run) continue;
        const peer = peers.find((p) => hexOf(p.incarnation) === other.id);
        if (peer === undefined) return `${run.name} does not know ${other.name}`;
        if (!peer.alive) return `${run.name} does not hear ${other.name}`;
        if (peer.myVerdict !== 'proven') return `${run.name}'s replica of ${other.name} is ${peer.myVerdict}`;
        if (peer.verdict !== 'proven') return `${run.name} was not told by ${other.name}: ${peer.verdict}`;
        if (peer.receivedSequence !== other.core.replicator.sequence) return `${run.name} lags ${other.name}`;
      }
    }
    return undefined;
  }

  /** Every replica, byte for byte, and every kernel that told all it did. */
  #compare(): void {
    const { watch, machines } = this.#cluster;
    for (const run of this.#cluster.liveRuns) {
      for (const peer of run.core.replicator.peers()) {
        const stream = watch.streamOf(hexOf(peer.incarnation));
        if (stream === undefined || !peer.alive) continue;
        const wrong = watch.replicas.difference(run, peer, stream);
        if (wrong !== undefined)
          throw new Violation(1, `${run.name}'s replica of ${peer.node}, in peace: ${wrong}`);
      }
    }
    for (const machine of machines) {
      const { run } = machine;
      if (run !== undefined && watch.isFaithful(run)) watch.checkKernel(run, 'in peace');
    }
  }

  /** Three times what differs (PROTOCOL.md, invariant 14), and the frames that a receiver that was stuck asks for again. */
  #repairBytes(): number {
    const { watch, network } = this.#cluster;
    let records = 0;
    let frames = 0;
    for (const run of this.#cluster.liveRuns) {
      records += run.core.table.dirtyCount;
      for (const peer of run.core.replicator.peers()) {
        const stream = watch.streamOf(hexOf(peer.incarnation));
        if (stream === undefined || !peer.alive) continue;
        records += watch.replicas.differences(run, peer, stream);
        frames += Math.min(stream.length - peer.receivedSequence, RING_FRAMES);
      }
    }
    return (3 * records * RECORD_BYTES + frames * FRAME_BYTES) * network.links;
  }
}
