/**
 * Reads and writes an open UDP socket without node:dgram, which makes a buffer of 64 KiB and several objects for each
 * datagram it receives, and a request object for each it sends. Here many datagrams come with one system call into
 * memory that was made once, and those that the kernel cannot take yet wait in a ring of fixed size.
 */
import { EAGAIN, MSG_TRUNC } from '../../native/libc.js';
import { ReadPacer } from '../../native/read-pacer.js';
import { DatagramVector } from '../../native/structs.js';
import { closeUdpSocket, receiveDatagrams, sendDatagram } from '../../native/udp-socket.js';
import { FRAME_MAX_BYTES } from '../limits.js';
import { SendQueue } from './send-queue.js';

/** Datagrams of one system call: about what a slice has time for, at 30 flows a frame and 1 us a flow. */
const RECEIVE_BATCH = 16;
/**
 * More datagrams a millisecond than this are fetched by timer, which costs up to a millisecond of delay: 16 full frames
 * are 400,000 flows a second, when a delay is the least trouble.
 */
const BUSY_DATAGRAMS = 16;
/** Time that one turn of reading takes before timers and kernel events have theirs. Milliseconds. */
const SLICE_BUDGET_MS = 1;
/** Time between two tries to send what the kernel did not take. Milliseconds. */
const RETRY_MS = 1;

/** What the owner of a socket hears; all but `onDatagram` may be followed by a close. */
export interface DatagramSink {
  /** One datagram; the bytes are valid only during the call. */
  onDatagram(u8: Uint8Array, from: number, to: number): void;
  /** A datagram that is longer than any frame was dropped. */
  onTooLong(): void;
  /** A datagram that had waited was sent (0), or failed with this errno. */
  onSentLate(errno: number): void;
  /** The socket cannot be read any more. */
  onFailure(errno: number): void;
}

export class DatagramSocket {
  readonly #fd: number;
  readonly #sink: DatagramSink;
  readonly #vector = new DatagramVector(RECEIVE_BATCH, FRAME_MAX_BYTES);
  readonly #pacer: ReadPacer;
  readonly #queue = new SendQueue();
  #retryTimer: NodeJS.Timeout | undefined;
  #isClosed = false;
  #isReading = false;

  /** Takes the descriptor over: `close` closes it. */
  constructor(fd: number, sink: DatagramSink) {
    this.#fd = fd;
    this.#sink = sink;
    // A failed watch is told by the next read, which the pacer goes on with.
    this.#pacer = new ReadPacer(
      fd,
      BUSY_DATAGRAMS,
      () => this.#readSlice(),
      () => undefined,
    );
  }

  /**
   * Sends at once, or as soon as the kernel has room, in the order of the calls. Returns 0, or the errno; EAGAIN: it
   * was dropped, too many wait. Frame and target stay as they are until SEND_QUEUE_FRAMES further ones were sent.
   */
  send(frame: Uint8Array, length: number, target: Uint8Array): number {
    // What waits must not be overtaken.
    const errno = this.#queue.isEmpty ? sendDatagram(this.#fd, frame, length, target) : EAGAIN;
    if (errno !== EAGAIN) return errno;
    this.#retryTimer ??= setTimeout(() => this.#retry(), RETRY_MS);
    return this.#queue.push(frame, length, target) ? 0 : EAGAIN;
  }

  /** Reads what waits for about `budgetMs`: false when the socket was read to empty. */
  read(budgetMs: number): boolean {
    // A sink that reads would have its datagram overwritten while it looks at it.
    if (this.#isReading) return true;
    this.#isReading = true;
    const end = performance.now() + budgetMs;
    let datagrams = 0;
    let hasMore = true;
    while (!this.#isClosed) {
      const count = receiveDatagrams(this.#fd, this.#vector);
      if (count > 0) {
        datagrams += count;
        this.#deliver(count);
      }
      if (count < RECEIVE_BATCH) {
        hasMore = false;
        if (count < 0 && count !== -EAGAIN) this.#sink.onFailure(-count);
        break;
      }
      if (performance.now() >= end) break;
    }
    this.#isReading = false;
    hasMore = hasMore && !this.#isClosed;
    this.#pacer.report(datagrams, hasMore);
    return hasMore;
  }

  #readSlice(): void {
    this.read(SLICE_BUDGET_MS);
  }

  #deliver(count: number): void {
    const vector = this.#vector;
    for (let i = 0; i < count && !this.#isClosed; i++) {
      if ((vector.flags(i) & MSG_TRUNC) !== 0) {
        this.#sink.onTooLong();
        continue;
      }
      const from = vector.start(i);
      this.#sink.onDatagram(vector.data, from, from + vector.length(i));
    }
  }

  #retry(): void {
    this.#retryTimer = undefined;
    const queue = this.#queue;
    while (!queue.isEmpty && !this.#isClosed) {
      const errno = sendDatagram(this.#fd, queue.frame, queue.length, queue.target);
      if (errno === EAGAIN) {
        this.#retryTimer = setTimeout(() => this.#retry(), RETRY_MS);
        return;
      }
      queue.shift();
      this.#sink.onSentLate(errno);
    }
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    clearTimeout(this.#retryTimer);
    this.#pacer.close();
    closeUdpSocket(this.#fd);
  }
}
