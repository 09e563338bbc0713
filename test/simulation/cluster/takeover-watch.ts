/** Looks on at promotes: what their sources had, and what became of it (invariants 8, 11 and 20). */
import type { PromoteReport } from '../../../src/control/messages.js';
import type { PersistedState } from '../../../src/failover/state.js';
import {
  addressBytes,
  allocateMemory,
  lengthOf,
  type Memory,
  OFF_KEY,
  OFF_LENGTH,
  OFF_ORIG_L4,
} from '../../../src/flow/record.js';
import { DEAD, KERNEL, OWNER_SELF, OWNER_UNCLASSIFIED, SHADOW } from '../../../src/table/slot-bits.js';
import { originalKey, replyKey } from '../kernel-twin-flows.js';
import type { DaemonRun, Declared } from './daemon-run.js';
import { durableText, keyText, type Machine, showText } from './machine.js';
import { type StreamRecord, valueAt } from './stream-record.js';
import { Violation } from './violation.js';

const ENDED_SHOWN = 3;
/** A promote that was cut short and resumed has to find its sources again. */
const JUDGES_RESUMED: boolean = false;

/** A promote, or an absorb, that a run has begun. */
export interface Takeover {
  readonly run: DaemonRun;
  /** Sources by their nodes' names: incarnations. */
  readonly sources: Map<string, string>;
  /** What was held of them when it began: durable bytes by key. */
  readonly flows: Map<string, string>;
  /** Whose it is, by key, and keys of which two sources have spoken. */
  readonly owners: Map<string, string>;
  readonly doubtful: Set<string>;
  isDeclared: boolean;
  readonly begunAt: number;
  /** Its table may have been wrong about the kernel when it began, and only an audit could have told. */
  readonly isUnsure: boolean;
  /** Up to where it took over each source when it began to. */
  cuts: ReadonlyMap<string, number>;
  /** Records of keys of which several sources have spoken, and this node has no own: by the source's term. */
  readonly rivals: Map<string, Map<number, Rival>>;
}

/** What a source, an incarnation, says of a key. */
interface Rival {
  readonly incarnation: string;
  readonly value: string;
}

/** Whom the watch asks. */
export interface TakeoverWorld {
  /** A number for what happens now. */
  mark(): number;
  streamOf(incarnation: string): StreamRecord | undefined;
  machineOf(run: DaemonRun): Machine;
  runOf(incarnation: string): DaemonRun | undefined;
  /** Nothing has happened since the run's last clean audit that only an audit can tell. */
  isHealed(run: DaemonRun): boolean;
}

export class TakeoverWatch {
  readonly #world: TakeoverWorld;
  /** Those under way, and those that a crash cut short, by machine; at most one of each run. */
  readonly #takeovers = new Map<Machine, Takeover[]>();
  /** Those that a run has done, in its order. */
  readonly #done = new WeakMap<DaemonRun, Takeover[]>();
  readonly #m = allocateMemory(1024);

  constructor(world: TakeoverWorld) {
    this.#world = world;
  }

  /** The one under way in a run. */
  of(run: DaemonRun): Takeover | undefined {
    return this.#takeovers.get(this.#world.machineOf(run))?.find((t) => t.run === run);
  }

