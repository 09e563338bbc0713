/**
 * What keepalived writes into its notify FIFO, a line for each change of state (keepalived 2.2):
 *
 *     GROUP "edge" BACKUP 0
 *     INSTANCE "inside" MASTER 150
 *
 * A group's line comes last when it becomes MASTER and when it stops, and first when it starts.
 */
import { VRRP_LINE_MAX_BYTES } from '../limits.js';
import type { Role } from './ports.js';

export type VrrpKind = 'GROUP' | 'INSTANCE';
export type VrrpState = 'MASTER' | 'BACKUP' | 'FAULT' | 'STOP' | 'DELETED';

export interface VrrpLine {
  readonly kind: VrrpKind;
  readonly name: string;
  readonly state: VrrpState;
}

/** A keepalived that stops, or whose instance was deleted, gives up the addresses: somebody else takes over. */
const ROLE_OF: Readonly<Record<VrrpState, Role>> = {
  MASTER: 'primary',
  BACKUP: 'backup',
  FAULT: 'fault',
  STOP: 'backup',
  DELETED: 'backup',
};
/** Priorities and adverts change no state; VS and RS lines are those of a notify_fifo that load balancing shares. */
const NO_STATES = new Set(['MASTER_RX_LOWER_PRI', 'MASTER_PRIORITY', 'BACKUP_PRIORITY']);
const LINE = /^(GROUP|INSTANCE) "([^"]+)" ([A-Z_]+) \d{1,3}$/;
const BALANCING = /^(VS|RS) /;
const NEWLINE = 0x0a;

/** The role that a state asks for. */
export const roleOfState = (state: VrrpState): Role => ROLE_OF[state];

/** A change of state; 'other': a line that says nothing of a state; undefined: no line of keepalived's. */
export function parseVrrpLine(text: string): VrrpLine | 'other' | undefined {
  const match = LINE.exec(text);
  if (match === null) return BALANCING.test(text) ? 'other' : undefined;
  const [, kind, name, state] = match;
  if (NO_STATES.has(state)) return 'other';
  if (!Object.hasOwn(ROLE_OF, state)) return undefined;
  return { kind: kind as VrrpKind, name, state: state as VrrpState };
}

/** Cuts what is read into lines. The rest of a half line is waited for; one that never ends is skipped. */
export class LineCutter {
  /** Lines that were longer than VRRP_LINE_MAX_BYTES. */
  tooLong = 0;
  readonly #bytes = new Uint8Array(VRRP_LINE_MAX_BYTES);
  #length = 0;
  #isSkipping = false;

  /** Hands each whole line (without its end) to `onLine`. */
  push(u8: Uint8Array, length: number, onLine: (text: string) => void): void {
    for (let i = 0; i < length; i++) {
      if (u8[i] === NEWLINE) this.#end(onLine);
      else if (this.#length < this.#bytes.length) this.#bytes[this.#length++] = u8[i];
      else this.#isSkipping = true;
    }
  }

  /** Forgets a half line: what comes next is of another FIFO. */
  clear(): void {
    this.#length = 0;
    this.#isSkipping = false;
  }

  #end(onLine: (text: string) => void): void {
    if (this.#isSkipping) this.tooLong++;
    else onLine(new TextDecoder().decode(this.#bytes.subarray(0, this.#length)));
    this.clear();
  }
}
