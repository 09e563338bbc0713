/**
 * Counts what the hot path takes: two cores in one process, the first on this namespace's kernel, whose events come by
 * the thousand; no figure depends on how fast the machine is. Run it in a namespace of the lab, as
 *   node --expose-gc --min-semi-space-size=SIZE --max-semi-space-size=SIZE hot-path-program.js FLOWS
 * with so much new space that nothing is collected meanwhile. It prints one JSON line (`HotPathCounts`).
 *
 *     generator --> kernel --> events --> first core --> frames --> second core
 *                                              ^----- acknowledgements -----'
 */
import { randomBytes } from 'node:crypto';
import { NetlinkSocket } from '../../native/netlink-socket.js';
import { Core, type CorePorts } from '../../src/daemon/core.js';
import { CounterMap } from '../../src/flow/counters.js';
import type { KernelPort } from '../../src/flow/kernel-port.js';
import { Kernel } from '../../src/kernel/kernel.js';
import { OWNER_SELF } from '../../src/table/slot-bits.js';
import { KernelTwin } from '../simulation/kernel-twin.js';
import { FlowGenerator, type GeneratorVerb } from './flow-generator.js';

/** Of one kind of event, each figure a thousand events. */
export interface VerbCounts {
  /** System calls on the event socket. */
  readonly systemCalls: number;
  readonly frames: number;
  /** Bytes of the frames. */
  readonly frameBytes: number;
  /** Bytes on the heap that the active and the backup core left behind. */
  readonly activeHeapBytes: number;
  readonly backupHeapBytes: number;
}

export type HotPathCounts = Readonly<Record<GeneratorVerb, VerbCounts>>;

const MTU = 1500;
/** Frames on their way; the window of the stream is shorter. */
const FRAMES_MAX = 1 << 13;
const PER = 1000;
/** What one look at the clock takes: a slice ends after four of them. Milliseconds. */
const LOOK_MS = 0.25;
/** Runs in which compilers warm up, and measured ones. */
const WARM_RUNS = 3;
const RUNS = 3;
/** Turns without a frame after which nothing more is to be said. */
const QUIET_ROUNDS = 1000;

/** Frames that wait for their receiver, in memory that was made before. */
class Cable {
  frames = 0;
  bytes = 0;
  readonly #memory = new Uint8Array(FRAMES_MAX * MTU);
  readonly #lengths = new Uint16Array(FRAMES_MAX);
  #waiting = 0;

