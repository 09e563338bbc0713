/** Looks on at every frame and every step of a cluster, and throws a Violation where an invariant is broken. */
import { PRIORITY_CHANGE } from '../../../src/daemon/jobs.js';
import type { PersistedState } from '../../../src/failover/state.js';
import { seedFromText } from '../../../src/flow/hash.js';
import { OWNERS_MAX, PEERS_MAX, QUARANTINE_MAX } from '../../../src/limits.js';
import type { PeerStatus } from '../../../src/replication/ports.js';
import { LEVEL_ROOT } from '../../../src/table/digests.js';
import { INJECTING, OWNER_SELF, PENDING } from '../../../src/table/slot-bits.js';
import type { TwinFlow } from '../kernel-twin-flows.js';
import type { DaemonRun, Declared } from './daemon-run.js';
import { checkKernel } from './kernel-check.js';
import { durableText, keyText, type Machine, showText } from './machine.js';
import { type Datagram, peekHead } from './network.js';
import { ReplicaCheck } from './replica-check.js';
import { Restatement } from './restatement.js';
import { RoleWatch } from './role-watch.js';
import type { Schedule } from './schedule.js';
import { SplitWatch } from './split-watch.js';
import { StandbyWatch } from './standby-watch.js';
import { StreamRecord } from './stream-record.js';
import { TakeoverWatch } from './takeover-watch.js';
import { Violation } from './violation.js';
import { WriteWatch } from './write-watch.js';

const CLASS_STREAM = 0;
const CONTROL_HEARTBEAT = 4;
/** HEARTBEAT_INTERVAL_MS is 200; PROTOCOL.md allows twice that. Milliseconds. */
const HEARTBEAT_GAP_MS = 400;
/** A tick, and what a loop may be late. Milliseconds. */
const LOOP_SLACK_MS = 30;
/** A receiver may hold the stream for a second, and the tick that sees it comes later. Milliseconds. */
const HELD_UP_MS = 1300;
/** Frames that one received frame may cause at once: a burst of resends, and an ACK, a WELCOME, a question. */
const ANSWERS_MAX = 40;
/** Between two looks at a kernel that has just been read to empty. Milliseconds. */
const LULL_INTERVAL_MS = 250;
const SILENT_MS = 1000;
const LENDS = 'a primary died while it took over';
/** How long after the last frame a run may still apply some, and how often its limits are looked at, in rounds. */
const DRAIN_MS = 20;
/** MARKs of who was taken over, or has taken over, mean nothing for so long; and what clocks may differ. Milliseconds. */
const ABSORBED_MS = 12_000;
/** The same of a takeover that has begun, until it is done: longer than any. Milliseconds. */
const COMMIT_MS = 60_000;
const LIMITS_EVERY = 16;

/** What is remembered of one run. */
interface Watched {
  readonly stream: StreamRecord;
  /** Hashes of the stream frames, by sequence (invariant 12). */
  readonly sealed: number[];
  lastControl: number;
  sequence: number;
  lastProgressAt: number;
  cleanAudits: number;
  /** Losses that a clean audit has made up for, and the order of its dump. */
  healedLosses: number;
  healedStep: number;
  lossesAtStep: number;
  nextLullAt: number;
  /** Flows that replicas of a restarting node had at the last look, by node and incarnation. */
  readonly kept: Map<string, number>;
  /** Where the last look at each stream was. */
  readonly looked: Map<string, number>;
  receivedAt: number;
  steps: number;
  /** In this step a frame of a node's former incarnation was taken, which may delete. */
  heardFormer: boolean;
  /** In this step flows got another owner. */
  isRelabelled: boolean;
  /** It keeps flows of its own that its kernel does not have, for another node. */
  isLending: boolean;
  before: { isKnown: boolean; digest: string };
}

/** What the watch needs to know of the cluster. */
export interface WatchedCluster {
  readonly schedule: Schedule;
  readonly machines: readonly Machine[];
  machineOf(run: DaemonRun): Machine;
  runOf(incarnation: string): DaemonRun | undefined;
  isDisturbed(from: string, to: string, sinceMs: number): boolean;
  /** The payload of a frame of this run, opened. */
  open(run: DaemonRun, frame: Uint8Array): Uint8Array;
}

