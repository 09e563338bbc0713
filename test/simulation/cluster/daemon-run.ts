/**
 * One run of a node's daemon: the real core in a loop of virtual time, with a receive buffer, a clock that drifts,
 * and ports at each of which it can be killed.
 */
import type { FailoverReport, PromoteReport } from '../../../src/control/messages.js';
import { Core, type TurnState } from '../../../src/daemon/core.js';
import { PRIORITY_CHANGE } from '../../../src/daemon/jobs.js';
import { Operations } from '../../../src/daemon/operations.js';
import { InterruptedError } from '../../../src/daemon/steps.js';
import type { Role } from '../../../src/failover/ports.js';
import type { PersistedState } from '../../../src/failover/state.js';
import { CounterMap } from '../../../src/flow/counters.js';
import type { EventSink, KernelBatch, KernelPort, RowSink } from '../../../src/flow/kernel-port.js';
import type { Memory } from '../../../src/flow/record.js';
import type { Mode, Stage } from '../../../src/replication/ports.js';
import type { Cipher } from '../../../src/wire/cipher.js';
import type { KernelTwin } from '../kernel-twin.js';
import type { Random } from '../random.js';
import type { Datagram, Network } from './network.js';
import type { Schedule } from './schedule.js';
import type { Trace } from './trace.js';

/** The process was killed at this point; nothing after it happens. */
class Killed extends Error {
  override readonly name = 'Killed';
}

const TICK_MS = 10;
const WAIT_MS = 1;
const UNREAD_MAX_MS = 50;
/** A loop that runs so much later than it wanted was stalled. Milliseconds. */
const STALL_MS = 50;
/** What one look at the clock costs, and one frame. Milliseconds. */
const LOOK_MS = 0.01;
const FRAME_MS = 0.01;
/** The same on a machine where others have the processor: longer than a slice, so each is one step long. */
const CROWDED_LOOK_MS = 1.1;
const CROWDED_LATENESS = 20;
/** What was late then is seen a few heartbeats later. Milliseconds. */
const HEARTBEATS_MS = 2000;
/** Frames read in one go, then timers and work have their turn. */
const FRAMES_PER_TURN = 64;
/** What a datagram takes of a receive buffer beyond its bytes. */
const DATAGRAM_OVERHEAD_BYTES = 768;

/** Counters that tell of each clean audit, at once. */
class RunCounters extends CounterMap {
  readonly #onClean: () => void;

  constructor(onClean: () => void) {
    super();
    this.#onClean = onClean;
  }

  override count(name: string, by?: number): void {
    super.count(name, by);
    if (name === 'audit.clean') this.#onClean();
  }
}

/** A DECLARE: incarnations, and up to where the stream of each is taken over. */
export interface Declared {
  readonly cuts: ReadonlyMap<string, number>;
  readonly stage: Stage;
}

/** Where a run lives, and who looks on. */
export interface RunHost {
  readonly schedule: Schedule;
  readonly network: Network;
  readonly trace: Trace;
  readonly random: Random;
  /** Steps of the wall clock so far, milliseconds. */
  wallOffsetMs: number;
  beforeReceive(run: DaemonRun, datagram: Datagram): void;
  afterReceive(run: DaemonRun, datagram: Datagram): void;
  afterStep(run: DaemonRun): void;
  /** A frame is on its way out; the bytes are the core's. */
  onSend(run: DaemonRun, frame: Uint8Array, length: number): void;
  /** What the daemon logs, and the peer of whom it speaks. */
  onLog(run: DaemonRun, message: string, peer: string): void;
  onReady(run: DaemonRun): void;
  /** It is about to say what it does with the flows of other incarnations. */
  onDeclare(run: DaemonRun, declared: Declared): void;
  /** The state is about to be on the disk; with sources, nothing of theirs has been touched yet. */
  onPersist(run: DaemonRun, state: PersistedState): void;
  /** A role change that was asked for is done. */
  onReport(run: DaemonRun, role: Role, report: FailoverReport): void;
  /** A promote, or an absorb, has ended in this round. */
  onTakeover(run: DaemonRun, report: PromoteReport): void;
  onDead(run: DaemonRun, reason: unknown): void;
}

export interface RunOptions {
  readonly name: string;
  readonly bootId: string;
  readonly kernel: KernelTwin;
  readonly restored: PersistedState | undefined;
  readonly maxFlows: number;
  readonly auditIntervalMs: number;
  readonly drift: number;
  /** What its kernel takes for a request, and for a datagram of a dump. Milliseconds. */
  readonly requestMs: number;
  readonly receiveBufferBytes: number;
  readonly mode: Mode;
  readonly cipher: Cipher | undefined;
  readonly standby: 'cold' | 'hot';
  readonly purgeAfterMs: number;
  isLocal(m: Memory, at: number): boolean;
  persist(state: PersistedState): void;
}

