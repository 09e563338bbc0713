/** Ends a call early: it then throws `signal.reason`. */
export interface CallOptions {
  readonly signal?: AbortSignal;
}

export interface ListOptions extends CallOptions {
  /** The table (default); flows that are destroyed and not yet told; flows whose first packet is on its way. */
  readonly from?: 'table' | 'dying' | 'unconfirmed';
}

export interface EventOptions extends CallOptions {
  /** Receive buffer of the event socket, bytes: it holds an event for 1,280. Default 16 MiB. */
  readonly bufferBytes?: number;
}