export class Watch {
  readonly replicas = new ReplicaCheck();
  readonly takeovers: TakeoverWatch;
  readonly writes: WriteWatch;
  readonly standby: StandbyWatch;
  readonly roles: RoleWatch;
  readonly splits: SplitWatch;
  /** Audits that were found to have healed a table that somebody broke. */
  lulls = 0;
  readonly #cluster: WatchedCluster;
  readonly #runs = new Map<string, Watched>();
  readonly #sealings = new Map<number, number>();
  readonly #restate = new Restatement(() => [...this.#runs.values()].map(({ stream }) => stream));

  constructor(cluster: WatchedCluster) {
    this.#cluster = cluster;
    const { schedule, machines } = cluster;
    this.takeovers = new TakeoverWatch({
      mark: () => schedule.mark(),
      streamOf: (incarnation) => this.streamOf(incarnation),
      machineOf: (run) => cluster.machineOf(run),
      runOf: (incarnation) => cluster.runOf(incarnation),
      isHealed: (run) => this.#isHealed(run),
    });
    this.roles = new RoleWatch({
      streamOf: (incarnation) => this.streamOf(incarnation),
      machineOf: (run) => cluster.machineOf(run),
      runOf: (incarnation) => cluster.runOf(incarnation),
      get liveRuns() {
        return machines.flatMap((m) => (m.run?.isUp ? [m.run] : []));
      },
    });
    const runs = this.#runs;
    this.splits = new SplitWatch({
      get now() {
        return schedule.now;
      },
      machines,
      mark: () => schedule.mark(),
      machineOf: (run) => cluster.machineOf(run),
      *streams() {
        for (const [incarnation, { stream }] of runs) yield [incarnation, stream];
      },
    });
    this.standby = new StandbyWatch({
      get now() {
        return schedule.now;
      },
      mark: () => schedule.mark(),
    });
    this.writes = new WriteWatch({
      get now() {
        return schedule.now;
      },
      mark: () => schedule.mark(),
      machines,
      takeoverOf: (machine) => (machine.run === undefined ? undefined : this.takeovers.of(machine.run)),
      tookBefore: (takeover, key) => this.takeovers.before(takeover, key),
    });
  }

  streamOf(incarnation: string): StreamRecord | undefined {
    return this.#runs.get(incarnation)?.stream;
  }

  /** Counter of the last control frame that the run has sent. */
  lastControl(run: DaemonRun): number {
    return this.#of(run).lastControl;
  }

