/** What happens to the kernel of a backup that follows, and to its daemon. */
import type { Faults, FaultTable } from './faults.js';
import type { Machine } from './machine.js';

/** What a twin's kernel has. */
const HELPERS: ReadonlySet<string> = new Set(['ftp', 'sip']);

/** A machine that is not the master. */
const backup = (f: Faults): Machine => f.operator.other();

export const STANDBY_FAULTS: FaultTable = {
  /** Flows end where no packet of theirs passes. */
  'held-end': (f, durationMs) =>
    f.repeat(durationMs, 400, () => {
      const machine = backup(f);
      for (const flow of [...machine.twin.flows]) {
        if (!flow.isDeaf && !flow.isLoser && f.random.chance(0.05)) machine.twin.die(flow);
      }
      machine.run?.news();
    }),
  'held-full': (f) => {
    const { knobs, flows } = backup(f).twin;
    knobs.maxFlows = flows.count + f.random.below(20);
    return () => {
      knobs.maxFlows = Number.POSITIVE_INFINITY;
    };
  },
  'helpers-missing': (f) => {
    const { knobs } = backup(f).twin;
    knobs.helpers = new Set();
    return () => {
      knobs.helpers = HELPERS;
    };
  },
  /** Error answers find no room in the injector's buffer (F8). */
  'answers-lost': (f) => {
    const { knobs } = f.machine().twin;
    knobs.answersMax = f.random.below(4);
    return () => {
      knobs.answersMax = Number.POSITIVE_INFINITY;
    };
  },
  /** A backup's daemon starts again; its kernel keeps what it was given. */
  'backup-restarted': (f) => {
    const machine = backup(f);
    f.cluster.kill(machine);
    f.restartLater(machine, f.random.chance(0.5) ? 50 : 3000);
    return undefined;
  },
  'backup-killed': (f) => {
    const machine = backup(f);
    if (machine.run === undefined) return undefined;
    machine.run.effectsLeft = 1 + f.random.below(60);
    f.restartLater(machine, 50 + f.random.below(2000));
    return undefined;
  },
};
