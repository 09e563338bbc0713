/**
 * One link: datagrams to and from the peers over node:dgram, on one interface, by multicast or to one peer.
 *
 * The socket is made in native/ (FACTS.md, section 3) and bound to the interface by its index. When the
 * interface is deleted and made anew, sending fails and receiving is deaf without a word, so the channel
 * looks at the index once a second, and at the owner's word that nothing is heard, and opens the socket
 * again.
 */
import dgram from 'node:dgram';
import { isIPv6 } from 'node:net';
import { EAGAIN } from '../../native/libc.js';
import { errnoName, InterfaceMissingError } from '../../native/system-error.js';
import { interfaceIndex, openUdpSocket, sendDatagram, udpTarget } from '../../native/udp-socket.js';

/** Receive buffer asked for: several windows of full frames, as the kernel counts them. Bytes. */
const RECEIVE_BUFFER_BYTES = 8 << 20;
/** Time between two looks at the interface's index. Milliseconds. */
const CHECK_INTERVAL_MS = 1000;

export interface ChannelOptions {
  interface: string;
  /** This node's address on the link. */
  address: string;
  /** Multicast group; or `peer`, its address, for a link with one other node. */
  group?: string;
  peer?: string;
  port: number;
  mtu: number;
  receiveBufferBytes?: number;
  /** Whether other sockets of this host hear what is sent to the group: for tests on one host. */
  multicastLoop?: boolean;
}

/** Takes one datagram; the bytes are valid only during the call. */
export type FrameSink = (u8: Uint8Array, from: number, to: number) => void;

/** What a link did, for `status` and metrics. */
export interface ChannelCounters {
  sentFrames: number;
  sentBytes: number;
  receivedFrames: number;
  receivedBytes: number;
  sendErrors: number;
  /** Times the socket was made anew. */
  reopened: number;
  /** Errno name of the last failure, or undefined when the last send went well. */
  lastError: string | undefined;
}

export class MulticastChannel {
  readonly options: ChannelOptions;
  readonly counters: ChannelCounters = {
    sentFrames: 0,
    sentBytes: 0,
    receivedFrames: 0,
    receivedBytes: 0,
    sendErrors: 0,
    reopened: 0,
    lastError: undefined,
  };
  /** The receive buffer that the kernel granted, bytes as it counts them. */
  receiveBufferBytes = 0;
  readonly #onFrame: FrameSink;
  readonly #target: string;
  /** Send errors of node:dgram arrive only here, never as an 'error' event. */
  readonly #onSent = (error: Error | null): void =>
    this.#sent(error === null ? undefined : ((error as NodeJS.ErrnoException).code ?? 'unknown'));
  #socket: dgram.Socket | undefined;
  #ifindex = 0;
  #fd = -1;
  #address: Uint8Array = new Uint8Array(0);
  #timer: NodeJS.Timeout | undefined;
  #isOpening = false;

  /**
   * Opens the link. Rejects with InterfaceMissingError, AddressInUseError, AddressMissingError or SystemError
   * (native/system-error.ts); a link that fails later is opened again by itself.
   */
  static async open(options: ChannelOptions, onFrame: FrameSink): Promise<MulticastChannel> {
    const channel = new MulticastChannel(options, onFrame);
    await channel.#openSocket();
    channel.#timer = setInterval(() => channel.#check(), CHECK_INTERVAL_MS);
    channel.#timer.unref();
    return channel;
  }

  private constructor(options: ChannelOptions, onFrame: FrameSink) {
    const target = options.group ?? options.peer;
    if (target === undefined)
      throw new RangeError(`link ${options.interface}: neither group nor peer is given`);
    this.options = options;
    this.#onFrame = onFrame;
    this.#target = target;
  }

  /** Index of the interface the socket is bound to; 0 while it has none. */
  get ifindex(): number {
    return this.#ifindex;
  }

  /** Sends a frame to all on the link. The buffer must stay as it is until it is sent. */
  send(frame: Uint8Array, length: number): void {
    const socket = this.#socket;
    if (socket === undefined) {
      this.counters.sendErrors++;
      return;
    }
    this.counters.sentFrames++;
    this.counters.sentBytes += length;
    // What node:dgram still has to send must not be overtaken.
    const errno =
      socket.getSendQueueCount() > 0 ? EAGAIN : sendDatagram(this.#fd, frame, length, this.#address);
    if (errno === EAGAIN) socket.send(frame, 0, length, this.options.port, this.#target, this.#onSent);
    else this.#sent(errno === 0 ? undefined : errnoName(errno));
  }

  #sent(error: string | undefined): void {
    if (error !== undefined) this.counters.sendErrors++;
    if (error !== this.counters.lastError) this.counters.lastError = error;
    if (error === 'ENODEV') this.#check();
  }

  /** Nothing is heard any more: makes the socket anew if the interface is not the one it was bound to. */
  checkInterface(): void {
    this.#check();
  }

  close(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
    this.#drop();
  }

  async #openSocket(): Promise<void> {
    const { options } = this;
    const isV6 = isIPv6(this.#target);
    const made = openUdpSocket({
      interface: options.interface,
      family: isV6 ? 'IPv6' : 'IPv4',
      port: options.port,
      // A socket bound to a unicast address would not hear the group.
      ...(options.group === undefined ? { bindAddress: options.address } : { group: options.group }),
      receiveBufferBytes: options.receiveBufferBytes ?? RECEIVE_BUFFER_BYTES,
      multicastLoop: options.multicastLoop ?? false,
    });
    const socket = dgram.createSocket(isV6 ? 'udp6' : 'udp4');
    socket.on('message', (message) => {
      this.counters.receivedFrames++;
      this.counters.receivedBytes += message.length;
      this.#onFrame(message, 0, message.length);
    });
    await new Promise<void>((resolve, reject) => {
      socket.once('error', reject);
      socket.bind({ fd: made.fd }, () => {
        socket.removeListener('error', reject);
        resolve();
      });
    });
    socket.on('error', (error) => {
      this.counters.lastError = (error as NodeJS.ErrnoException).code ?? 'unknown';
      this.#drop();
    });
    this.#address = udpTarget(isV6 ? 'IPv6' : 'IPv4', this.#target, options.port, made.ifindex);
    this.#fd = made.fd;
    this.#socket = socket;
    this.#ifindex = made.ifindex;
    this.receiveBufferBytes = made.receiveBufferBytes;
  }

  #drop(): void {
    const socket = this.#socket;
    this.#socket = undefined;
    this.#ifindex = 0;
    socket?.close();
  }

  #check(): void {
    const now = interfaceIndex(this.options.interface);
    if (this.#timer === undefined || this.#isOpening || (now === this.#ifindex && this.#socket !== undefined))
      return;
    this.#drop();
    if (now === 0) {
      this.counters.lastError = 'ENODEV';
      return;
    }
    this.#isOpening = true;
    this.counters.reopened++;
    this.#openSocket()
      .catch((error: unknown) => {
        this.counters.lastError =
          error instanceof InterfaceMissingError
            ? 'ENODEV'
            : ((error as NodeJS.ErrnoException).code ?? 'unknown');
      })
      .finally(() => {
        this.#isOpening = false;
        if (this.#timer === undefined) this.#drop();
      });
  }
}
