import { EAGAIN, EINVAL, ENOBUFS, EPERM, pinnedBytes } from '../../native/libc.js';
import { NetlinkSocket } from '../../native/netlink-socket.js';
import { SystemError } from '../../native/system-error.js';
import type { Counters } from '../flow/counters.js';
import { DUMP_DONE, DUMP_INTERRUPTED, DUMP_MORE, DUMP_PENDING, type RowSink } from '../flow/kernel-port.js';
import { AttributeWriter } from './attribute-writer.js';
import { CtnetlinkDecoder } from './decode.js';
import { type DumpFilter, type DumpList, writeDumpRequest } from './dump-request.js';
import { NLM_F_DUMP_INTR, NLMSG_DONE, NLMSG_ERROR } from './enums.js';
import { ConntrackMissingError, NetAdminMissingError } from './kernel-error.js';
import { readSysctl } from './sysctl.js';

/** The kernel never builds a longer dump datagram. */
const DATAGRAM_MAX_BYTES = 32768;
/** Reads in a row that find nothing although the dump is not over, before it counts as broken. */
const EMPTY_READS_MAX = 100;
/** No thread has read a datagram; one could not, and receiving again tells why. */
const NOTHING = -1;
const ASK_AGAIN = -2;
const NLMSG_HEADER_BYTES = 16;
const ERROR_BYTES = 20; // struct nlmsghdr and the error number

export interface DumperOptions {
  readonly counters: Counters;
  /** Whether rows carry what is only shown: counters, timestamps, security context, use. */
  readonly isShown: boolean;
  /** Whether a thread of the pool may wait for the kernel: rows then come later (DUMP_PENDING). */
  readonly isPooled?: boolean;
  /** Called when a thread of the pool has come back: `next` has something to say again. */
  readonly onArrival?: () => void;
}

/**
 * A dump walks all buckets of the hash table between two datagrams, some 45 ns each: below this many flows a bucket
 * that can hold the event loop for more than some milliseconds, and a thread of the pool waits instead.
 */
const SPARSE_FLOWS_PER_BUCKET = 1 / 256;

/** Dumps the conntrack table of both families, one datagram a step, over a socket of its own. */
export class Dumper {
  private readonly options: DumperOptions;
  private readonly decoder: CtnetlinkDecoder;
  private data = pinnedBytes(DATAGRAM_MAX_BYTES);
  private words = new Uint32Array(this.data.buffer);
  private request = new AttributeWriter();
  private socket: NetlinkSocket | undefined;
  private sequence = 0;
  private isRunning = false;
  private isWhole = true;
  private emptyReads = 0;
  private isSparse = false;
  /** A thread of the pool sends or receives. */
  private isInPool = false;
  /** Length of the datagram that a thread of the pool has read. */
  private arrived = NOTHING;
  private failure: SystemError | undefined;

  constructor(options: DumperOptions) {
    this.options = options;
    this.decoder = new CtnetlinkDecoder(options.counters);
  }

  /** Why the last dump was not whole, where the kernel told a reason. */
  get error(): SystemError | undefined {
    return this.failure;
  }

  /**
   * Starts a dump of the list, as far as the kernel can filter it; one under way is abandoned. What fails here is told by
   * `next` and `error`. Throws RangeError for a filter that no kernel takes.
   */
  start(list: DumpList = 'table', filter?: DumpFilter): void {
    if (this.isRunning) this.close();
    this.failure = undefined;
    this.isRunning = true;
    this.isWhole = true;
    this.emptyReads = 0;
    try {
      this.socket ??= new NetlinkSocket();
    } catch (error) {
      if (!(error instanceof SystemError)) throw error;
      this.failure = error;
      return;
    }
    this.sequence = (this.sequence + 1) >>> 0 || 1;
    const length = writeDumpRequest(this.request, this.sequence, list, filter);
    // With a filter the kernel may look through the whole table for one datagram.
    this.isSparse = this.options.isPooled === true && (filter !== undefined || isTableSparse());
    this.arrived = NOTHING;
    if (this.isSparse) {
      const { socket } = this;
      this.isInPool = true;
      socket.sendInPool(this.request.bytes, length, (isSent) => {
        this.isInPool = false;
        // The kernel refuses a second time as well, and then says why.
        if (!isSent) this.sendRequest(socket, length);
        this.options.onArrival?.();
      });
    } else this.sendRequest(this.socket, length);
  }

