/** Where and with what a benchmark ran. */
import { readFileSync } from 'node:fs';
import { cpus, loadavg, release, totalmem } from 'node:os';
import { join } from 'node:path';
import { tryRun } from '../lab/command.js';
import { repositoryRoot } from '../lab/program.js';

export interface Machine {
  /** ISO, to the minute. */
  readonly date: string;
  readonly kernel: string;
  readonly cores: number;
  readonly processor: string;
  readonly memoryGiB: number;
  readonly node: string;
  readonly conntwin: string;
  /** Empty: it is not installed. */
  readonly conntrackd: string;
  /** Processes that wanted to run at the start, averaged over a minute: what else there was. */
  readonly loadBefore: number;
}

export async function describeMachine(): Promise<Machine> {
  const { version } = JSON.parse(readFileSync(join(repositoryRoot(), 'package.json'), 'utf8')) as {
    version: string;
  };
  const { stdout } = await tryRun(['conntrackd', '-v']).catch(() => ({ stdout: '' }));
  const processors = cpus();
  return {
    date: new Date().toISOString().slice(0, 16),
    kernel: release(),
    cores: processors.length,
    processor: processors[0]?.model.trim() ?? '',
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    node: process.version,
    conntwin: version,
    conntrackd: /v(\d+(?:\.\d+)*)/.exec(stdout)?.[1] ?? '',
    loadBefore: Number(loadavg()[0].toFixed(2)),
  };
}
