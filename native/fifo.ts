/** A named pipe, read by an event: what Node has no call for. */
import { closeSync, constants, fstatSync, openSync, readSync, type Stats } from 'node:fs';
import { EEXIST, lastErrno, mkfifo } from './libc.js';
import { ReadinessWatcher } from './readiness.js';
import { SystemError } from './system-error.js';

const { O_NONBLOCK, O_RDONLY, O_WRONLY } = constants;

/** Makes a named pipe that only its owner may use; one that is there already is left as it is. Throws SystemError. */
export function makeFifo(path: string): void {
  if (mkfifo(path, 0o600) === 0) return;
  const errno = lastErrno();
  if (errno !== EEXIST) throw new SystemError(`make the FIFO ${path}`, errno);
}

/**
 * The reading end of a named pipe. While no other process has it open for writing this one holds the writing end too,
 * since a pipe without a writer calls itself readable without end.
 */
export class FifoReader {
  /** Some other process has it open for writing, at the last look. */
  isHeld = false;
  private readonly fd: number;
  private readonly watcher: ReadinessWatcher;
  private keeper: number | undefined;
  private isClosed = false;

  /** Opens it without waiting for a writer; what is no pipe is better not opened. Throws what `open` throws. */
  constructor(path: string, onReadable: () => void) {
    this.fd = openSync(path, O_RDONLY | O_NONBLOCK);
    this.watcher = new ReadinessWatcher(this.fd, onReadable, () => this.watcher.start());
  }

  /** Of the open file: its path may lead to another one by now. */
  stat(): Stats {
    return fstatSync(this.fd);
  }

  /** Reads what there is, as much as fits; 0: nothing, for now. Throws what `read` throws but EAGAIN. */
  read(into: Uint8Array): number {
    try {
      const length = readSync(this.fd, into, 0, into.length, null);
      // The end of the file: nobody has it open for writing.
      if (length === 0) this.keep();
      return length;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error;
      return 0;
    }
  }

  /** As read, after a look whether another process has the pipe open now. */
  look(into: Uint8Array): number {
    if (this.keeper !== undefined) closeSync(this.keeper);
    this.keeper = undefined;
    this.isHeld = true;
    return this.read(into);
  }

  private keep(): void {
    this.isHeld = false;
    // By the descriptor: its path may lead to another file by now.
    this.keeper ??= openSync(`/proc/self/fd/${this.fd}`, O_WRONLY | O_NONBLOCK);
  }

  close(): void {
    if (this.isClosed) return;
    this.isClosed = true;
    this.watcher.close();
    if (this.keeper !== undefined) closeSync(this.keeper);
    closeSync(this.fd);
  }
}
