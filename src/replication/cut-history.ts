/**
 * At which change stamp which frame of the own stream was sent, long after the frame has left the ring: a node that
 * was cut off for an hour is told a cut of an hour ago. Every `step`-th frame is noted; when the room is used up every
 * second note goes and the step doubles, so the whole stream is always covered.
 */

/** Notes kept: a cut is then known to one part in a thousand of the stream. */
const NOTES_MAX = 2048;

export class CutHistory {
  readonly #sequences = new Float64Array(NOTES_MAX);
  readonly #stamps = new Float64Array(NOTES_MAX);
  #length = 0;
  #step = 1;

  /** A frame was sent. */
  note(sequence: number, stamp: number): void {
    if (sequence % this.#step !== 0) return;
    if (this.#length === NOTES_MAX) this.#thin();
    if (sequence % this.#step !== 0) return;
    this.#sequences[this.#length] = sequence;
    this.#stamps[this.#length++] = stamp;
  }

  /** The stamp of the last noted frame that is not after `cut`; -Infinity if there is none. */
  stampAt(cut: number): number {
    let low = 0;
    let high = this.#length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#sequences[middle] <= cut) low = middle + 1;
      else high = middle;
    }
    return low === 0 ? Number.NEGATIVE_INFINITY : this.#stamps[low - 1];
  }

  #thin(): void {
    this.#step *= 2;
    let kept = 0;
    for (let i = 0; i < this.#length; i++) {
      if (this.#sequences[i] % this.#step !== 0) continue;
      this.#sequences[kept] = this.#sequences[i];
      this.#stamps[kept++] = this.#stamps[i];
    }
    this.#length = kept;
  }
}
