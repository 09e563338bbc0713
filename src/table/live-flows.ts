/**
 * The slots of flows that their owner's audits saw packets of: a promote brings them into the kernel before it has
 * looked at anything else, and must not walk through a million slots to find them.
 *
 * A slot is noted whenever such a record comes into it, whoever owns it, and is never taken out: what is found under its
 * number later is looked at anew. The last LIVE_FLOWS_MAX are kept.
 */
import { type Memory, OFF_IDLE } from '../flow/record.js';
import { LIVE_FLOWS_MAX } from '../limits.js';
import { IDLE_LIVE } from './idle-classes.js';

/** A ring of slots, each in it once. */
export class LiveFlows {
  readonly #memory: Memory;
  readonly #ring = new Int32Array(LIVE_FLOWS_MAX);
  /** By slot: 1 if it stands in the ring. */
  readonly #isNoted: Uint8Array;
  #next = 0;
  /** Slots in the ring. */
  length = 0;

  constructor(memory: Memory, capacity: number) {
    this.#memory = memory;
    this.#isNoted = new Uint8Array(capacity);
  }

  /** A record came into the slot, and stands at `at`. */
  note(slot: number, at: number): void {
    if (this.#memory.u8[at + OFF_IDLE] !== IDLE_LIVE || this.#isNoted[slot] !== 0) return;
    if (this.length === LIVE_FLOWS_MAX) this.#isNoted[this.#ring[this.#next]] = 0;
    else this.length++;
    this.#ring[this.#next] = slot;
    this.#isNoted[slot] = 1;
    this.#next = (this.#next + 1) % LIVE_FLOWS_MAX;
  }

  /** One of the slots, for numbers below `length`, the one noted last first. Its flow may have become another. */
  at(i: number): number {
    return this.#ring[(this.#next - 1 - i + 2 * LIVE_FLOWS_MAX) % LIVE_FLOWS_MAX];
  }
}
