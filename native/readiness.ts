import koffi from 'koffi';

// koffi's declarations say (event), the library calls back with (status, event).
type PollCallback = (status: number) => void;
interface PollHandle {
  start(callback: PollCallback): void;
  stop(): void;
  close(): void;
}
const poll = koffi.node.poll as unknown as (fd: number, callback: PollCallback) => PollHandle;

/**
 * Tells when a file descriptor is readable, through Node's own event loop. Keep it in a field: koffi's handle goes
 * silent when it is collected. What `onReadable` throws is thrown again from the event loop, because a throw out of
 * koffi's callback aborts the process past every handler.
 */
export class ReadinessWatcher {
  private readonly callback: PollCallback;
  private readonly handle: PollHandle;
  private isWatching = true;
  private isClosed = false;

  /**
   * `onFailure` gets the negative libuv status of a failed poll (a socket with a pending error gives -9). libuv has
   * stopped watching then: call `start` again once the error was read from the socket.
   */
  constructor(fd: number, onReadable: () => void, onFailure: (status: number) => void) {
    this.callback = (status) => {
      try {
        if (status >= 0) return onReadable();
        this.isWatching = false;
        onFailure(status);
      } catch (error) {
        setImmediate(() => {
          throw error;
        });
      }
    };
    this.handle = poll(fd, this.callback);
  }

  start(): void {
    if (this.isClosed || this.isWatching) return;
    this.isWatching = true;
    this.handle.start(this.callback);
  }

  stop(): void {
    if (this.isClosed || !this.isWatching) return;
    this.isWatching = false;
    this.handle.stop();
  }

  /** Close before the file descriptor is closed. */
  close(): void {
    if (this.isClosed) return;
    this.isClosed = true;
    this.handle.close();
  }
}
