/**
 * The network namespaces of labs: `ctlab<pid>x<n>-<node>`, so that several labs can stand side by side and what a
 * killed one left behind can be told from what still lives.
 */
import { existsSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CommandError, runSync, tryRun } from './command.js';

const NAME = /^ctlab(\d+)x(\d+)-/;
const DIRECTORY = '/run/netns';

/** Namespaces cannot be made here; the message says what is needed. */
export class LabError extends Error {
  override readonly name = 'LabError';
}

function labNames(): string[] {
  return existsSync(DIRECTORY) ? readdirSync(DIRECTORY).filter((name) => NAME.test(name)) : [];
}

/** Deletes a namespace with everything in it; what still runs there is killed first. */
export function removeNamespace(name: string): void {
  for (const pid of runSync(['ip', 'netns', 'pids', name]).stdout.split('\n').filter(Boolean)) {
    try {
      process.kill(Number(pid), 'SIGKILL');
    } catch {
      // It ended by itself meanwhile.
    }
  }
  runSync(['ip', 'netns', 'del', name]);
}

/** Removes the namespaces and directories of labs whose process is gone. */
export function removeStaleLabs(): void {
  const isStale = (name: string) => {
    const pid = NAME.exec(name)?.[1];
    return pid !== undefined && !existsSync(`/proc/${pid}`);
  };
  for (const name of labNames().filter(isStale)) removeNamespace(name);
  for (const name of readdirSync(tmpdir()).filter(isStale)) {
    rmSync(join(tmpdir(), name), { recursive: true, force: true });
  }
}

/** A prefix that no other lab has: this process and the next free number. */
export function freePrefix(): string {
  const taken = new Set(labNames().map((name) => NAME.exec(name)?.[0]));
  for (let n = 1; ; n++) {
    const prefix = `ctlab${process.pid}x${n}-`;
    if (!taken.has(prefix)) return prefix;
  }
}

/** Adds a namespace; throws LabError with one line that says what to do where that is not allowed. */
export async function addNamespace(name: string): Promise<void> {
  const argv = ['ip', 'netns', 'add', name];
  const result = await tryRun(argv).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') throw new LabError('the lab needs `ip` (Debian: iproute2): npm run setup');
    throw error;
  });
  if (result.code === 0) return;
  if (/denied|not permitted|mkdir|mount/i.test(result.stderr)) {
    throw new LabError(
      process.getuid?.() === 0
        ? 'this root may not make network namespaces (a container?): run it on the machine, or privileged'
        : 'the lab needs root, or unprivileged user namespaces: sh test/lab/rooted.sh COMMAND',
    );
  }
  throw new CommandError(argv, result);
}
