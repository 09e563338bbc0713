/**
 * Flows whose address left this node. When an address is removed the kernel destroys every flow that it masqueraded to
 * it (nf_nat_masquerade_inet_event, Linux 6.18), and keepalived removes the addresses before it says BACKUP. To the
 * stream such a flow has not ended: it goes where the address goes. So its slot is held back, without KERNEL: the new
 * primary's DECLARE takes it like every flow that did not change. Who stays primary lets it go after a while.
 */
import { AWAY_BACKUP_S, AWAY_PRIMARY_S } from '../limits.js';
import type { FlowTable } from './flow-table.js';
import { AWAY, DEAD, KERNEL, OWNER_SELF, PENDING } from './slot-bits.js';

/** Slots let go in one step. */
const PER_STEP = 1024;

export interface AwayFlowsPorts {
  readonly table: FlowTable;
  isPrimary(): boolean;
  /** The flow of the slot has ended after all. */
  end(slot: number): void;
}

/** A ring with room for every slot; pages that are never touched cost nothing. */
export class AwayFlows {
  /** Entries that wait, those of slots that were let go by others among them. */
  waiting = 0;
  readonly #ports: AwayFlowsPorts;
  readonly #ring: Int32Array;
  #first = 0;

  constructor(ports: AwayFlowsPorts) {
    this.#ports = ports;
    this.#ring = new Int32Array(ports.table.capacity);
  }

  /** Holds back an own slot that the kernel has just let go. False when there is no room: it ends now. */
  hold(slot: number, nowS: number): boolean {
    if (this.waiting === this.#ring.length) return false;
    const { table } = this.#ports;
    table.clearBits(slot, KERNEL);
    table.setBits(slot, AWAY);
    table.setChangedTime(slot, nowS);
    this.#ring[(this.#first + this.waiting++) % this.#ring.length] = slot;
    return true;
  }

  /** Lets go what has waited long enough. True if there was more than one step can do. */
  step(nowS: number): boolean {
    const { table } = this.#ports;
    const waitS = this.#ports.isPrimary() ? AWAY_PRIMARY_S : AWAY_BACKUP_S;
    for (let i = 0; i < PER_STEP && this.waiting > 0; i++) {
      const slot = this.#ring[this.#first];
      const isOurs = table.isUsed(slot) && (table.bits(slot) & AWAY) !== 0;
      if (isOurs && nowS - table.changedTime(slot) < waitS) return false;
      this.#first = (this.#first + 1) % this.#ring.length;
      this.waiting--;
      if (!isOurs) continue;
      const isLeft = table.owner(slot) === OWNER_SELF && (table.bits(slot) & (KERNEL | DEAD | PENDING)) === 0;
      table.clearBits(slot, AWAY);
      // A new life has the slot, or the new primary, or a commit will ask for it.
      if (isLeft) this.#ports.end(slot);
    }
    return this.waiting > 0;
  }
}
