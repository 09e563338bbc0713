import { closeSync, openSync } from 'node:fs';
import { lastErrno, setns } from './libc.js';
import { SystemError } from './system-error.js';

const CLONE_NEWNET = 0x40000000; // linux/sched.h

function enter(fd: number, operation: string): void {
  try {
    if (setns(fd, CLONE_NEWNET) < 0) throw new SystemError(operation, lastErrno());
  } finally {
    closeSync(fd);
  }
}

/**
 * Moves this thread into a named network namespace (`ip netns add NAME`): sockets opened and sysctls read from
 * now on are that namespace's. For lab tests and benchmarks. Returns the way back, once. Throws SystemError.
 */
export function enterNetNamespace(name: string): () => void {
  const home = openSync('/proc/thread-self/ns/net', 'r');
  enter(openSync(`/run/netns/${name}`, 'r'), `enter network namespace ${name}`);
  return () => enter(home, 'leave network namespace');
}