  /** The machine has stepped back: nothing is owed any more, and an audit reads what was left half way. */
  stops(machine: Machine): void {
    if (this.#takeovers.delete(machine)) machine.hide();
  }

  /** A demote is about to stop one: its last flows do not wait for older events, and an audit follows. */
  stopping(machine: Machine): void {
    if (this.#takeovers.has(machine)) machine.hide();
  }

  /** The machine was booted. */
  forget(machine: Machine): void {
    this.#takeovers.delete(machine);
  }

  /** A promote is about to touch its sources' flows. */
  begins(run: DaemonRun, state: PersistedState): void {
    const machine = this.#world.machineOf(run);
    const takeover = this.#open(machine, run);
    const { table } = run.core;
    const owners = new Map<number, string>();
    const views = run.core.stream.sources();
    for (const { node, incarnation } of state.sources) {
      const owner = table.owners.find(node, Uint8Array.from(Buffer.from(incarnation, 'hex')));
      if (owner < 0) continue; // left over from one that was cut short
      takeover.sources.set(node, incarnation);
      machine.sources.add(incarnation);
      owners.set(owner, incarnation);
    }
    for (let slot = 0; slot < table.slotLimit; slot++) {
      if (!table.isUsed(slot) || !owners.has(table.owner(slot)) || !table.hasImage(slot)) continue;
      if ((table.bits(slot) & DEAD) !== 0) continue;
      const at = table.recordAt(slot);
      const key = keyText(table.memory, at);
      machine.taken.add(key);
      const isShadow = (table.bits(slot) & SHADOW) !== 0;
      // Which of two sources' records is the one that counts is not this watch's to say.
      if (isShadow || takeover.flows.has(key)) takeover.doubtful.add(key);
      const term = views.find(({ owner }) => owner === table.owner(slot))?.primaryTerm ?? 0;
      this.#rival(takeover, run, slot, key, term, owners.get(table.owner(slot)) ?? '');
      if (isShadow && takeover.flows.has(key)) continue;
      takeover.flows.set(key, durableText(table.memory, at));
      takeover.owners.set(key, owners.get(table.owner(slot)) ?? '');
    }
  }

  /** What is written twice before it is said is one. */
  #open(machine: Machine, run: DaemonRun): Takeover {
    const known = this.of(run);
    if (known?.isDeclared === false) return known;
    const takeover: Takeover = {
      run,
      sources: new Map(),
      flows: new Map(),
      owners: new Map(),
      doubtful: new Set(),
      isDeclared: false,
      begunAt: this.#world.mark(),
      isUnsure: !this.#world.isHealed(run),
      cuts: new Map(),
      rivals: new Map(),
    };
    const others = this.#takeovers.get(machine)?.filter((t) => t.run !== run) ?? [];
    this.#takeovers.set(machine, [...others, takeover]);
    return takeover;
  }

  /** What it says to its peers: the state on the disk also names what is left of another one, that was cut short. */
  declares(run: DaemonRun, { cuts, stage }: Declared): void {
    const takeover = this.of(run);
    if (takeover === undefined) return;
    if (takeover.isDeclared) {
      // Where frames are not sent again, what was said late was not heard, perhaps.
      if (stage === 'done' && run.options.mode === 'reliable') this.#late(takeover, cuts);
      return;
    }
    takeover.isDeclared = true;
    takeover.cuts = cuts;
    for (const [node, incarnation] of takeover.sources) {
      if (!cuts.has(incarnation)) takeover.sources.delete(node);
    }
    for (const [key, owner] of takeover.owners) if (!cuts.has(owner)) takeover.flows.delete(key);
    this.#ranked(run, takeover);
  }

  /** What a source that lives has said since it began is taken over too. */
  #late(takeover: Takeover, cuts: ReadonlyMap<string, number>): void {
    for (const [incarnation, end] of cuts) {
      const stream = this.#world.streamOf(incarnation);
      const begin = takeover.cuts.get(incarnation);
      if (stream === undefined || begin === undefined) continue;
      for (let s = begin + 1; s <= Math.min(end, stream.length); s++) {
        const { touched, isDeclared } = stream.frames[s];
        // It has given flows away itself.
        if (isDeclared) break;
        for (const history of touched) {
          const value = valueAt(history, end);
          if (value === undefined || value === '') continue;
          takeover.flows.set(history.key, value);
          takeover.owners.set(history.key, incarnation);
        }
      }
    }
  }

