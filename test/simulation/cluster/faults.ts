/** The faults of PROTOCOL.md, section 10: a seed picks some, and when. */
import type { Random } from '../random.js';
import { Adversary } from './adversary.js';
import type { Cluster } from './cluster.js';
import { corruptTable } from './corrupt-table.js';
import type { Machine } from './machine.js';
import type { LinkFault } from './network.js';
import { Operator } from './operator.js';
import { ROLE_FAULTS } from './role-faults.js';
import { STANDBY_FAULTS } from './standby-faults.js';

const KINDS_MIN = 3;
const KINDS_MAX = 7;
/** Share of seeds in which roles change, and kinds of changes in one of them. */
const ROLES_SHARE = 0.75;
const ROLE_KINDS_MAX = 3;

/** Something that goes on for a while; what it returns ends it. */
type Fault = (faults: Faults, durationMs: number) => (() => void) | undefined;
export type FaultTable = Readonly<Record<string, Fault>>;

/** After so long without a frame nobody is a receiver. Milliseconds. */
const UNHEARD_MS = 1300;
/** More flows than one flush says. */
const FLOOD_FLOWS = 1800;

const all = () => true;

/** Faults of the links; most hit all paths, some one way, one receiver, one kind of frame. */
const LINK_FAULTS: FaultTable = {
  loss: (f) => f.links({ loss: 0.02 + 0.3 * f.random.next() }),
  'burst-loss': (f) => f.links({ loss: 0.05 + 0.2 * f.random.next(), burst: 5 + f.random.below(40) }),
  'data-loss': (f) => f.links({ loss: 0.3, covers: (_a, _b, _l, frameClass) => frameClass === 0 }),
  'control-loss': (f) => f.links({ loss: 0.5, covers: (_a, _b, _l, frameClass) => frameClass === 1 }),
  duplication: (f) => f.links({ duplication: 0.3 }),
  reordering: (f) => f.links({ reordering: 0.2, reorderMs: f.random.chance(0.5) ? 5 : 1500 }),
  delay: (f) => f.links({ delayMs: 20 + 180 * f.random.next() }),
  corruption: (f) => f.links({ corruption: 0.05 }),
  truncation: (f) => f.links({ truncation: 0.05 }),
  loopback: (f) => {
    f.cluster.network.isLooping = true;
    return () => {
      f.cluster.network.isLooping = false;
    };
  },
  partition: (f) => {
    const cut = new Set(f.cluster.machines.filter(() => f.random.chance(0.5)).map((m) => m.name));
    return f.links({ loss: 1, covers: (a, b) => cut.has(a) !== cut.has(b) });
  },
  'one-way-cut': (f) => {
    const [a, b] = [f.machine().name, f.machine().name];
    return f.links({ loss: 1, covers: (from, to) => from === a && to === b });
  },
  'deaf-node': (f) => {
    const { name } = f.machine();
    return f.links({ loss: 1, covers: (_from, to) => to === name });
  },
  'link-flap': (f, durationMs) => {
    const link = f.random.below(f.cluster.network.links);
    const startedAt = f.cluster.schedule.now;
    const period = Math.min(durationMs, 200 + f.random.below(2000));
    const isDown = () => Math.floor((f.cluster.schedule.now - startedAt) / period) % 2 === 0;
    return f.links({ loss: 1, covers: (_a, _b, l) => l === link && isDown() });
  },
  'stuck-receiver': (f) => {
    const { name } = f.machine();
    return f.links({ loss: 1, covers: (_from, to, _l, frameClass) => to === name && frameClass === 0 });
  },
  /** More than one turn says waits for a node that nobody has heard. */
  'cut-off-under-load': (f) => {
    const busy = f.machine();
    const free = f.links({ loss: 1, covers: (a, b) => (a === busy.name) !== (b === busy.name) });
    const { schedule, traffic } = f.cluster;
    schedule.after(UNHEARD_MS, () =>
      f.unlessOver(() => {
        const end = traffic.flood(busy, FLOOD_FLOWS);
        busy.run?.news();
        schedule.after(3000, () => {
          end();
          busy.run?.news();
        });
      }),
    );
    return free;
  },
  /** More frames than a window, and than a ring, while one receiver takes none. */
  'stuck-under-load': (f, durationMs) => {
    const [stuck, busy] = [f.machine().name, f.machine()];
    const free = f.links({
      loss: 1,
      covers: (_from, to, _l, frameClass) => to === stuck && frameClass === 0,
    });
    const rest = f.repeat(Math.max(durationMs, 5000), 1.5, () => f.cluster.change(busy));
    return () => {
      free();
      rest();
    };
  },
};

