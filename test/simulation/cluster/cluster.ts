/** A cluster in one thread: machines, links, virtual time, and the watch over all of it. */
import { decode } from '@msgpack/msgpack';
import type { FailoverReport, PromoteReport } from '../../../src/control/messages.js';
import type { Role } from '../../../src/failover/ports.js';
import type { PersistedState } from '../../../src/failover/state.js';
import { type Memory, OFF_ORIG_L4 } from '../../../src/flow/record.js';
import type { Mode } from '../../../src/replication/ports.js';
import type { FrameKey } from '../../../src/wire/cipher.js';
import { CipherTwin } from '../cipher-twin.js';
import { Random } from '../random.js';
import { DaemonRun, type Declared, type RunHost } from './daemon-run.js';
import { Machine } from './machine.js';
import { type Datagram, Network, peekHead } from './network.js';
import { Schedule } from './schedule.js';
import { isLocalPort, type StandbyShape } from './standby-shape.js';
import { Trace } from './trace.js';
import { Traffic, type TrafficOptions } from './traffic.js';
import { Violation } from './violation.js';
import { Watch } from './watch.js';

export interface ClusterOptions {
  readonly seed: number;
  readonly nodes: number;
  readonly links: number;
  readonly traffic: TrafficOptions;
  readonly maxFlows: number;
  readonly isSealed: boolean;
  readonly receiveBufferBytes: number;
  readonly mode: Mode;
  readonly auditIntervalMs: number;
  readonly standby: StandbyShape;
  readonly write?: ((line: string) => void) | undefined;
}

/** How long what was done to the links still counts. */
interface Disturbance {
  readonly fault: { covers(from: string, to: string, link: number, frameClass: number): boolean };
  readonly until: number;
}

export class Cluster implements RunHost {
  readonly schedule = new Schedule();
  readonly random: Random;
  readonly trace: Trace;
  readonly network: Network;
  readonly traffic: Traffic;
  readonly watch: Watch;
  readonly machines: Machine[] = [];
  /** Second daemons that use a machine's name; they are none of the cluster's own. */
  readonly impostors: Machine[] = [];
  readonly options: ClusterOptions;
  readonly isSealed: boolean;
  /** Keys of the harness, and of an adversary who has stolen them; undefined where frames go in clear. */
  readonly cipher: CipherTwin | undefined;
  wallOffsetMs = 0;
  /** Share of kernel calls between which traffic happens. */
  interference = 0;
  /** Share of requests right before which their own flow begins, changes or ends. */
  meddling = 0;
  /** After a restart: how long it takes. */
  readonly #runs = new Map<string, DaemonRun>();
  readonly #machineOf = new Map<DaemonRun, Machine>();
  readonly #past: Disturbance[] = [];
  readonly #keys = new Map<string, FrameKey>();
  #isRotating = false;
  /** All keys that a frame may be sealed with now. */
  #secrets: ReadonlyMap<number, number> = new Map([[1, 1]]);
  #isInterfering = false;

