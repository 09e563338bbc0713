/** A state synchroniser that is measured: one process in each firewall of a lab. */
export interface Contender {
  readonly name: string;
  /** Starts it in fw1 (active) and fw2 (backup), empty. */
  start(): Promise<void>;
  /** Process ids: active, backup. */
  pids(): readonly [number, number];
  /** Flows that the backup holds of the active node. */
  replicated(): Promise<number>;
  /**
   * Ends the active side and commits on the backup; milliseconds. A listener for NEW events in another namespace of the
   * same kernel would have the kernel build an event a flow (its mask of listeners is one for all namespaces): two
   * firewalls in one kernel measure slower than two machines, by a factor of two.
   */
  commit(): Promise<number>;
  /** Has the active side learn which flows are live, where it does that. */
  learn(): Promise<void>;
  /** Kills the active side's process. */
  killActive(): Promise<void>;
  /** Resolves when its gate is up, after takeOver was called; at once where there is none. */
  guarded(): Promise<void>;
  /** Makes the backup take over, as keepalived would; resolves when what it holds is in its kernel. */
  takeOver(): Promise<TakeOver>;
  /** Whether the active side can prove that its mirror is its kernel's table; true where it has no such proof. */
  verify(): Promise<boolean>;
  /** Longest time it held its event loop itself, milliseconds, active and backup; undefined: it does not tell, or was killed. */
  longestPauses(): Promise<readonly [number | undefined, number | undefined]>;
  stop(): Promise<void>;
}

export interface TakeOver {
  /** CLOCK_MONOTONIC when it was told to, nanoseconds. */
  readonly toldNs: bigint;
  readonly commitMs: number;
  /** Flows that it wrote to the kernel, found there as they should be, and could not write; NaN: it does not tell. */
  readonly committed: number;
  readonly kept: number;
  readonly rejected: number;
}

/** A peer that was killed counts as gone after this time. Milliseconds. */
export const ACTIVE_GONE_MS = 2000;
