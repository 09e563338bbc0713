import { mkdirSync, readFileSync, renameSync, unlinkSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { decodeState, encodeState, type PersistedState } from '../failover/state.js';
import type { Log } from '../flow/log.js';

/** Identifies one run of the kernel: after a reboot its conntrack table is empty and an old role means nothing. */
export function readBootId(): string {
  return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
}

/** The state is not remembered; the message says where, why and what to do. */
export class StateFileError extends Error {
  override readonly name = 'StateFileError';

  constructor(path: string, cause: NodeJS.ErrnoException) {
    const code = cause.code ?? cause.message;
    const directory = dirname(path);
    const advice =
      code === 'ENOSPC' || code === 'EDQUOT'
        ? 'make room there'
        : `let the daemon's user write into ${directory}`;
    super(`cannot write ${path} (${code}): ${advice}, or name another state_dir`, { cause });
  }
}

/**
 * The state of a role change in the run directory, written whole or not at all (aside, then renamed). It need not
 * survive a reboot, since it is void then.
 */
export class StateFile {
  /** Why it could not be written the last time, and what to do. */
  problem: string | undefined;
  readonly #path: string;
  readonly #log: Log;

  constructor(path: string, log: Log) {
    this.#path = path;
    this.#log = log;
  }

  /** The state of this boot, or undefined: never written, of another boot, or not readable (which is logged). */
  read(bootId: string): PersistedState | undefined {
    let text: string;
    try {
      text = readFileSync(this.#path, 'utf8');
    } catch {
      return undefined;
    }
    const state = decodeState(text);
    if ('reason' in state) {
      const fields = { file: this.#path, reason: state.reason };
      this.#log('warn', 'state file is not readable, starting as a backup', fields);
      return undefined;
    }
    return state.bootId === bootId ? state : undefined;
  }

  /**
   * Writes the state; throws StateFileError. It is not synced to a disk: that takes tens of milliseconds
   * on a busy one, before the first flow of a takeover, and no reader comes after a crash of the machine.
   */
  write(state: PersistedState): void {
    const aside = `${this.#path}.new`;
    this.#put(aside, encodeState(state));
    renameSync(aside, this.#path);
  }

  /** Finds out before there is a role whether one could be remembered; if not, says so in the log. */
  check(): void {
    const probe = `${this.#path}.try`;
    try {
      this.#put(probe, 'x');
      unlinkSync(probe);
    } catch {
      this.#log('error', 'a role will not be remembered', { reason: this.problem });
    }
  }

  #put(path: string, text: string): void {
    try {
      mkdirSync(dirname(path), { recursive: true });
      writeFileSync(path, text, { mode: 0o600 });
      this.problem = undefined;
    } catch (cause) {
      const error = new StateFileError(this.#path, cause as NodeJS.ErrnoException);
      this.problem = error.message;
      throw error;
    }
  }
}
