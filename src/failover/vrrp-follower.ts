/** keepalived's lines on one side, role changes on the other: of all that was read in one go the last state counts. */
import type { Counters } from '../flow/counters.js';
import type { Log } from '../flow/log.js';
import { VRRP_ALONE_MS } from '../limits.js';
import type { Role } from './ports.js';
import { RoleFollower, type RoleFollowerPorts } from './role-follower.js';
import { VrrpChoice } from './vrrp-choice.js';
import { LineCutter, parseVrrpLine, roleOfState, type VrrpLine, type VrrpState } from './vrrp-lines.js';

/** Characters of a garbled line that the log shows. */
const SHOWN_MAX = 80;

export interface VrrpFollowerPorts extends RoleFollowerPorts {
  readonly counters: Counters;
  readonly log: Log;
}

export class VrrpFollower {
  /** The last state that counted; undefined: keepalived has said none since the start. */
  state: VrrpState | undefined;
  /** Changes of state that counted. */
  changes = 0;
  readonly #ports: VrrpFollowerPorts;
  readonly #choice: VrrpChoice;
  readonly #follower: RoleFollower;
  readonly #cutter = new LineCutter();
  #tooLong = 0;
  #problem: string | undefined;
  /** The last line of this reading that counts, and how much. */
  #last: VrrpLine | undefined;
  #isAlone = false;
  /** Readings so far: a line that waits is overruled by a later one. */
  #readings = 0;

  /** `name`: of the group or instance that counts; undefined: the only one. */
  constructor(ports: VrrpFollowerPorts, name: string | undefined) {
    this.#ports = ports;
    this.#choice = new VrrpChoice(name);
    this.#follower = new RoleFollower(ports);
  }

  /** The role that keepalived's last state asks for. */
  get wanted(): Role | undefined {
    return this.#follower.wanted;
  }

  /** The group or instance that is followed. */
  get followed(): string | undefined {
    return this.#choice.followed;
  }

  /** Why nothing is followed although keepalived speaks. */
  get problem(): string | undefined {
    return this.#choice.problem;
  }

  /** A piece of what was read; `turn` follows when there is no more. */
  push(u8: Uint8Array, length: number): void {
    this.#cutter.push(u8, length, (text) => this.#hear(text));
  }

  /** Another FIFO begins: a half line of the old one has no end. */
  restart(): void {
    this.#cutter.clear();
  }

  /** All was read: the last state is followed. */
  turn(): void {
    this.#complain();
    const line = this.#last;
    if (line === undefined) return;
    this.#last = undefined;
    // A later line of this reading has shown that it is not the only name.
    if (this.#choice.followed !== line.name) return;
    const reading = ++this.#readings;
    if (!this.#isAlone) {
      this.#follow(line);
      return;
    }
    this.#ports.later(VRRP_ALONE_MS, () => {
      if (reading === this.#readings && this.#choice.followed === line.name) this.#follow(line);
    });
  }

  #hear(text: string): void {
    const line = parseVrrpLine(text);
    if (line === 'other') return;
    if (line === undefined) {
      this.#ports.counters.count('vrrp.garbled');
      this.#ports.log('warn', 'vrrp: not a line of keepalived', { line: text.slice(0, SHOWN_MAX) });
      return;
    }
    const verdict = this.#choice.judge(line);
    if (verdict === 'ignored') {
      this.#ports.counters.count('vrrp.ignored');
      return;
    }
    // Two lines of one name in one reading are still the first ones.
    this.#isAlone = verdict === 'alone' || (this.#isAlone && this.#last?.name === line.name);
    this.#last = line;
  }

  #follow({ kind, name, state }: VrrpLine): void {
    const role = roleOfState(state);
    this.state = state;
    this.changes++;
    this.#ports.log('info', 'vrrp: state', { kind, name, state, role });
    this.#follower.want(role);
  }

  /** What is wrong is logged when it begins. */
  #complain(): void {
    const { tooLong } = this.#cutter;
    if (tooLong > this.#tooLong) {
      this.#ports.counters.count('vrrp.too-long', tooLong - this.#tooLong);
      this.#ports.log('warn', 'vrrp: lines too long for keepalived were skipped', { lines: tooLong });
      this.#tooLong = tooLong;
    }
    const { problem } = this.#choice;
    if (problem !== undefined && problem !== this.#problem) this.#ports.log('error', `vrrp: ${problem}`);
    this.#problem = problem;
  }
}
