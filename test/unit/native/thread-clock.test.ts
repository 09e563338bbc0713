import { expect, test } from 'vitest';
import { threadCpuMs } from '../../../native/thread-clock.js';

test('counts what the thread computes, and nothing while it waits', async () => {
  const before = threadCpuMs();
  await new Promise((resolve) => setTimeout(resolve, 300));
  const waited = threadCpuMs() - before;
  const from = threadCpuMs();
  const busyUntil = process.cpuUsage().user + 50_000;
  for (let i = 0; process.cpuUsage().user < busyUntil; i++) Math.sqrt(i);
  expect(threadCpuMs() - from).toBeGreaterThan(25);
  expect(waited).toBeLessThan(150);
});
