import { expect, it } from 'vitest';
import { CutHistory } from '../../../src/replication/cut-history.js';

it('a cut of any age is placed at a stamp not after it, and not long before', () => {
  const history = new CutHistory();
  expect(history.stampAt(1)).toBe(Number.NEGATIVE_INFINITY);
  const frames = 1_000_000;
  for (let sequence = 1; sequence <= frames; sequence++) history.note(sequence, sequence * 3);
  let worst = 0;
  for (let cut = 10_000; cut <= frames; cut += 997) {
    const late = cut * 3 - history.stampAt(cut);
    expect(late).toBeGreaterThanOrEqual(0);
    worst = Math.max(worst, late / 3);
  }
  // One part in a thousand of the stream.
  expect(worst).toBeLessThanOrEqual(frames / 1000);
});
