/** What failover needs from outside: the clock, the event queue, the stream and a place to write its state. */
import type { PersistedState } from './state.js';

/** Milliseconds of a clock that never steps; used for slices and deadlines, never for decisions between nodes. */
export type Clock = () => number;

/** What a node is at the moment. */
export type Role = 'primary' | 'backup' | 'fault';

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
  /** Sequence of its stream that was applied here. */
  readonly applied: number;
}

/** The own stream, as far as a role change speaks through it. */
export interface StreamPort {
  sources(): readonly SourceView[];
  /** The highest term heard from anybody. */
  readonly highestTerm: number;
  setRole(role: Role, term: number): void;
  /** Says DECLARE, and marks the seeds' incarnations as absorbed. */
  declare(seeds: readonly Seed[], term: number): void;
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
