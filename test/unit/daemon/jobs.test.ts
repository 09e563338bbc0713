import { describe, expect, it } from 'vitest';
import {
  BusyError,
  type Job,
  JobQueue,
  type JobState,
  PRIORITY_BACKGROUND,
  PRIORITY_CHANGE,
  PRIORITY_CHECK,
  PRIORITY_START,
} from '../../../src/daemon/jobs.js';

function job(name: string, priority: number, notes: string[], states: JobState[] = ['done']): Job {
  return {
    name,
    priority,
    step: () => {
      notes.push(name);
      return states.shift() ?? 'done';
    },
    abort: () => notes.push(`${name} ended`),
    progress: () => ({ phase: name, done: 0, total: 0 }),
  };
}

const runAll = (queue: JobQueue): void => {
  while (queue.current !== undefined) queue.step(0);
};

describe('the queue of jobs', () => {
  it('runs jobs of one priority in the order in which they came, each to its end', () => {
    const notes: string[] = [];
    const queue = new JobQueue(() => {});
    queue.add(job('audit', PRIORITY_CHECK, notes, ['more', 'wait']));
    queue.add(job('verify', PRIORITY_CHECK, notes));
    runAll(queue);
    expect(notes).toEqual(['audit', 'audit', 'audit', 'verify']);
  });

  it('ends a running verification for a promote', () => {
    const notes: string[] = [];
    const queue = new JobQueue(() => {});
    queue.add(job('verify', PRIORITY_CHECK, notes, ['more', 'more']));
    queue.step(0);
    queue.add(job('promote', PRIORITY_CHANGE, notes));
    runAll(queue);
    expect(notes).toEqual(['verify', 'verify ended', 'promote']);
  });

  it('lets the first dump end before a promote, and the promote go before an audit that waits', () => {
    const notes: string[] = [];
    const queue = new JobQueue(() => {});
    queue.add(job('first', PRIORITY_START, notes, ['more']));
    queue.add(job('audit', PRIORITY_CHECK, notes));
    queue.add(job('promote', PRIORITY_CHANGE, notes));
    runAll(queue);
    expect(notes).toEqual(['first', 'first', 'promote', 'audit']);
  });

  it('is idle while only a background audit runs, and everything ends that', () => {
    const notes: string[] = [];
    const queue = new JobQueue(() => {});
    queue.add(job('background', PRIORITY_BACKGROUND, notes, ['idle']));
    expect(queue.isIdle).toBe(true);
    expect(queue.step(0)).toBe('idle');
    queue.add(job('loss', PRIORITY_CHECK, notes));
    expect(queue.isIdle).toBe(false);
    runAll(queue);
    expect(notes).toEqual(['background', 'background ended', 'loss']);
  });

  it('refuses more work than it has room for', () => {
    const queue = new JobQueue(() => {});
    for (let i = 0; i < 32; i++) queue.add(job(`${i}`, PRIORITY_CHECK, []));
    expect(() => queue.add(job('one more', PRIORITY_CHECK, []))).toThrow(BusyError);
  });
});
