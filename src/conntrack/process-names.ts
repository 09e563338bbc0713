/** Names of the processes that cause events, while they live: netlink's port id is often the process id. */
import { readFileSync } from 'node:fs';
import { PROCESS_NAMES_MAX } from '../limits.js';

/** A name, or that there is none, is believed for so long: many events have one cause. Milliseconds. */
const BELIEVED_MS = 1000;

export class ProcessNames {
  readonly #names = new Map<number, string | undefined>();
  #since = 0;

  /** What the process with this id calls itself now, or undefined. */
  of(portId: number, now: number): string | undefined {
    if (now - this.#since > BELIEVED_MS || this.#names.size >= PROCESS_NAMES_MAX) {
      this.#names.clear();
      this.#since = now;
    }
    if (!this.#names.has(portId)) this.#names.set(portId, readName(portId));
    return this.#names.get(portId);
  }
}

function readName(portId: number): string | undefined {
  try {
    return readFileSync(`/proc/${portId}/comm`, 'latin1').trimEnd();
  } catch {
    return undefined;
  }
}
