/** Looks on at roles and terms (invariants 11 and 20). */
import type { FailoverReport } from '../../../src/control/messages.js';
import type { Role, SourceView } from '../../../src/failover/ports.js';
import type { PersistedState } from '../../../src/failover/state.js';
import { DEAD, INJECTING, OWNER_SELF, PENDING } from '../../../src/table/slot-bits.js';
import type { DaemonRun, Declared } from './daemon-run.js';
import { keyText, type Machine, showText } from './machine.js';
import type { StreamRecord } from './stream-record.js';
import { Violation } from './violation.js';

/** Whom the watch asks. */
export interface RoleWorld {
  streamOf(incarnation: string): StreamRecord | undefined;
  machineOf(run: DaemonRun): Machine;
  runOf(incarnation: string): DaemonRun | undefined;
  readonly liveRuns: readonly DaemonRun[];
}

const isUnabsorbed = ({ primaryTerm, isAbsorbed }: SourceView): boolean => primaryTerm > 0 && !isAbsorbed;

export class RoleWatch {
  readonly #world: RoleWorld;
  /** Terms of primaries that were told to be primary, and had nothing to take over. */
  readonly #again = new WeakMap<DaemonRun, number>();
  /** What a run was when it wrote whom it takes over. */
  readonly #before = new WeakMap<DaemonRun, { role: Role; term: number }>();

  constructor(world: RoleWorld) {
    this.#world = world;
  }

  /** A run is about to be told its role. */
  asks(run: DaemonRun, role: Role): void {
    this.#again.delete(run);
    const { core } = run;
    const isIdle = run.asked === 0 && core.jobs.isIdle && core.state === 'ready';
    if (role !== 'primary' || core.role !== 'primary' || !isIdle || !core.roles.unfinished.isEmpty) return;
    if (!core.stream.sources().some(isUnabsorbed)) this.#again.set(run, core.replicator.term);
  }

  /** A promote of a primary that has everything changes nothing (invariant 20). */
  reports(run: DaemonRun, role: Role, { term, promote }: FailoverReport): void {
    const before = this.#again.get(run);
    if (before === undefined || role !== 'primary' || run.core.role !== 'primary') return;
    this.#again.delete(run);
    // Somebody has come meanwhile.
    if (promote === null || promote.sources.length > 0) return;
    const { committed, updated, replaced } = promote;
    if (term !== before)
      throw new Violation(20, `${run.name} is promoted again, at ${term} instead of ${before}`);
    if (committed + updated + replaced === 0) return;
    throw new Violation(20, `${run.name} is promoted again, and writes: ${JSON.stringify(promote)}`);
  }

  /** The state is about to be on the disk: terms rise along promotes (invariant 11). */
  persists(run: DaemonRun, state: PersistedState, isTakeover: boolean): void {
    const { disk } = this.#world.machineOf(run);
    if (
      disk !== undefined &&
      (state.term < disk.term || (isPromote(disk, state) && state.term === disk.term))
    ) {
      throw new Violation(11, `${run.name} takes the term ${state.term}, and had ${disk.term}`);
    }
    if (!isTakeover) return;
    const { role, stream, replicator } = run.core;
    this.#before.set(run, { role, term: replicator.term });
    // A primary may not have heard of a tenure that came after its own: it is judged by what it says to its peers.
    if (role === 'primary') return;
    for (const { node, incarnation } of state.sources) {
      const view = stream.sources().find((source) => hexOf(source.incarnation) === incarnation);
      // Left over from a promote that was cut short: not taken over now.
      if (view === undefined || this.#world.runOf(incarnation) === run) continue;
      const term = this.#readTenure(run, view);
      if (term < state.term) continue;
      throw new Violation(11, `${run.name} takes over ${node} of term ${term} with ${state.term}`);
    }
  }

  /**
   * A term is above all that were seen (PROTOCOL.md, section 6): the last one that the source had said in what was read of its
   * stream. Two nodes that are promoted within the network's delay may take one term, or the later one the lower.
   */
  #readTenure({ core }: DaemonRun, { owner, incarnation }: SourceView): number {
    const read =
      core.replicator.peers().find((peer) => peer.owner === owner)?.receivedSequence ??
      core.replicator.formers().find((former) => former.owner === owner)?.appliedSequence ??
      0;
    return this.#world.streamOf(hexOf(incarnation))?.tenureAt(read) ?? 0;
  }

  /** A primary begins to take over: no tenure of which it has heard that is not before its own, and no living rival. */
  declares(run: DaemonRun, { cuts, stage }: Declared): void {
    const before = this.#before.get(run);
    if (stage !== 'begun' || before?.role !== 'primary') return;
    const { stream, replicator } = run.core;
    for (const view of stream.sources()) {
      if (!cuts.has(hexOf(view.incarnation))) continue;
      const term = Math.max(view.primaryTerm, this.#readTenure(run, view));
      if (term >= replicator.term) {
        const terms = `${term} with ${replicator.term}`;
        throw new Violation(11, `${run.name} takes over ${view.node} of term ${terms}`);
      }
      if (!isRival(view, before.term)) continue;
      throw new Violation(
        11,
        `${run.name}, primary of term ${before.term}, takes over its rival ${view.node}`,
      );
    }
  }

  /** Why roles are not at rest yet; undefined: they are. `master` is who was told to be primary last. */
  unsettled(master: Machine | undefined): string | undefined {
    const runs = this.#world.liveRuns;
    const primaries = runs.filter((run) => run.core.role === 'primary');
    const names = primaries.map(({ name }) => name).join(', ');
    if (primaries.length > 1) return `${names} are primary`;
    if (master !== undefined && primaries[0] !== master.run) {
      return `${names || 'nobody'} is primary, ${master.name} was told to be`;
    }
    const [primary] = primaries;
    for (const run of runs) {
      const left = run.core.stream
        .sources()
        .filter((view) => isUnabsorbed(view) && view.isAlive && view.node !== primary?.name);
      if (primary !== undefined && left.length > 0) {
        return `${run.name} has flows of ${left.map(({ node }) => node).join(', ')}, whom nobody has taken over`;
      }
      // A term of a tenure of which nothing is left binds only the next promote.
      const tenure = this.#world.streamOf(run.id)?.tenure ?? 0;
      if (primary !== undefined && tenure > primary.core.replicator.term) {
        return `${run.name} had a higher term than that of ${primary.name}`;
      }
      // With a backup it waits for its next promote, or for who takes it over (seed 481).
      const why = run === primary ? this.#leftOver(run) : undefined;
      if (why !== undefined) return why;
    }
    return undefined;
  }

  /** What a promote that was cut short has begun is done with, one way or the other. */
  #leftOver(run: DaemonRun): string | undefined {
    const { table } = run.core;
    for (let slot = 0; slot < table.slotLimit; slot++) {
      if (!table.isUsed(slot) || table.owner(slot) !== OWNER_SELF) continue;
      if ((table.bits(slot) & (PENDING | INJECTING)) === 0 || (table.bits(slot) & DEAD) !== 0) continue;
      return `${run.name} has not committed ${showText(keyText(table.memory, table.recordAt(slot)))}`;
    }
    return undefined;
  }
}

/** A primary that lives, and was promoted after the one of this term. */
const isRival = ({ isAlive, role, primaryTerm }: SourceView, term: number): boolean =>
  isAlive && role === 'primary' && primaryTerm > term;

const isPromote = (before: PersistedState, after: PersistedState): boolean =>
  before.role !== 'primary' && after.role === 'primary';

const hexOf = (u8: Uint8Array): string => Buffer.from(u8).toString('hex');
