import { expect, test } from 'vitest';
import { tryRun } from './command.js';
import type { ShowResult } from './failover-show.js';
import { program } from './program.js';

const DEMO = program('test/lab/demo');

test('live connections survive the death of their firewall', async () => {
  const { code, stdout, stderr } = await tryRun([
    ...DEMO,
    '--json',
    '--flows',
    '10000',
    '--connections',
    '200',
  ]);
  expect(code, stderr).toBe(0);
  const result = JSON.parse(stdout) as ShowResult;
  expect(result).toMatchObject({ connections: 200, survived: 200, dead: {}, rejected: 0, recordsLost: 0 });
  expect(result.committed).toBeGreaterThanOrEqual(10_200);
});

test('the demo refuses what it does not know with one line that says so', async () => {
  const { code, stderr } = await tryRun([...DEMO, '--flows', 'many']);
  expect(code).not.toBe(0);
  expect(stderr.trim().split('\n')).toHaveLength(1);
});
