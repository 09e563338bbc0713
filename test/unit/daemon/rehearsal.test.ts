import { describe, expect, it } from 'vitest';
import { REHEARSAL_FLOWS, Rehearsal } from '../../../src/daemon/rehearsal.js';

describe('a rehearsal', () => {
  it.each(REHEARSAL_FLOWS)(
    'takes over each of %i made-up flows by way of a real promote, in steps',
    (flows) => {
      const rehearsal = new Rehearsal(() => performance.now(), flows);
      let steps = 1;
      while (!rehearsal.step()) steps++;
      expect(rehearsal.committed).toBe(flows);
      expect(steps).toBeGreaterThan(flows / 32);
    },
  );
});
