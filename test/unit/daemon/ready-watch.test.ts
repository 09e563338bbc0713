import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import type { Core } from '../../../src/daemon/core.js';
import { ReadyWatch } from '../../../src/daemon/ready-watch.js';
import type { TakeoverCheck } from '../../../src/daemon/takeover-check.js';
import { READY_SAID_AFTER_MS } from '../../../src/limits.js';

const node = { role: 'backup', state: 'ready', replicator: { term: 7, openTenure: 0, peers: () => [] } };
let watch: ReadyWatch;
let lines: string[];

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['performance'] });
  lines = [];
  node.replicator.openTenure = 0;
  watch = new ReadyWatch({
    core: node as unknown as Core,
    check: { problems: [] } as unknown as TakeoverCheck,
    trackFile: undefined,
    vrrpProblems: () => [],
    hotLagMs: () => undefined,
    log: (_, message) => lines.push(message),
  });
});
afterEach(() => {
  watch.close();
  vi.useRealTimers();
});

test('a former primary that was taken over and now hears nobody is not ready: the others have moved on', () => {
  expect(watch.report()).toEqual({ isReady: false, reasons: ['no other node is heard'], exitCode: 1 });
});

test('one whose tenure nobody has taken over has the flows, and is ready', () => {
  node.replicator.openTenure = 7;
  expect(watch.report()).toEqual({ isReady: true, reasons: [], exitCode: 0 });
});

test('one that starts and does not become ready says why in the log, once; then each change', () => {
  for (let ms = 0; ms < 2 * READY_SAID_AFTER_MS; ms += 1000) {
    vi.advanceTimersByTime(1000);
    watch.tick(performance.now());
    expect(lines).toEqual(ms + 1000 < READY_SAID_AFTER_MS ? [] : ['not ready to take over']);
  }
  node.replicator.openTenure = 7;
  watch.report();
  node.replicator.openTenure = 0;
  for (let i = 0; i < 3; i++) watch.report();
  expect(lines).toEqual(['not ready to take over', 'ready to take over', 'not ready to take over']);
});
