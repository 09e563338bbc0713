/**
 * The first thing a promote does: flows that are known to be live are created before it has looked at the others, which
 * takes a tenth of a second for a million. Only what is simple: a flow that the kernel does not take at once waits for
 * its turn in the commit, as if it had not been tried.
 *
 * Their slots are the source's still. They carry PENDING until the commit, so that no event changes them, and the scan
 * for what is to be committed passes them by.
 */
import { IPPROTO_GRE, IPS_EXPECTED } from '../flow/conntrack-enums.js';
import { KernelBatch } from '../flow/kernel-port.js';
import { addressBytes, findPart, OFF_PROTOCOL, offStatus, PART_MASTER } from '../flow/record.js';
import { INJECT_BATCH, LIVE_FLOWS_MAX } from '../limits.js';
import { DEAD, KERNEL, PENDING, SHADOW, TOUCHED } from '../table/slot-bits.js';
import { isKnownLive } from './commit-order.js';
import { type CommitWork, EARLY } from './commit-work.js';
import { DONE, GO_ON } from './slice.js';

/** Slots looked at in one turn. */
const LOOKS_PER_TURN = 1024;
/** Flows of the first batch, so that they need not wait for a longer one to be written; each further one has twice as many. */
const FIRST_BATCH = 32;

export class EarlyFlows {
  readonly #work: CommitWork;
  readonly #isSource: Uint8Array;
  readonly #batch = new KernelBatch(INJECT_BATCH);
  readonly #slots = new Int32Array(LIVE_FLOWS_MAX);
  /** What the source had said of each when it was created. */
  readonly #images = new Int32Array(LIVE_FLOWS_MAX);
  /** Flows that were created. */
  length = 0;
  #at = 0;
  #batchSize = FIRST_BATCH;

  /** `isSource`: by number of an owner, 1 for those whose flows are to be committed. */
  constructor(work: CommitWork, isSource: Uint8Array) {
    this.#work = work;
    this.#isSource = isSource;
  }

  /** Creates the next of them: GO_ON, or DONE when all were looked at. */
  turn(): number {
    const work = this.#work;
    const { table, kernel } = work.parts;
    const batch = this.#batch;
    const end = Math.min(table.live.length, this.#at + LOOKS_PER_TURN);
    for (; this.#at < end && batch.count < this.#batchSize; this.#at++) {
      const slot = table.live.at(this.#at);
      if (!this.#isWanted(slot)) continue;
      work.pend(slot);
      work.mark(slot, EARLY);
      work.addCreate(batch, slot);
    }
    if (batch.count > 0) {
      kernel.execute(batch);
      this.#batchSize = Math.min(batch.capacity, this.#batchSize * 2);
    }
    for (let i = 0; i < batch.count; i++) this.#created(i);
    batch.clear();
    return this.#at < table.live.length ? GO_ON : DONE;
  }

  /** Right after the relabel: what the source has said of them since is joined with what the kernel has. */
  lookAgain(): void {
    const { table } = this.#work.parts;
    for (let i = 0; i < this.length; i++) {
      const slot = this.#slots[i];
      if (!this.#work.isEarly(slot) || table.imageLo(slot) === this.#images[i]) continue;
      table.setBits(slot, TOUCHED);
    }
  }

  #created(i: number): void {
    const work = this.#work;
    const batch = this.#batch;
    const slot = batch.tag[i];
    if (batch.errno[i] !== 0) {
      work.unpend(slot);
      return;
    }
    this.#slots[this.length] = slot;
    this.#images[this.length++] = work.parts.table.imageLo(slot);
    work.created(slot, batch.memory, batch.at[i]);
  }

  #isWanted(slot: number): boolean {
    const { table } = this.#work.parts;
    if (!table.isUsed(slot) || this.#isSource[table.owner(slot)] !== 1 || !table.hasImage(slot)) return false;
    if ((table.bits(slot) & (DEAD | SHADOW | KERNEL | PENDING)) !== 0) return false;
    const m = table.memory;
    const at = table.recordAt(slot);
    // Children wait for their masters, and GRE is not simple.
    const isExpected = (m.u32[(at + offStatus(addressBytes(m, at))) >>> 2] & IPS_EXPECTED) !== 0;
    if (isExpected || findPart(m, at, PART_MASTER) >= 0) return false;
    return m.u8[at + OFF_PROTOCOL] !== IPPROTO_GRE && isKnownLive(m, at);
  }
}
