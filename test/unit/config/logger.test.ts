import { openSync } from 'node:fs';
import { expect, test } from 'vitest';
import { Logger } from '../../../src/daemon/logger.js';
import { LOG_KINDS_MAX, LOG_LINES_PER_SECOND } from '../../../src/limits.js';

function make(level?: 'debug' | 'info') {
  const lines: Record<string, unknown>[] = [];
  const clock = { now: 0 };
  const stream = { write: (line: string) => void lines.push(JSON.parse(line)) };
  return { lines, clock, logger: new Logger({ level, stream, now: () => clock.now }) };
}

test('a line has time, level, message and fields', () => {
  const { lines, logger } = make();
  logger.log('warn', 'peer is silent', { peer: 'fw2' });
  expect(lines).toEqual([
    { level: 'warn', time: expect.stringMatching(/^\d{4}-.*Z$/), peer: 'fw2', msg: 'peer is silent' },
  ]);
});

test('lines below the level are not written until the level is changed', () => {
  const { lines, logger } = make();
  logger.log('debug', 'x');
  logger.setLevel('debug');
  logger.log('debug', 'x');
  expect(lines).toHaveLength(1);
});

test('one kind is limited per second, another is not touched by it, and the rest are counted', () => {
  const { lines, clock, logger } = make();
  for (let i = 0; i < 1000; i++) logger.log('warn', 'malformed frame', { i });
  logger.log('warn', 'peer is silent');
  expect(lines).toHaveLength(LOG_LINES_PER_SECOND + 1);
  clock.now = 1000;
  logger.log('warn', 'malformed frame', { i: 1000 });
  expect(lines.at(-1)).toMatchObject({ i: 1000, suppressed: 1000 - LOG_LINES_PER_SECOND });
  logger.log('warn', 'malformed frame', { i: 1001 });
  expect(lines.at(-1)).not.toHaveProperty('suppressed');
});

test('what was left out is said at the end', () => {
  const { lines, logger } = make();
  for (let i = 0; i < 9; i++) logger.log('info', 'gap');
  logger.flush();
  expect(lines.at(-1)).toMatchObject({
    msg: 'lines left out',
    kind: 'gap',
    suppressed: 9 - LOG_LINES_PER_SECOND,
  });
});

test('kinds beyond the limit share one allowance, so messages made of hostile bytes cost no memory', () => {
  const { lines, logger } = make();
  for (let i = 0; i < LOG_KINDS_MAX + 100; i++) logger.log('info', `kind ${i}`);
  expect(lines).toHaveLength(LOG_KINDS_MAX + LOG_LINES_PER_SECOND);
});

test('a full disk ends nothing: it is known why lines are not written', async () => {
  const fd = openSync('/dev/full', 'w');
  const logger = new Logger({ fd });
  logger.log('info', 'running');
  while (logger.problem === undefined) await new Promise((resolve) => setTimeout(resolve, 1));
  expect(logger.problem).toBe('ENOSPC');
  logger.log('info', 'stopping');
  logger.flush();
  // Where it would be thrown at the exit.
  await new Promise((resolve) => setTimeout(resolve, 10));
});
