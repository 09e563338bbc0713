/**
 * All links of a node: opened in the configuration's order, sent on by number or all at once. Which of them carries
 * the data is the core's choice; here every link is alike.
 */
import { type ChannelOptions, isWorthWaiting, MulticastChannel } from './multicast-channel.js';

/** Takes one datagram and the number of the link it came on; the bytes are valid only during the call. */
export type LinkFrameSink = (u8: Uint8Array, from: number, to: number, link: number) => void;

export interface LinkGroupEvents {
  onFrame: LinkFrameSink;
  /** A link failed (an errno name), or works again (undefined). */
  onState(link: number, error: string | undefined): void;
}

export class LinkGroup {
  /** In the configuration's order. */
  readonly channels: readonly MulticastChannel[];

  private constructor(channels: readonly MulticastChannel[]) {
    this.channels = channels;
  }

  /**
   * Opens the links. One whose interface or address is missing is told as failed and opened when it is there; if that is
   * so of all, or for any other error of one, rejects with that error and leaves nothing open.
   */
  static async open(options: readonly ChannelOptions[], events: LinkGroupEvents): Promise<LinkGroup> {
    const group = new LinkGroup(
      options.map((each, link) => {
        const onFrame = (u8: Uint8Array, from: number, to: number) => events.onFrame(u8, from, to, link);
        return new MulticastChannel(each, onFrame, (error) => events.onState(link, error));
      }),
    );
    try {
      await group.#openAll(events);
    } catch (error) {
      group.close();
      throw error;
    }
    return group;
  }

  /** Reads what waits on each link for about `budgetMs`: false when all were read to empty. */
  read(budgetMs: number): boolean {
    let hasMore = false;
    for (let i = 0; i < this.channels.length; i++) hasMore = this.channels[i].read(budgetMs) || hasMore;
    return hasMore;
  }

  async #openAll(events: LinkGroupEvents): Promise<void> {
    let missing: unknown;
    const failed: number[] = [];
    for (const [link, channel] of this.channels.entries()) {
      try {
        await channel.open();
      } catch (error) {
        if (!isWorthWaiting(error)) throw error;
        missing ??= error;
        failed.push(link);
      }
    }
    // Nothing is tried again then.
    if (failed.length === this.channels.length) throw missing;
    for (const link of failed) events.onState(link, this.channels[link].counters.lastError);
  }

  /** Sends a frame on a link, or on all (-1). The buffer must stay as it is until it is sent. */
  send(frame: Uint8Array, length: number, link: number): void {
    const { channels } = this;
    if (link >= 0) {
      channels[link].send(frame, length);
      return;
    }
    for (let i = 0; i < channels.length; i++) channels[i].send(frame, length);
  }

  /** The smallest receive buffer that the kernel granted a link, bytes as it counts them. */
  get receiveBufferBytes(): number {
    const granted = this.channels.map((channel) => channel.receiveBufferBytes).filter((bytes) => bytes > 0);
    return Math.min(...granted);
  }

  close(): void {
    for (const channel of this.channels) channel.close();
  }
}
