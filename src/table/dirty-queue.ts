/**
 * The slots that the own stream must speak of, each once: two lists threaded through the slots themselves, so the
 * queue needs no memory of its own and can never be fuller than the table. Deletes go before upserts.
 */
import { DEAD } from './slot-bits.js';
import { SLOT_WORDS, type Slots, WORD_NEXT, WORD_PREVIOUS } from './slots.js';

const UPSERTS = 0;
const DELETES = 1;

/** First-in first-out within each list. A slot is in the list that its DEAD bit names. */
export class DirtyQueue {
  count = 0;
  readonly #slots: Slots;
  /** Slot + 1 of each list's ends; 0: empty. */
  readonly #first = [0, 0];
  readonly #last = [0, 0];

  constructor(slots: Slots) {
    this.#slots = slots;
  }

  /** Adds a slot that is in no list. */
  add(slot: number): void {
    const list = this.#listOf(slot);
    const words = this.#slots.words;
    const last = this.#last[list];
    words[slot * SLOT_WORDS + WORD_PREVIOUS] = last;
    words[slot * SLOT_WORDS + WORD_NEXT] = 0;
    if (last === 0) this.#first[list] = slot + 1;
    else words[(last - 1) * SLOT_WORDS + WORD_NEXT] = slot + 1;
    this.#last[list] = slot + 1;
    this.count++;
  }

  /** Takes a slot out of its list; its DEAD bit must be as it was at add(). */
  delete(slot: number): void {
    const list = this.#listOf(slot);
    const words = this.#slots.words;
    const previous = words[slot * SLOT_WORDS + WORD_PREVIOUS];
    const next = words[slot * SLOT_WORDS + WORD_NEXT];
    if (previous === 0) this.#first[list] = next;
    else words[(previous - 1) * SLOT_WORDS + WORD_NEXT] = next;
    if (next === 0) this.#last[list] = previous;
    else words[(next - 1) * SLOT_WORDS + WORD_PREVIOUS] = previous;
    words[slot * SLOT_WORDS + WORD_PREVIOUS] = 0;
    words[slot * SLOT_WORDS + WORD_NEXT] = 0;
    this.count--;
  }

  /** The next slot, which stays in; -1 if there is none. */
  peek(): number {
    return (this.#first[DELETES] || this.#first[UPSERTS]) - 1;
  }

  #listOf(slot: number): number {
    return (this.#slots.bits(slot) & DEAD) !== 0 ? DELETES : UPSERTS;
  }
}
