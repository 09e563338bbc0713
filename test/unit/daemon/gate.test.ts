import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { SystemError } from '../../../native/system-error.js';
import { Gate } from '../../../src/daemon/gate.js';
import { CounterMap } from '../../../src/flow/counters.js';
import { GATE_MAX_MS } from '../../../src/limits.js';

type Done = (problem: SystemError | undefined) => void;

/** The kernel's side: what was asked for in order, each answered when the test says so. */
class TableTwin {
  readonly asked: string[] = [];
  isClosed = false;
  #done: Done | undefined;

  raise(done: Done): void {
    this.#ask('raise', done);
  }

  remove(done: Done): void {
    this.#ask('remove', done);
  }

  dropped(): number {
    return 7;
  }

  close(): void {
    this.isClosed = true;
  }

  answer(problem?: SystemError): void {
    const done = this.#done;
    this.#done = undefined;
    done?.(problem);
  }

  #ask(what: string, done: Done): void {
    if (this.#done !== undefined) throw new Error('a second change before the first was answered');
    this.asked.push(what);
    this.#done = done;
  }
}

let table: TableTwin;
let lines: string[];
let counters: CounterMap;
let gate: Gate;

beforeEach(() => {
  vi.useFakeTimers();
  table = new TableTwin();
  lines = [];
  counters = new CounterMap();
  gate = new Gate({
    table,
    counters,
    log: (level, text) => lines.push(`${level}: ${text}`),
    clock: () => Date.now(),
  });
});
afterEach(() => {
  vi.useRealTimers();
});

it('is raised once and lowered once, however often it is asked to', () => {
  gate.raise();
  gate.raise();
  table.answer();
  expect(gate.report).toMatchObject({ state: 'raised', raised: 1 });
  gate.lower();
  gate.lower();
  table.answer();
  expect(table.asked).toEqual(['raise', 'remove']);
  expect(gate.report).toEqual({ state: 'ready', raised: 1, dropped: 7, lastDurationMs: 0, problem: '' });
  expect(counters.values.get('gate.dropped')).toBe(7);
});

it('that is lowered while the kernel still makes the table is removed as soon as it stands', () => {
  gate.raise();
  gate.lower();
  expect(table.asked).toEqual(['raise']);
  table.answer();
  expect(table.asked).toEqual(['raise', 'remove']);
  table.answer();
  expect(gate.report.state).toBe('ready');
});

it('that is wanted again while it is removed is raised again', () => {
  gate.raise();
  table.answer();
  gate.lower();
  gate.raise();
  table.answer();
  table.answer();
  expect(table.asked).toEqual(['raise', 'remove', 'raise']);
  expect(gate.report).toMatchObject({ state: 'raised', raised: 2 });
});

it('opens after five seconds, whatever the commit does, and says so', () => {
  gate.raise();
  table.answer();
  vi.advanceTimersByTime(GATE_MAX_MS - 1);
  expect(table.asked).toEqual(['raise']);
  vi.advanceTimersByTime(1);
  table.answer();
  expect(table.asked).toEqual(['raise', 'remove']);
  expect(gate.report).toMatchObject({ state: 'ready', lastDurationMs: GATE_MAX_MS });
  expect(lines).toContain('warn: the gate opens before the commit is through, new connections pass');
  gate.lower();
  expect(table.asked).toHaveLength(2);
});

it('that the kernel refuses is told in status and log, and tried again by the next promote', () => {
  gate.raise();
  table.answer(new SystemError('make the table', 1));
  expect(gate.report).toMatchObject({ state: 'failed', raised: 0 });
  expect(gate.report.problem).toContain('EPERM');
  expect(lines[0]).toMatch(/^error: the gate could not be raised/);
  gate.lower();
  gate.raise();
  table.answer();
  expect(gate.report).toMatchObject({ state: 'raised', problem: '' });
});

it('asks the kernel for nothing after it was closed', () => {
  gate.raise();
  gate.close();
  table.answer();
  gate.lower();
  expect(table.asked).toEqual(['raise']);
  expect(table.isClosed).toBe(true);
});
