/** Long work on the kernel, one at a time, in slices: audits, promotes, commits, verifications, flushes. */
import type { Log } from '../flow/log.js';

/** Where a job is: more to do at once, waiting for something short, waiting for long, or done. */
export type JobState = 'more' | 'wait' | 'idle' | 'done';

/** Which job ends which: a start is never ended, a background audit by everything. */
export const PRIORITY_BACKGROUND = 0;
export const PRIORITY_CHECK = 1; // audit after a loss, verify
export const PRIORITY_CHANGE = 2; // promote, demote, commit, flush
export const PRIORITY_START = 3; // the first dump

export interface Job {
  readonly name: string;
  readonly priority: number;
  step(nowMs: number): JobState;
  /** Gives up; the job tells whoever waits for it. */
  abort(): void;
  progress(): { phase: string; done: number; total: number };
}

/** Jobs that may wait for their turn; control calls are refused beyond. */
const JOBS_MAX = 32;

/** Too many jobs wait. */
export class BusyError extends Error {
  override readonly name = 'BusyError';
}

export class JobQueue {
  readonly #jobs: Job[] = [];
  readonly #log: Log;

  constructor(log: Log) {
    this.#log = log;
  }

  /** The job that runs. */
  get current(): Job | undefined {
    return this.#jobs[0];
  }

  /** Nothing runs, or nothing that matters. */
  get isIdle(): boolean {
    return this.#jobs.length === 0 || this.#jobs[0].priority === PRIORITY_BACKGROUND;
  }

  /** The first job of this name, running or waiting. */
  find(name: string): Job | undefined {
    return this.#jobs.find((job) => job.name === name);
  }

  /** Runs the job after those of its priority; a running job of a lower one is ended. Throws BusyError. */
  add(job: Job): void {
    if (this.#jobs.length >= JOBS_MAX) throw new BusyError(`${JOBS_MAX} jobs wait already, try again later`);
    const running = this.#jobs[0];
    if (running !== undefined && running.priority < job.priority) {
      this.#jobs.shift();
      running.abort();
    }
    const at = this.#jobs.findIndex((other) => other.priority < job.priority);
    this.#jobs.splice(at < 0 ? this.#jobs.length : at, 0, job);
  }

  /** One slice of the job that runs. */
  step(now: number): JobState {
    const job = this.#jobs[0];
    if (job === undefined) return 'idle';
    const state = job.step(now);
    if (state !== 'done') return state;
    const at = this.#jobs.indexOf(job);
    if (at >= 0) this.#jobs.splice(at, 1);
    this.#log('debug', 'job done', { job: job.name });
    return this.#jobs.length > 0 ? 'more' : 'idle';
  }
}