const KERNEL_FAULTS: FaultTable = {
  overrun: (f) => {
    const { knobs } = f.machine().twin;
    const before = knobs.eventBufferBytes;
    knobs.eventBufferBytes = [12_800, 64 << 10][f.random.below(2)];
    return () => {
      knobs.eventBufferBytes = before;
    };
  },
  swaps: (f) => {
    const machine = f.machine();
    const { twin } = machine;
    twin.knobs.swapRate = 0.2;
    machine.unordered++;
    return () => {
      twin.knobs.swapRate = 0;
      machine.unordered--;
      machine.hide();
    };
  },
  'table-full': (f) => {
    const { knobs, flows } = f.machine().twin;
    knobs.maxFlows = flows.count + 5;
    return () => {
      knobs.maxFlows = Number.POSITIVE_INFINITY;
    };
  },
  resize: (f, durationMs) =>
    f.repeat(durationMs, 30, () => {
      const { twin } = f.machine();
      // Never back to the size that it had when a dump began.
      twin.resize((1 << (12 + f.random.below(4))) + ++f.resizes);
    }),
  'dump-interrupted': (f, durationMs) => f.repeat(durationMs, 100, () => f.machine().twin.interruptDump()),
  'early-drop': (f, durationMs) =>
    f.repeat(durationMs, 500, () => {
      const { twin } = f.machine();
      for (const flow of [...twin.flows]) if (!flow.isDeaf && f.random.chance(0.1)) twin.die(flow);
    }),
  collector: (f, durationMs) => f.repeat(durationMs, 700, () => f.machine().twin.collect()),
  deaf: (f) => f.rate('deaf', 0.05),
  silent: (f) => f.rate('silent', 0.1),
  clashes: (f) => f.rate('clash', 0.1),
  foreign: (f) => f.rate('foreign', 0.3),
  interference: (f) => {
    f.cluster.interference = 0.3;
    return () => {
      f.cluster.interference = 0;
    };
  },
  meddling: (f) => {
    f.cluster.meddling = 0.3;
    return () => {
      f.cluster.meddling = 0;
    };
  },
  audits: (f, durationMs) =>
    f.repeat(durationMs, 150, () => {
      const { run } = f.machine();
      run?.core.auditSoon();
      run?.news();
    }),
  'broken-table': (f, durationMs) => f.repeat(durationMs, 1500, () => corruptTable(f.machine(), f.random)),
};

