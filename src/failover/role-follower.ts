/**
 * Follows what somebody outside wants the role to be. What was wanted last wins, in order; a promote that runs is
 * stopped by a wish to step back; what fails is tried again as long as it is wanted.
 */
import { FOLLOW_RETRY_MS } from '../limits.js';
import type { Role } from './ports.js';

export interface RoleFollowerPorts {
  /** This node's role now. */
  role(): Role;
  /** Takes the role; resolves when it is taken, or when a later change stopped it. */
  change(role: Role): Promise<unknown>;
  /** Calls back after so many milliseconds. */
  later(ms: number, call: () => void): void;
  /** A change failed; it is tried again. */
  failed(role: Role, error: unknown): void;
}

export class RoleFollower {
  /** What is wanted; undefined: nobody has said anything yet. */
  wanted: Role | undefined;
  readonly #ports: RoleFollowerPorts;
  #running: Role | undefined;
  /** The number of the newest change: what an older one leaves is of no interest. */
  #newest = 0;

  constructor(ports: RoleFollowerPorts) {
    this.#ports = ports;
  }

  want(role: Role): void {
    this.wanted = role;
    this.#step();
  }

  #step(): void {
    const { wanted } = this;
    if (wanted === undefined || wanted === this.#running) return;
    // Stepping back stops a promote; a step back takes a second at most, and is waited for.
    if (this.#running !== undefined && this.#running !== 'primary') return;
    if (this.#running === undefined && this.#ports.role() === wanted) return;
    this.#start(wanted);
  }

  #start(role: Role): void {
    const number = ++this.#newest;
    this.#running = role;
    const end = (isDone: boolean): void => {
      if (number !== this.#newest) return;
      this.#running = undefined;
      // What was wanted was done, once: whoever changes the role by hand after that is not overruled.
      if (!isDone || this.wanted !== role) this.#step();
    };
    const fail = (error: unknown): void => {
      if (number !== this.#newest) return;
      this.#ports.failed(role, error);
      this.#ports.later(FOLLOW_RETRY_MS, () => end(false));
    };
    this.#ports.change(role).then(() => end(true), fail);
  }
}
