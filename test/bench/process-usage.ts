/** What a process has used so far, from /proc. */
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';

/** CPU time in seconds (all threads, user and system) and resident memory in bytes. */
export interface ProcessUsage {
  readonly userS: number;
  readonly systemS: number;
  readonly residentBytes: number;
}

/** Clock ticks a second in /proc/PID/stat. */
export function clockTicks(): number {
  return Number(execFileSync('getconf', ['CLK_TCK'], { encoding: 'utf8' }));
}

/** Reads a process's usage; throws if it has ended. */
export function processUsage(pid: number, ticks: number): ProcessUsage {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  // The command stands in brackets and may hold anything: what follows the last one counts from field 3 on.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const resident = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'));
  return {
    userS: Number(fields[11]) / ticks,
    systemS: Number(fields[12]) / ticks,
    residentBytes: Number(resident?.[1] ?? 0) * 1024,
  };
}

/** CPU time between two readings, in microseconds. */
export function cpuMicros(before: ProcessUsage, after: ProcessUsage): number {
  return (after.userS + after.systemS - before.userS - before.systemS) * 1e6;
}

/**
 * CPU time of all threads that a process has now, in microseconds, as the scheduler counted it: for a process that is
 * nearly idle, since the times of processUsage are guessed from clock ticks.
 */
export function scheduledMicros(pid: number): number {
  const tasks = readdirSync(`/proc/${pid}/task`);
  const nanoseconds = tasks.map((task) => {
    return Number(readFileSync(`/proc/${pid}/task/${task}/schedstat`, 'utf8').split(' ')[0]);
  });
  return nanoseconds.reduce((sum, each) => sum + each, 0) / 1000;
}
