/** What failover needs from outside: the clock, the event queue, the stream and a place to write its state. */
import type { PersistedState } from './state.js';

/** Milliseconds of a clock that never steps; used for slices and deadlines, never for decisions between nodes. */
export type Clock = () => number;

/** What a node is at the moment. */
export type Role = 'primary' | 'backup' | 'fault';

/**
 * What a DECLARE says of its seeds: this node has begun to take them over (those who look on take its word for it from
 * now on), it is done (a seed that lives gives away what it has not changed), or the seed is asked to give back what
 * it has not changed since it took this node over.
 */
export type Stage = 'begun' | 'done' | 'asked';

/** Where a receiver of DECLARE may start from: what it holds of this incarnation, up to this sequence. */
export interface Seed {
  readonly node: string;
  readonly incarnation: Uint8Array;
  readonly cutSequence: number;
}

/** One incarnation of a peer, as a promote sees it. */
export interface SourceView {
  readonly node: string;
  readonly incarnation: Uint8Array;
  /** Its owner number in the table. */
  readonly owner: number;
  readonly role: Role;
  /** Term of its last known tenure as primary; 0: it never was. */
  readonly primaryTerm: number;
  /** Its tenure was taken over already, by us or by another node that declared so. */
  readonly isAbsorbed: boolean;
  readonly isAlive: boolean;
  /** Our last verdict on what we hold of it: equal to its image at that sequence. */
  readonly isProven: boolean;
  /** Sequence of its stream up to which nothing is missing here. */
  readonly wholeUpTo: number;
  /** Flows that its stream has told of, as they stand here. */
  readonly flows: number;
  /** It holds flows of a former run of this node, which died while it took them over. */
  readonly lends: boolean;
  /** Change stamp at which this node took it over in its tenure; -Infinity: it did not. */
  readonly takenAt: number;
  /** Its first dump is whole: what its stream says is all that it has. */
  readonly isReady: boolean;
  /** How often it said that it gave away what a DECLARE had asked of it. */
  readonly yields: number;
  /** The run of its kernel. */
  readonly bootId: string;
}

/** The own stream, as far as a role change speaks through it. */
export interface StreamPort {
  sources(): readonly SourceView[];
  /** The highest term heard from anybody. */
  readonly highestTerm: number;
  setRole(role: Role, term: number): void;
  /** All flows of this owner are own from now on. DECLARE has to be said in the same turn. */
  take(owner: number): void;
  /** Says DECLARE. With "done" the seeds' tenures are absorbed. */
  declare(seeds: readonly Seed[], term: number, stage: Stage): void;
  /** Until `unpin` nothing of these owners is swept, moved to another owner or replaced by a new incarnation. */
  pin(owners: readonly number[]): void;
  unpin(): void;
}

/** Writes the state durably (atomic rename) before it returns; throws if it cannot. */
export type Persist = (state: PersistedState) => void;

/** How often the event queue was read to empty so far; a change of the number proves a drain in between. */
export type Emptied = () => number;

/**
 * Keeps packets of flows that are not committed yet, and openings of new ones, from being answered or translated.
 * Both calls return at once and may come twice; a raised gate lowers itself after GATE_MAX_MS.
 */
export interface GatePort {
  raise(): void;
  lower(): void;
}
