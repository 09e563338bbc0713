/** Watches whether this node is ready to take over, tells keepalived by the track file, and answers `conntwin ready`. */
import type { ReadyReport } from '../control/messages.js';
import { Readiness, type ReadyView, type Verdict } from '../failover/readiness.js';
import type { Log } from '../flow/log.js';
import { READY_LOOK_MS, READY_SAID_AFTER_MS } from '../limits.js';
import type { Core } from './core.js';
import type { TakeoverCheck } from './takeover-check.js';
import type { TrackFile } from './track-file.js';

export interface ReadyWatchParts {
  readonly core: Core;
  readonly check: TakeoverCheck;
  /** Undefined: none is configured. */
  readonly trackFile: TrackFile | undefined;
  /** Why keepalived would not be heard, in sentences. */
  readonly vrrpProblems: () => readonly string[];
  readonly hotLagMs: () => number | undefined;
  readonly log: Log;
}

export class ReadyWatch {
  readonly #parts: ReadyWatchParts;
  readonly #readiness = new Readiness();
  #lastLook = Number.NEGATIVE_INFINITY;
  readonly #startedAt = performance.now();
  /** What the log says. */
  #said: boolean | undefined;
  #verdict: Verdict = { isReady: false, reasons: ['starting'] };

  constructor(parts: ReadyWatchParts) {
    this.#parts = parts;
    this.#look();
  }

  /** To be called at each tick of the loop: a timer of its own would wake a daemon that rests. */
  tick(now: number): void {
    if (now - this.#lastLook >= READY_LOOK_MS) this.#look();
  }

  report(): ReadyReport {
    this.#look();
    const { isReady, reasons } = this.#verdict;
    return { isReady, reasons: [...reasons], exitCode: isReady ? 0 : 1 };
  }

  /** The same after a new check of what a takeover needs of this kernel. */
  async checked(): Promise<ReadyReport> {
    await this.#parts.check.check();
    return this.report();
  }

  /** What an operator should know, in sentences. */
  warnings(): string[] {
    const { check, trackFile } = this.#parts;
    return [...check.problems, ...(trackFile?.problem === undefined ? [] : [trackFile.problem])];
  }

  /**
   * The flows of a primary stand in this kernel and go on while its daemon is away: it keeps its weight, or an update
   * would move the addresses. A backup without a daemon falls behind.
   */
  close(): void {
    if (this.#parts.core.role !== 'primary') this.#parts.trackFile?.say(false, performance.now());
  }

  #look(): void {
    const now = performance.now();
    this.#lastLook = now;
    const verdict = this.#readiness.look(this.#view(), now);
    // One that starts and does not become ready has said nothing yet; most take some seconds to it.
    const isDue = this.#said === undefined && now - this.#startedAt >= READY_SAID_AFTER_MS;
    const isNews = verdict.isReady !== (this.#said ?? false) || isDue;
    this.#verdict = verdict;
    this.#parts.trackFile?.say(verdict.isReady, now);
    if (!isNews) return;
    this.#said = verdict.isReady;
    if (verdict.isReady) this.#parts.log('info', 'ready to take over', { role: this.#parts.core.role });
    else this.#parts.log('warn', 'not ready to take over', { reasons: verdict.reasons });
  }

  #view(): ReadyView {
    const { core, check, vrrpProblems, hotLagMs } = this.#parts;
    const { replicator } = core;
    return {
      role: core.role,
      isJoining: core.state === 'joining',
      // Once another node has taken its flows over, what this one has left is old.
      ownTerm: replicator.openTenure,
      peers: replicator.peers().map((p) => ({
        node: p.node,
        role: p.role,
        alive: p.alive,
        silentMs: p.silentMs,
        isProven: p.myVerdict === 'proven',
        wasPrimary: p.wasPrimary,
        primaryTerm: p.primaryTerm,
      })),
      hotLagMs: hotLagMs(),
      problems: [...check.problems, ...vrrpProblems()],
    };
  }
}
