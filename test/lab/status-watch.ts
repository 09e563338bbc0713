/** What `status` says of replication while a test runs: asked all the time, summed up at the end. */
import { setTimeout as pause } from 'node:timers/promises';
import type { LabDaemon } from './lab-daemon.js';

/** One direction of replication as its sender saw it. */
export interface Sighting {
  readonly from: string;
  readonly to: string;
  samples: number;
  /** Samples in which the receiver's last word was that its replica is proven. */
  proven: number;
  /** The longest time without such a sample, milliseconds. */
  longestUnprovenMs: number;
  /** Age of the oldest frame that the receiver had not applied, milliseconds. */
  maxLagMs: number;
  provenAt: number;
}

const EVERY_MS = 50;

/** Asks the daemons for their status until `stop`; one that does not answer is asked again. */
export class StatusWatch {
  private readonly seen = new Map<string, Sighting>();
  private isOver = false;
  private readonly done: Promise<unknown>;

  private constructor(daemons: readonly LabDaemon[]) {
    this.done = Promise.all(daemons.map((daemon) => this.watch(daemon)));
  }

  static start(daemons: readonly LabDaemon[]): StatusWatch {
    return new StatusWatch(daemons);
  }

  /** Ends it and resolves with every direction that was seen. */
  async stop(): Promise<Sighting[]> {
    this.isOver = true;
    await this.done;
    const now = performance.now();
    for (const s of this.seen.values()) {
      s.longestUnprovenMs = Math.max(s.longestUnprovenMs, now - s.provenAt);
    }
    return [...this.seen.values()];
  }

  private async watch(daemon: LabDaemon): Promise<void> {
    while (!this.isOver) {
      try {
        const { peers } = await daemon.status();
        for (const peer of peers) this.note(daemon.name, peer.node, peer.verdict, peer.lagMs);
      } catch {
        // It is being restarted: the time counts as unproven.
      }
      await pause(EVERY_MS);
    }
  }

  private note(from: string, to: string, verdict: string, lagMs: number): void {
    const now = performance.now();
    const key = `${from} ${to}`;
    let s = this.seen.get(key);
    if (s === undefined) {
      s = { from, to, samples: 0, proven: 0, longestUnprovenMs: 0, maxLagMs: 0, provenAt: now };
      this.seen.set(key, s);
    }
    s.samples++;
    s.maxLagMs = Math.max(s.maxLagMs, lagMs);
    if (verdict !== 'proven') return;
    s.proven++;
    s.longestUnprovenMs = Math.max(s.longestUnprovenMs, now - s.provenAt);
    s.provenAt = now;
  }
}

/** The sightings in one line, for a test's note. */
export function sightingsText(sightings: readonly Sighting[]): string {
  return sightings
    .map(
      (s) =>
        `${s.from}>${s.to}: proven in ${Math.round((100 * s.proven) / s.samples)} % of ${s.samples} looks, ` +
        `longest not ${Math.round(s.longestUnprovenMs)} ms, lag up to ${Math.round(s.maxLagMs)} ms`,
    )
    .join('; ');
}
