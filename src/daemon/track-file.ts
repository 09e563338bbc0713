/**
 * The file that keepalived's track_file reads: 1 while this node is ready, else 0. keepalived takes a file that is
 * missing, empty or garbled for 0, so that a node whose daemon never ran counts as not ready. It hears of a rename
 * (keepalived 2.2: inotify) as of a write, so no reader ever sees half a file.
 */
import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import type { Log } from '../flow/log.js';
import { TRACK_FILE_LOOK_MS } from '../limits.js';

export class TrackFile {
  /** Why it could not be written, and what to do. */
  problem: string | undefined;
  readonly #path: string;
  readonly #log: Log;
  #written: boolean | undefined;
  #lookedAt = Number.NEGATIVE_INFINITY;

  constructor(path: string, log: Log) {
    this.#path = path;
    this.#log = log;
  }

  /** Writes it if it says something else; now and then it is looked whether it is still there. */
  say(isReady: boolean, now: number): void {
    if (isReady === this.#written && now - this.#lookedAt < TRACK_FILE_LOOK_MS) return;
    this.#lookedAt = now;
    const text = isReady ? '1\n' : '0\n';
    try {
      if (isReady === this.#written && this.#read() === text) return;
      const aside = `${this.#path}.new`;
      writeFileSync(aside, text, { mode: 0o644 });
      renameSync(aside, this.#path);
      this.#written = isReady;
      this.problem = undefined;
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException;
      const problem = `failover.track_file ${this.#path} cannot be written (${code ?? message}): keepalived goes on with what it says`;
      if (problem !== this.problem) this.#log('error', `ready: ${problem}`);
      this.problem = problem;
    }
  }

  #read(): string | undefined {
    try {
      return readFileSync(this.#path, 'latin1');
    } catch {
      return undefined;
    }
  }
}
