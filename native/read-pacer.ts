import { ReadinessWatcher } from './readiness.js';

/** Timer rounds in a row that must find little before the reader waits for readiness again. */
const QUIET_ROUNDS = 3;
const ROUND_MS = 1;
/** More wake-ups than this in so many milliseconds are a steady stream, whose datagrams are held up: 400 a second. */
const OFTEN_WAKES = 8;
const OFTEN_WINDOW_MS = 20;
/** Holds in a row that must bring a datagram or none before each one wakes again. */
const QUIET_HOLDS = 4;

/** For a reader whose datagrams may wait for each other. */
export interface Holding {
  /** How long one may wait, milliseconds; timers make it one more. */
  readonly ms: number;
  /** Told when it begins and ends: meanwhile who knows of a datagram that is not to wait may call `readNow`. */
  onHold(isHolding: boolean): void;
}

/**
 * Decides when a socket is read: at once while it is quiet; every few milliseconds while datagrams come steadily, if its
 * owner lets them wait; every millisecond under load. A wake-up for each datagram costs far more than reading it.
 * `onReady` reads the socket and calls `report` with what it found.
 */
export class ReadPacer {
  private readonly watcher: ReadinessWatcher;
  private readonly busy: number;
  private readonly onReady: () => void;
  private readonly holding: Holding | undefined;
  private readonly round = () => this.runRound();
  private readonly hold = () => this.runHold();
  private timer: NodeJS.Timeout | undefined;
  private holdTimer: NodeJS.Timeout | undefined;
  private mode: 'watching' | 'holding' | 'rounds' = 'watching';
  private isClosed = false;
  private hasMore = false;
  private hasRead = false;
  private datagrams = 0;
  private windowStart = 0;
  private quietRounds = 0;
  private wakes = 0;
  private wakesSince = 0;
  private lastRead = 0;
  private heldDatagrams = 0;
  private quietHolds = 0;

  /** More than `busy` datagrams a millisecond are load. `onFailure` hears of an error that stopped the watching. */
  constructor(
    fd: number,
    busy: number,
    onReady: () => void,
    onFailure: (status: number) => void,
    holding?: Holding,
  ) {
    this.busy = busy;
    this.onReady = onReady;
    this.holding = holding;
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
    this.heldDatagrams += datagrams;
    this.hasMore = hasMore;
    this.hasRead = true;
  }

  /** Reads before the time that the datagrams are held for is over. */
  readNow(): void {
    if (!this.isClosed && this.mode === 'holding') this.readCounted(performance.now());
  }

  private wake(): void {
    const now = performance.now();
    this.readCounted(now);
    if (this.mode === 'watching' && this.holding !== undefined && this.isOften(now)) this.startHolding();
  }

  /** Reads, and goes over to rounds when more comes than a wake-up each is worth. */
  private readCounted(now: number): void {
    if (now - this.windowStart >= ROUND_MS) {
      this.windowStart = now;
      this.datagrams = 0;
    }
    this.lastRead = now;
    this.read();
    // An owner that did not read would be woken without end.
    if (this.hasMore || !this.hasRead || this.datagrams > this.busy) this.startRounds();
  }

  private read(): void {
    this.hasMore = false;
    this.hasRead = false;
    this.onReady();
  }

  private isOften(now: number): boolean {
    if (now - this.wakesSince >= OFTEN_WINDOW_MS) {
      this.wakesSince = now;
      this.wakes = 0;
    }
    return ++this.wakes > OFTEN_WAKES;
  }

  private startHolding(): void {
    const { holding } = this;
    if (this.isClosed || holding === undefined) return;
    this.watcher.stop();
    this.mode = 'holding';
    this.quietHolds = 0;
    this.heldDatagrams = 0;
    if (this.holdTimer === undefined) this.holdTimer = setTimeout(this.hold, holding.ms);
    else this.holdTimer.refresh();
    holding.onHold(true);
  }

  private runHold(): void {
    const { holding } = this;
    if (this.isClosed || this.mode !== 'holding' || holding === undefined) return;
    const now = performance.now();
    // What was read a moment ago, because something could not wait, is not read again.
    if (now - this.lastRead >= holding.ms / 2) {
      this.lastRead = now;
      this.datagrams = 0;
      this.read();
      if (this.isClosed) return;
      if (this.hasMore || !this.hasRead || this.datagrams > this.busy * holding.ms) {
        this.startRounds();
        return;
      }
    }
    this.quietHolds = this.heldDatagrams <= 1 ? this.quietHolds + 1 : 0;
    this.heldDatagrams = 0;
    if (this.quietHolds >= QUIET_HOLDS) this.startWatching();
    else this.holdTimer?.refresh();
  }

  private startRounds(): void {
    if (this.isClosed || this.mode === 'rounds') return;
    this.watcher.stop();
    if (this.mode === 'holding') this.holding?.onHold(false);
    this.mode = 'rounds';
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
    if (this.isClosed || this.mode !== 'rounds') return;
    this.datagrams = 0;
    this.read();
    if (this.isClosed) return;
    const isQuiet = this.hasRead && !this.hasMore && this.datagrams <= this.busy;
    this.quietRounds = isQuiet ? this.quietRounds + 1 : 0;
    if (this.quietRounds < QUIET_ROUNDS) this.schedule();
    else if (this.holding === undefined) this.startWatching();
    else this.startHolding();
  }

  private startWatching(): void {
    if (this.mode === 'holding') this.holding?.onHold(false);
    this.mode = 'watching';
    this.wakes = 0;
    this.watcher.start();
  }

  /** Close before the socket. */
  close(): void {
    this.isClosed = true;
    clearTimeout(this.timer);
    clearTimeout(this.holdTimer);
    this.watcher.close();
  }
}
