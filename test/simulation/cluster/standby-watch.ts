/**
 * Looks on at backups: what hot standby puts into a kernel (invariants 4 and 5), and what a purge takes out of one
 * (invariant 9).
 */
import { stripMaster } from '../../../src/failover/commit-work.js';
import { hotSource } from '../../../src/failover/sources.js';
import { OP_CREATE, OP_DELETE, OP_GET } from '../../../src/flow/kernel-port.js';
import { durableEqual } from '../../../src/flow/merge.js';
import {
  allocateMemory,
  copyRecord,
  findPart,
  type Memory,
  OFF_ORIG_L4,
  PART_MASTER,
} from '../../../src/flow/record.js';
import {
  DEAD,
  FRESH,
  KERNEL,
  OWNER_UNCLASSIFIED,
  REJECTED,
  SHADOW,
  TOUCHED,
} from '../../../src/table/slot-bits.js';
import { masterKey, type TwinFlow } from '../kernel-twin-flows.js';
import type { DaemonRun } from './daemon-run.js';
import { durableText, keyText, type Machine, showText } from './machine.js';
import { isLocalPort } from './standby-shape.js';
import { Violation } from './violation.js';

/** A deadline that moved by less between two looks has not moved: timers are told in whole seconds. Milliseconds. */
const MOVED_MS = 2500;
/** Two looks of one purge stand further apart. Milliseconds. */
const LOOKS_APART_MS = 500;
/** REINJECT_PAUSE_S and HOT_WALK_MS, and a bit. Milliseconds. */
const COMES_BACK_MS = 22_000;

/** How a question of the daemon found a flow. */
interface Look {
  readonly flow: TwinFlow;
  readonly expiresAt: number;
  readonly changes: number;
  readonly image: string;
  readonly at: number;
}

/** Whom the watch asks. */
export interface StandbyWorld {
  readonly now: number;
  mark(): number;
}

export class StandbyWatch {
  /** Flows that hot standby has put into a kernel, by machine and key, in the order of all that happens. */
  readonly #injected = new WeakMap<Machine, Map<string, number>>();
  readonly #looks = new WeakMap<Machine, Map<string, Look[]>>();
  /** Changes of flows that an event told of. */
  readonly #changes = new WeakMap<TwinFlow, number>();
  /** Nodes that have said that they are primary. */
  readonly primaries = new Set<string>();
  /** Runs that found nobody who could tell them whose their kernel's flows are. */
  readonly #alone = new WeakSet<DaemonRun>();
  /** When a flow last ended, by machine and key. */
  readonly #ends = new WeakMap<Machine, Map<string, number>>();
  /** The slot of the flow that is about to be deleted had these bits and this owner. */
  #bits = 0;
  #owner = 0;
  /** A purge is at work: what is asked for is looked at by it. */
  #isPurge = false;
  readonly #row = allocateMemory(1024);
  readonly #record = allocateMemory(1024);
  readonly #world: StandbyWorld;

  constructor(world: StandbyWorld) {
    this.#world = world;
  }

