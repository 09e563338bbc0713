/**
 * The slots of flows that have a helper. Those of them that are translated have their sequence numbers adjusted, and the
 * kernel tells nobody (an FTP PORT line grows by two bytes). They are few, and are kept here so that somebody can ask for
 * each of them without walking through a million slots.
 *
 * A slot is noted whenever such a record comes into it, whoever owns it. It leaves when the one who walks the list finds
 * that its flow is no such flow any more; until then it costs one look.
 */
import { IPS_DST_NAT, IPS_SRC_NAT } from '../flow/conntrack-enums.js';
import {
  addressBytes,
  findPart,
  lengthOf,
  type Memory,
  offParts,
  offStatus,
  PART_HELPER,
} from '../flow/record.js';

const TRANSLATED = IPS_SRC_NAT | IPS_DST_NAT;

function isHelped(m: Memory, at: number): boolean {
  if (lengthOf(m, at) === offParts(addressBytes(m, at))) return false; // most flows: no parts at all
  return findPart(m, at, PART_HELPER) >= 0;
}

/** True if the kernel may adjust the sequence numbers of this flow with a helper, in silence. */
export function isTranslated(m: Memory, at: number): boolean {
  return (m.u32[(at + offStatus(addressBytes(m, at))) >>> 2] & TRANSLATED) !== 0;
}

/** A set of slots in no order, with room for all of them; pages that are never touched cost nothing. */
export class HelpedFlows {
  readonly #memory: Memory;
  readonly #list: Int32Array;
  /** By slot: its place in the list + 1; 0: it is not there. */
  readonly #place: Int32Array;
  #at = 0;
  /** Slots in the list. */
  length = 0;

  constructor(memory: Memory, capacity: number) {
    this.#memory = memory;
    this.#list = new Int32Array(capacity);
    this.#place = new Int32Array(capacity);
  }

  /** A record came into the slot, and stands at `at`. */
  note(slot: number, at: number): void {
    if (!isHelped(this.#memory, at) || this.#place[slot] !== 0) return;
    this.#list[this.length++] = slot;
    this.#place[slot] = this.length;
  }

  /** True if the slot's record, which stands at `at`, is that of such a flow. */
  has(slot: number, at: number): boolean {
    return this.#place[slot] !== 0 && isHelped(this.#memory, at);
  }

  /** The next slot, again and again from the start; -1 if there is none. */
  next(): number {
    if (this.length === 0) return -1;
    if (this.#at >= this.length) this.#at = 0;
    return this.#list[this.#at++];
  }

  /** The slot at a place of the list, below `length`. */
  slotAt(place: number): number {
    return this.#list[place];
  }

  /** The slot's flow is no such flow any more. */
  leave(slot: number): void {
    const place = this.#place[slot];
    if (place === 0) return;
    const last = this.#list[--this.length];
    this.#list[place - 1] = last;
    this.#place[last] = place;
    this.#place[slot] = 0;
    // The last one has come to where the walk was: it is not to be passed over.
    if (this.#at === place) this.#at--;
  }
}
