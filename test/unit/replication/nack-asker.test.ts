import { describe, expect, it } from 'vitest';
import { NACK_RETRY_MAX_MS } from '../../../src/limits.js';
import { NackAsker } from '../../../src/replication/nack-asker.js';

/** Times, from 0 to `ms`, at which the asker asks, and for what. */
function run(asker: NackAsker, ms: number, applied: number, newest: number, sequence: number): string[] {
  const asked: string[] = [];
  for (let now = 0; now <= ms; now++) {
    if (asker.due(applied, newest, sequence, now, 0)) asked.push(`${now}: ${asker.from}-${asker.to}`);
  }
  return asked;
}

describe('asking for missing frames', () => {
  it('begins some milliseconds after a hole is seen, and goes on with growing pauses', () => {
    expect(run(new NackAsker(), 100, 4, 6, 6)).toEqual(['2: 5-6', '12: 5-6', '32: 5-6', '72: 5-6']);
  });

  it('waits longer for frames of which only a heartbeat told', () => {
    expect(run(new NackAsker(), 15, 4, 0, 6)).toEqual(['10: 5-6']);
  });

  it('never stops while the hole is there, and is never silent for long', () => {
    const asked = run(new NackAsker(), 10_000, 4, 6, 6);
    expect(asked.length).toBeGreaterThan(10_000 / NACK_RETRY_MAX_MS);
  });

  it('repeats the question for an old hole in time, though new ones come all the while', () => {
    const asker = new NackAsker();
    const again: number[] = [];
    for (let now = 0; now <= 40; now++) {
      if (asker.due(4, 6 + now, 6 + now, now, 0) && asker.from === 5) again.push(now);
    }
    expect(again.slice(0, 3)).toEqual([2, 12, 32]);
  });

  it('is put off once, not twice, by another receiver that asks for the same', () => {
    const asker = new NackAsker();
    asker.due(4, 6, 6, 0, 0);
    asker.heard(1, 0);
    asker.heard(9, 0);
    const asked: number[] = [];
    for (let now = 1; now <= 15; now++) if (asker.due(4, 6, 6, now, 0)) asked.push(now);
    expect(asked).toEqual([11]);
  });

  it('rests when nothing is missing', () => {
    const asker = new NackAsker();
    asker.due(4, 6, 6, 0, 0);
    expect(asker.isOpen).toBe(true);
    asker.due(6, 6, 6, 1, 0);
    expect(asker.isOpen).toBe(false);
  });
});
