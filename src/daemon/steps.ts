/** Work that gives a result in steps: runs it as a job, and tells whoever waits. */
import type { Progress } from '../control/messages.js';
import type { Job, JobQueue, JobState } from './jobs.js';

/** Time between two looks at a job's progress. Milliseconds. */
const WATCH_INTERVAL_MS = 50;
export type Watch = (progress: Progress) => void;

/** Work was ended by other work that goes before it; ask again. */
export class InterruptedError extends Error {
  override readonly name = 'InterruptedError';
}

export interface Steps<Result> {
  readonly name: string;
  readonly priority: number;
  step(now: number): JobState;
  progress(): Progress;
  result(): Result;
  stop?(): void;
}

/** Runs the steps as a job. Rejects with InterruptedError when other work ends it, or with what a step throws. */
export function runSteps<Result>(jobs: JobQueue, steps: Steps<Result>, watch?: Watch): Promise<Result> {
  let watchAt = Number.NEGATIVE_INFINITY;
  return new Promise((resolve, reject) => {
    const job: Job = {
      name: steps.name,
      priority: steps.priority,
      step: (now) => {
        let state: JobState;
        try {
          state = steps.step(now);
        } catch (error) {
          reject(error);
          return 'done';
        }
        // A slice a millisecond would build a report for nobody.
        if (watch !== undefined && now >= watchAt) {
          watchAt = now + WATCH_INTERVAL_MS;
          watch(steps.progress());
        }
        if (state === 'done') resolve(steps.result());
        return state;
      },
      abort: () => {
        steps.stop?.();
        reject(new InterruptedError(`${steps.name} was ended by other work, call it again`));
      },
      progress: () => steps.progress(),
    };
    jobs.add(job);
  });
}
