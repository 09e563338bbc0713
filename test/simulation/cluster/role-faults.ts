/** Changes of roles as firewalls go through them: planned ones, those after a death, and those that nobody would plan. */
import type { Faults, FaultTable } from './faults.js';
import type { Machine } from './machine.js';

/** Pauses between two lines of one change, milliseconds. */
const GAPS_MS = [0, 5, 60, 1500];
/** How long it takes until somebody takes over from a machine that is gone, milliseconds. */
const NOTICE_MS = [0, 30, 700, 3000];
/** How long a daemon or a machine is away, milliseconds. */
const AWAY_MS = [50, 5000];

const pick = (f: Faults, list: readonly number[]): number => list[f.random.below(list.length)];

/** The old one hands over and another takes over; the lines come in either order. */
function planned(f: Faults, gapMs: number): void {
  const { operator, random } = f;
  const from = operator.master;
  const to = operator.other();
  const isDemoteFirst = random.chance(0.5);
  if (from !== undefined) operator.tell(from, 'backup', isDemoteFirst ? 0 : gapMs);
  operator.takeOver(to, isDemoteFirst ? gapMs : 0);
}

/** The old primary's keepalived tells it that it is none any more, when it is there again; or nobody does. */
function returns(f: Faults, machine: Machine, afterMs: number): void {
  if (f.random.chance(0.75)) f.operator.tell(machine, 'backup', afterMs + 2000 * f.random.next());
}

/** Somebody takes over from the master, which `isGone` has made unable to go on for `awayMs`. */
function takesOver(f: Faults, gone: (machine: Machine, awayMs: number) => void): undefined {
  const from = f.operator.master ?? f.machine();
  const awayMs = pick(f, AWAY_MS);
  gone(from, awayMs);
  const noticeMs = pick(f, NOTICE_MS);
  f.operator.master = from;
  f.operator.takeOver(f.operator.other(), noticeMs);
  returns(f, from, Math.max(awayMs, noticeMs));
  return undefined;
}

export const ROLE_FAULTS: FaultTable = {
  'planned-switch': (f) => {
    planned(f, pick(f, GAPS_MS));
    return undefined;
  },
  'fail-back': (f) => {
    planned(f, 0);
    f.cluster.schedule.after(3000 + 3000 * f.random.next(), () => f.unlessOver(() => planned(f, 0)));
    return undefined;
  },
  flapping: (f, durationMs) => f.repeat(durationMs, 150 + 600 * f.random.next(), () => planned(f, 0)),
  'primary-killed': (f) =>
    takesOver(f, (machine, awayMs) => {
      f.cluster.kill(machine);
      f.restartLater(machine, awayMs);
    }),
  'primary-rebooted': (f) =>
    takesOver(f, (machine, awayMs) => {
      f.cluster.reboot(machine);
      f.restartLater(machine, awayMs);
    }),
  'primary-stalled': (f) =>
    takesOver(f, (machine, awayMs) => {
      const { run } = machine;
      if (run !== undefined) run.stalledUntil = f.cluster.schedule.now + awayMs;
    }),
  /** The sync link is cut, both live on. */
  'primary-cut-off': (f, durationMs) => {
    const from = f.operator.master ?? f.machine();
    const isCut = (a: string, b: string) => (a === from.name) !== (b === from.name);
    const free = f.links({ loss: 1, covers: isCut });
    f.operator.master = from;
    f.operator.takeOver(f.operator.other(), pick(f, NOTICE_MS));
    returns(f, from, durationMs * (0.5 + f.random.next()));
    return free;
  },
  /** Nobody tells the old one. */
  'two-primaries': (f, durationMs) => {
    const from = f.operator.master;
    f.operator.takeOver(f.operator.other(), 0);
    if (from !== undefined) returns(f, from, durationMs);
    return undefined;
  },
  'all-primaries': (f) => {
    for (const machine of f.cluster.machines) f.operator.tell(machine, 'primary', 100 * f.random.next());
    return undefined;
  },
  'no-primary': (f) => {
    for (const machine of f.cluster.machines) {
      f.operator.tell(machine, f.random.chance(0.3) ? 'fault' : 'backup', 100 * f.random.next());
    }
    if (f.random.chance(0.5)) f.operator.moveAddress(undefined, 0);
    return undefined;
  },
  'promoted-twice': (f) => {
    f.operator.takeOver(f.operator.other(), 0);
    for (let n = 1 + f.random.below(2); n > 0; n--) {
      if (f.operator.master !== undefined) f.operator.tell(f.operator.master, 'primary', pick(f, GAPS_MS));
    }
    return undefined;
  },
  'promote-undone': (f) => {
    const to = f.operator.other();
    f.operator.tell(to, 'primary', 0);
    f.operator.tell(to, 'backup', 1 + f.random.below(30));
    return undefined;
  },
  'promote-in-start': (f) => {
    const to = f.operator.other();
    f.cluster.kill(to);
    f.cluster.schedule.after(50, () => f.unlessOver(() => f.cluster.start(to)));
    f.operator.takeOver(to, 51 + 2500 * f.random.next() * f.random.next());
    return undefined;
  },
  'promote-in-bulk': (f) => {
    const to = f.operator.other();
    const { replicator } = to.run?.core ?? {};
    for (const { node } of replicator?.peers() ?? []) replicator?.requestRepair(node);
    if (f.operator.master !== undefined) f.cluster.kill(f.operator.master);
    if (f.operator.master !== undefined) f.restartLater(f.operator.master, pick(f, AWAY_MS));
    f.operator.takeOver(to, f.random.below(6));
    return undefined;
  },
  /** The new primary is killed at an effect of its promote, and starts again. */
  'promote-killed': (f) => {
    const from = f.operator.master;
    const to = f.operator.other();
    if (from !== undefined && f.random.chance(0.5)) {
      f.cluster.kill(from);
      f.restartLater(from, pick(f, AWAY_MS));
    }
    f.operator.takeOver(to, 0);
    f.cluster.schedule.after(0, () => {
      if (to.run !== undefined) to.run.effectsLeft = 1 + f.random.below(f.random.chance(0.5) ? 20 : 120);
    });
    f.restartLater(to, pick(f, AWAY_MS));
    return undefined;
  },
  'promote-rebooted': (f) => {
    const to = f.operator.other();
    f.operator.takeOver(to, 0);
    f.cluster.schedule.after(f.random.below(120), () =>
      f.unlessOver(() => {
        f.cluster.reboot(to);
        f.restartLater(to, pick(f, AWAY_MS));
      }),
    );
    return undefined;
  },
  /** The new primary dies in the middle of its promote, and a third one takes over. */
  'third-takes-over': (f) => {
    const { machines } = f.cluster;
    const from = f.operator.master;
    if (from !== undefined) {
      f.cluster.kill(from);
      f.restartLater(from, 5000);
    }
    const second = f.operator.other();
    f.operator.takeOver(second, 0);
    const third = machines.find((m) => m !== from && m !== second);
    f.cluster.schedule.after(f.random.below(40), () =>
      f.unlessOver(() => {
        f.cluster.kill(second);
        f.restartLater(second, pick(f, AWAY_MS));
        if (third !== undefined) f.operator.takeOver(third, pick(f, NOTICE_MS));
      }),
    );
    return undefined;
  },
};
