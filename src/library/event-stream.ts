/** Events as an async iterable: the socket's buffer is the only queue, and what did not fit in it is told. */
import { setImmediate as nextTurn, setTimeout as pause } from 'node:timers/promises';
import { ReadinessWatcher } from '../../native/readiness.js';
import type { EventSink } from '../flow/kernel-port.js';
import type { EventReader } from '../kernel/event-reader.js';
import { ClosedError } from './errors.js';

/** More events in one reading than this are load: they are fetched by timer, for a wake-up each would cost more. */
const BUSY_EVENTS = 20;
const ROUND_MS = 1;
/** One reading takes one batch of datagrams at most. */
const ONE_BATCH_MS = 0;

/** The kernel had more events than the socket's buffer had room for: `lost` of them, since the last event told. */
export interface OverrunEvent {
  readonly type: 'overrun';
  /** Events that were not told. List the table to see what is there. */
  readonly lost: number;
}

/**
 * A stream of events that begins when it is made, not when it is first read. It is read once, by `for await`; leaving the
 * loop closes it, as do `close`, `await using` and the signal. While nobody reads, events wait in the socket's buffer.
 */
export class EventStream<T> implements AsyncIterable<T | OverrunEvent>, AsyncDisposable {
  private readonly reader: EventReader;
  private readonly signal: AbortSignal | undefined;
  private readonly onClosed: () => void;
  private readonly onAbort = () => this.close();
  private readonly sink: EventSink;
  private queue: (T | OverrunEvent)[] = [];
  private watcher: ReadinessWatcher | undefined;
  private wake: () => void = () => undefined;
  private lostTold = 0;
  private isBusy = false;
  private isClosed = false;
  private isTaken = false;

  /** `sinkFor` makes the sink that hands every event wanted to `take`. */
  constructor(
    reader: EventReader,
    sinkFor: (take: (event: T) => void) => EventSink,
    signal: AbortSignal | undefined,
    onClosed: () => void,
  ) {
    this.reader = reader;
    this.signal = signal;
    this.onClosed = onClosed;
    this.sink = sinkFor((event) => this.queue.push(event));
    signal?.addEventListener('abort', this.onAbort);
  }

  /** Receive buffer there is, bytes as the kernel counts: an event takes 1,280 of them. */
  get bufferBytes(): number {
    return this.reader.receiveBufferBytes;
  }

  /** Events in order, each once. Throws what the signal says when it is aborted; ends when the stream is closed. */
  async *[Symbol.asyncIterator](): AsyncGenerator<T | OverrunEvent, void, undefined> {
    if (this.isTaken) throw new ClosedError('read conntrack events a second time');
    this.isTaken = true;
    try {
      while (await this.fill()) {
        const events = this.queue;
        this.queue = [];
        yield* events;
      }
      this.signal?.throwIfAborted();
    } finally {
      this.close();
    }
  }

  /** Reads until there is something to tell: false when the stream is closed. */
  private async fill(): Promise<boolean> {
    while (!this.isClosed) {
      const hasMore = this.reader.drain(this.sink, ONE_BATCH_MS);
      const count = this.queue.length;
      this.noteLoss();
      if (this.queue.length > 0) {
        this.isBusy = count > BUSY_EVENTS;
        // Between two batches other work of the program has its turn.
        await nextTurn();
        return true;
      }
      if (hasMore) await nextTurn();
      else if (this.isBusy) await pause(ROUND_MS);
      else await this.readable();
      if (!hasMore) this.isBusy = false;
    }
    return false;
  }

  private noteLoss(): void {
    const lost = this.reader.eventsLost() - this.lostTold;
    if (lost === 0) return;
    this.lostTold += lost;
    // What is queued is older than what found no room.
    this.queue.push({ type: 'overrun', lost });
  }

  /** Resolves when the socket has something, or the stream was closed. */
  private async readable(): Promise<void> {
    const woken = new Promise<void>((resolve) => {
      this.wake = resolve;
    });
    const wake = () => {
      this.watcher?.stop();
      this.wake();
    };
    if (this.watcher === undefined) this.watcher = new ReadinessWatcher(this.reader.socket.fd, wake, wake);
    else this.watcher.start();
    await woken;
  }

  /** Stops listening; a loop over the stream ends. */
  close(): void {
    if (this.isClosed) return;
    this.isClosed = true;
    this.signal?.removeEventListener('abort', this.onAbort);
    this.watcher?.close();
    this.reader.close();
    this.onClosed();
    this.wake();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.close();
  }
}
