/** Requests about one flow or expectation at a time, each acknowledged, over a socket of its own. */
import { EAGAIN, ENOBUFS, pinnedBytes } from '../../native/libc.js';
import { NetlinkSocket } from '../../native/netlink-socket.js';
import type { Counters } from '../flow/counters.js';
import type { Memory } from '../flow/record.js';
import { AttributeWriter } from '../kernel/attribute-writer.js';
import { CtnetlinkDecoder } from '../kernel/decode.js';
import { NFNL_SUBSYS_CTNETLINK, NFNL_SUBSYS_CTNETLINK_EXP, NLM_F_ACK, NLMSG_ERROR } from '../kernel/enums.js';
import { ExpectationDecoder } from '../kernel/expectation-decode.js';

const ANSWER_MAX_BYTES = 32768;
const NLMSG_HEADER_BYTES = 16;
/** Answers stand in the queue when send returns; more empty reads than this mean that one was lost. */
const EMPTY_READS_MAX = 100;

export class Requester {
  readonly request = new AttributeWriter();
  readonly #socket = new NetlinkSocket();
  readonly #data = pinnedBytes(ANSWER_MAX_BYTES);
  readonly #view = new DataView(this.#data.buffer);
  readonly #flows: CtnetlinkDecoder;
  readonly #expectations: ExpectationDecoder;
  #sequence = 0;
  #subsystem = 0;

  /** Throws SystemError: EPROTONOSUPPORT when the kernel has no nfnetlink. */
  constructor(counters: Counters) {
    this.#flows = new CtnetlinkDecoder(counters);
    this.#expectations = new ExpectationDecoder(counters);
  }

  /** Starts a request about a flow; attributes follow by `request`. */
  beginFlow(message: number, flags: number, family: number): void {
    this.#begin(NFNL_SUBSYS_CTNETLINK, message, flags, family);
  }

  /** The same about an expectation. */
  beginExpectation(message: number, flags: number, family: number): void {
    this.#begin(NFNL_SUBSYS_CTNETLINK_EXP, message, flags, family);
  }

  #begin(subsystem: number, message: number, flags: number, family: number): void {
    this.#sequence = (this.#sequence + 1) >>> 0 || 1;
    this.#subsystem = subsystem;
    this.request.begin(subsystem, message, flags | NLM_F_ACK, this.#sequence, family);
  }

  /** Sends it and waits for the acknowledgement: 0 or a positive errno. What was found goes to `found`, at 0. */
  send(found?: (m: Memory) => void): number {
    const sent = this.#socket.send(this.request.bytes, this.request.end());
    if (sent < 0) return -sent;
    for (let emptyReads = 0; ; ) {
      const length = this.#socket.receive(this.#data);
      if (length === -EAGAIN || length === -ENOBUFS) {
        if (++emptyReads >= EMPTY_READS_MAX) return -length;
        continue;
      }
      if (length < 0) return -length;
      const errno = this.#read(length, found);
      if (errno !== undefined) return errno;
    }
  }

  /** The errno of the acknowledgement, once it has come. */
  #read(end: number, found?: (m: Memory) => void): number | undefined {
    for (let from = 0; end - from >= NLMSG_HEADER_BYTES; ) {
      const length = this.#view.getUint32(from, true);
      if (length < NLMSG_HEADER_BYTES || length > end - from) return undefined;
      const type = this.#view.getUint16(from + 4, true);
      if (this.#view.getUint32(from + 8, true) === this.#sequence) {
        if (type === NLMSG_ERROR) return -this.#view.getInt32(from + NLMSG_HEADER_BYTES, true) | 0;
        const isFlow = this.#subsystem === NFNL_SUBSYS_CTNETLINK;
        const bytes = isFlow
          ? this.#flows.decode(this.#data, from, from + length, true)
          : this.#expectations.decode(this.#data, from, from + length);
        if (bytes > 0) found?.(isFlow ? this.#flows.m : this.#expectations.m);
      }
      from += (length + 3) & ~3;
    }
    return undefined;
  }

  close(): void {
    this.#socket.close();
  }
}
