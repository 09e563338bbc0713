/** Queue and drop figures of the event socket at one moment. */
export interface DeliveryState {
  /** Bytes queued, and bytes there is room for. */
  readonly queuedBytes: number;
  readonly receiveBufferBytes: number;
  /** Events that did not fit, since the socket was opened. */
  readonly lost: number;
}

/** A queue that stayed full this long means a stuck reader. Milliseconds. */
export const STUCK_AFTER_MS = 5000;
/** Reliable delivery comes back after the queue was short this long. Milliseconds. */
export const CALM_AFTER_MS = 5000;
/** With so much of the conntrack table in use a full queue is not waited for. */
const TABLE_FILL_MAX = 0.9;

/**
 * Decides whether the kernel may hold destroyed flows until their events are taken (NETLINK_BROADCAST_ERROR). They
 * count in the conntrack table meanwhile, so a reader that is stuck would fill it and the firewall would refuse new
 * flows: then delivery becomes unreliable, what is lost is counted, and an audit finds it.
 */
export class DeliveryWatchdog {
  isReliable = true;
  private since = -1;
  private lost = 0;

  /** Judges the state at `now` (ms); `tableFill` is asked for only when the queue is full. True: changed its mind. */
  check(now: number, state: DeliveryState, tableFill: () => number): boolean {
    const hasLost = state.lost !== this.lost;
    this.lost = state.lost;
    const isFull = hasLost || state.queuedBytes > state.receiveBufferBytes * 0.75;
    const isCalm = !hasLost && state.queuedBytes < state.receiveBufferBytes * 0.125;
    if (this.isReliable ? !isFull : !isCalm) {
      this.since = -1;
      return false;
    }
    if (this.since < 0) this.since = now;
    const waitMs = this.isReliable ? STUCK_AFTER_MS : CALM_AFTER_MS;
    if (now - this.since < waitMs && !(this.isReliable && tableFill() >= TABLE_FILL_MAX)) return false;
    this.isReliable = !this.isReliable;
    this.since = -1;
    return true;
  }
}
