import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { Core } from '../../../src/daemon/core.js';
import { REHEARSAL_FLOWS } from '../../../src/daemon/rehearsal.js';
import { Rehearsals } from '../../../src/daemon/rehearsals.js';
import type { Role } from '../../../src/failover/ports.js';
import { REHEARSAL_INTERVAL_MS, REHEARSAL_LOOK_MS } from '../../../src/limits.js';

const SOON_MS = 20_000;

describe('rehearsals', () => {
  const node = { role: 'backup' as Role, state: 'ready', jobs: { isIdle: true } };
  let rehearsals: Rehearsals;

  beforeEach(() => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    Object.assign(node, { role: 'backup', state: 'ready', jobs: { isIdle: true } });
    rehearsals = new Rehearsals(node as unknown as Core);
  });

  afterEach(() => {
    rehearsals.close();
    vi.useRealTimers();
  });

  it('come soon after the start of a backup, and again after a while', () => {
    vi.advanceTimersByTime(SOON_MS);
    expect(rehearsals.runs).toBe(REHEARSAL_FLOWS.length);
    vi.advanceTimersByTime(REHEARSAL_INTERVAL_MS - 2 * SOON_MS);
    expect(rehearsals.runs).toBe(REHEARSAL_FLOWS.length);
    vi.advanceTimersByTime(3 * SOON_MS);
    expect(rehearsals.runs).toBe(2 * REHEARSAL_FLOWS.length);
  });

  it.each([
    ['a primary', { role: 'primary' }],
    ['a node that joins', { state: 'joining' }],
    ['a node at work', { jobs: { isIdle: false } }],
  ])('are none of %s until it is an idle backup', (_name, how) => {
    Object.assign(node, how);
    vi.advanceTimersByTime(SOON_MS);
    expect(rehearsals.runs).toBe(0);
    Object.assign(node, { role: 'backup', state: 'ready', jobs: { isIdle: true } });
    vi.advanceTimersByTime(SOON_MS);
    expect(rehearsals.runs).toBe(REHEARSAL_FLOWS.length);
  });

  it('cost a primary no more than a look a second', () => {
    let looks = 0;
    const look = (): Role => {
      looks++;
      return 'primary';
    };
    Object.defineProperty(node, 'role', { get: look, configurable: true });
    vi.advanceTimersByTime(10 * REHEARSAL_LOOK_MS);
    Object.defineProperty(node, 'role', { value: 'backup', writable: true, configurable: true });
    expect(looks).toBeLessThanOrEqual(2 * 11);
  });

  it('end with the daemon', () => {
    rehearsals.close();
    vi.advanceTimersByTime(SOON_MS);
    expect(rehearsals.runs).toBe(0);
  });
});