const PROCESS_FAULTS: FaultTable = {
  kill: (f) => {
    const machine = f.machine();
    if (machine.run === undefined) return undefined;
    // At any effect: a frame, a kernel call, a write.
    machine.run.effectsLeft = 1 + f.random.below(200);
    f.restartLater(machine, f.random.chance(0.5) ? 50 : 5000);
    return undefined;
  },
  'kill-now': (f) => {
    const machine = f.machine();
    f.cluster.kill(machine);
    f.restartLater(machine, f.random.chance(0.5) ? 50 : 5000);
    return undefined;
  },
  'kill-all': (f) => {
    for (const machine of f.cluster.machines) {
      f.cluster.kill(machine);
      f.restartLater(machine, f.random.below(500));
    }
    return undefined;
  },
  reboot: (f) => {
    const machine = f.machine();
    f.cluster.reboot(machine);
    f.restartLater(machine, f.random.chance(0.5) ? 50 : 3000);
    return undefined;
  },
  stall: (f) => {
    const { run } = f.machine();
    if (run === undefined) return undefined;
    run.stalledUntil = f.cluster.schedule.now + [600, 4000, 60_000][f.random.below(3)];
    return () => {
      run.stalledUntil = 0;
      run.wake();
    };
  },
  slow: (f) => {
    const { run } = f.machine();
    if (run === undefined) return undefined;
    run.slowness = f.random.chance(0.7) ? 10 : 1000;
    return () => {
      run.slowness = 1;
    };
  },
  crowded: (f) => {
    const { run } = f.machine();
    if (run === undefined) return undefined;
    run.isCrowded = true;
    return () => {
      run.isCrowded = false;
    };
  },
  'small-buffer': (f) => {
    const { run } = f.machine();
    if (run === undefined) return undefined;
    run.receiveBufferBytes = 16 << 10;
    return () => {
      run.receiveBufferBytes = run.options.receiveBufferBytes;
    };
  },
  'wall-clock': (f, durationMs) =>
    f.repeat(durationMs, 300, () => {
      const step = (f.random.chance(0.5) ? 1 : -1) * 3_600_000;
      if (!f.isWallSteady) f.cluster.wallOffsetMs += step;
    }),
  'key-rotation': (f) => {
    f.cluster.rotateKey(() => f.random.next());
    return undefined;
  },
  resync: (f, durationMs) =>
    f.repeat(durationMs, f.cluster.options.mode === 'reliable' ? 3000 : 200, () => {
      const { replicator } = f.machine().run?.core ?? {};
      for (const { node } of replicator?.peers() ?? []) replicator?.requestRepair(node);
    }),
  'duplicate-name': (f) => {
    const impostor = f.cluster.impersonate(f.machine());
    for (let i = 0; i < 50; i++) f.cluster.change(impostor);
    return () => f.cluster.kill(impostor);
  },
};

const ADVERSARY_FAULTS: FaultTable = {
  replay: (f, durationMs) => f.repeat(durationMs, 5, () => f.adversary.replay()),
  'hello-flood': (f, durationMs) => f.repeat(durationMs, 1, () => f.adversary.hello()),
  'forged-acks': (f, durationMs) => f.repeat(durationMs, 50, () => f.adversary.ack()),
  'forged-requests': (f, durationMs) => f.repeat(durationMs, 50, () => f.adversary.request()),
};

const CATALOGUE: FaultTable = { ...LINK_FAULTS, ...KERNEL_FAULTS, ...PROCESS_FAULTS, ...ADVERSARY_FAULTS };
const ALL: FaultTable = { ...CATALOGUE, ...ROLE_FAULTS, ...STANDBY_FAULTS };

/** Without a seal nobody is kept out, and only UDP's checksum notices what was damaged. */
const NEEDS_SEAL = new Set(['corruption', 'key-rotation', ...Object.keys(ADVERSARY_FAULTS)]);

/** The faults of one seed. */
export class Faults {
  readonly cluster: Cluster;
  readonly random: Random;
  readonly isWallSteady: boolean;
  readonly adversary: Adversary;
  readonly operator: Operator;
  names: string[] = [];
  /** Times that a hash was given another size. */
  resizes = 0;
  readonly #roles: string[] = [];
  readonly #ends = new Set<() => void>();
  #isOver = false;