  private sendRequest(socket: NetlinkSocket, length: number): void {
    const errno = -socket.send(this.request.bytes, length);
    if (errno !== 0) this.fail(errno);
  }

  /** Reads one datagram and hands its rows to the sink: DUMP_MORE, or how the dump ended. */
  next(sink: RowSink): number {
    if (!this.isRunning) return DUMP_DONE;
    if (this.socket === undefined || this.failure !== undefined) return this.end(DUMP_INTERRUPTED);
    if (this.isInPool) return DUMP_PENDING;
    if (this.isSparse && this.arrived === NOTHING) return this.receiveInPool(this.socket);
    const length = this.arrived >= 0 ? this.arrived : this.socket.receive(this.data);
    this.arrived = NOTHING;
    if (length === -EAGAIN) {
      return ++this.emptyReads < EMPTY_READS_MAX ? DUMP_MORE : this.end(DUMP_INTERRUPTED);
    }
    if (length === -ENOBUFS) {
      this.isWhole = false;
      return DUMP_MORE;
    }
    if (length < 0) {
      this.fail(-length);
      return this.end(DUMP_INTERRUPTED);
    }
    this.emptyReads = 0;
    return this.readDatagram(length, sink);
  }

  private receiveInPool(socket: NetlinkSocket): number {
    this.isInPool = true;
    socket.receiveInPool(this.data, (length) => {
      this.isInPool = false;
      this.arrived = length >= 0 ? length : ASK_AGAIN;
      this.options.onArrival?.();
    });
    return DUMP_PENDING;
  }

  private readDatagram(end: number, sink: RowSink): number {
    let from = 0;
    while (end - from >= NLMSG_HEADER_BYTES) {
      const length = this.words[from >>> 2];
      if (length < NLMSG_HEADER_BYTES || length > end - from) {
        this.options.counters.count('kernel.message-length');
        this.isWhole = false;
        break;
      }
      const ended = this.readMessage(from, from + length, sink);
      if (ended !== DUMP_MORE) return this.end(ended);
      from += (length + 3) & ~3;
    }
    return DUMP_MORE;
  }

  private readMessage(from: number, to: number, sink: RowSink): number {
    const word = from >>> 2;
    const type = this.words[word + 1] & 0xffff;
    if (this.words[word + 2] !== this.sequence) return DUMP_MORE;
    if (((this.words[word + 1] >>> 16) & NLM_F_DUMP_INTR) !== 0) this.isWhole = false;
    if (type === NLMSG_DONE || type === NLMSG_ERROR) {
      const errno = to - from >= ERROR_BYTES ? -(this.words[word + 4] | 0) : EINVAL;
      if (errno > 0) this.fail(errno);
      return this.isWhole && errno <= 0 ? DUMP_DONE : DUMP_INTERRUPTED;
    }
    if (this.decoder.decode(this.data, from, to, this.options.isShown) > 0) sink(this.decoder.m, 0);
    return DUMP_MORE;
  }

  private fail(errno: number): void {
    const operation = 'dump conntrack table';
    if (errno === EPERM) this.failure = new NetAdminMissingError(operation, errno);
    else if (errno === EINVAL) this.failure = new ConntrackMissingError(operation, errno);
    else this.failure = new SystemError(operation, errno);
  }

  private end(how: number): number {
    // After a broken dump the rest of it may still come: a new socket for the next one.
    if (how !== DUMP_DONE) this.close();
    this.isRunning = false;
    return how;
  }

  /** A thread is still in a call of the dump that is given up: what it reads and writes must not be the next one's. */
  private leaveMemory(): void {
    this.data = pinnedBytes(DATAGRAM_MAX_BYTES);
    this.words = new Uint32Array(this.data.buffer);
    this.request = new AttributeWriter();
  }

  close(): void {
    this.isRunning = false;
    if (this.isInPool) this.leaveMemory();
    this.isInPool = false;
    this.socket?.close();
    this.socket = undefined;
  }
}

function isTableSparse(): boolean {
  const buckets = readSysctl('buckets') ?? 0;
  return (readSysctl('count') ?? 0) < buckets * SPARSE_FLOWS_PER_BUCKET;
}
