/** The background audit's share of a core, by a clock that only work moves. */
import { beforeEach, describe, expect, it } from 'vitest';
import { Core } from '../../../src/daemon/core.js';
import { PRIORITY_CHANGE } from '../../../src/daemon/jobs.js';
import { CounterMap } from '../../../src/flow/counters.js';
import { KernelTwin } from '../../simulation/kernel-twin.js';
import { makeRecord } from '../../simulation/record-maker.js';

const FLOWS = 5000;
/** What a read of 20 rows takes here. Milliseconds. */
const READ_MS = 0.4;
const INTERVAL_MS = 1000;

let timeMs: number;
/** Time that dumps took. Milliseconds. */
let spentMs: number;
let drains: number;
let core: Core;

beforeEach(() => {
  timeMs = 1000;
  spentMs = 0;
  drains = 0;
  const twin = new KernelTwin({ now: () => timeMs, dumpRows: 20 });
  for (let i = 0; i < FLOWS; i++) {
    twin.born(
      makeRecord({ source: '10.0.0.1', destination: '10.0.0.2', sourcePort: i, state: 3, timeout: 1e6 }).m,
      0,
    );
  }
  twin.beforeCall = (call) => {
    if (call === 'drain') drains++;
    if (call !== 'dumpNext') return;
    timeMs += READ_MS;
    spentMs += READ_MS;
  };
  core = new Core(
    {
      kernel: twin,
      send: () => undefined,
      clock: () => timeMs,
      wallClock: () => 0,
      random: () => 0.5,
      randomBytes: (n) => new Uint8Array(n),
      counters: new CounterMap(),
      log: () => undefined,
      persist: () => undefined,
    },
    {
      node: 'fw1',
      cluster: 'test',
      incarnation: new Uint8Array(16).fill(1),
      bootId: 'boot',
      mtu: 1500,
      auditIntervalMs: INTERVAL_MS,
      maxFlows: 1 << 14,
    },
  );
});

/** Ticks every 10 ms until `isDone`, as the loop does at rest. Returns how long that took. */
function rest(isDone: () => boolean): number {
  const from = timeMs;
  while (!isDone()) {
    if (timeMs - from > 3_600_000) throw new Error('not within an hour');
    core.turn(timeMs, false);
    timeMs += 10;
  }
  return timeMs - from;
}

describe('a background audit', () => {
  it('takes 0.25 % of a core whatever a slice costs, and its pauses ask nothing of the kernel', () => {
    rest(() => core.state === 'ready');
    expect(core.table.kernelCount).toBe(FLOWS);
    rest(() => core.audits.reason === 'background');
    const before = spentMs;
    const drainsBefore = drains;
    const runs = core.audits.runs;
    const elapsed = rest(() => core.audits.runs > runs);
    const spent = spentMs - before;
    expect(spent).toBeGreaterThan((FLOWS / 20) * READ_MS * 0.9);
    expect(spent / elapsed).toBeLessThanOrEqual(0.0026);
    expect(spent / elapsed).toBeGreaterThan(0.002);
    // Once a slice, not at every tick.
    expect(drains - drainsBefore).toBeLessThan(elapsed / 100);
  });

  it('waits for the interval after the last one, and one that other work ended goes on at its pace', () => {
    rest(() => core.state === 'ready');
    const isAuditing = () => core.jobs.current?.name === 'audit';
    rest(isAuditing);
    rest(() => !isAuditing());
    expect(rest(isAuditing)).toBeGreaterThanOrEqual(INTERVAL_MS - 20);
    const progress = () => ({ phase: '', done: 0, total: 0 });
    core.jobs.add({
      name: 'other',
      priority: PRIORITY_CHANGE,
      step: () => 'done',
      abort: () => undefined,
      progress,
    });
    expect(core.jobs.current?.name).toBe('other');
    core.audits.reason = '';
    rest(() => core.audits.reason !== '');
    expect(core.audits.reason).toBe('background');
  });
});
