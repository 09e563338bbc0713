/** CPU of some processes between two moments, told as figures of active and backup node. */
import { clockTicks, type ProcessUsage, processUsage } from './process-usage.js';

const NODES = ['active', 'backup'] as const;
const MICROS = 1e6;

/** What a workload cost; microseconds. */
export interface CpuSpent {
  readonly total: number;
  readonly user: number;
}

export class CpuMeter {
  private readonly ticks = clockTicks();
  private last: readonly ProcessUsage[];

  /** Of the active node's daemon and, where there is one, the backup's. */
  constructor(private readonly pids: () => readonly number[]) {
    this.last = this.read();
  }

  /** Since the last lap, or the beginning: one for each process. */
  lap(): CpuSpent[] {
    const before = this.last;
    this.last = this.read();
    return this.last.map((now, i) => {
      const user = (now.userS - before[i].userS) * MICROS;
      return { user, total: user + (now.systemS - before[i].systemS) * MICROS };
    });
  }

  /** Resident memory, bytes, of each process. */
  memory(): number[] {
    return this.read().map(({ residentBytes }) => residentBytes);
  }

  private read(): ProcessUsage[] {
    return this.pids().map((pid) => processUsage(pid, this.ticks));
  }
}

/** The figures `NAME.active`, `NAME.backup` and the same with `.user`, each an event's. */
export function cpuValues(name: string, spent: readonly CpuSpent[], events: number): Record<string, number> {
  return Object.fromEntries(
    spent.flatMap(({ total, user }, i) => [
      [`${name}.${NODES[i]}`, total / events],
      [`${name}.${NODES[i]}.user`, user / events],
    ]),
  );
}
