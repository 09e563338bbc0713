/** When a backup rehearses: soon after its start, and again and again, since V8 forgets code that did not run for long. */
import { REHEARSAL_INTERVAL_MS, REHEARSAL_LOOK_MS, REHEARSAL_STEP_MS } from '../limits.js';
import type { Core } from './core.js';
import { REHEARSAL_FLOWS, Rehearsal } from './rehearsal.js';

export class Rehearsals {
  /** Dry runs that came to their end. */
  runs = 0;
  readonly #core: Core;
  #rehearsal: Rehearsal | undefined;
  #timer: NodeJS.Timeout | undefined;

  constructor(core: Core) {
    this.#core = core;
    this.#later(REHEARSAL_STEP_MS);
  }

  close(): void {
    clearTimeout(this.#timer);
  }

  #later(ms: number): void {
    this.#timer = setTimeout(() => this.#step(), ms);
    this.#timer.unref();
  }

  /** A step where nothing else is to do. */
  #step(): void {
    const { role, state, jobs } = this.#core;
    // A primary has its flows; where one is to be made of this node, that comes first.
    if (role === 'primary') this.#rehearsal = undefined;
    if (role === 'primary' || state !== 'ready' || !jobs.isIdle) {
      this.#later(REHEARSAL_LOOK_MS);
      return;
    }
    const flows = REHEARSAL_FLOWS[this.runs % REHEARSAL_FLOWS.length];
    this.#rehearsal ??= new Rehearsal(() => performance.now(), flows);
    if (!this.#rehearsal.step()) {
      this.#later(REHEARSAL_STEP_MS);
      return;
    }
    this.#rehearsal = undefined;
    const isLast = ++this.runs % REHEARSAL_FLOWS.length === 0;
    this.#later(isLast ? REHEARSAL_INTERVAL_MS : REHEARSAL_STEP_MS);
  }
}