  /** Notes a source's record of a key of which this node has no own flow. */
  #rival(
    takeover: Takeover,
    run: DaemonRun,
    slot: number,
    key: string,
    term: number,
    incarnation: string,
  ): void {
    const { table } = run.core;
    const at = table.recordAt(slot);
    const visible = table.find(table.memory, at);
    // Where one says that it has ended, that stands.
    const hasOther = table.owner(visible) <= OWNER_UNCLASSIFIED || !table.hasImage(visible);
    if (term === 0 || visible < 0 || hasOther) return;
    const rivals = takeover.rivals.get(key) ?? new Map<number, Rival>();
    takeover.rivals.set(key, rivals);
    rivals.set(term, { incarnation, value: durableText(table.memory, at) });
  }

  /** Of two sources the one with the higher term is believed. */
  #ranked(run: DaemonRun, takeover: Takeover): void {
    const { table } = run.core;
    for (const [key, all] of takeover.rivals) {
      // What is left of a promote that was cut short stands beside them in the state, and is not taken now (seed 405).
      const rivals = new Map([...all].filter(([, { incarnation }]) => takeover.cuts.has(incarnation)));
      if (rivals.size < 2) continue;
      const best = rivals.get(Math.max(...rivals.keys()))?.value ?? '';
      writeText(this.#m, best);
      const slot = table.find(this.#m, 0);
      if (slot < 0 || table.owner(slot) !== OWNER_SELF) continue;
      const own = durableText(table.memory, table.recordAt(slot));
      if (own === best) continue;
      throw new Violation(
        108,
        `${run.name} takes ${showText(own)} for ${showText(key)}, the higher term says ${showText(best)}`,
      );
    }
  }

  /** The takeover before this one by which the run got this key from a node that is a source now, too. */
  before(takeover: Takeover, key: string): Takeover | undefined {
    const all = this.#done.get(takeover.run) ?? [];
    return all.findLast((t) => {
      const owner = t.owners.get(key);
      const node = owner === undefined ? undefined : this.#world.runOf(owner)?.name;
      return node !== undefined && t !== takeover && t.flows.has(key) && takeover.sources.has(node);
    });
  }

  /** A promote, or an absorb, has ended. */
  ends(run: DaemonRun, report: PromoteReport): void {
    const machine = this.#world.machineOf(run);
    const all = this.#takeovers.get(machine) ?? [];
    const done = all.filter((t) => t.run === run || this.#isResumed(t, report));
    this.#takeovers.set(
      machine,
      all.filter((t) => !done.includes(t)),
    );
    // Own writes are heard by nobody, and what was held without its owner's word is read by the audit that follows.
    machine.hide();
    // A demote has stopped it.
    if (run.core.jobs.find('demote') !== undefined || run.core.role !== 'primary') return;
    for (const takeover of done) {
      this.#judge(machine, run, takeover, report);
      const before = this.#done.get(run) ?? [];
      this.#done.set(run, [...before, takeover]);
    }
  }

  /** True if all sources of a takeover that was cut short were found again. */
  #isResumed({ sources }: Takeover, report: PromoteReport): boolean {
    if (!JUDGES_RESUMED) return false;
    return [...sources].every(([node, id]) => {
      return report.sources.includes(node) && this.#world.runOf(id)?.isUp === true;
    });
  }

  /** Every flow is in the kernel, has ended, or is in the report (invariant 8). */
  #judge(machine: Machine, run: DaemonRun, takeover: Takeover, report: PromoteReport): void {
    const { twin } = machine;
    const missing: string[] = [];
    for (const [key, value] of takeover.flows) {
      writeText(this.#m, value);
      const flow = twin.flows.byTuple.get(originalKey(this.#m, 0));
      if (flow !== undefined) continue;
      if ((machine.ends.get(key)?.order ?? 0) >= takeover.begunAt) continue;
      if (twin.flows.byTuple.has(replyKey(this.#m, 0)) || this.#hasEnded(run, takeover, key)) continue;
      if (takeover.isUnsure && this.#isThoughtHeld(run)) continue;
      missing.push(key);
    }
    const { rejected } = report;
    if (missing.length <= rejected) return;
    const some = missing.slice(0, ENDED_SHOWN).map(showText).join(', ');
    throw new Violation(
      8,
      `${run.name} has taken over ${takeover.flows.size} flows: ${missing.length} are not in the kernel, ` +
        `${rejected} in the report: ${some}`,
    );
  }

  /** The table has the flow of `#m` in the kernel. */
  #isThoughtHeld(run: DaemonRun): boolean {
    const { table } = run.core;
    const slot = table.find(this.#m, 0);
    return slot >= 0 && table.owner(slot) === OWNER_SELF && (table.bits(slot) & KERNEL) !== 0;
  }

  /** A source has said its end, and this run has heard it. */
  #hasEnded(run: DaemonRun, takeover: Takeover, key: string): boolean {
    const peers = run.core.replicator.peers();
    return [...takeover.sources.values()].some((id) => {
      const peer = peers.find((p) => Buffer.from(p.incarnation).toString('hex') === id);
      const history = this.#world.streamOf(id)?.keys.get(key);
      if (peer === undefined || history === undefined) return false;
      return valueAt(history, peer.receivedSequence) === undefined;
    });
  }
}

/** Writes a record with these durable bytes to 0. */
export function writeText(m: Memory, value: string): void {
  m.u8.fill(0, 0, OFF_KEY);
  for (let i = 0; i < value.length; i++) m.u8[OFF_KEY + i] = value.charCodeAt(i);
  m.u16[OFF_LENGTH >>> 1] = OFF_KEY + value.length;
  if (lengthOf(m, 0) < OFF_ORIG_L4 + addressBytes(m, 0)) throw new RangeError('no record');
}
