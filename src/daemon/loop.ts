import { performance } from 'node:perf_hooks';
import { threadCpuMs } from '../../native/thread-clock.js';
import { TICK_MS } from '../limits.js';
import type { Core } from './core.js';

/** How long timers may wait for links that are not read to empty. Milliseconds. */
const UNREAD_MAX_MS = 50;
/** A pause for work that waits for something outside: an acknowledgement, a fuller frame, an event. Milliseconds. */
const WAIT_MS = 1;
/** What is not due at once waits for a multiple of this, so that one wake-up serves all that falls between. Milliseconds. */
const GRID_MS = 25;

/**
 * Gives the core its turns: at once while there is work, after a moment while it waits, else when something comes or a
 * time of its own has come. A core at rest costs a wake-up for each of those, and none besides.
 */
export class Loop {
  /** The longest that a timer was late since the node was ready, whoever had the CPU meanwhile. Milliseconds. */
  maxPauseMs = 0;
  /**
   * The longest of those times that the loop's thread can have held the loop itself, JIT and its share of GC included: no
   * pause is its own beyond the CPU it used since the tick before. For the rest it got no CPU. Milliseconds.
   */
  maxHeldMs = 0;
  readonly #core: Core;
  readonly #readLinks: () => boolean;
  readonly #cpuMs: () => number;
  readonly #look: (now: number) => void;
  readonly #onWait = () => this.#run(true);
  readonly #onTick = () => this.#tick();
  readonly #onSoon = () => this.#afterPoll();
  #tickTimer: NodeJS.Timeout | undefined;
  /** When a tick is due; infinite: its timer is not set. */
  #tickDue = Number.POSITIVE_INFINITY;
  /** and when that timer is. */
  #timerDue = 0;
  #waitTimer: NodeJS.Timeout | undefined;
  /** Something is to be looked at when this round of the event loop has read its sockets. */
  #isPollEnding = false;
  /** and a turn is wanted then, whatever came. */
  #isSoon = false;
  #isStopped = true;
  /** What the start itself took (loading code) is not what an operator asks for. */
  #isReady = false;
  #lastTick = 0;
  /** CPU that the thread had used by then. Milliseconds. */
  #cpuAtTick = 0;

  /**
   * `readLinks` reads the links for a moment; false when they are empty. `look` is for what watches the core and has no
   * time of its own: it comes with each tick. `cpuMs`: CPU of this thread so far.
   */
  constructor(
    core: Core,
    readLinks: () => boolean,
    look: (now: number) => void,
    cpuMs: () => number = threadCpuMs,
  ) {
    this.#core = core;
    this.#look = look;
    this.#cpuMs = cpuMs;
    this.#readLinks = readLinks;
  }

  start(): void {
    this.#isStopped = false;
    this.wake();
  }

  stop(): void {
    this.#isStopped = true;
    clearTimeout(this.#tickTimer);
    clearTimeout(this.#waitTimer);
  }

  /** One turn of the core, now, because kernel events or work came; the next one is arranged by what it left. */
  wake(): void {
    this.#run(true);
  }

  /** A frame came. When all that wait were read the core has a turn, if they brought work. */
  heard(): void {
    if (this.#isPollEnding) return;
    this.#isPollEnding = true;
    setImmediate(this.#onSoon);
  }

  #afterPoll(): void {
    this.#isPollEnding = false;
    if (this.#isStopped) return;
    if (this.#isSoon) {
      this.#isSoon = false;
      this.wake();
      return;
    }
    const now = performance.now();
    const due = this.#core.dueAt(now);
    if (due <= now) this.#run(false);
    else this.#tickBy(due, now);
  }

  #run(hasNews: boolean): void {
    if (this.#isStopped) return;
    const now = performance.now();
    // A stream of readable sockets must not starve the timers that heartbeats depend on.
    if (now - this.#lastTick >= TICK_MS) this.#tickAt(now);
    const state = this.#core.turn(now, hasNews);
    if (state === 'more') this.#soon();
    else if (state === 'wait') this.#later();
    else {
      const due = this.#core.dueAt(now);
      // What this turn has left undone waits for something else: time alone is not to be tried without end.
      this.#tickBy(due <= now ? now + TICK_MS : due, now);
    }
  }

  #tick(): void {
    const now = performance.now();
    if (this.#isReady) this.#late(now - this.#timerDue);
    else this.#isReady = this.#core.state === 'ready';
    this.#tickDue = Number.POSITIVE_INFINITY;
    this.#tickAt(now);
    this.#run(false);
  }

  #late(ms: number): void {
    this.maxPauseMs = Math.max(this.maxPauseMs, ms);
    this.maxHeldMs = Math.max(this.maxHeldMs, Math.min(ms, this.#cpuMs() - this.#cpuAtTick));
  }

  /** Who is silent is judged only after the links were read to empty (PROTOCOL.md, section 4). */
  #tickAt(now: number): void {
    if (this.#readLinks() && now - this.#lastTick < UNREAD_MAX_MS) return;
    this.#lastTick = now;
    this.#cpuAtTick = this.#cpuMs();
    this.#core.tick(now);
    this.#look(now);
  }

  /** Sees to it that a tick comes at that time, or before. */
  #tickBy(due: number, now: number): void {
    const at = due - now > TICK_MS ? Math.ceil(due / GRID_MS) * GRID_MS : due;
    if (at >= this.#tickDue) return;
    clearTimeout(this.#tickTimer);
    // The event loop's own time may be a millisecond behind: a timer that comes early is a wake-up for nothing.
    const delay = Math.ceil(at - now) + 1;
    this.#tickTimer = setTimeout(this.#onTick, delay);
    this.#tickDue = at;
    this.#timerDue = now + delay;
  }

  #soon(): void {
    this.#isSoon = true;
    this.heard();
  }

  #later(): void {
    if (this.#waitTimer === undefined) this.#waitTimer = setTimeout(this.#onWait, WAIT_MS);
    else this.#waitTimer.refresh();
  }
}
