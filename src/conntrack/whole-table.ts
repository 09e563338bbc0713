/** -F, -C, -S: what is done to a table as a whole, or asked about it. */
import { ConntrackMissingError } from '../kernel/kernel-error.js';
import { type CpuStats, TableRequests } from '../kernel/table-requests.js';
import { EXIT_OK } from './errors.js';
import { countExpectations } from './expectations.js';
import type { Run } from './run.js';
import type { Settings } from './settings.js';

/** Names of the counters as conntrack(8) shows them, in its order. */
const FLOW_COUNTERS: readonly (readonly [string, keyof CpuStats])[] = [
  ['searched', 'searched'],
  ['found', 'found'],
  ['new', 'new'],
  ['invalid', 'invalid'],
  ['ignore', 'ignore'],
  ['delete', 'delete'],
  ['delete_list', 'deleteList'],
  ['insert', 'insert'],
  ['insert_failed', 'insertFailed'],
  ['drop', 'drop'],
  ['early_drop', 'earlyDrop'],
  ['error', 'error'],
  ['search_restart', 'searchRestart'],
  ['clash_resolve', 'clashResolve'],
  ['chaintoolong', 'chainTooLong'],
];

async function ask<T>(use: (table: TableRequests) => Promise<T> | T): Promise<T> {
  const table = new TableRequests();
  try {
    return await use(table);
  } finally {
    table.close();
  }
}

/** -F: all of a table, or the flows of one family. */
export async function flushTable(run: Run, { table, family }: Settings): Promise<number> {
  const isFlows = table === 'conntrack';
  await ask((requests) =>
    isFlows ? requests.flush(family === undefined ? {} : { family }) : requests.flushExpectations(),
  );
  run.say(`${isFlows ? 'connection tracking' : 'expectation'} table has been emptied.`);
  return EXIT_OK;
}

/** -C. */
export async function countTable(run: Run, { table }: Settings): Promise<number> {
  const count =
    table === 'conntrack' ? (await ask((requests) => requests.entries())).entries : countExpectations(run);
  run.out.text(String(count));
  run.out.endLine();
  return EXIT_OK;
}

/** -S: a line for each CPU. */
export async function showStats(run: Run, { table }: Settings): Promise<number> {
  const line = (cpu: number, counters: readonly (readonly [string, number | undefined])[]) => {
    const known = counters.filter(([, value]) => value !== undefined);
    run.out.text(
      `cpu=${String(cpu).padEnd(4)}\t${known.map(([name, value]) => `${name}=${value} `).join('')}`,
    );
    run.out.endLine();
  };
  await ask((requests) => {
    if (table === 'conntrack') {
      const cpus = requests.cpus();
      if (cpus.length === 0) throw new ConntrackMissingError('ask for conntrack statistics', 0);
      for (const cpu of cpus)
        line(
          cpu.cpu,
          FLOW_COUNTERS.map(([name, key]) => [name, cpu[key]]),
        );
    } else {
      for (const { cpu, ...counters } of requests.expectationCpus()) {
        line(
          cpu,
          Object.entries(counters).map(([name, value]) => [`expect_${name}`, value]),
        );
      }
    }
  });
  return EXIT_OK;
}
