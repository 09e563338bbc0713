/**
 * Looks on at split brains: what begins on a primary while another one is primary too is known to it alone. When it has
 * stepped back and the cluster is at rest, the one primary that is left has it, or it has ended (110).
 */
import { DEAD, INJECTING, KERNEL, OWNER_SELF, PENDING, SHADOW } from '../../../src/table/slot-bits.js';
import { originalKey, replyKey, type TwinFlow } from '../kernel-twin-flows.js';
import type { DaemonRun, Declared } from './daemon-run.js';
import { keyText, type Machine, showText } from './machine.js';
import { type StreamRecord, valueAt } from './stream-record.js';
import { Violation } from './violation.js';

/** A flow that expires sooner may do so on the way. Milliseconds. */
const LEFT_MS = 100_000;
const SHOWN = 3;

/** Whom the watch asks. */
export interface SplitWorld {
  readonly now: number;
  readonly machines: readonly Machine[];
  /** A number for what happens now. */
  mark(): number;
  machineOf(run: DaemonRun): Machine;
  streams(): Iterable<[incarnation: string, stream: StreamRecord]>;
}

/** What a loser had when it stepped back, and nobody else. */
interface Loss {
  readonly order: number;
  readonly flows: Map<string, TwinFlow>;
  /** Flows that takeovers have refused since, with a reason. */
  rejected: number;
}

export class SplitWatch {
  readonly #world: SplitWorld;
  /** Since when a primary is not the only one. Milliseconds. */
  readonly #since = new WeakMap<DaemonRun, number>();
  readonly #losses = new Map<DaemonRun, Loss>();
  /** Up to where the stream of each incarnation was taken over by another node. */
  readonly #cuts = new Map<string, number>();
  /** Flows that began earlier may have gone through hands that cannot tell whose they were. Milliseconds. */
  #from = Number.NEGATIVE_INFINITY;
  /** How many flows were judged. */
  judged = 0;

  constructor(world: SplitWorld) {
    this.#world = world;
  }

  /** A round of a run's loop has ended. */
  look(run: DaemonRun): void {
    if (run.core.role !== 'primary' || !run.isReady || this.#since.has(run)) return;
    const isRival = (other: DaemonRun | undefined) =>
      other !== undefined && other !== run && other.isUp && other.core.role === 'primary';
    if (this.#world.machines.some((machine) => isRival(machine.run))) this.#since.set(run, this.#world.now);
  }

  /** A primary has stepped back, and has not given anything away. */
  stepsBack(run: DaemonRun): void {
    const splitAt = this.#since.get(run);
    this.#since.delete(run);
    // Without repairs what is lost on the way is lost until an operator asks.
    if (splitAt === undefined || run.options.mode !== 'reliable') return;
    const since = Math.max(splitAt, this.#from);
    const { table } = run.core;
    const { twin } = this.#world.machineOf(run);
    const flows = new Map<string, TwinFlow>();
    for (let slot = 0; slot < table.slotLimit; slot++) {
      if (!table.isUsed(slot) || table.owner(slot) !== OWNER_SELF) continue;
      if ((table.bits(slot) & (KERNEL | DEAD | PENDING | INJECTING | SHADOW)) !== KERNEL) continue;
      const flow = twin.flows.byTuple.get(originalKey(table.memory, table.recordAt(slot)));
      if (flow === undefined || flow.isLoser || flow.bornAt <= since) continue;
      if (flow.expiresAt < this.#world.now + LEFT_MS) continue;
      const key = keyText(flow.m, 0);
      if (this.#isKnownElsewhere(run, key, flow)) continue;
      flows.set(key, flow);
    }
    this.#losses.set(run, { order: this.#world.mark(), flows, rejected: 0 });
  }

  /** Another node has taken over what this run's streams had said up to there. */
  takesOver({ cuts }: Declared): void {
    for (const [incarnation, cut] of cuts) {
      this.#cuts.set(incarnation, Math.max(cut, this.#cuts.get(incarnation) ?? 0));
    }
  }

  /** It stood in the image that another node has taken over, in this life: where it is gone, it has ended there. */
  #isTaken(incarnation: string, key: string): boolean {
    const cut = this.#cuts.get(incarnation);
    for (const [id, stream] of this.#world.streams()) {
      const history = stream.keys.get(key);
      if (id !== incarnation || history === undefined || cut === undefined) continue;
      const isAnother = history.sequences.some((s, i) => s > cut && history.values[i] === undefined);
      return valueAt(history, cut) !== undefined && !isAnother;
    }
    return false;
  }

  #isKnownElsewhere(run: DaemonRun, key: string, flow: TwinFlow): boolean {
    for (const [incarnation, stream] of this.#world.streams()) {
      if (incarnation !== run.id && stream.keys.has(key)) return true;
    }
    if (this.#isTaken(run.id, key)) return true;
    return this.#world.machines.some(({ run: other, twin }) => {
      if (other === run) return false;
      return twin.flows.byTuple.has(originalKey(flow.m, 0)) || twin.flows.byTuple.has(replyKey(flow.m, 0));
    });
  }

  /** A takeover has left flows out, and has said so. */
  rejects(count: number): void {
    for (const loss of this.#losses.values()) loss.rejected += count;
  }

  /**
   * A daemon has died, or a machine was booted: what it had taken over, or kept, depends on others now. When it is back it
   * gives away what it finds in its kernel, for it cannot tell what has ended elsewhere meanwhile (seed 399).
   */
  forget(): void {
    this.#losses.clear();
    this.#from = this.#world.now;
  }

  /** The cluster is at rest. */
  judge(): void {
    const primary = this.#world.machines.find(({ run }) => run?.isUp && run.core.role === 'primary');
    if (primary === undefined) return;
    for (const [run, loss] of this.#losses) {
      if (run === primary.run) continue;
      const missing = [...loss.flows].filter(([key, flow]) => this.#isMissing(primary, loss, key, flow));
      this.judged += loss.flows.size;
      if (missing.length <= loss.rejected) continue;
      const some = missing.slice(0, SHOWN).map(([key]) => showText(key));
      throw new Violation(
        110,
        `${missing.length} of ${loss.flows.size} flows that began on ${run.name} beside another primary are not in the ` +
          `kernel of ${primary.name}: ${some.join(', ')}`,
      );
    }
  }

  #isMissing({ twin }: Machine, { order }: Loss, key: string, flow: TwinFlow): boolean {
    const { byTuple } = twin.flows;
    if (byTuple.has(originalKey(flow.m, 0)) || byTuple.has(replyKey(flow.m, 0))) return false;
    return !this.#world.machines.some(({ ends }) => (ends.get(key)?.order ?? 0) > order);
  }
}