  /** The machine was booted. */
  forget(machine: Machine): void {
    for (const map of [this.#injected, this.#looks, this.#ends]) map.delete(machine);
  }

  /** A packet, or another program, has changed the flow, and an event tells of it. */
  changed(flow: TwinFlow): void {
    this.#changes.set(flow, (this.#changes.get(flow) ?? 0) + 1);
  }

  ended(machine: Machine, flow: TwinFlow): void {
    mapOf(this.#ends, machine).set(keyText(flow.m, 0), this.#world.now);
  }

  /** A run decides whose the flows of its first dump are. */
  ready(run: DaemonRun): void {
    if (run.core.standby.livePrimary()?.isProven !== true) this.#alone.add(run);
    const { purger } = run.core.standby;
    const step = purger.step.bind(purger);
    purger.step = (now) => {
      this.#isPurge = true;
      try {
        step(now);
      } finally {
        this.#isPurge = false;
      }
    };
  }

  /**
   * Nobody has told a run of a hot backup whose flow this is, so it is own though no packet of it passed (invariant 5).
   */
  isOrphan(machine: Machine, run: DaemonRun, key: string): boolean {
    return this.#alone.has(run) && mapOf(this.#injected, machine).has(key);
  }

  /** A request of a machine's daemon is about to be carried out. */
  before(machine: Machine, verb: number, m: Memory, at: number): void {
    const table = machine.run?.core.table;
    if (verb !== OP_DELETE || table === undefined) return;
    const slot = table.find(m, at);
    this.#bits = slot < 0 ? 0 : table.bits(slot);
    this.#owner = slot < 0 ? -1 : table.owner(slot);
    if (slot >= 0 && table.helped.has(slot, table.recordAt(slot))) this.#owner = -1;
  }

  /** and was. */
  after(machine: Machine, verb: number, m: Memory, at: number, errno: number): void {
    const { run } = machine;
    if (errno !== 0 || run?.isUp !== true || run.core.role === 'primary' || isChanging(run)) return;
    if (verb === OP_GET) this.#looked(machine, run, m, at);
    else if (verb === OP_CREATE) this.#created(machine, run, m, at);
    else if (verb === OP_DELETE) this.#deleted(machine, run, m, at);
  }

  #looked(machine: Machine, run: DaemonRun, m: Memory, at: number): void {
    const flow = machine.twin.find(m, at);
    // An audit asks, too, and so does an event.
    if (flow === undefined || !this.#isPurge) return;
    const looks = mapOf(this.#looks, machine);
    const key = keyText(m, at);
    const image = imageOf(run, m, at);
    const { expiresAt } = flow;
    const look = { flow, expiresAt, changes: this.#changes.get(flow) ?? 0, image, at: this.#world.now };
    looks.set(key, [...(looks.get(key) ?? []).slice(-1), look]);
  }

  /** Hot standby gives its kernel what a primary has, and nothing else. */
  #created(machine: Machine, run: DaemonRun, m: Memory, at: number): void {
    const key = keyText(m, at);
    mapOf(this.#injected, machine).set(key, this.#world.mark());
    if (run.core.standby.hot === undefined)
      throw new Violation(4, `${run.name} is cold and creates ${showText(key)}`);
    const { table } = run.core;
    const slot = table.find(m, at);
    if (slot < 0 || !this.primaries.has(table.owners.node(table.owner(slot)) ?? '')) {
      throw new Violation(4, `${run.name} creates ${showText(key)}, which no primary has spoken of`);
    }
  }

  /** What a backup deletes is nobody's here: no packet of it was seen to pass (invariant 9). */
  #deleted(machine: Machine, run: DaemonRun, m: Memory, at: number): void {
    const key = keyText(m, at);
    mapOf(this.#injected, machine).delete(key);
    if (this.#owner < 0) return;
    const who = `${run.name}, a backup, deletes ${showText(key)}`;
    if (this.#owner <= OWNER_UNCLASSIFIED) throw new Violation(9, `${who}, its own`);
    if ((this.#bits & TOUCHED) !== 0) throw new Violation(9, `${who}, which was touched here`);
    if (run.core.standby.hot !== undefined) return;
    if (isLocalPort(m.u32[(at + OFF_ORIG_L4) >>> 2] & 0xffff))
      throw new Violation(9, `${who}, which ends here`);
    this.#judgeLooks(machine, run, key, who);
  }

  /** Cold: what has happened between the two looks of a purge. */
  #judgeLooks(machine: Machine, run: DaemonRun, key: string, who: string): void {
    const isHeard = run.eventsLost === 0 && machine.unordered === 0;
    const [first, second] = mapOf(this.#looks, machine).get(key) ?? [];
    if (second === undefined) throw new Violation(9, `${who} without two looks at it`);
    if (first.flow !== second.flow) {
      if (isHeard && !second.flow.isDeaf) throw new Violation(9, `${who}, which is another life`);
      return;
    }
    if (second.at - first.at < LOOKS_APART_MS)
      throw new Violation(9, `${who} after ${second.at - first.at} ms`);
    if (Math.abs(second.expiresAt - first.expiresAt) > MOVED_MS) {
      throw new Violation(9, `${who}, which was refreshed here`);
    }
    if (isHeard && !second.flow.isDeaf && second.changes !== first.changes && second.image === first.image) {
      throw new Violation(9, `${who}, which was changed here`);
    }
  }

  /** Why a backup's kernel is not as it has to be in peace; undefined: it is (invariants 4 and 9). */
  unsettled(machine: Machine, run: DaemonRun, isPurged: boolean): string | undefined {
    if (run.core.role !== 'backup') return undefined;
    const source = hotSource(run.core.stream.sources());
    if (source?.isAlive !== true || source.role !== 'primary') return undefined;
    const { table, standby } = run.core;
    const isHot = standby.hot !== undefined;
    for (let slot = 0; slot < table.slotLimit; slot++) {
      if (!table.isUsed(slot) || table.owner(slot) <= OWNER_UNCLASSIFIED) continue;
      if ((table.bits(slot) & (DEAD | SHADOW | TOUCHED)) !== 0) continue;
      const isFollowed = isHot && table.owner(slot) === source.owner;
      const why = isPurged
        ? this.#notPurged(run, slot, isFollowed)
        : isFollowed && this.#notInStep(machine, run, slot);
      if (why) {
        return `${run.name}: ${showText(keyText(table.memory, table.recordAt(slot)))} ${why}, bits ${table.bits(slot)}`;
      }
    }
    return undefined;
  }

  #notInStep(machine: Machine, run: DaemonRun, slot: number): string | undefined {
    const { table } = run.core;
    const bits = table.bits(slot);
    if (!table.hasImage(slot)) {
      return (bits & (KERNEL | FRESH)) === (KERNEL | FRESH) ? 'has ended and is held' : undefined;
    }
    const at = table.recordAt(slot);
    if ((bits & KERNEL) === 0) {
      const endedAt = mapOf(this.#ends, machine).get(keyText(table.memory, at)) ?? Number.NEGATIVE_INFINITY;
      if ((bits & REJECTED) !== 0 || this.#world.now - endedAt < COMES_BACK_MS) return undefined;
      return 'is not held';
    }
    if ((bits & FRESH) !== 0) return 'is held in another life';
    const flow = machine.twin.find(table.memory, at);
    // Expired, and not collected.
    if (flow === undefined || flow.expiresAt <= this.#world.now) return undefined;
    machine.twin.writeRow(flow, this.#row, 0);
    if (this.#hasLostMaster(machine, run, slot)) return undefined;
    if (durableEqual(table.memory, at, this.#row, 0)) return undefined;
    if (this.#cameWithoutMaster(table.memory, at)) return undefined;
    const [held, want] = [durableText(this.#row, 0), durableText(table.memory, at)].map(showText);
    return `is held as ${held}, and is ${want}`;
  }

  /** In a backup's kernel stays only what ends on the machine, and what the primary speaks of, if it is hot. */
  #notPurged(run: DaemonRun, slot: number, isFollowed: boolean): string | undefined {
    const { table } = run.core;
    if ((table.bits(slot) & KERNEL) === 0 || (isFollowed && table.hasImage(slot))) return undefined;
    const port = table.memory.u32[(table.recordAt(slot) + OFF_ORIG_L4) >>> 2] & 0xffff;
    return isLocalPort(port) ? undefined : 'is held without need';
  }

  /**
   * Its master was not there when it was created (the kernel had no room, perhaps), and came later: the flow stays as it
   * is until a promote replaces it.
   */
  #cameWithoutMaster(m: Memory, at: number): boolean {
    if (findPart(m, at, PART_MASTER) < 0 || findPart(this.#row, 0, PART_MASTER) >= 0) return false;
    copyRecord(m, at, this.#record, 0);
    stripMaster(this.#record, 0);
    return durableEqual(this.#record, 0, this.#row, 0);
  }

  /** A flow whose master is gone is created without it. */
  #hasLostMaster(machine: Machine, run: DaemonRun, slot: number): boolean {
    const { table } = run.core;
    const part = findPart(table.memory, table.recordAt(slot), PART_MASTER);
    return part >= 0 && !machine.twin.flows.byTuple.has(masterKey(table.memory, table.recordAt(slot), part));
  }
}

/** A change of role runs: it has rules of its own. */
function isChanging(run: DaemonRun): boolean {
  return (
    run.core.state !== 'ready' || ['promote', 'absorb', 'demote'].some((name) => run.core.jobs.find(name))
  );
}

/** What the owner has said of the flow, as far as it is told by a hash. */
function imageOf(run: DaemonRun, m: Memory, at: number): string {
  const { table } = run.core;
  const slot = table.find(m, at);
  return slot < 0 ? '' : `${slot}/${table.owner(slot)}/${table.changedAt(slot)}/${table.imageLo(slot)}`;
}

function mapOf<T>(maps: WeakMap<Machine, Map<string, T>>, machine: Machine): Map<string, T> {
  let map = maps.get(machine);
  if (map === undefined) {
    map = new Map();
    maps.set(machine, map);
  }
  return map;
}
