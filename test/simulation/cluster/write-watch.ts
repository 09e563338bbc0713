/** Looks on at what a daemon writes into its kernel (invariants 6 and 21, and what ended does not return). */
import { OP_CREATE, OP_DELETE } from '../../../src/flow/kernel-port.js';
import {
  allocateMemory,
  findPart,
  HAS_ID,
  type Memory,
  OFF_HAS,
  OFF_ID,
  PART_MASTER,
} from '../../../src/flow/record.js';
import { masterKey, originalKey, type TwinFlow } from '../kernel-twin-flows.js';
import { keyText, type Machine, showText } from './machine.js';
import { type Takeover, writeText } from './takeover-watch.js';
import { Violation } from './violation.js';

/** Whom the watch asks. */
export interface WriteWorld {
  readonly now: number;
  readonly machines: readonly Machine[];
  takeoverOf(machine: Machine): Takeover | undefined;
}

export class WriteWatch {
  readonly #world: WriteWorld;
  /** Masters that were not there when a child was created, by promote and tuple. */
  readonly #late = new WeakMap<Takeover, Map<string, string>>();
  /** The flow that the request under way would delete. */
  #victim: TwinFlow | undefined;
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
    if (verb !== OP_CREATE) return;
    this.#family(machine, m, at);
    this.#returns(machine, m, at);
  }

  /** A life of which nothing was ever shown was not the one that was to be deleted. */
  #deleted(machine: Machine, victim: TwinFlow, m: Memory, at: number): void {
    const isNamed = (m.u8[at + OFF_HAS] & HAS_ID) !== 0;
    if (!isNamed) throw new Violation(6, `${machine.name} deletes ${showText(keyText(m, at))} without an id`);
    // Born between the question and the request: no kernel can tell that (F1).
    if (victim.isShown || victim.isDeaf || victim.bornAt === this.#world.now || victim.owesNew) return;
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
    // What another primary had of it when this one took over from it may come back with the rest.
    if (this.#world.takeoverOf(machine) !== undefined) return;
    const end = machine.ends.get(key);
    if (end?.run === undefined || end.run !== machine.run || !end.flow.isEndShown) return;
    // Who was taken over since may find it where it has not ended.
    if (end.run.core.role !== 'primary') return;
    if (end.lost !== end.run.eventsLost || end.term !== end.run.core.replicator.term) return;
    if (this.#world.machines.some((other) => (other.packetAt.get(key) ?? 0) > end.order)) return;
    throw new Violation(107, `${machine.name} creates ${showText(key)}, which ended here`);
  }
}
