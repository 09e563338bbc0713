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

/**
 * Throws RangeError for a word that the call does not have. A flush that overlooked `family` or `protocol` would take far
 * more than was meant.
 */
export function checkWords(call: string, options: object, known: readonly string[]): void {
  const word = Object.keys(options).find((name) => !known.includes(name));
  if (word === undefined) return;
  throw new RangeError(`${call}: "${word}" is none of ${known.join(', ')}: it would have no effect`);
}
