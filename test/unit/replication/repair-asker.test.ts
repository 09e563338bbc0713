import { describe, expect, it } from 'vitest';
import { REPAIRS_MAX } from '../../../src/limits.js';
import { RepairAsker } from '../../../src/replication/repair-asker.js';
import { REQUEST_GROUPS, REQUEST_SCOPES, REQUEST_SEGMENTS } from '../../../src/wire/control-messages.js';

describe('a repair, as its receiver asks for it', () => {
  it('goes from groups to segments to scopes, and waits for a MARK', () => {
    const asker = new RepairAsker();
    expect(asker.due(0)).toBe(0);
    asker.start(0);
    expect(asker.due(0)).toBe(REQUEST_GROUPS);
    expect(asker.due(100)).toBe(0);
    asker.wantGroup(9);
    asker.groupsDone(100);
    expect(asker.due(100)).toBe(REQUEST_SEGMENTS);
    expect([...asker.bitmap()]).toEqual([0, 2, 0, 0, 0, 0, 0, 0]);
    asker.wantScope(9 * 64 + 1);
    asker.groupDone(9, 200);
    expect(asker.due(200)).toBe(REQUEST_SCOPES);
    expect(asker.bitmap()[(9 * 64) >>> 3]).toBe(2);
    asker.scopeDone(9 * 64 + 1, true, 300);
    expect(asker.phase).toBe('waiting');
    expect(asker.due(10_000)).toBe(0);
    asker.finish();
    expect(asker.phase).toBe('idle');
  });

  it('asks again when no answer comes', () => {
    const asker = new RepairAsker();
    asker.start(0);
    asker.due(0);
    expect(asker.due(249)).toBe(0);
    expect(asker.due(250)).toBe(REQUEST_GROUPS);
  });

  it('gives a scope up after as many repairs as are allowed, and not before', () => {
    const asker = new RepairAsker();
    for (let i = 1; i <= REPAIRS_MAX; i++) {
      expect(asker.wantScope(5)).toBe(true);
      expect(asker.scopeDone(5, false, i)).toBe(i === REPAIRS_MAX);
    }
    expect(asker.diverged).toBe(1);
    expect(asker.wantScope(5)).toBe(false);
    asker.startAll(100);
    expect(asker.diverged).toBe(0);
    expect(asker.scopesWanted).toBe(4096);
  });
});
