import { ReadinessWatcher } from './readiness.js';

/** Timer rounds in a row that must find little before the reader waits for readiness again. */
const QUIET_ROUNDS = 3;
const ROUND_MS = 1;

/**
 * Decides when a socket is read: at once while it is quiet, every millisecond under load, because a wake-up for each
 * datagram would cost more than reading it. `onReady` reads the socket and calls `report` with what it found.
 */
export class ReadPacer {
  private readonly watcher: ReadinessWatcher;
  private readonly busy: number;
  private readonly onReady: () => void;
  private readonly round = () => this.runRound();
  private timer: NodeJS.Timeout | undefined;
  private isPolling = true;
  private isClosed = false;
  private hasMore = false;
  private hasRead = false;
  private datagrams = 0;
  private windowStart = 0;
  private quietRounds = 0;

  /** More than `busy` datagrams a millisecond are load. `onFailure` hears of an error that stopped the watching. */
  constructor(fd: number, busy: number, onReady: () => void, onFailure: (status: number) => void) {
    this.busy = busy;
    this.onReady = onReady;
    this.watcher = new ReadinessWatcher(
      fd,
      () => this.wake(),
      (status) => {
        onFailure(status);
        // The watcher stands still; the rounds read the socket's error and start it again.
        this.startRounds();
      },
    );
  }

  /** What one read of the socket found: the number of datagrams, and whether it stopped before the queue was empty. */
  report(datagrams: number, hasMore: boolean): void {
    this.datagrams += datagrams;
    this.hasMore = hasMore;
    this.hasRead = true;
  }

  private wake(): void {
    const now = performance.now();
    if (now - this.windowStart >= ROUND_MS) {
      this.windowStart = now;
      this.datagrams = 0;
    }
    this.read();
    // An owner that did not read would be woken without end.
    if (this.hasMore || !this.hasRead || this.datagrams > this.busy) this.startRounds();
  }

  private read(): void {
    this.hasMore = false;
    this.hasRead = false;
    this.onReady();
  }

  private startRounds(): void {
    if (this.isClosed) return;
    this.watcher.stop();
    this.isPolling = false;
    this.quietRounds = 0;
    this.schedule();
  }

  private schedule(): void {
    if (this.hasMore) {
      setImmediate(this.round);
    } else if (this.timer === undefined) {
      this.timer = setTimeout(this.round, ROUND_MS);
    } else {
      this.timer.refresh();
    }
  }

  private runRound(): void {
    if (this.isClosed || this.isPolling) return;
    this.datagrams = 0;
    this.read();
    if (this.isClosed) return;
    const isQuiet = this.hasRead && !this.hasMore && this.datagrams <= this.busy;
    this.quietRounds = isQuiet ? this.quietRounds + 1 : 0;
    if (this.quietRounds < QUIET_ROUNDS) {
      this.schedule();
    } else {
      this.isPolling = true;
      this.watcher.start();
    }
  }

  /** Close before the socket. */
  close(): void {
    this.isClosed = true;
    clearTimeout(this.timer);
    this.watcher.close();
  }
}
