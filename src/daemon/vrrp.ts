/** keepalived drives this node's role through its notify FIFO: no process is started, and the order of states is kept. */
import type { VrrpReport } from '../control/messages.js';
import type { Role } from '../failover/ports.js';
import { VrrpFollower } from '../failover/vrrp-follower.js';
import type { Counters } from '../flow/counters.js';
import type { Log } from '../flow/log.js';
import { VrrpFifo } from './vrrp-fifo.js';

export interface VrrpParts {
  /** The configuration's file: problems name it. */
  readonly configFile: string;
  readonly fifo: string;
  /** The group or instance that counts; undefined: the only one. */
  readonly name: string | undefined;
  /** A role of the run before was restored. */
  readonly isRestored: boolean;
  readonly log: Log;
  readonly counters: Counters;
  role(): Role;
  change(role: Role): Promise<unknown>;
  /** Gives the core a turn: work was added. */
  wake(): void;
}

export class Vrrp {
  readonly #parts: VrrpParts;
  readonly #follower: VrrpFollower;
  readonly #fifo: VrrpFifo;
  readonly #timers = new Set<NodeJS.Timeout>();

  constructor(parts: VrrpParts) {
    this.#parts = parts;
    const { log, counters } = parts;
    this.#follower = new VrrpFollower(
      {
        log,
        counters,
        role: () => parts.role(),
        change: (role) => {
          const changed = parts.change(role);
          parts.wake();
          return changed;
        },
        later: (ms, call) => this.#later(ms, call),
        failed: (role, error) =>
          log('error', 'vrrp: role not taken, trying again', { role, reason: String(error) }),
      },
      parts.name,
    );
    this.#fifo = new VrrpFifo(parts.fifo, {
      log,
      push: (u8, length) => this.#follower.push(u8, length),
      turn: () => this.#follower.turn(),
      restart: () => this.#follower.restart(),
    });
  }

  report(): VrrpReport {
    const { state, followed, changes } = this.#follower;
    return {
      fifo: this.#fifo.path,
      name: followed ?? '',
      state: state ?? '',
      isHeld: this.#fifo.isHeld,
      changes,
    };
  }

  /** Why this node would not hear keepalived, in sentences. */
  problems(): string[] {
    const { configFile } = this.#parts;
    const { problem } = this.#follower;
    if (this.#fifo.problem !== undefined) return [`${configFile}: ${this.#fifo.problem}`];
    return problem === undefined ? [] : [`${configFile}: ${problem}`];
  }

  /** What an operator should know of it, in sentences. */
  warnings(): string[] {
    const problems = this.problems();
    if (problems.length > 0) return problems;
    // No reason against a takeover: without keepalived nobody asks for the weight, and others may write here.
    if (!this.#fifo.isHeld) return ['keepalived does not have the FIFO open: is it running?'];
    const { wanted, state } = this.#follower;
    const role = this.#parts.role();
    if (wanted !== undefined && wanted !== role)
      return [`keepalived says ${state}, and this node is ${role}`];
    if (wanted === undefined && !this.#parts.isRestored)
      return ['keepalived has said no state since the start: systemctl reload keepalived makes it say it'];
    return [];
  }

  close(): void {
    this.#fifo.close();
    for (const timer of this.#timers) clearTimeout(timer);
  }

  #later(ms: number, call: () => void): void {
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      call();
    }, ms);
    this.#timers.add(timer);
  }
}
