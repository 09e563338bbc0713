import { afterEach, beforeEach, expect, test } from 'vitest';
import type { Core } from '../../../src/daemon/core.js';
import { ReadyWatch } from '../../../src/daemon/ready-watch.js';
import type { TakeoverCheck } from '../../../src/daemon/takeover-check.js';

const node = { role: 'backup', state: 'ready', replicator: { term: 7, openTenure: 0, peers: () => [] } };
let watch: ReadyWatch;
let lines: string[];

beforeEach(() => {
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
afterEach(() => watch.close());

test('a former primary that was taken over and now hears nobody is not ready: the others have moved on', () => {
  expect(watch.report()).toEqual({ isReady: false, reasons: ['no other node is heard'], exitCode: 1 });
});

test('one whose tenure nobody has taken over has the flows, and is ready', () => {
  node.replicator.openTenure = 7;
  expect(watch.report()).toEqual({ isReady: true, reasons: [], exitCode: 0 });
});