export class DaemonRun {
  readonly name: string;
  readonly incarnation: Uint8Array;
  /** Its incarnation, hex. */
  readonly id: string;
  readonly core: Core;
  readonly operations: Operations;
  readonly counters = new RunCounters(() => {
    this.cleanDumpStart = this.lastDumpStart;
  });
  readonly options: RunOptions;
  readonly startedAt: number;
  isUp = true;
  isReady = false;
  /** Times what everything costs. */
  slowness = 1;
  /** Every step of its work is a slice: frames, events and faults come between any two. */
  isCrowded = false;
  receiveBufferBytes: number;
  stalledUntil = 0;
  /** Since when its loop runs without a stall. */
  runningSince: number;
  lastHeartbeatAt: number;
  dropped = 0;
  readonly inbox: Datagram[] = [];
  /** Kernel calls, sends and writes until it is killed. */
  effectsLeft = Number.POSITIVE_INFINITY;
  /** Order of the last dump's beginning among all steps, for what a clean audit has healed. */
  lastDumpStart = 0;
  /** The same of the dump of the last audit that was clean. */
  cleanDumpStart = 0;
  sendsInReceive = 0;
  /** Role changes that were asked for and have not been answered. */
  asked = 0;
  readonly #host: RunHost;
  readonly #dropsBefore: number;
  /** When its loop was to run next. */
  #plannedAt: number;
  #inboxBytes = 0;
  #clock = 0;
  /** What this round has cost so far. Milliseconds. */
  #spentMs = 0;
  #busyUntil = 0;
  #nextTick = 0;
  #lastTick = 0;
  /** When the core wants its next turn, whatever comes. */
  #nextTurn = 0;
  #crowdedAt = Number.NEGATIVE_INFINITY;
  #wakeAt = Number.POSITIVE_INFINITY;
  #hasNews = true;
  #lastPromote: PromoteReport | undefined;
  #lastAbsorb: PromoteReport | undefined;

  constructor(host: RunHost, options: RunOptions) {
    this.#host = host;
    this.options = options;
    this.receiveBufferBytes = options.receiveBufferBytes;
    this.name = options.name;
    this.incarnation = host.random.bytes(16);
    this.id = Buffer.from(this.incarnation).toString('hex');
    this.startedAt = host.schedule.now;
    this.lastHeartbeatAt = this.startedAt;
    this.runningSince = this.startedAt;
    this.#plannedAt = this.startedAt;
    this.#dropsBefore = options.kernel.eventsLost();
    this.#clock = this.#local();
    this.core = this.#makeCore();
    this.operations = new Operations(this.core);
    this.#watchReady();
    this.#nextTick = this.startedAt + TICK_MS * host.random.next();
    this.wake();
  }

  #makeCore(): Core {
    const { host, options } = { host: this.#host, options: this.options };
    return new Core(
      {
        kernel: this.#door(options.kernel),
        send: (frame, length, link) => this.#send(frame, length, link),
        clock: () => this.clock(),
        wallClock: () => 1_700_000_000_000 + host.schedule.now + host.wallOffsetMs,
        random: () => host.random.next(),
        randomBytes: (n) => host.random.bytes(n),
        kernelMaximum: () => maximumOf(options.kernel),
        ...(options.cipher === undefined ? {} : { cipher: options.cipher }),
        counters: this.counters,
        log: (level, message, fields) => {
          host.onLog(this, message, String(fields?.peer ?? ''));
          if (level === 'debug') return;
          host.trace.say(this.name, `log: ${message}`, () => JSON.stringify(fields ?? {}));
        },
        persist: (state) => {
          this.#effect();
          host.onPersist(this, state);
          options.persist(state);
        },
      },
      {
        node: options.name,
        cluster: 'sim',
        incarnation: this.incarnation,
        bootId: options.bootId,
        mtu: 1500,
        links: host.network.links,
        receiveBufferBytes: options.receiveBufferBytes,
        mode: options.mode,
        auditIntervalMs: options.auditIntervalMs,
        maxFlows: options.maxFlows,
        standby: options.standby,
        purgeAfterMs: options.purgeAfterMs,
        isLocal: (m, at) => options.isLocal(m, at),
        ...(options.restored === undefined ? {} : { restored: options.restored }),
      },
    );
  }

