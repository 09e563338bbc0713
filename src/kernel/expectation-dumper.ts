import { EAGAIN, EINVAL, ENOBUFS, pinnedBytes } from '../../native/libc.js';
import { NetlinkSocket } from '../../native/netlink-socket.js';
import { SystemError } from '../../native/system-error.js';
import type { Counters } from '../flow/counters.js';
import { DUMP_DONE, DUMP_INTERRUPTED, DUMP_MORE, type RowSink } from '../flow/kernel-port.js';
import {
  IPCTNL_MSG_EXP_GET,
  NFNL_SUBSYS_CTNETLINK_EXP,
  NLM_F_DUMP,
  NLM_F_DUMP_INTR,
  NLM_F_REQUEST,
  NLMSG_DONE,
  NLMSG_ERROR,
} from './enums.js';
import { ExpectationDecoder } from './expectation-decode.js';

/** The kernel never builds a longer dump datagram. */
const DATAGRAM_MAX_BYTES = 32768;
/** Reads in a row that find nothing although the dump is not over, before it counts as broken. */
const EMPTY_READS_MAX = 100;
const NLMSG_HEADER_BYTES = 16;
const REQUEST_BYTES = 20;

/**
 * Dumps the expectations of both families, one datagram a step, over a socket that lives as long as the dump. Their
 * hash table has some thousand buckets, so no step is long.
 */
export class ExpectationDumper {
  private readonly counters: Counters;
  private readonly decoder: ExpectationDecoder;
  private readonly data = pinnedBytes(DATAGRAM_MAX_BYTES);
  private readonly view = new DataView(this.data.buffer);
  private readonly request = pinnedBytes(REQUEST_BYTES);
  private socket: NetlinkSocket | undefined;
  private sequence = 0;
  private isWhole = true;
  private emptyReads = 0;

  constructor(counters: Counters) {
    this.counters = counters;
    this.decoder = new ExpectationDecoder(counters);
  }

  /** Starts a dump; one under way is abandoned. What fails here is told by `next`. */
  start(): void {
    this.close();
    this.isWhole = true;
    this.emptyReads = 0;
    this.sequence = (this.sequence + 1) >>> 0 || 1;
    const view = new DataView(this.request.buffer);
    view.setUint32(0, REQUEST_BYTES, true);
    view.setUint16(4, (NFNL_SUBSYS_CTNETLINK_EXP << 8) | IPCTNL_MSG_EXP_GET, true);
    view.setUint16(6, NLM_F_REQUEST | NLM_F_DUMP, true);
    view.setUint32(8, this.sequence, true);
    try {
      this.socket = new NetlinkSocket();
    } catch (error) {
      if (!(error instanceof SystemError)) throw error;
      return;
    }
    if (this.socket.send(this.request, REQUEST_BYTES) < 0) this.close();
  }

  /** Reads one datagram and hands its rows to the sink: DUMP_MORE, or how the dump ended. */
  next(sink: RowSink): number {
    if (this.socket === undefined) return DUMP_INTERRUPTED;
    const length = this.socket.receive(this.data);
    if (length === -EAGAIN)
      return ++this.emptyReads < EMPTY_READS_MAX ? DUMP_MORE : this.end(DUMP_INTERRUPTED);
    if (length === -ENOBUFS) {
      this.isWhole = false;
      return DUMP_MORE;
    }
    if (length < 0) return this.end(DUMP_INTERRUPTED);
    this.emptyReads = 0;
    let from = 0;
    while (length - from >= NLMSG_HEADER_BYTES) {
      const bytes = this.view.getUint32(from, true);
      if (bytes < NLMSG_HEADER_BYTES || bytes > length - from) {
        this.counters.count('kernel.message-length');
        return this.end(DUMP_INTERRUPTED);
      }
      const state = this.readMessage(from, from + bytes, sink);
      if (state !== DUMP_MORE) return this.end(state);
      from += (bytes + 3) & ~3;
    }
    return DUMP_MORE;
  }

  private readMessage(from: number, to: number, sink: RowSink): number {
    const type = this.view.getUint16(from + 4, true);
    if (this.view.getUint32(from + 8, true) !== this.sequence) return DUMP_MORE;
    if ((this.view.getUint16(from + 6, true) & NLM_F_DUMP_INTR) !== 0) this.isWhole = false;
    if (type === NLMSG_DONE || type === NLMSG_ERROR) {
      const errno =
        to - from >= REQUEST_BYTES ? -this.view.getInt32(from + NLMSG_HEADER_BYTES, true) : EINVAL;
      return this.isWhole && errno <= 0 ? DUMP_DONE : DUMP_INTERRUPTED;
    }
    if (this.decoder.decode(this.data, from, to) > 0) sink(this.decoder.m, 0);
    return DUMP_MORE;
  }

  private end(how: number): number {
    this.close();
    return how;
  }

  close(): void {
    this.socket?.close();
    this.socket = undefined;
  }
}
