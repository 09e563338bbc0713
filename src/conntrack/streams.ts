/** Where the command writes: file descriptors, written before a call returns, so that nothing piles up in memory. */
import { writeSync } from 'node:fs';

/** What a run of the command needs of its process. */
export interface Streams {
  /** Takes all bytes before it returns. */
  out(bytes: Uint8Array): void;
  err(text: string): void;
}

/** A reader of standard output that is gone: what a shell says of a program that SIGPIPE ended. */
const EXIT_PIPE = 141;
/** Pause before a full pipe that somebody made nonblocking is tried again. Milliseconds. */
const PIPE_PAUSE_MS = 1;
const PAUSE = new Int32Array(new SharedArrayBuffer(4));

function writeAll(fd: number, bytes: Uint8Array): void {
  for (let from = 0; from < bytes.length; ) {
    try {
      from += writeSync(fd, bytes, from, bytes.length - from);
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === 'EPIPE') process.exit(EXIT_PIPE);
      if (code !== 'EAGAIN') throw error;
      Atomics.wait(PAUSE, 0, 0, PIPE_PAUSE_MS);
    }
  }
}

/** Standard output and standard error of this process. */
export const processStreams = (): Streams => ({
  out: (bytes) => writeAll(1, bytes),
  err: (text) => writeAll(2, new TextEncoder().encode(text)),
});