  constructor(cluster: Cluster, random: Random, isWallSteady: boolean) {
    this.cluster = cluster;
    this.random = random;
    this.isWallSteady = isWallSteady;
    this.adversary = new Adversary(cluster, random);
    this.operator = new Operator(cluster, random);
    const left = Object.keys(CATALOGUE).filter((name) => cluster.isSealed || !NEEDS_SEAL.has(name));
    // Without a ring runs of ops have holes, if there are runs and losses.
    if (cluster.options.mode !== 'reliable') this.names.push('resync', 'loss');
    const kinds = KINDS_MIN + random.below(KINDS_MAX - KINDS_MIN + 1);
    while (new Set(this.names).size < kinds) this.names.push(...left.splice(random.below(left.length), 1));
    const roles = Object.keys(ROLE_FAULTS);
    if (random.chance(ROLES_SHARE)) {
      for (let n = 1 + random.below(ROLE_KINDS_MAX); n > 0; n--) {
        this.#roles.push(...roles.splice(random.below(roles.length), 1));
      }
    }
    this.names.push(...this.#roles, ...cluster.options.standby.faults);
    this.#firstRole();
  }

  /** Every kind one to three times, beginning within `durationMs` from `begin`. */
  plan(begin: number, durationMs: number): void {
    for (const name of this.names) {
      for (let n = 1 + this.random.below(3); n > 0; n--) {
        const at = begin + this.random.next() * durationMs;
        const lasts = 200 + this.random.next() * 6000;
        this.cluster.schedule.at(at, () => this.#begin(name, lasts));
      }
    }
  }

  #begin(name: string, lastsMs: number): void {
    if (this.#isOver) return;
    this.cluster.trace.say('fault', name, () => `for ${lastsMs.toFixed(0)} ms`);
    const stop = ALL[name](this, lastsMs);
    if (stop === undefined) return;
    const end = () => {
      if (!this.#ends.delete(end)) return;
      this.cluster.trace.say('fault', `${name} ends`);
      stop();
    };
    this.#ends.add(end);
    this.cluster.schedule.after(lastsMs, end);
  }

  /** All faults off, every machine with its own daemon. */
  end(): void {
    this.#isOver = true;
    for (const end of [...this.#ends]) end();
    for (const impostor of this.cluster.impostors) this.cluster.kill(impostor);
    for (const machine of this.cluster.machines) {
      if (machine.run !== undefined) machine.run.effectsLeft = Number.POSITIVE_INFINITY;
      if (machine.run?.isUp !== true) this.cluster.start(machine);
    }
    this.operator.settle();
  }

  /** Soon after the start somebody is primary and has the address, in most clusters. */
  #firstRole(): void {
    const { operator } = this;
    if (this.#roles.length === 0 && this.random.chance(0.6)) return;
    const first = this.machine();
    operator.master = first;
    operator.tell(first, 'primary', 2500 * this.random.next());
    operator.moveAddress(first, 2500 * this.random.next());
  }

  /** Does it, unless the cluster was left in peace meanwhile. */
  unlessOver(act: () => void): void {
    if (!this.#isOver) act();
  }

  machine(): Machine {
    return this.cluster.machines[this.random.below(this.cluster.machines.length)];
  }

  links(effect: Partial<LinkFault>): () => void {
    const fault: LinkFault = { covers: all, ...effect };
    const { faults } = this.cluster.network;
    faults.push(fault);
    return () => {
      faults.splice(faults.indexOf(fault), 1);
      this.cluster.remember(fault);
    };
  }

  rate(which: keyof Cluster['traffic']['rates'], value: number): () => void {
    const { rates } = this.cluster.traffic;
    rates[which] = value;
    return () => {
      rates[which] = 0;
    };
  }

  /** Does it again and again until the end, in about so many milliseconds. */
  repeat(durationMs: number, everyMs: number, act: () => void): () => void {
    const { schedule } = this.cluster;
    let isOn = true;
    const until = schedule.now + durationMs;
    const next = () => {
      if (!isOn || schedule.now > until) return;
      act();
      schedule.after(everyMs * (0.5 + this.random.next()), next);
    };
    next();
    return () => {
      isOn = false;
    };
  }

  restartLater(machine: Machine, ms: number): void {
    this.cluster.schedule.after(ms, () => {
      if (this.#isOver) return;
      this.cluster.kill(machine);
      this.cluster.start(machine);
    });
  }
}
