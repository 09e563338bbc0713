/** The receiver's half of repairs of expectations, one per peer: they are few, so all of them come in one run. */
import { REPAIRS_MAX } from '../limits.js';

/** Time without any answer after which the question is put again. Milliseconds. */
const RETRY_MS = 250;

export class ExpectationAsker {
  /** The last MARK proved them equal, and nothing has cast doubt on it since. */
  isEqual = false;
  /** Number of the run that is being received; 0: none, or it has a gap. */
  run = 0;
  /** They stay different after whole runs: nothing more is asked. */
  isDiverged = false;
  #isWanted = false;
  #lastAsked = Number.NEGATIVE_INFINITY;
  #lastProgress = Number.NEGATIVE_INFINITY;
  #failures = 0;

  /** A question is open, or will be. */
  get isOpen(): boolean {
    return this.#isWanted;
  }

  /** A difference is known. */
  want(): void {
    if (!this.isDiverged) this.#isWanted = true;
  }

  /** An operator wants them again, whatever was given up. */
  wantAgain(): void {
    this.#failures = 0;
    this.isDiverged = false;
    this.#isWanted = true;
  }

  /** Something of the run came. */
  progress(now: number): void {
    this.#lastProgress = now;
  }

  /** They are equal. */
  finish(): void {
    this.isEqual = true;
    this.#isWanted = false;
    this.#failures = 0;
    this.isDiverged = false;
  }

  /** A run came whole; true if that is given up now. */
  runDone(isEqual: boolean): boolean {
    this.run = 0;
    this.#isWanted = false;
    if (isEqual) {
      this.#failures = 0;
      this.isDiverged = false;
      return false;
    }
    if (this.isDiverged || ++this.#failures < REPAIRS_MAX) return false;
    this.isDiverged = true;
    return true;
  }

  /** True if the question is to be put now. */
  due(now: number): boolean {
    if (!this.#isWanted || now - Math.max(this.#lastAsked, this.#lastProgress) < RETRY_MS) return false;
    this.#lastAsked = now;
    return true;
  }
}
