/**
 * What keepalived and operators do: who is told to be primary or backup, where the address is, and when. The daemon
 * that is told may be down, start, or be in the middle of something; what it is told then is lost, as with keepalived.
 */
import type { Role } from '../../../src/failover/ports.js';
import type { Random } from '../random.js';
import type { Cluster } from './cluster.js';
import type { Machine } from './machine.js';

export class Operator {
  /** Who should be primary, as far as the operator knows. */
  master: Machine | undefined;
  readonly #cluster: Cluster;
  readonly #random: Random;
  #settled = 0;

  constructor(cluster: Cluster, random: Random) {
    this.#cluster = cluster;
    this.#random = random;
  }

  /** Tells the daemon of a machine its role, if it runs by then. */
  tell(machine: Machine, role: Role, afterMs: number): void {
    const settled = this.#settled;
    this.#cluster.schedule.after(afterMs, () => {
      // What a fault has left to be told later counts no more in peace.
      if (settled !== this.#settled) return;
      this.#cluster.trace.say(machine.name, `is told to be ${role}`);
      if (machine.run?.isUp) this.#cluster.watch.roles.asks(machine.run, role);
      if (role !== 'primary') this.#cluster.watch.takeovers.stopping(machine);
      machine.run?.ask(role);
    });
  }

  /** Packets go through this machine from then on; undefined: they are lost. */
  moveAddress(machine: Machine | undefined, afterMs: number): void {
    const { schedule, trace, traffic } = this.#cluster;
    schedule.after(Math.max(0, afterMs), () => {
      trace.say('address', machine === undefined ? 'is nowhere' : `moves to ${machine.name}`);
      traffic.active = machine;
    });
  }

  /** Another machine than the master. */
  other(): Machine {
    const others = this.#cluster.machines.filter((m) => m !== this.master);
    return others[this.#random.below(others.length)];
  }

  /** The address comes at about the promote: a little before it, a little after, or not at all. */
  takeOver(machine: Machine, afterMs: number): void {
    this.master = machine;
    this.tell(machine, 'primary', afterMs);
    const roll = this.#random.next();
    if (roll < 0.1) return;
    const offset = roll < 0.4 ? -20 * this.#random.next() : 200 * this.#random.next() * this.#random.next();
    this.moveAddress(machine, afterMs + offset);
  }

  /** In the end one machine is primary and has the address, and all others are told to be backups. */
  settle(): void {
    const { machines } = this.#cluster;
    this.#settled++;
    if (this.master === undefined) return;
    for (const machine of machines) {
      this.tell(machine, machine === this.master ? 'primary' : 'backup', 50 * this.#random.next());
    }
    this.moveAddress(this.master, 0);
  }
}
