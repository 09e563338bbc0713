/**
 * The kernel as the core sees it: a port that `src/kernel` implements over ctnetlink and the simulator by a twin.
 * Every call is synchronous and short (netlink answers before send returns), so the core can be stepped.
 */
import { allocateMemory, copyRecord, MAX_RECORD_BYTES, type Memory } from './record.js';

export const EVENT_NEW = 0;
export const EVENT_UPDATE = 1;
export const EVENT_DESTROY = 2;

/** What an event (or a dump row) carried: an update is partial, see merge.ts. */
export const SEEN_STATUS = 1;
export const SEEN_MARK = 2;
export const SEEN_PROTOINFO = 4;
export const SEEN_LABELS = 8;
export const SEEN_HELPER = 16;
export const SEEN_SEQADJ = 32;
export const SEEN_SYNPROXY = 64;
export const SEEN_MASTER = 128;

/** Takes flows as the kernel reports them. The record is scratch: it is valid only during the call. */
export interface EventSink {
  /** kind EVENT_*, the record, the SEEN_* bits, the netlink port id of who caused it (0: the kernel), raw IPS_* status. */
  event(kind: number, m: Memory, at: number, seen: number, portId: number, status: number): void;
  /**
   * Kind EVENT_NEW or EVENT_DESTROY (an expectation has no updates), the packed expectation (expectation.ts), and the
   * port id. Zones are not told: a master's key counts in zone 0.
   */
  expectation?(kind: number, m: Memory, at: number, portId: number): void;
}
export type RowSink = (m: Memory, at: number) => void;

export const DUMP_MORE = 0;
export const DUMP_DONE = 1;
/** The kernel said NLM_F_DUMP_INTR, or the socket failed: the dump is not whole. */
export const DUMP_INTERRUPTED = 2;
/** Nothing was read yet, come again: the kernel walks through a large and nearly empty hash table. */
export const DUMP_PENDING = 3;

export const OP_CREATE = 1; // NLM_F_CREATE|NLM_F_EXCL; NAT as FACTS: plain inverse reply + CTA_NAT_SRC/DST
export const OP_UPDATE = 2; // status, timeout, protoinfo, mark, labels, seqadj, synproxy
export const OP_DELETE = 3; // by original tuple, zone, and ct id where the record has one
export const OP_GET = 4; // by original tuple and zone
export const OP_GET_REPLY = 5; // by reply tuple and zone: who holds it
export const OP_RETIME = 6; // the timeout of a flow, and nothing else of it

/** Distance of two records in a batch: an odd multiple of a cache line, or they would all fall into the same cache sets. */
export const BATCH_STRIDE_BYTES = MAX_RECORD_BYTES + 64;

/** A batch of requests to the kernel with their results; reused, so that a commit allocates nothing per flow. */
export class KernelBatch {
  readonly capacity: number;
  count = 0;
  readonly verb: Uint8Array;
  /** The caller's own number for each request (a slot). */
  readonly tag: Int32Array;
  /** Offset of each request's record in `memory`. */
  readonly at: Uint32Array;
  readonly memory: Memory;
  /** Result: 0, or a positive errno. -1: unknown, the answer was lost (ask by GET). */
  readonly errno: Int32Array;
  /** For a GET that succeeded the offset of the kernel's record in `found`, else -1. */
  readonly foundAt: Int32Array;
  readonly found: Memory;

  constructor(capacity = 64) {
    this.capacity = capacity;
    this.verb = new Uint8Array(capacity);
    this.tag = new Int32Array(capacity);
    this.at = new Uint32Array(capacity);
    this.memory = allocateMemory(capacity * BATCH_STRIDE_BYTES);
    this.errno = new Int32Array(capacity);
    this.foundAt = new Int32Array(capacity);
    this.found = allocateMemory(capacity * BATCH_STRIDE_BYTES);
  }

  get isFull(): boolean {
    return this.count === this.capacity;
  }

  /** Adds a request with a copy of the record; the copy (at the returned offset of `memory`) may be edited. */
  add(verb: number, tag: number, m: Memory, at: number): number {
    if (this.count === this.capacity) throw new RangeError('kernel batch is full');
    const i = this.count++;
    const to = i * BATCH_STRIDE_BYTES;
    copyRecord(m, at, this.memory, to);
    this.verb[i] = verb;
    this.tag[i] = tag;
    this.at[i] = to;
    this.errno[i] = -1;
    this.foundAt[i] = -1;
    return to;
  }

  clear(): void {
    this.count = 0;
  }
}

export interface KernelPort {
  /** Starts a dump of both families; one under way is abandoned. */
  dumpStart(): void;
  /** Reads at most one datagram of the dump (up to about 135 flows) and hands each row to the sink: DUMP_*. */
  dumpNext(sink: RowSink): number;
  /** Size of the conntrack hash table: a dump across a resize is not whole (F12). */
  buckets(): number;
  /** Flows that the table takes before it is full: then it drops unassured ones, or refuses (ENOMEM). */
  room(): number;
  /** Sends the batch, reads every answer, fills errno and found. The own event socket does not hear these writes. */
  execute(batch: KernelBatch): void;
  /** Events lost so far, from the socket's drop counter (F3). Never falls. */
  eventsLost(): number;
  /** Reads queued events into the sink for about `budgetMs`. False when the queue was read to empty. */
  drain(sink: EventSink, budgetMs: number): boolean;
  /** During a bulk commit the reader may leave the NEW group (it doubles the kernel's rate); audit afterwards. */
  setBulk(isBulk: boolean): void;
  /** Starts a dump of the expectations of both families; one under way is abandoned. */
  expectationDumpStart(): void;
  /** Reads at most one datagram of that dump and hands each packed expectation to the sink: DUMP_*. */
  expectationDumpNext(sink: RowSink): number;
  /**
   * Creates an expectation: 0 or a positive errno (ENOENT: no master; EOPNOTSUPP: the master has no helper; EEXIST).
   * The timeout is the policy's of the master's helper, and where that has no room the oldest of its class goes.
   */
  createExpectation(m: Memory, at: number): number;
  /** Gives the expectation with this tuple its record's timeout: 0 or a positive errno (ENOENT). No event tells of it. */
  updateExpectation(m: Memory, at: number): number;
  /** Deletes the expectation with this tuple: 0 or a positive errno (ENOENT). */
  deleteExpectation(m: Memory, at: number): number;
}
