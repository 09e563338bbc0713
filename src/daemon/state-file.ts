import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { decodeState, encodeState, type PersistedState } from '../failover/state.js';
import type { Log } from '../flow/log.js';

/** Identifies one run of the kernel: after a reboot its conntrack table is empty and an old role means nothing. */
export function readBootId(): string {
  return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
}

/**
 * The state of a role change in the run directory, written whole or not at all (aside, then renamed). It need not
 * survive a reboot, since it is void then.
 */
export class StateFile {
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
   * Writes the state; throws what the file system throws. It is not synced to a disk: that takes tens of milliseconds
   * on a busy one, before the first flow of a takeover, and no reader comes after a crash of the machine.
   */
  write(state: PersistedState): void {
    mkdirSync(dirname(this.#path), { recursive: true });
    const aside = `${this.#path}.new`;
    writeFileSync(aside, encodeState(state), { mode: 0o600 });
    renameSync(aside, this.#path);
  }
}
