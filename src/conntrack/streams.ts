/** Where the command writes: file descriptors, written before a call returns, so that nothing piles up in memory. */
import { writeSync } from 'node:fs';
import { EXIT_OTHER } from './errors.js';

/** What a run of the command needs of its process. */
export interface Streams {
  /** Takes all bytes before it returns. */
  out(bytes: Uint8Array): void;
  err(text: string): void;
}

const STDOUT = 1;
const STDERR = 2;
/** A reader of standard output that is gone: what a shell says of a program that SIGPIPE ended. */
const EXIT_PIPE = 141;
/** Pause before a full pipe that somebody made nonblocking is tried again. Milliseconds. */
const PIPE_PAUSE_MS = 1;
const PAUSE = new Int32Array(new SharedArrayBuffer(4));

/** A disk that is full: what was to be saved is not whole, and whoever made a script of it must hear. */
function giveUp(code: string): never {
  writeAll(STDERR, new TextEncoder().encode(`conntrack: standard output: ${code}\n`));
  process.exit(EXIT_OTHER);
}

function writeAll(fd: number, bytes: Uint8Array): void {
  for (let from = 0; from < bytes.length; ) {
    try {
      from += writeSync(fd, bytes, from, bytes.length - from);
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === 'EPIPE') process.exit(EXIT_PIPE);
      // Where nobody can be told anything, the work is done all the same.
      if (code !== 'EAGAIN' && fd === STDERR) return;
      if (code !== 'EAGAIN') giveUp(String(code));
      Atomics.wait(PAUSE, 0, 0, PIPE_PAUSE_MS);
    }
  }
}

/** Standard output and standard error of this process. */
export const processStreams = (): Streams => ({
  out: (bytes) => writeAll(STDOUT, bytes),
  err: (text) => writeAll(STDERR, new TextEncoder().encode(text)),
});
