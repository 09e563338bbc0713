/**
 * Where taken-over slots come from, by the raw owner byte that they carry: a takeover gives all of them another owner by
 * one assignment (owners.ts), and they keep the bytes that they had, so the bytes tell them from all others for nothing.
 *
 * What is said of a byte is true of a slot that has not changed since: whoever asks compares the slot's own stamp.
 */

/** One run of a machine's kernel, and the change stamp at which its flows were taken over. */
interface Origin {
  readonly node: string;
  readonly bootId: string;
  readonly stamp: number;
}

/** A takeover: from whom, if it is one who may ask for it back, and after which frame of the own stream. */
export interface Taking {
  readonly origin: Origin | undefined;
  readonly sequence: number;
}

/** Hands that one byte's slots may have gone through; of more the oldest are forgotten. */
const HANDS_MAX = 8;

export class Origins {
  readonly #hands: (readonly Origin[])[] = [];
  /** After which frame of the own stream the slots were taken over the last time; -1: in no takeover. */
  readonly #takenAt: Float64Array;
  /** The owner with whom own slots of this byte are shared: both have the very same. 0: with none. */
  readonly #sharedWith: Uint8Array;

  /** For so many different bytes. */
  constructor(raws: number) {
    this.#takenAt = new Float64Array(raws).fill(-1);
    this.#sharedWith = new Uint8Array(raws);
  }

  /** The byte is about to be used for other slots. */
  clear(raw: number, sharedWith = 0): void {
    this.#hands[raw] = [];
    this.#takenAt[raw] = -1;
    this.#sharedWith[raw] = sharedWith;
  }

  /** The slots have another owner now. */
  taken(raw: number, { origin, sequence }: Taking): void {
    this.#takenAt[raw] = sequence;
    if (origin !== undefined) this.#hands[raw] = [...(this.#hands[raw] ?? []), origin].slice(-HANDS_MAX);
  }

  isSharedWith(raw: number, owner: number): boolean {
    return this.#sharedWith[raw] === owner;
  }

  /** The owner with whom they are shared has been taken over: they may go back to it like its own. */
  shared(raw: number, origin: Origin | undefined): void {
    this.#sharedWith[raw] = 0;
    if (origin !== undefined) this.#hands[raw] = [origin];
  }

  takenAt(raw: number): number {
    return this.#takenAt[raw];
  }

  /** True if some slots of the byte may have come from there. */
  mayBeFrom(raw: number, node: string, bootId: string): boolean {
    return this.#hands[raw]?.some((hand) => hand.node === node && hand.bootId === bootId) ?? false;
  }

  /** True if a slot that changed last at this stamp came from there, and still is as it came. */
  isFrom(raw: number, node: string, bootId: string, changedAt: number): boolean {
    const hands = this.#hands[raw];
    if (hands === undefined) return false;
    for (let i = 0; i < hands.length; i++) {
      if (hands[i].node === node && hands[i].bootId === bootId && changedAt <= hands[i].stamp) return true;
    }
    return false;
  }

  /** Of whom shared slots are is no longer looked for. */
  unshare(): void {
    this.#sharedWith.fill(0);
  }

  /** The node has given up what it had: nothing is to go back to it. */
  forget(node: string): void {
    this.#hands.forEach((hands, raw) => {
      if (hands.some((hand) => hand.node === node)) {
        this.#hands[raw] = hands.filter((hand) => hand.node !== node);
      }
    });
  }
}
