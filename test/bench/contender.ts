/** A state synchroniser that is measured: one process in each firewall of a lab. */
export interface Contender {
  readonly name: string;
  /** Starts it in fw1 (active) and fw2 (backup), empty. */
  start(): Promise<void>;
  /** Process ids: active, backup. */
  pids(): readonly [number, number];
  /** Flows that the backup holds of the active node. */
  replicated(): Promise<number>;
  /** Writes the backup's flows into its kernel; resolves with the milliseconds it took. */
  commit(): Promise<number>;
  /** Longest time its event loop stood still, milliseconds, active and backup; undefined where it does not tell. */
  longestPauses(): Promise<readonly [number | undefined, number | undefined]>;
  stop(): Promise<void>;
}
