import { expect, it } from 'vitest';
import { type Flow, recordFromFlow } from '../../../src/flow/flow.js';
import { FlowDiff } from '../../../src/flow/flow-diff.js';
import {
  allocateMemory,
  lengthOf,
  MAX_RECORD_BYTES,
  OFF_LENGTH,
  PART_USE,
} from '../../../src/flow/record.js';

const COUNT = 20_000;

function record(n: number, more: Partial<Flow> = {}) {
  const m = allocateMemory(MAX_RECORD_BYTES);
  const isV6 = n % 3 === 0;
  const source = isV6 ? `fd00::${(n & 0xffff).toString(16)}` : `10.0.${n >> 8}.${n & 255}`;
  const original = {
    source,
    destination: isV6 ? 'fd00:1::1' : '10.2.0.1',
    sourcePort: 5,
    destinationPort: 80,
  };
  recordFromFlow({ family: isV6 ? 'ipv6' : 'ipv4', protocol: 'tcp', original, status: [], ...more }, m, 0);
  return m;
}

it('what is missing, extra and changed is found by key, however many flows there are', () => {
  const diff = new FlowDiff(Uint32Array.of(1, 2, 3, 4));
  for (let n = 0; n < COUNT; n++) diff.keep(record(n), 0);
  diff.keep(record(7), 0);
  expect(diff.count).toBe(COUNT);
  const verdicts = { equal: 0, changed: 0, unknown: 0 };
  for (let n = 10; n < COUNT + 5; n++) verdicts[diff.meet(record(n, n % 1000 === 0 ? { mark: 1 } : {}), 0)]++;
  expect(verdicts).toEqual({ equal: COUNT - 10 - 19, changed: 19, unknown: 5 });
  const missing: number[] = [];
  diff.unmet((m, at) => missing.push(lengthOf(m, at)));
  expect(missing.sort()).toEqual([100, 100, 100, 100, 52, 52, 52, 52, 52, 52]);
});

it('timeout, id and what is only shown make no difference; a helper does', () => {
  const diff = new FlowDiff(Uint32Array.of(1, 2, 3, 4));
  diff.keep(record(1, { timeout: 5, id: 9, labels: [3] }), 0);
  const shown = record(1, { timeout: 6, id: 8, labels: [3] });
  const end = lengthOf(shown, 0);
  shown.u32.set([PART_USE | (4 << 16), 2], end >>> 2);
  shown.u16[OFF_LENGTH >>> 1] = end + 8;
  expect(diff.meet(shown, 0)).toBe('equal');
  expect(diff.meet(record(1, { labels: [3], helper: 'ftp' }), 0)).toBe('changed');
  expect(diff.meet(record(1, { labels: [4] }), 0)).toBe('changed');
  expect(diff.meet(record(1), 0)).toBe('changed');
  expect(diff.meet(record(1, { zone: 4 }), 0)).toBe('unknown');
});
