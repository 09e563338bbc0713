import { expect, test } from 'vitest';
import { run } from './command.js';
import { program } from './program.js';

/** Everything that has no time in it: at this size times mean nothing. */
test('the benchmark runs, and real connections get through the firewall to their end', async () => {
  const argv = [...program('test/bench/bench'), '--tiny', '--sides', 'conntwin', '--json'];
  const report = JSON.parse(await run([...argv, '--parts', 'events,connections'])) as {
    problems: string[];
    values: Record<string, Record<string, number[]>>;
  };
  expect(report.problems).toEqual([]);
  expect(report.values['burst.missing'].conntwin).toEqual([0]);
  expect(report.values['create.backup'].conntwin[0]).toBeGreaterThan(0);
  for (const load of ['tcp.500', 'tcp.far', 'udp']) {
    expect(report.values[`${load}.whole`].conntwin, load).toEqual([100]);
    expect(report.values[`${load}.cpu`].conntwin[0], load).toBeGreaterThan(0);
  }
});
