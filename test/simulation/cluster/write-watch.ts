/** Looks on at what a daemon writes into its kernel (invariants 6 and 21, and what ended does not return). */
import { OP_CREATE, OP_DELETE, OP_UPDATE } from '../../../src/flow/kernel-port.js';
import {
  allocateMemory,
  findPart,
  HAS_ID,
  type Memory,
  OFF_HAS,
  OFF_ID,
  PART_MASTER,
} from '../../../src/flow/record.js';
import { DEAD, INJECTING, KERNEL, PENDING } from '../../../src/table/slot-bits.js';
import { masterKey, originalKey, type TwinFlow } from '../kernel-twin-flows.js';
import type { DaemonRun } from './daemon-run.js';
import { type FlowEnd, keyText, type Machine, showText } from './machine.js';
import { type Takeover, writeText } from './takeover-watch.js';
import { Violation } from './violation.js';

/** Whom the watch asks. */
export interface WriteWorld {
  readonly now: number;
  readonly machines: readonly Machine[];
  /** A number for what happens now. */
  mark(): number;
  takeoverOf(machine: Machine): Takeover | undefined;
  /** An earlier takeover by which the run got this key from a source of this one. */
  tookBefore(takeover: Takeover, key: string): Takeover | undefined;
}

/** A flow that a daemon has created, of which it is still to be seen that its table has it. */
interface Written {
  readonly run: DaemonRun;
  readonly flow: TwinFlow;
  readonly order: number;
  readonly lost: number;
}

export class WriteWatch {
  readonly #world: WriteWorld;
  /** Masters that were not there when a child was created, by promote and tuple. */
  readonly #late = new WeakMap<Takeover, Map<string, string>>();
  /** The flow that the request under way would delete. */
  #victim: TwinFlow | undefined;
  readonly #written = new Map<Machine, Written[]>();
  readonly #m = allocateMemory(1024);

  constructor(world: WriteWorld) {
    this.#world = world;
  }

  before(machine: Machine, verb: number, m: Memory, at: number): void {
    this.#victim = verb === OP_DELETE ? machine.twin.flows.byTuple.get(originalKey(m, at)) : undefined;
  }

