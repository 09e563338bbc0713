import { monitorEventLoopDelay, performance } from 'node:perf_hooks';
import type { Core } from './core.js';

/** Heartbeats, acknowledgements, deadlines. Milliseconds. */
const TICK_MS = 10;
/** A pause for work that waits for something outside: an acknowledgement, a fuller frame, an event. Milliseconds. */
const WAIT_MS = 1;
const DELAY_RESOLUTION_MS = 5;

/** Gives the core its turns: at once while there is work, after a moment while it waits, else when something comes. */
export class Loop {
  readonly #core: Core;
  readonly #delay = monitorEventLoopDelay({ resolution: DELAY_RESOLUTION_MS });
  readonly #turn = () => this.wake();
  #tickTimer: NodeJS.Timeout | undefined;
  #waitTimer: NodeJS.Timeout | undefined;
  #isSoon = false;
  #isStopped = true;
  /** What the start itself took (loading code) is not what an operator asks for. */
  #isReady = false;
  #lastTick = 0;

  constructor(core: Core) {
    this.#core = core;
  }

  start(): void {
    this.#isStopped = false;
    this.#delay.enable();
    this.#tickTimer = setInterval(() => this.#tick(), TICK_MS);
    this.wake();
  }

  stop(): void {
    this.#isStopped = true;
    clearInterval(this.#tickTimer);
    clearTimeout(this.#waitTimer);
    this.#delay.disable();
  }

  /** Longest time the event loop was held since the node was ready, milliseconds; GC and JIT included. */
  get maxPauseMs(): number {
    return Math.max(0, this.#delay.max / 1e6 - DELAY_RESOLUTION_MS);
  }

  /** One turn of the core, now; the next one is arranged by what it left. */
  wake(): void {
    if (this.#isStopped) return;
    const now = performance.now();
    // A stream of readable sockets must not starve the timers that heartbeats depend on.
    if (now - this.#lastTick >= TICK_MS) this.#tickAt(now);
    const state = this.#core.turn(now);
    if (!this.#isReady && this.#core.state === 'ready') {
      this.#isReady = true;
      this.#delay.reset();
    }
    if (state === 'more') this.#soon();
    else if (state === 'wait') this.#later();
  }

  #tick(): void {
    const now = performance.now();
    this.#tickAt(now);
    this.wake();
  }

  #tickAt(now: number): void {
    this.#lastTick = now;
    this.#core.tick(now);
  }

  #soon(): void {
    if (this.#isSoon) return;
    this.#isSoon = true;
    setImmediate(() => {
      this.#isSoon = false;
      this.wake();
    });
  }

  #later(): void {
    if (this.#waitTimer === undefined) this.#waitTimer = setTimeout(this.#turn, WAIT_MS);
    else this.#waitTimer.refresh();
  }
}