  started(run: DaemonRun): void {
    const stream = new StreamRecord(seedFromText('sim'));
    stream.onMissingFresh = (before, after, sequence) => {
      throw new Violation(
        102,
        `${run.name}, frame ${sequence}: ${showText(after)} after ${showText(before)}`,
      );
    };
    this.#runs.set(run.id, {
      stream,
      sealed: [0],
      lastControl: 0,
      sequence: 0,
      lastProgressAt: run.startedAt,
      cleanAudits: 0,
      healedLosses: 0,
      healedStep: 0,
      lossesAtStep: 0,
      nextLullAt: 0,
      kept: new Map(),
      looked: new Map(),
      receivedAt: run.startedAt,
      steps: 0,
      heardFormer: false,
      isRelabelled: false,
      isLending: false,
      before: { isKnown: true, digest: '' },
    });
  }

  /** What it found in its kernel is its image now. */
  ready(run: DaemonRun): void {
    this.standby.ready(run);
    const { table } = run.core;
    const { stream } = this.#of(run);
    for (let slot = 0; slot < table.slotLimit; slot++) {
      if (!table.isUsed(slot) || table.owner(slot) !== OWNER_SELF || !table.hasImage(slot)) continue;
      const at = table.recordAt(slot);
      stream.addStart(keyText(table.memory, at), durableText(table.memory, at));
    }
  }

  /** A payload is sealed: never two of them under one key and counter. */
  seals(key: number, counter: number, sum: number): void {
    const id = key * 2 ** 20 + (counter % 2 ** 20);
    const before = this.#sealings.get(id);
    if (before !== undefined) throw new Violation(12, `counter ${counter} is sealed twice`);
    this.#sealings.set(id, sum);
  }

  sent(run: DaemonRun, frame: Uint8Array, length: number): void {
    const watched = this.#of(run);
    const bytes = frame.subarray(0, length);
    const head = peekHead(bytes);
    const payload = this.#cluster.open(run, bytes);
    if (head.frameClass !== CLASS_STREAM) {
      if (head.counter <= watched.lastControl) {
        throw new Violation(12, `${run.name} uses control counter ${head.counter} again`);
      }
      watched.lastControl = head.counter;
      if (payload[1] === CONTROL_HEARTBEAT) run.lastHeartbeatAt = this.#cluster.schedule.now;
      return;
    }
    if (!run.isReady) throw new Violation(101, `${run.name} sends frame ${head.counter}`);
    const { stream, sealed } = watched;
    const hash = hashOf(bytes);
    if (head.counter <= stream.length) {
      if (sealed[head.counter] !== hash) throw new Violation(12, `${run.name}, frame ${head.counter}`);
      return;
    }
    if (head.counter !== stream.length + 1) {
      throw new Violation(3, `${run.name} sends frame ${head.counter} after ${stream.length}`);
    }
    sealed.push(hash);
    stream.record(payload);
    if (stream.wasPrimary) this.standby.primaries.add(run.name);
    if (stream.frames[stream.length].isDeclared) this.#restate.all(run, stream);
  }

  /** A role change is about to be carried out, or was. */
  persists(run: DaemonRun, state: PersistedState): void {
    const machine = this.#cluster.machineOf(run);
    if (state.role !== 'primary') this.takeovers.stops(machine);
    // Whom it greets hears so before its stream says it (it may die in between).
    else this.standby.primaries.add(run.name);
    if (state.role !== 'primary' && machine.disk?.role === 'primary') this.splits.stepsBack(run);
    const phase = run.core.jobs.current?.progress().phase;
    const isTakeover = phase === 'early' || phase === 'declare';
    this.roles.persists(run, state, isTakeover);
    if (!isTakeover) return;
    this.takeovers.begins(run, state);
    const watched = this.#of(run);
    watched.isRelabelled = true;
  }

  /** What the sources still say is judged anew when they have declared. */
  declares(run: DaemonRun, declared: Declared): void {
    this.roles.declares(run, declared);
    this.takeovers.declares(run, declared);
    if (declared.stage === 'begun' || declared.stage === 'done') this.splits.takesOver(declared);
    for (const seed of declared.cuts.keys()) this.#absorbs(run, seed, ABSORBED_MS);
  }

  /** A flow ends in a kernel, by a packet, a timer or another program. */
  ended(machine: Machine, flow: TwinFlow): void {
    if (flow.isLoser) return;
    this.standby.ended(machine, flow);
    const { run } = machine;
    const slot = run?.isUp ? run.core.table.find(flow.m, 0) : -1;
    const isOwn =
      run !== undefined &&
      slot >= 0 &&
      run.core.role === 'primary' &&
      run.core.table.owner(slot) === OWNER_SELF &&
      (run.core.table.bits(slot) & (PENDING | INJECTING)) === 0;
    const order = this.#cluster.schedule.mark();
    const end = {
      flow,
      order,
      run: isOwn ? run : undefined,
      lost: run?.eventsLost ?? 0,
      term: run?.core.replicator.term ?? 0,
    };
    machine.ends.set(keyText(flow.m, 0), end);
  }

  /** For a while MARKs about this incarnation mean nothing to the run. */
  #absorbs(run: DaemonRun, incarnation: string, lastsMs: number): void {
    this.replicas.excuse(run, incarnation, this.#cluster.schedule.now + lastsMs);
  }

  beforeReceive(run: DaemonRun, { head }: Datagram): void {
    const { before } = this.#of(run);
    const peer = this.#peer(run, head.incarnation);
    before.isKnown = peer !== undefined || head.incarnation === run.id;
    before.digest = before.isKnown ? '' : digestOf(run);
    const stream = this.streamOf(head.incarnation);
    if (head.frameClass !== CLASS_STREAM || stream === undefined) return;
    const node = this.#cluster.runOf(head.incarnation)?.name ?? '';
    this.replicas.delivers(run, node, head.incarnation, head.counter, stream);
  }

  afterReceive(run: DaemonRun, { head }: Datagram): void {
    const watched = this.#of(run);
    const { before } = watched;
    watched.receivedAt = this.#cluster.schedule.now;
    if (run.sendsInReceive > ANSWERS_MAX) {
      throw new Violation(15, `${run.name} answers one frame with ${run.sendsInReceive}`);
    }
    const peer = this.#peer(run, head.incarnation);
    if (peer === undefined) {
      if (!before.isKnown && digestOf(run) !== before.digest) {
        throw new Violation(13, `${run.name} believed ${head.incarnation}`);
      }
      return;
    }
    if (peer.appliedSequence > run.core.replicator.sequence) {
      throw new Violation(105, `${peer.node} acknowledges ${peer.appliedSequence} to ${run.name}`);
    }
    this.#look(run, peer, head.incarnation);
  }

  #look(run: DaemonRun, peer: PeerStatus, owner: string): void {
    const stream = this.streamOf(owner);
    if (stream === undefined) return;
    this.#declared(run, peer, owner, stream);
    if (!this.replicas.look(run, peer, owner, stream, this.#cluster.schedule.now)) return;
    const current = this.#cluster.machines.find((m) => m.name === peer.node)?.run;
    if (current?.id !== owner) this.#of(run).heardFormer = true;
  }

  /** What was applied since the last look may have given flows another owner. */
  #declared(run: DaemonRun, peer: PeerStatus, owner: string, stream: StreamRecord): void {
    const watched = this.#of(run);
    const from = watched.looked.get(owner);
    if (from === peer.receivedSequence) return;
    watched.looked.set(owner, peer.receivedSequence);
    // The first look comes when frames were taken already, and nobody knows from which on.
    for (let s = (from ?? 0) + 1; s <= peer.receivedSequence; s++) {
      const { isDeclared, seeds, isBegun } = stream.frames[s];
      if (isDeclared) watched.isRelabelled = true;
      const lastsMs = isBegun ? COMMIT_MS : ABSORBED_MS;
      for (const seed of seeds) this.#absorbs(run, seed === run.id ? owner : seed, lastsMs);
    }
  }

  logged(run: DaemonRun, message: string, node: string): void {
    const { now } = this.#cluster.schedule;
    if (message.startsWith(LENDS)) this.#lends(run);
    if (message === 'peer: yielded') {
      this.#of(run).stream.isRestating = true;
      // An audit leaves out what waits for a commit, and that waits no more now.
      this.#cluster.machineOf(run).hideOwners();
    }
    const other = this.#cluster.machines.find((m) => m.name === node)?.run;
    if (message === 'peer: silent' && other !== undefined) {
      // A slow one never reads to the end, and does not put it off for ever.
      const isSlow = run.lateness > 1;
      const unread = run.inbox.find((d) => d.head.incarnation === other.id && now - d.arrivedAt < SILENT_MS);
      // Its run before that is silent indeed: it is not there any more.
      const isIt = this.#peer(run, other.id) !== undefined;
      if (unread !== undefined && isIt && !isSlow)
        throw new Violation(103, `${run.name} calls ${node} silent, its frame is not read`);
    }
    if (message === 'peer: replaced' && other?.isUp) this.#replaced(run, other, now);
  }

  /** What a dead primary had begun to take over is this node's own word, though its kernel has none of it. */
  #lends(run: DaemonRun): void {
    const watched = this.#of(run);
    watched.isLending = true;
    watched.isRelabelled = true;
    this.#cluster.machineOf(run).hideOwners();
  }

  /** A living incarnation that can be heard is not replaced by another one of its name. */
  #replaced(run: DaemonRun, other: DaemonRun, now: number): void {
    if (this.#peer(run, other.id) !== undefined || now - other.startedAt < 5000) return;
    const isFree = [run, other].every(
      (r) => r.stalledUntil < now && now - r.runningSince > 3000 && r.lateness === 1,
    );
    if (!isFree || this.#cluster.isDisturbed(run.name, other.name, 3000)) return;
    throw new Violation(104, `${run.name} let another daemon take the name ${other.name}`);
  }

  /** A round of a run's loop has ended. */
  afterStep(run: DaemonRun): void {
    const watched = this.#of(run);
    // Frames that waited for others are applied in later rounds, soon.
    if (this.#cluster.schedule.now - watched.receivedAt < DRAIN_MS) {
      for (const peer of run.core.replicator.peers()) this.#look(run, peer, hexOf(peer.incarnation));
    }
    this.splits.look(run);
    this.#heartbeat(run);
    this.#progress(run, watched);
    this.#restarts(run, watched);
    if (watched.steps++ % LIMITS_EVERY === 0) this.#limits(run);
    this.writes.look(run, this.#cluster.machineOf(run));
    this.#audits(run, watched);
    watched.heardFormer = false;
    watched.isRelabelled = false;
  }

  #heartbeat(run: DaemonRun): void {
    const { now } = this.#cluster.schedule;
    const gap = now - Math.max(run.lastHeartbeatAt, run.runningSince);
    if (gap > HEARTBEAT_GAP_MS + LOOP_SLACK_MS * run.lateness) {
      throw new Violation(18, `${run.name} has sent no heartbeat for ${gap.toFixed(0)} ms`);
    }
  }

  #progress(run: DaemonRun, watched: Watched): void {
    const { now } = this.#cluster.schedule;
    const { replicator, table } = run.core;
    const isHeld = run.isReady && !replicator.isParked && table.dirtyCount > 0;
    if (!isHeld || replicator.sequence !== watched.sequence) watched.lastProgressAt = now;
    watched.sequence = replicator.sequence;
    const heldMs = now - Math.max(watched.lastProgressAt, run.runningSince);
    // A receiver that is late itself answers as late.
    const lateness = Math.max(...this.#cluster.machines.map((m) => m.run?.lateness ?? 1));
    if (heldMs <= HELD_UP_MS + LOOP_SLACK_MS * lateness) return;
    throw new Violation(
      17,
      `${run.name} says nothing for ${heldMs.toFixed(0)} ms, ${table.dirtyCount} flows wait`,
    );
  }

  /** No replica shrinks through its owner's restart (invariants 7 and 10). */
  #restarts(run: DaemonRun, watched: Watched): void {
    const isTaking = watched.isRelabelled || this.takeovers.of(run) !== undefined;
    for (const { name, bootId, run: other } of this.#cluster.machines) {
      if (other === undefined || other === run || other.isReady || !other.isUp) continue;
      const count = this.#images(run, name, bootId);
      const id = `${name}:${other.id}`;
      const kept = watched.kept.get(id);
      watched.kept.set(id, count);
      if (kept === undefined || count >= kept || watched.heardFormer || isTaking) continue;
      throw new Violation(
        7,
        `${run.name} had ${kept} flows of ${name}, which starts again, and has ${count}`,
      );
    }
  }

  #limits(run: DaemonRun): void {
    const { table, replicator } = run.core;
    const isGood =
      table.count <= table.capacity &&
      replicator.quarantine.length <= QUARANTINE_MAX &&
      table.owners.list().length <= OWNERS_MAX &&
      replicator.peers().length <= PEERS_MAX;
    if (!isGood) throw new Violation(16, run.name);
  }

  /** Whenever all events were read and nothing is hidden, the table is the kernel (invariants 4, 5 and 19). */
  #audits(run: DaemonRun, watched: Watched): void {
    const clean = run.counters.get('audit.clean');
    if (clean !== watched.cleanAudits) {
      watched.cleanAudits = clean;
      watched.healedLosses = watched.lossesAtStep;
      watched.healedStep = run.cleanDumpStart;
    }
    watched.lossesAtStep = run.eventsLost;
    const { now } = this.#cluster.schedule;
    if (now < watched.nextLullAt || !this.isFaithful(run)) return;
    watched.nextLullAt = now + LULL_INTERVAL_MS;
    this.lulls++;
    this.checkKernel(run, 'with all events read');
  }

  /** The table of a run against its kernel; all events must have been read. */
  checkKernel(run: DaemonRun, when: string): void {
    const isTakenOver = (machine: Machine, key: string) =>
      machine.taken.has(key) ||
      this.standby.isOrphan(machine, run, key) ||
      (machine.sources.size > 0 &&
        [...this.#runs.values()].some(({ stream }) => stream.wasPrimary && stream.keys.has(key)));
    const { isLending } = this.#of(run);
    checkKernel(this.#cluster.machineOf(run), run, this.#cluster.schedule.now, when, isLending, isTakenOver);
  }

  /** Flows that incarnations of a node in this boot have spoken of, and those in which it was primary. */
  #images(run: DaemonRun, node: string, bootId: string): number {
    const { owners, digests } = run.core.table;
    const formers = run.core.replicator.formers().map((f) => f.owner);
    let count = 0;
    for (const owner of owners.list()) {
      const incarnation = owners.incarnation(owner);
      if (owners.node(owner) !== node || incarnation === undefined) continue;
      const isOfBoot = this.#cluster.runOf(hexOf(incarnation))?.options.bootId === bootId;
      if (!isOfBoot && !formers.includes(owner)) continue;
      digests.sum(owner, LEVEL_ROOT, 0);
      count += digests.count;
    }
    return count;
  }

  /** True if the table must equal the kernel now: it has heard everything, or an audit made up for it. */
  isFaithful(run: DaemonRun): boolean {
    const machine = this.#cluster.machineOf(run);
    const { queue } = machine.twin;
    if (!run.isReady || queue.length > 0 || queue.waiting > 0 || machine.unordered > 0) return false;
    if (this.takeovers.of(run) !== undefined || run.asked > 0) return false;
    // What is marked for its commit does not follow its events.
    if (run.core.jobs.current?.priority === PRIORITY_CHANGE) return false;
    return this.#isHealed(run);
  }

  /** Nothing has happened since its last clean audit that only an audit can tell. */
  #isHealed(run: DaemonRun): boolean {
    const { healedLosses, healedStep } = this.#of(run);
    return run.eventsLost === healedLosses && this.#cluster.machineOf(run).lastHiddenChange < healedStep;
  }

  #peer(run: DaemonRun, incarnation: string): PeerStatus | undefined {
    return run.core.replicator.peers().find((p) => hexOf(p.incarnation) === incarnation);
  }

  #of(run: DaemonRun): Watched {
    return this.#runs.get(run.id) as Watched;
  }
}

export const hexOf = (u8: Uint8Array): string =>
  Buffer.from(u8.buffer, u8.byteOffset, u8.length).toString('hex');

/** Changes with everything that a frame could change in a table. */
function digestOf(run: DaemonRun): string {
  const { table } = run.core;
  let text = `${table.count}/${table.dirtyCount}/${table.kernelCount}/${run.core.replicator.peers().length}`;
  for (const owner of [0, 1, ...table.owners.list()]) {
    table.digests.sum(owner, LEVEL_ROOT, 0);
    text += `/${owner}:${table.digests.count},${table.digests.lo},${table.digests.hi}`;
  }
  return text;
}

function hashOf(u8: Uint8Array): number {
  let h = u8.length;
  for (let i = 0; i < u8.length; i++) h = Math.imul(h ^ u8[i], 0x01000193);
  return h >>> 0;
}