  after(machine: Machine, verb: number, m: Memory, at: number, errno: number): void {
    if (errno !== 0) return;
    if (verb === OP_DELETE && this.#victim !== undefined) this.#deleted(machine, this.#victim, m, at);
    if (verb === OP_UPDATE) this.#updated(machine, m, at);
    if (verb !== OP_CREATE) return;
    this.#family(machine, m, at);
    this.#returns(machine, m, at);
    this.#note(machine, m, at);
  }

  /** Another life began right before, so its NEW is older than what was written: only an audit sees that. */
  #updated(machine: Machine, m: Memory, at: number): void {
    if (machine.twin.flows.byTuple.get(originalKey(m, at))?.bornAt === this.#world.now) machine.hide();
  }

  #note(machine: Machine, m: Memory, at: number): void {
    const { run, twin } = machine;
    const flow = twin.flows.byTuple.get(originalKey(m, at));
    if (run === undefined || flow === undefined) return;
    // Perhaps no answer comes, however often it is asked; that is reported, and an audit finds the flow. Nor does hot
    // standby wait after a create: a life that came and went since the last drain has a DESTROY that fits (F1).
    const isHurt = run.core.role !== 'primary' && twin.queue.length > 0;
    if (isHurt || Number.isFinite(twin.knobs.answersMax)) {
      machine.hide();
      return;
    }
    const written = this.#written.get(machine) ?? [];
    this.#written.set(machine, written);
    written.push({ run, flow, order: this.#world.mark(), lost: run.eventsLost });
  }

  /** Whatever was queued before the write says nothing about it: when all is read, the table has what was written. */
  look(run: DaemonRun, machine: Machine): void {
    const written = this.#written.get(machine);
    if (written === undefined || written.length === 0) return;
    const { queue } = machine.twin;
    if (queue.length > 0 || queue.waiting > 0) return;
    const left = written.filter((w) => w.run === run && w.flow.place >= 0 && !this.#isSettled(machine, w));
    this.#written.set(machine, left);
  }

  #isSettled(machine: Machine, { run, flow, order, lost }: Written): boolean {
    const { table } = run.core;
    const slot = table.find(flow.m, 0);
    if (slot >= 0 && (table.bits(slot) & (PENDING | INJECTING)) !== 0) return false;
    // Nobody can know better then.
    if (machine.unordered > 0 || machine.hiddenAt > order || run.eventsLost !== lost) return true;
    const isThere = slot >= 0 && (table.bits(slot) & (KERNEL | DEAD)) === KERNEL;
    if (isThere) return true;
    const key = showText(keyText(flow.m, 0));
    throw new Violation(109, `${machine.name} has created ${key}, and its table does not have it`);
  }

  /** A life of which nothing was ever shown was not the one that was to be deleted. */
  #deleted(machine: Machine, victim: TwinFlow, m: Memory, at: number): void {
    const isNamed = (m.u8[at + OFF_HAS] & HAS_ID) !== 0;
    if (!isNamed) throw new Violation(6, `${machine.name} deletes ${showText(keyText(m, at))} without an id`);
    if (victim.isShown || victim.isDeaf || victim.owesNew || victim.isUnheard) return;
    // Born between the question and the request: no kernel can tell that (F1), and only an audit sees it.
    if (victim.bornAt === this.#world.now) {
      machine.hide();
      return;
    }
    // A commit does not wait until a backlog of events was read, and a second life may have the same id.
    if (this.#world.takeoverOf(machine) !== undefined && machine.twin.queue.length > 0) return;
    throw new Violation(
      6,
      `${machine.name} deletes ${showText(keyText(m, at))}, id ${m.u32[(at + OFF_ID) >>> 2]}: another life`,
    );
  }

  /** A child is created after its master, if that comes at all (invariant 21). */
  #family(machine: Machine, m: Memory, at: number): void {
    const key = keyText(m, at);
    const takeover = this.#world.takeoverOf(machine);
    if (takeover === undefined) return;
    const late = this.#late.get(takeover) ?? new Map<string, string>();
    this.#late.set(takeover, late);
    const child = late.get(originalKey(m, at));
    // A master that has ended meanwhile was there, and may be again; one of which a source spoke later was not.
    const hasEnded = (machine.ends.get(key)?.order ?? 0) >= takeover.begunAt;
    const isKnown = takeover.flows.has(key) && !takeover.doubtful.has(key);
    if (child !== undefined && !hasEnded && isKnown) {
      throw new Violation(21, `${machine.name} creates ${showText(key)} after its child ${showText(child)}`);
    }
    const value = takeover.flows.get(key);
    if (value === undefined || takeover.doubtful.has(key)) return;
    writeText(this.#m, value);
    const part = findPart(this.#m, 0, PART_MASTER);
    if (part < 0) return;
    const master = masterKey(this.#m, 0, part);
    if (!machine.twin.flows.byTuple.has(master)) late.set(master, key);
  }

  /** What has ended here, under this primary's eyes, and was seen nowhere else since (PROTOCOL.md, section 6). */
  #returns(machine: Machine, m: Memory, at: number): void {
    const key = keyText(m, at);
    const end = machine.ends.get(key);
    if (end?.run === undefined || end.run !== machine.run || !end.flow.isEndShown) return;
    // Who was taken over since may find it where it has not ended.
    if (end.run.core.role !== 'primary') return;
    if (end.lost !== end.run.eventsLost || end.term !== end.run.core.replicator.term) return;
    const takeover = this.#world.takeoverOf(machine);
    const since = takeover === undefined ? end.order : this.#takenSince(machine, takeover, key, end);
    if (since < 0) return;
    if (this.#world.machines.some((other) => other !== machine && (other.packetAt.get(key) ?? 0) > since))
      return;
    throw new Violation(107, `${machine.name} creates ${showText(key)}, which ended here`);
  }

  /**
   * A takeover may bring what its source has changed since it was taken over the last time, and what this node never
   * had of it. Since when it must not have been changed anywhere to be given back; -1: it may come.
   */
  #takenSince(machine: Machine, takeover: Takeover, key: string, end: FlowEnd): number {
    const before = this.#world.tookBefore(takeover, key);
    if (before === undefined || end.order > takeover.begunAt || end.order < before.begunAt) return -1;
    // It was changed there already when it was taken over, and nobody had been told.
    if (before.flows.get(key) !== takeover.flows.get(key)) return -1;
    // What an audit has found, or a takeover of its own, has changed it there.
    const isQuiet = this.#world.machines.every(
      (other) => other === machine || other.unheardAt < before.begunAt,
    );
    return isQuiet ? before.begunAt : -1;
  }
}