  readonly send = (frame: Uint8Array, length: number): void => {
    if (this.#waiting === FRAMES_MAX) throw new RangeError('the cable is full');
    const at = this.#waiting * MTU;
    for (let i = 0; i < length; i++) this.#memory[at + i] = frame[i];
    this.#lengths[this.#waiting++] = length;
    this.frames++;
    this.bytes += length;
  };

  get isEmpty(): boolean {
    return this.#waiting === 0;
  }

  deliver(to: Core): void {
    for (let i = 0; i < this.#waiting; i++) {
      const at = i * MTU;
      to.receive(this.#memory, at, at + this.#lengths[i], 0);
    }
    this.#waiting = 0;
  }
}

const heapBytes = (): number => process.memoryUsage().heapUsed;

class HotPath {
  now = 0;
  systemCalls = 0;
  #activeHeap = 0;
  #backupHeap = 0;
  readonly #kernel: Kernel;
  readonly #active: Core;
  readonly #backup: Core;
  readonly #there = new Cable();
  readonly #back = new Cable();
  readonly #generator = new FlowGenerator();
  /** What a look at the heap leaves there itself. */
  readonly #lookBytes: number;

  constructor() {
    this.#kernel = Kernel.open({ counters: new CounterMap(), log: () => undefined });
    const twin = new KernelTwin({ now: () => this.now });
    this.#active = this.#core('fw1', this.#kernel, this.#there);
    this.#backup = this.#core('fw2', twin, this.#back);
    heapBytes();
    const before = heapBytes();
    for (let i = 0; i < PER; i++) heapBytes();
    this.#lookBytes = (heapBytes() - before) / PER;
  }

  #core(node: string, kernel: KernelPort, cable: Cable): Core {
    const ports: CorePorts = {
      kernel,
      send: cable.send,
      clock: () => this.now,
      wallClock: () => 0,
      random: () => 0.5,
      randomBytes: (n) => randomBytes(n),
      counters: new CounterMap(),
      log: () => undefined,
      persist: () => undefined,
    };
    const incarnation = randomBytes(16);
    return new Core(ports, {
      node,
      cluster: 'lab',
      incarnation,
      bootId: node,
      mtu: MTU,
      auditIntervalMs: Number.POSITIVE_INFINITY,
    });
  }

  /** Until both know each other, and the first is primary. */
  start(): void {
    this.#quiet();
    this.#active.replicator.setRole('primary', 1);
    this.#quiet();
    if (this.#active.state !== 'ready' || this.#backup.replicator.peers().length !== 1) {
      throw new Error('the two cores have not found each other');
    }
  }

  async run(verb: GeneratorVerb, flows: number): Promise<VerbCounts> {
    const { errors } = await this.#generator.run(verb, flows);
    if (Object.keys(errors).length > 0)
      throw new Error(`the kernel refused flows: ${JSON.stringify(errors)}`);
    (globalThis as { gc?: () => void }).gc?.();
    this.systemCalls = 0;
    [this.#activeHeap, this.#backupHeap] = [0, 0];
    [this.#there.frames, this.#there.bytes] = [0, 0];
    this.#quiet();
    this.#check(verb === 'delete' ? 0 : flows);
    return {
      systemCalls: (this.systemCalls / flows) * PER,
      frames: (this.#there.frames / flows) * PER,
      frameBytes: (this.#there.bytes / flows) * PER,
      activeHeapBytes: (this.#activeHeap / flows) * PER,
      backupHeapBytes: (this.#backupHeap / flows) * PER,
    };
  }

  close(): void {
    this.#generator.close();
    this.#kernel.close();
  }

  #check(flows: number): void {
    const { table } = this.#backup;
    const [peer] = this.#backup.replicator.peers();
    const replica = table.owners.slots(peer.owner);
    const mirror = this.#active.table.owners.slots(OWNER_SELF);
    if (mirror !== flows || replica !== flows || this.#kernel.eventsLost() > 0) {
      throw new Error(`of ${flows} flows ${mirror} are in the mirror and ${replica} in the replica`);
    }
  }

  /** Turns and ticks until nothing has been said for a while but what time makes them say. */
  #quiet(): void {
    for (let quiet = 0; quiet < QUIET_ROUNDS; quiet++) {
      this.now++;
      const before = heapBytes();
      const callsBefore = this.systemCalls;
      let isWorking = false;
      while (this.#active.turn(this.now) === 'more') isWorking = true;
      if (this.now % 10 === 0) this.#active.tick(this.now);
      const between = heapBytes();
      this.#there.deliver(this.#backup);
      this.#backup.turn(this.now);
      if (this.now % 10 === 0) this.#backup.tick(this.now);
      const after = heapBytes();
      this.#back.deliver(this.#active);
      // At rest a heartbeat and a MARK allocate, and are not a matter of events.
      if (!isWorking) {
        this.systemCalls = callsBefore;
        continue;
      }
      quiet = 0;
      this.#activeHeap += between - before - this.#lookBytes;
      this.#backupHeap += after - between - this.#lookBytes;
    }
  }
}

/** Every method of a socket that is one system call. */
function countSystemCalls(count: () => void): void {
  const methods = NetlinkSocket.prototype as unknown as Record<string, (...args: unknown[]) => unknown>;
  for (const name of ['receiveMany', 'receive', 'send', 'readMemoryInfo']) {
    const call = methods[name];
    methods[name] = function counted(this: NetlinkSocket, a: unknown, b: unknown): unknown {
      count();
      return call.call(this, a, b);
    };
  }
}

/** Of each figure the least: what every event takes, every run takes; a compiler at work adds to some. */
function least(all: readonly HotPathCounts[]): HotPathCounts {
  const names = Object.keys(all[0].create) as (keyof VerbCounts)[];
  const of = (verb: GeneratorVerb) =>
    Object.fromEntries(names.map((name) => [name, Math.min(...all.map((counts) => counts[verb][name]))]));
  return { create: of('create'), update: of('update'), delete: of('delete') } as unknown as HotPathCounts;
}

// A slice is a matter of time, and so of the machine: each look at the clock takes as long as any other.
let looks = 0;
performance.now = () => ++looks * LOOK_MS;

const flows = Number(process.argv[2]);
let hotPath: HotPath | undefined;
countSystemCalls(() => {
  if (hotPath !== undefined) hotPath.systemCalls++;
});
hotPath = new HotPath();
hotPath.start();
const runs: HotPathCounts[] = [];
for (let i = 0; i < WARM_RUNS + RUNS; i++) {
  const create = await hotPath.run('create', flows);
  const update = await hotPath.run('update', flows);
  runs.push({ create, update, delete: await hotPath.run('delete', flows) });
}
hotPath.close();
process.stdout.write(`${JSON.stringify(least(runs.slice(WARM_RUNS)))}\n`);
