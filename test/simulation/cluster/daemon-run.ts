/**
 * One run of a node's daemon: the real core in a loop of virtual time, with a receive buffer, a clock that drifts,
 * and ports at each of which it can be killed.
 */
import { Core, type TurnState } from '../../../src/daemon/core.js';
import type { PersistedState } from '../../../src/failover/state.js';
import { CounterMap } from '../../../src/flow/counters.js';
import type { EventSink, KernelBatch, KernelPort, RowSink } from '../../../src/flow/kernel-port.js';
import type { Mode } from '../../../src/replication/ports.js';
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
/** A loop that did not run for so long was stalled. Milliseconds. */
const STALL_MS = 50;
/** What one look at the clock costs, and one frame. Milliseconds. */
const LOOK_MS = 0.01;
const FRAME_MS = 0.01;
/** Frames read in one go, then timers and work have their turn. */
const FRAMES_PER_TURN = 64;
/** What a datagram takes of a receive buffer beyond its bytes. */
const DATAGRAM_OVERHEAD_BYTES = 768;

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
  readonly receiveBufferBytes: number;
  readonly mode: Mode;
  readonly cipher: Cipher | undefined;
  persist(state: PersistedState): void;
}

export class DaemonRun {
  readonly name: string;
  readonly incarnation: Uint8Array;
  /** Its incarnation, hex. */
  readonly id: string;
  readonly core: Core;
  readonly counters = new CounterMap();
  readonly options: RunOptions;
  readonly startedAt: number;
  isUp = true;
  isReady = false;
  /** Times what everything costs. */
  slowness = 1;
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
  sendsInReceive = 0;
  readonly #host: RunHost;
  readonly #dropsBefore: number;
  #lastLoopAt: number;
  #inboxBytes = 0;
  #clock = 0;
  #looks = 0;
  #busyUntil = 0;
  #nextTick = 0;
  #wakeAt = Number.POSITIVE_INFINITY;
  #hasNews = true;

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
    this.#lastLoopAt = this.startedAt;
    this.#dropsBefore = options.kernel.eventsLost();
    this.#clock = this.#local();
    this.core = this.#makeCore();
    // This harness does not know of takeovers: roles change here by the word only.
    this.core.roles.step = () => undefined;
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
        ...(options.cipher === undefined ? {} : { cipher: options.cipher }),
        counters: this.counters,
        log: (level, message, fields) => {
          if (level === 'debug') return;
          host.trace.say(this.name, `log: ${message}`, () => JSON.stringify(fields ?? {}));
          host.onLog(this, message, String(fields?.peer ?? ''));
        },
        persist: (state) => {
          this.#effect();
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
  }

  /** Events lost since this run opened its socket. */
  get eventsLost(): number {
    return this.options.kernel.eventsLost() - this.#dropsBefore;
  }

  /** Its own clock: it drifts, and each look takes a little. */
  clock(): number {
    this.#looks++;
    return this.#clock + this.#looks * LOOK_MS;
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
    this.#hasNews = true;
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
    this.#clock = Math.max(this.#clock + this.#looks * LOOK_MS, this.#local());
    this.#looks = 0;
    const begun = this.#clock;
    let state: TurnState = 'idle';
    try {
      state = this.#oneRound(now);
    } catch (error) {
      if (!this.isUp) return;
      this.isUp = false;
      this.#host.onDead(this, error instanceof Killed ? undefined : error);
      return;
    }
    if (now - this.#lastLoopAt > STALL_MS) this.runningSince = now;
    this.#lastLoopAt = now;
    const cost = Math.max(0.02, this.#clock + this.#looks * LOOK_MS - begun) * this.slowness;
    this.#busyUntil = now + cost;
    const pause = this.inbox.length > 0 || state === 'more' ? 0 : state === 'wait' ? WAIT_MS : TICK_MS;
    this.wake(Math.min(now + pause, Math.max(this.#nextTick, now)));
    this.#host.afterStep(this);
  }

  /** Timers come before sockets in a loop that was held: what waits in the buffer was not read then. */
  #oneRound(now: number): TurnState {
    const isTick = now >= this.#nextTick;
    if (isTick) {
      this.#nextTick = now + TICK_MS;
      this.core.tick(this.clock());
    }
    for (let i = 0; i < FRAMES_PER_TURN && this.inbox.length > 0; i++) this.#receive();
    const hasNews = this.#hasNews || !isTick;
    this.#hasNews = false;
    return this.core.turn(this.clock(), hasNews);
  }

  #receive(): void {
    const datagram = this.inbox.shift() as Datagram;
    this.#inboxBytes -= datagram.bytes.length + DATAGRAM_OVERHEAD_BYTES;
    this.#looks += Math.round(FRAME_MS / LOOK_MS);
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
        return kernel.dumpNext(sink);
      },
      buckets: () => kernel.buckets(),
      room: () => kernel.room(),
      execute: (batch: KernelBatch) => {
        this.#effect();
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