  constructor(options: ClusterOptions) {
    this.options = options;
    this.random = new Random(options.seed);
    this.isSealed = options.isSealed;
    this.cipher = options.isSealed ? new CipherTwin() : undefined;
    this.trace = new Trace(() => this.schedule.now, options.write);
    this.network = new Network(this.schedule, this.random, options.links);
    this.traffic = new Traffic(options.traffic, this.random, this.trace);
    this.watch = new Watch(this);
    for (let i = 0; i < options.nodes; i++) this.machines.push(this.#makeMachine(`fw${i + 1}`, i));
  }

  #makeMachine(name: string, index: number): Machine {
    const { random } = this;
    const drift = random.chance(0.3) ? (random.next() - 0.5) * 0.02 : 0;
    const machine = new Machine(name, index, drift, this.schedule, () => random.next(), {
      sameIdRate: [1, 0.5, 0][random.below(3)],
      twiceRate: random.chance(0.3) ? 0.05 : 0,
      reliable: random.chance(0.7),
      dumpRows: [135, 20, 5][random.below(3)],
      // The smaller one overruns in a burst, with more events in it than one slice reads.
      eventBufferBytes: [64 << 20, 1400 << 10][random.below(2)],
    });
    machine.requestMs = [0, 0.02, 0.1][random.below(3)];
    this.#hook(machine);
    machine.cipher.replace(this.#secrets, this.cipher?.sendKeyId ?? 1);
    machine.cipher.onSeal = ({ key, counter, sum }) => this.watch.seals(key, counter, sum);
    return machine;
  }

  /** Traffic between any two calls of a kernel. */
  #hook(machine: Machine): void {
    machine.twin.beforeCall = () => this.#interfere(machine);
    const { writes, standby } = this.watch;
    machine.twin.beforeRequest = (verb, m, at) => {
      this.#interfere(machine);
      this.#meddle(machine, m, at);
      writes.before(machine, verb, m, at);
      standby.before(machine, verb, m, at);
    };
    machine.twin.afterRequest = (verb, m, at, errno) => {
      this.#guard(() => {
        writes.after(machine, verb, m, at, errno);
        standby.after(machine, verb, m, at, errno);
      });
    };
    machine.twin.onEnd = (flow) => this.watch.ended(machine, flow);
    machine.twin.onChange = (flow) => standby.changed(flow);
  }

  #interfere(machine: Machine): void {
    if (this.#isInterfering || this.interference === 0 || !this.random.chance(this.interference)) return;
    this.#isInterfering = true;
    for (let n = 1 + this.random.below(3); n > 0; n--) this.traffic.step(machine);
    this.#isInterfering = false;
  }

  /** A packet of the very flow that the next request is about. */
  #meddle(machine: Machine, m: Memory, at: number): void {
    if (this.meddling > 0 && this.random.chance(this.meddling)) this.traffic.meddle(machine, m, at);
  }

  /** Starts the machine's daemon. */
  start(machine: Machine): DaemonRun {
    const drained = { event: () => undefined };
    while (machine.twin.drain(drained, 10));
    // Nobody listened: what happened is found by the first dump.
    const run = new DaemonRun(this, {
      name: machine.name,
      bootId: machine.bootId,
      kernel: machine.twin,
      restored: machine.disk?.bootId === machine.bootId ? machine.disk : undefined,
      maxFlows: this.options.maxFlows,
      auditIntervalMs: this.options.auditIntervalMs,
      drift: machine.drift,
      requestMs: machine.requestMs,
      receiveBufferBytes: this.options.receiveBufferBytes,
      mode: this.options.mode,
      standby: this.options.standby.hot[machine.index] === true ? 'hot' : 'cold',
      purgeAfterMs: this.options.standby.purgeAfterMs,
      isLocal: (m, at) => isLocalPort(m.u32[(at + OFF_ORIG_L4) >>> 2] & 0xffff),
      cipher: this.isSealed ? machine.cipher : undefined,
      persist: (state) => {
        machine.disk = state;
      },
    });
    machine.run = run;
    this.#runs.set(run.id, run);
    this.#machineOf.set(run, machine);
    this.watch.started(run);
    this.network.attach(run);
    this.trace.say(run.name, 'starts', () => `${run.id.slice(0, 8)} ${machine.bootId}`);
    return run;
  }

  kill(machine: Machine): void {
    machine.run?.kill();
  }

  /** The machine is booted: its kernel forgets, its daemon is killed; `start` comes later. */
  reboot(machine: Machine): void {
    this.kill(machine);
    this.traffic.forget(machine);
    this.watch.takeovers.forget(machine);
    this.watch.standby.forget(machine);
    machine.boot();
    this.#hook(machine);
    this.trace.say(machine.name, 'boots');
  }

  /** Another daemon with the name of a machine, on a machine of its own. */
  impersonate(machine: Machine): Machine {
    const impostor = this.#makeMachine(machine.name, 5);
    this.impostors.push(impostor);
    this.start(impostor);
    return impostor;
  }

  /** Lets virtual time pass. */
  pass(ms: number): Promise<void> {
    return this.schedule.runTo(this.schedule.now + ms);
  }

  /** Kernel events wake a daemon. */
  change(machine: Machine): void {
    this.traffic.step(machine);
    machine.run?.news();
  }

  get liveRuns(): DaemonRun[] {
    return this.machines.flatMap((m) => (m.run?.isUp ? [m.run] : []));
  }

  /** A fault of the links has ended; its effects have not, for a moment. */
  remember(fault: Disturbance['fault']): void {
    this.#past.push({ fault, until: this.schedule.now });
  }

  isDisturbed(from: string, to: string, sinceMs: number): boolean {
    if (this.network.isDisturbed(from, to) || this.network.isDisturbed(to, from)) return true;
    const { links } = this.options;
    return this.#past.some(({ fault, until }) => {
      if (this.schedule.now - until > sinceMs) return false;
      for (let link = 0; link < links; link++) {
        for (const frameClass of [0, 1]) {
          if (fault.covers(from, to, link, frameClass) || fault.covers(to, from, link, frameClass))
            return true;
        }
      }
      return false;
    });
  }

  machineOf(run: DaemonRun): Machine {
    return this.#machineOf.get(run) as Machine;
  }

  runOf(incarnation: string): DaemonRun | undefined {
    return this.#runs.get(incarnation);
  }

  open(run: DaemonRun, frame: Uint8Array): Uint8Array {
    const payload = (decode(frame) as unknown[])[7] as Uint8Array;
    if (this.cipher === undefined) return payload;
    const { keyId, frameClass, counter, payloadAt } = peekHead(frame);
    const id = `${run.id}/${keyId}/${frameClass}`;
    let key = this.#keys.get(id);
    if (key === undefined) {
      const names = [new TextEncoder().encode('sim'), new TextEncoder().encode(run.name)];
      key = this.cipher.derive(keyId, names[0], names[1], run.incarnation, frameClass) as FrameKey;
      this.#keys.set(id, key);
    }
    const out = new Uint8Array(frame.length);
    // The bin head before the payload is three bytes, and none of the associated data.
    const bytes = key.open(frame, 0, payloadAt - 3, payloadAt, payload.length, counter, out);
    if (bytes < 0) throw new Violation(12, `${run.name} sends what nobody can open`);
    return out.subarray(0, bytes);
  }

  /** A new key: added everywhere, then used everywhere, then the old one is removed; each machine at its own time. */
  rotateKey(delay: () => number): void {
    const { cipher } = this;
    if (cipher === undefined || this.#isRotating) return;
    this.#isRotating = true;
    const old = cipher.sendKeyId;
    const next = (old % 200) + 1;
    const all = [...this.machines, ...this.impostors];
    this.#secrets = new Map([
      [old, old],
      [next, next],
    ]);
    const phases: [ReadonlyMap<number, number>, number][] = [
      [this.#secrets, old],
      [this.#secrets, next],
      [new Map([[next, next]]), next],
    ];
    phases.forEach(([keys, send], phase) => {
      for (const machine of all) {
        this.schedule.after(phase * 1500 + delay() * 1000, () => machine.cipher.replace(keys, send));
      }
      if (phase < 2) this.schedule.after(phase * 1500, () => cipher.replace(this.#secrets, send));
    });
    this.schedule.after(4500, () => {
      this.#isRotating = false;
    });
  }

  /** What a port finds broken stops the seed when the round is over: the daemon under test may catch what is thrown. */
  #guard(look: () => void): void {
    try {
      look();
    } catch (error) {
      this.schedule.fail(error);
    }
  }

  beforeReceive(run: DaemonRun, datagram: Datagram): void {
    this.watch.beforeReceive(run, datagram);
  }

  afterReceive(run: DaemonRun, datagram: Datagram): void {
    this.watch.afterReceive(run, datagram);
  }

  afterStep(run: DaemonRun): void {
    this.watch.afterStep(run);
  }

  onSend(run: DaemonRun, frame: Uint8Array, length: number): void {
    this.trace.note(this.machineOf(run).index, length, 0);
    this.trace.noteByte(frame[length - 1]);
    this.#guard(() => this.watch.sent(run, frame, length));
  }

  onLog(run: DaemonRun, message: string, peer: string): void {
    this.#guard(() => this.watch.logged(run, message, peer));
  }

  onReady(run: DaemonRun): void {
    this.#guard(() => this.watch.ready(run));
  }

  onDeclare(run: DaemonRun, declared: Declared): void {
    this.#guard(() => this.watch.declares(run, declared));
  }

  onPersist(run: DaemonRun, state: PersistedState): void {
    this.#guard(() => this.watch.persists(run, state));
  }

  onReport(run: DaemonRun, role: Role, report: FailoverReport): void {
    this.trace.say(run.name, `is ${report.role}`, () => `asked for ${role}: ${JSON.stringify(report)}`);
    this.watch.roles.reports(run, role, report);
  }

  onTakeover(run: DaemonRun, report: PromoteReport): void {
    this.trace.say(run.name, 'has taken over', () => JSON.stringify(report));
    this.watch.takeovers.ends(run, report);
    this.watch.splits.rejects(report.rejected);
  }

  onDead(run: DaemonRun, reason: unknown): void {
    this.network.detach(run);
    this.watch.splits.forget();
    this.trace.say(run.name, 'dies', () => `${run.id.slice(0, 8)}`);
    if (reason instanceof Violation) throw reason;
    if (reason !== undefined) throw new Violation(106, `${run.name}: ${String(reason)}`, reason);
  }
}