  /** The mirror of the very moment in which the stream begins is what the first DECLARE means. */
  #watchReady(): void {
    const { replicator } = this.core;
    const setMirrorReady = replicator.setMirrorReady.bind(replicator);
    replicator.setMirrorReady = () => {
      if (!this.isReady) this.#host.onReady(this);
      this.isReady = true;
      setMirrorReady();
    };
    const declare = replicator.declare.bind(replicator);
    replicator.declare = (declaration) => {
      const cuts = new Map<string, number>();
      for (const { incarnation, cut = 0 } of declaration.seeds) {
        cuts.set(Buffer.from(incarnation).toString('hex'), cut);
      }
      this.#host.onDeclare(this, { cuts, stage: declaration.stage ?? 'whole' });
      declare(declaration);
    };
  }

  /** What keepalived or an operator says; the answer comes as onReport. */
  ask(role: Role): void {
    if (!this.isUp) return;
    this.asked++;
    const nobody = () => undefined;
    const answer =
      role === 'primary' ? this.operations.promote(nobody) : this.operations.demote(role, nobody);
    answer
      .then(
        (report) => this.#answered(() => this.#host.onReport(this, role, report)),
        (error: unknown) =>
          this.#answered(() => {
            if (error instanceof InterruptedError) return;
            this.isUp = false;
            this.#host.onDead(this, error);
          }),
      )
      .catch((error: unknown) => this.#host.schedule.fail(error));
    this.news();
  }

  #answered(then: () => void): void {
    this.asked--;
    if (this.isUp) then();
  }

  /** Times what its loop may be late. */
  get lateness(): number {
    const isCrowded = this.#host.schedule.now - this.#crowdedAt < HEARTBEATS_MS;
    return isCrowded ? Math.max(CROWDED_LATENESS, this.slowness) : this.slowness;
  }

  /** Events lost since this run opened its socket. */
  get eventsLost(): number {
    return this.options.kernel.eventsLost() - this.#dropsBefore;
  }

  /** Only a change of role is cut into pieces: all the rest would be late for as long as the fault lasts. */
  get #isHurried(): boolean {
    return this.isCrowded && this.core.jobs.current?.priority === PRIORITY_CHANGE;
  }

  /** Its own clock: it drifts, and each look takes a little. */
  clock(): number {
    this.#spentMs += this.#isHurried ? CROWDED_LOOK_MS : LOOK_MS;
    return this.#clock + this.#spentMs;
  }

  /** A datagram has come to the socket. */
  arrive(datagram: Datagram): void {
    const bytes = datagram.bytes.length + DATAGRAM_OVERHEAD_BYTES;
    if (this.#inboxBytes + bytes > this.receiveBufferBytes) {
      this.dropped++;
      return;
    }
    this.#inboxBytes += bytes;
    this.inbox.push(datagram);
    this.wake();
  }

  /** Something came that a turn should look at. */
  news(): void {
    this.#hasNews = true;
    this.wake();
  }

  wake(at = this.#host.schedule.now): void {
    const when = Math.max(at, this.#busyUntil, this.stalledUntil);
    if (!this.isUp || when >= this.#wakeAt) return;
    this.#wakeAt = when;
    this.#host.schedule.at(when, () => {
      if (this.#wakeAt !== when) return;
      this.#wakeAt = Number.POSITIVE_INFINITY;
      this.#loop();
    });
  }

  /** kill -9. */
  kill(): void {
    if (!this.isUp) return;
    this.isUp = false;
    this.#host.onDead(this, undefined);
  }

  #loop(): void {
    const { now } = this.#host.schedule;
    if (!this.isUp) return;
    if (this.stalledUntil > now) {
      this.wake(this.stalledUntil);
      return;
    }
    this.#clock = Math.max(this.#clock + this.#spentMs, this.#local());
    this.#spentMs = 0;
    if (this.#isHurried) this.#crowdedAt = now;
    const begun = this.#clock;
    let state: TurnState | 'none' = 'none';
    const job = this.core.jobs.current;
    try {
      state = this.#oneRound(now);
      // What a job of an operation throws goes to whoever waits for it.
      if (this.effectsLeft <= 0) throw new Killed();
    } catch (error) {
      if (!this.isUp) return;
      this.isUp = false;
      this.#host.onDead(this, error instanceof Killed ? undefined : error);
      return;
    }
    this.#takeovers();
    this.#host.schedule.check();
    if (this.asked > 0 && this.core.jobs.current !== job) this.#host.schedule.react();
    if (now - this.#plannedAt > STALL_MS) this.runningSince = now;
    const cost = Math.max(0.02, this.#clock + this.#spentMs - begun) * this.slowness;
    this.#busyUntil = now + cost;
    this.#plan(now, state);
    this.#plannedAt = this.inbox.length > 0 ? now : Math.max(now, Math.min(this.#nextTurn, this.#nextTick));
    this.wake(this.#plannedAt);
    this.#host.afterStep(this);
  }

  /** As the daemon's loop does: what was not done in a turn, and is due, waits for something else and not for time. */
  #plan(now: number, state: TurnState | 'none'): void {
    if (state !== 'none') this.#nextTurn = state === 'idle' ? Number.POSITIVE_INFINITY : now;
    if (state === 'wait') this.#nextTurn = now + WAIT_MS;
    // What the node's own requests have made the kernel say makes its socket readable like anything else.
    if (this.options.kernel.queue.length > 0) this.#nextTurn = Math.min(this.#nextTurn, now + WAIT_MS);
    const local = this.#clock + this.#spentMs;
    const due = this.core.dueAt(local);
    const tickAt = due <= local ? now + TICK_MS : now + (due - local);
    this.#nextTick = Math.min(this.#nextTick, tickAt);
  }

  #takeovers(): void {
    const { lastPromote, lastAbsorb } = this.core.roles;
    if (lastPromote !== undefined && lastPromote !== this.#lastPromote) {
      this.#host.onTakeover(this, lastPromote);
    }
    if (lastAbsorb !== undefined && lastAbsorb !== this.#lastAbsorb) this.#host.onTakeover(this, lastAbsorb);
    this.#lastPromote = lastPromote;
    this.#lastAbsorb = lastAbsorb;
  }

  /** Timers come before sockets in a loop that was held: what waits in the buffer was not read then. */
  #oneRound(now: number): TurnState | 'none' {
    // As the daemon's loop does: who is silent is judged when all was read, but not put off for long.
    const isUnread = this.inbox.length > 0 && now - this.#lastTick < UNREAD_MAX_MS;
    const isBusy = this.#hasNews || now >= this.#nextTurn;
    const isTickDue = now >= this.#nextTick || (isBusy && now - this.#lastTick >= TICK_MS);
    const isTick = isTickDue && !isUnread;
    if (isTick) {
      this.#nextTick = Number.POSITIVE_INFINITY;
      this.#lastTick = now;
      this.core.tick(this.clock());
    }
    for (let i = 0; i < FRAMES_PER_TURN && this.inbox.length > 0; i++) this.#receive();
    const hasNews = this.#hasNews || now >= this.#nextTurn;
    this.#hasNews = false;
    const local = this.#clock + this.#spentMs;
    if (!isTick && !hasNews && this.core.dueAt(local) > local) return 'none';
    return this.core.turn(this.clock(), hasNews);
  }

  #receive(): void {
    const datagram = this.inbox.shift() as Datagram;
    this.#inboxBytes -= datagram.bytes.length + DATAGRAM_OVERHEAD_BYTES;
    this.#spentMs += FRAME_MS;
    this.sendsInReceive = 0;
    this.#host.beforeReceive(this, datagram);
    // A buffer of its own, as the socket has: what the core wants to keep it must copy.
    this.core.receive(datagram.bytes.slice(), 0, datagram.bytes.length, datagram.link);
    this.#host.afterReceive(this, datagram);
  }

  #send(frame: Uint8Array, length: number, link: number): void {
    this.#effect();
    this.sendsInReceive++;
    this.#host.onSend(this, frame, length);
    this.#host.network.send(this, frame, length, link);
  }

  #effect(): void {
    if (--this.effectsLeft <= 0) throw new Killed();
  }

  #local(): number {
    return this.#host.schedule.now * (1 + this.options.drift) + 5000;
  }

  /** The kernel as this run opened it. */
  #door(kernel: KernelTwin): KernelPort {
    return {
      dumpStart: () => {
        this.#effect();
        this.lastDumpStart = this.#host.schedule.steps;
        kernel.dumpStart();
      },
      dumpNext: (sink: RowSink) => {
        this.#effect();
        this.#spentMs += this.options.requestMs;
        return kernel.dumpNext(sink);
      },
      buckets: () => kernel.buckets(),
      room: () => kernel.room(),
      execute: (batch: KernelBatch) => {
        this.#effect();
        this.#spentMs += this.options.requestMs * batch.count;
        kernel.execute(batch);
      },
      eventsLost: () => this.eventsLost,
      drain: (sink: EventSink, budgetMs: number) => kernel.drain(sink, budgetMs),
      setBulk: (isBulk: boolean) => kernel.setBulk(isBulk),
      expectationDumpStart: () => {
        this.#effect();
        kernel.expectationDumpStart();
      },
      expectationDumpNext: (sink: RowSink) => kernel.expectationDumpNext(sink),
      createExpectation: (m, at) => {
        this.#effect();
        return kernel.createExpectation(m, at);
      },
      updateExpectation: (m, at) => {
        this.#effect();
        return kernel.updateExpectation(m, at);
      },
      deleteExpectation: (m, at) => {
        this.#effect();
        return kernel.deleteExpectation(m, at);
      },
    };
  }
}

/** As sysctl tells it; 0: not known. */
const maximumOf = ({ knobs }: KernelTwin): number => (Number.isFinite(knobs.maxFlows) ? knobs.maxFlows : 0);
