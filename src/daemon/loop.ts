import { performance } from 'node:perf_hooks';
import type { Core } from './core.js';

/** Heartbeats, acknowledgements, deadlines. Milliseconds. */
const TICK_MS = 10;
/** How long timers may wait for links that are not read to empty. Milliseconds. */
const UNREAD_MAX_MS = 50;
/** A pause for work that waits for something outside: an acknowledgement, a fuller frame, an event. Milliseconds. */
const WAIT_MS = 1;

/** Gives the core its turns: at once while there is work, after a moment while it waits, else when something comes. */
export class Loop {
  /** Longest time the event loop was held since the node was ready, milliseconds; GC and JIT included. */
  maxPauseMs = 0;
  readonly #core: Core;
  readonly #readLinks: () => boolean;
  readonly #onWait = () => this.#run(true);
  #tickTimer: NodeJS.Timeout | undefined;
  #waitTimer: NodeJS.Timeout | undefined;
  #isSoon = false;
  #isStopped = true;
  /** What the start itself took (loading code) is not what an operator asks for. */
  #isReady = false;
  #lastTick = 0;
  #timerDue = 0;

  /** `readLinks` reads the links for a moment; false when they are empty. */
  constructor(core: Core, readLinks: () => boolean) {
    this.#core = core;
    this.#readLinks = readLinks;
  }

  start(): void {
    this.#isStopped = false;
    this.#timerDue = performance.now() + TICK_MS;
    this.#tickTimer = setInterval(() => this.#tick(), TICK_MS);
    this.wake();
  }

  stop(): void {
    this.#isStopped = true;
    clearInterval(this.#tickTimer);
    clearTimeout(this.#waitTimer);
  }

  /** One turn of the core, now, because kernel events or work came; the next one is arranged by what it left. */
  wake(): void {
    this.#run(true);
  }

  #run(hasNews: boolean): void {
    if (this.#isStopped) return;
    const now = performance.now();
    // A stream of readable sockets must not starve the timers that heartbeats depend on.
    if (now - this.#lastTick >= TICK_MS) this.#tickAt(now);
    const state = this.#core.turn(now, hasNews);
    if (state === 'more') this.#soon();
    else if (state === 'wait') this.#later();
  }

  #tick(): void {
    const now = performance.now();
    if (this.#isReady) this.maxPauseMs = Math.max(this.maxPauseMs, now - this.#timerDue);
    else this.#isReady = this.#core.state === 'ready';
    this.#timerDue = now + TICK_MS;
    this.#tickAt(now);
    this.#run(false);
  }

  /** Who is silent is judged only after the links were read to empty (PROTOCOL.md, section 4). */
  #tickAt(now: number): void {
    if (this.#readLinks() && now - this.#lastTick < UNREAD_MAX_MS) return;
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
    if (this.#waitTimer === undefined) this.#waitTimer = setTimeout(this.#onWait, WAIT_MS);
    else this.#waitTimer.refresh();
  }
}
