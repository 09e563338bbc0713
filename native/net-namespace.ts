import { closeSync, openSync } from 'node:fs';
import { EPERM, lastErrno, setns } from './libc.js';
import { SystemError } from './system-error.js';

const CLONE_NEWNET = 0x40000000; // linux/sched.h

function enter(fd: number, operation: string): void {
  if (setns(fd, CLONE_NEWNET) < 0) {
    const errno = lastErrno();
    const advice = errno === EPERM ? { advice: 'run as root, or give the process CAP_SYS_ADMIN' } : {};
    throw new SystemError(operation, errno, advice);
  }
}

const pathOf = (nameOrPath: string): string =>
  nameOrPath.includes('/') ? nameOrPath : `/run/netns/${nameOrPath}`;

/**
 * A network namespace that is held open: it lives on although its name is deleted. A socket belongs to the namespace it
 * was opened in, so a program can have sockets in many.
 */
export class NetNamespace {
  private readonly fd: number;
  private readonly operation: string;
  private isClosed = false;

  /**
   * Opens the namespace of this name (`ip netns add NAME`), or the one that a path with a slash names
   * (/proc/PID/ns/net). Throws SystemError: ENOENT where there is none.
   */
  constructor(nameOrPath: string) {
    this.operation = `enter network namespace ${nameOrPath}`;
    try {
      this.fd = openSync(pathOf(nameOrPath), 'r');
    } catch (error) {
      const errno = -((error as NodeJS.ErrnoException).errno ?? 0);
      const advice = 'ip netns list shows the names there are';
      throw new SystemError(`open network namespace ${nameOrPath}`, errno, { advice, cause: error });
    }
  }

  /**
   * Does `work`, which must be synchronous, with this thread in the namespace, and comes back. Throws SystemError: EPERM
   * without CAP_SYS_ADMIN, EINVAL where the path is no network namespace.
   */
  run<T>(work: () => T): T {
    const home = openSync('/proc/thread-self/ns/net', 'r');
    try {
      enter(this.fd, this.operation);
      try {
        return work();
      } finally {
        enter(home, 'leave network namespace');
      }
    } finally {
      closeSync(home);
    }
  }

  close(): void {
    if (this.isClosed) return;
    this.isClosed = true;
    closeSync(this.fd);
  }
}

/**
 * Moves this thread into a named network namespace for good: sockets opened and sysctls read from now on are that
 * namespace's. For lab tests and benchmarks. Returns the way back, once. Throws SystemError.
 */
export function enterNetNamespace(name: string): () => void {
  const home = openSync('/proc/thread-self/ns/net', 'r');
  const there = openSync(pathOf(name), 'r');
  try {
    enter(there, `enter network namespace ${name}`);
  } finally {
    closeSync(there);
  }
  return () => {
    enter(home, 'leave network namespace');
    closeSync(home);
  };
}
