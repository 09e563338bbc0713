/** The event socket of the kernel twin: a bounded queue that loses what does not fit, as netlink does. */

import { cloneExpectation } from '../../src/flow/expectation.js';
import {
  EVENT_DESTROY,
  type EventSink,
  SEEN_HELPER,
  SEEN_LABELS,
  SEEN_MARK,
  SEEN_MASTER,
  SEEN_PROTOINFO,
  SEEN_SEQADJ,
  SEEN_STATUS,
  SEEN_SYNPROXY,
} from '../../src/flow/kernel-port.js';
import { allocateMemory, copyRecord, lengthOf, type Memory } from '../../src/flow/record.js';

/** Receive buffer that one event takes, whatever its size (FACTS: 1,280). Bytes. */
export const EVENT_BYTES = 1280;

/** What an event carries that tells all of a flow. */
export const SEEN_EVERYTHING =
  SEEN_STATUS |
  SEEN_MARK |
  SEEN_PROTOINFO |
  SEEN_LABELS |
  SEEN_HELPER |
  SEEN_SEQADJ |
  SEEN_SYNPROXY |
  SEEN_MASTER;

/** Of whom an event tells. */
interface EventSubject {
  /** It was told of. */
  isShown: boolean;
  isEndShown: boolean;
}

interface QueuedEvent {
  readonly kind: number;
  readonly m: Memory;
  readonly seen: number;
  readonly portId: number;
  readonly status: number;
  readonly flow: EventSubject | undefined;
  readonly isExpectation?: boolean;
}

/** How the socket was set up. */
export interface EventQueueOptions {
  bufferBytes: number;
  /** NETLINK_NO_ENOBUFS (F3); without it an overrun makes the socket deaf until it was read to empty (F2). */
  noEnobufs: boolean;
  /** NETLINK_BROADCAST_ERROR: an undelivered DESTROY is repeated until it arrives. */
  reliable: boolean;
  /** Probability that an event overtakes the one before it of the same flow, from another CPU (F12). */
  swapRate: number;
  random: () => number;
}

/** Copy of a record in memory of its own size. */
export function cloneRecord(m: Memory, at: number): Memory {
  const copy = allocateMemory(lengthOf(m, at));
  copyRecord(m, at, copy, 0);
  return copy;
}

/** Events between the twin and its reader. */
export class EventQueue {
  readonly options: EventQueueOptions;
  /** Events lost so far, as SO_MEMINFO's drop counter tells. */
  drops = 0;
  #events: QueuedEvent[] = [];
  #head = 0;
  #undelivered: QueuedEvent[] = [];
  #isDeaf = false;

  constructor(options: EventQueueOptions) {
    this.options = options;
  }

  get length(): number {
    return this.#events.length - this.#head;
  }

  /** DESTROYs that wait for room (reliable delivery only). */
  get waiting(): number {
    return this.#undelivered.length;
  }

  /** True if the end of such a flow was not delivered yet: until then the kernel keeps its memory (and so its id). */
  isOwed(isIt: (flow: EventSubject | undefined) => boolean): boolean {
    return this.#undelivered.some((event) => isIt(event.flow));
  }

  /** Queues an event, or loses it and returns false. */
  push(
    kind: number,
    m: Memory,
    at: number,
    seen: number,
    portId: number,
    status: number,
    flow: EventSubject,
    isDestroy: boolean,
  ): boolean {
    const event = { kind, m: cloneRecord(m, at), seen, portId, status, flow };
    if (this.#isDeaf || (this.length + 1) * EVENT_BYTES > this.options.bufferBytes) {
      this.drops++;
      if (!this.options.noEnobufs) this.#isDeaf = true;
      if (this.options.reliable && isDestroy) this.#undelivered.push(event);
      return false;
    }
    const last = this.#events.at(-1);
    this.#events.push(event);
    const isSwapped = this.length > 1 && last?.flow === flow && this.options.random() < this.options.swapRate;
    if (isSwapped && last !== undefined) {
      this.#events[this.#events.length - 1] = last;
      this.#events[this.#events.length - 2] = event;
    }
    return true;
  }

  /** Queues an event about an expectation, or loses it: these are never repeated. */
  pushExpectation(kind: number, m: Memory, portId: number): void {
    if (this.#isDeaf || (this.length + 1) * EVENT_BYTES > this.options.bufferBytes) {
      this.drops++;
      if (!this.options.noEnobufs) this.#isDeaf = true;
      return;
    }
    const copy = cloneExpectation(m, 0);
    this.#events.push({ kind, m: copy, seen: 0, portId, status: 0, flow: undefined, isExpectation: true });
  }

  /** Hands over at most `limit` events; true if more are queued. */
  drain(sink: EventSink, limit: number): boolean {
    for (let i = 0; i < limit && this.#head < this.#events.length; i++) {
      const event = this.#events[this.#head++];
      if (event.flow !== undefined) {
        if (event.kind === EVENT_DESTROY) event.flow.isEndShown = true;
        else event.flow.isShown = true;
      }
      if (event.isExpectation) sink.expectation?.(event.kind, event.m, 0, event.portId);
      else sink.event(event.kind, event.m, 0, event.seen, event.portId, event.status);
    }
    if (this.#head > 1024 || this.#head === this.#events.length) {
      this.#events.splice(0, this.#head);
      this.#head = 0;
    }
    if (this.length > 0) return true;
    this.#isDeaf = false;
    return this.#retry();
  }

  /** The kernel's worker tries its undelivered DESTROYs again; true if any came through. */
  #retry(): boolean {
    const room = Math.floor(this.options.bufferBytes / EVENT_BYTES) - this.length;
    if (this.#undelivered.length === 0 || room <= 0) return false;
    this.#events.push(...this.#undelivered.splice(0, room));
    return true;
  }
}
