/** Runs seeds in worker processes, one seed a process at a time, and tells of each as it ends. */
import { type ChildProcess, fork } from 'node:child_process';

/** How a seed ended: `failure` is its message, `invariant` its number and name. */
export interface SeedOutcome {
  readonly seed: number;
  readonly hash?: string;
  readonly changes?: number;
  readonly cpuMs: number;
  readonly failure?: string;
  readonly invariant?: string;
}

export interface PoolOptions {
  /** The compiled worker: simulate.js, of this tree or of a patched copy. */
  readonly worker: string;
  readonly jobs: number;
  readonly from: number;
  readonly seeds: number;
  readonly stopAtFailure: boolean;
  /** A worker that says nothing for so long is stuck in a loop: its seed has failed. Milliseconds. */
  readonly patienceMs: number;
  onSeed?(outcome: SeedOutcome): void;
}

/** Resolves with the outcomes of all seeds that were run, in the order in which they ended. */
export function runSeeds(options: PoolOptions): Promise<SeedOutcome[]> {
  const outcomes: SeedOutcome[] = [];
  const end = options.from + options.seeds;
  let next = options.from;
  let isStopped = false;
  const take = (): number | undefined => (isStopped || next >= end ? undefined : next++);
  const tell = (outcome: SeedOutcome): void => {
    outcomes.push(outcome);
    options.onSeed?.(outcome);
    if (outcome.failure !== undefined && options.stopAtFailure) isStopped = true;
  };
  const workers = Array.from({ length: Math.min(options.jobs, options.seeds) }, () =>
    runWorker(options, take, tell),
  );
  return Promise.all(workers).then(() => outcomes);
}

/** One worker process after the other: one that dies or hangs fails its seed, and another goes on. */
async function runWorker(
  options: PoolOptions,
  take: () => number | undefined,
  tell: (outcome: SeedOutcome) => void,
): Promise<void> {
  for (let seed = take(); seed !== undefined; ) {
    const lost = await serve(options, seed, take, tell);
    if (lost === undefined) return;
    tell({ seed: lost.seed, cpuMs: 0, failure: lost.why, invariant: lost.why });
    seed = take();
  }
}

function serve(
  options: PoolOptions,
  first: number,
  take: () => number | undefined,
  tell: (outcome: SeedOutcome) => void,
): Promise<{ seed: number; why: string } | undefined> {
  return new Promise((resolve) => {
    const child: ChildProcess = fork(options.worker, ['--worker'], { execArgv: ['--enable-source-maps'] });
    let seed: number | undefined = first;
    let why = 'the process of the seed died';
    const timer = setTimeout(() => {
      why = `the seed does not end (${options.patienceMs} ms)`;
      child.kill('SIGKILL');
    }, options.patienceMs);
    child.on('message', (message) => {
      tell(message as SeedOutcome);
      seed = take();
      timer.refresh();
      if (seed === undefined) child.disconnect();
      else child.send(seed);
    });
    child.on('exit', () => {
      clearTimeout(timer);
      resolve(seed === undefined ? undefined : { seed, why });
    });
    child.send(first);
  });
}
