/**
 * One link: datagrams to and from the peers, on one interface, by multicast or to each of some peers.
 *
 * The socket is made in native/ and bound to the interface by its index. When the interface is deleted and made anew,
 * sending fails and receiving is deaf without a word, so the channel looks at the index once a second, and opens the
 * socket again.
 */
import { isIPv6 } from 'node:net';
import { AddressMissingError, errnoName, InterfaceMissingError } from '../../native/system-error.js';
import { interfaceIndex, openUdpSocket, udpTarget } from '../../native/udp-socket.js';
import { type DatagramSink, DatagramSocket } from './datagram-socket.js';

/** Receive buffer asked for: several windows of full frames, as the kernel counts them. Bytes. */
const RECEIVE_BUFFER_BYTES = 8 << 20;
/** Time between two looks at the interface's index. Milliseconds. */
const CHECK_INTERVAL_MS = 1000;

export interface ChannelOptions {
  interface: string;
  /** This node's address on the link. */
  address: string;
  /** Multicast group; or the addresses of `peers`, each of which every frame is sent to. */
  group?: string;
  peers?: readonly string[];
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
  /** Datagrams that were dropped because no frame is as long. */
  tooLong: number;
  sendErrors: number;
  /** Times the socket was made anew. */
  reopened: number;
  /** Errno name of the last failure, or undefined when the last send went well. */
  lastError: string | undefined;
}

/** Told when a link fails (with an errno name) or works again (undefined), at most once a second. */
export type LinkStateSink = (error: string | undefined) => void;

export class MulticastChannel {
  readonly options: ChannelOptions;
  readonly counters: ChannelCounters = {
    sentFrames: 0,
    sentBytes: 0,
    receivedFrames: 0,
    receivedBytes: 0,
    tooLong: 0,
    sendErrors: 0,
    reopened: 0,
    lastError: undefined,
  };
  /** The receive buffer that the kernel granted, bytes as it counts them. */
  receiveBufferBytes = 0;
  readonly #onFrame: FrameSink;
  readonly #onState: LinkStateSink;
  readonly #targets: readonly string[];
  readonly #sink: DatagramSink = {
    onDatagram: (u8, from, to) => {
      this.counters.receivedFrames++;
      this.counters.receivedBytes += to - from;
      this.#onFrame(u8, from, to);
    },
    onTooLong: () => {
      this.counters.tooLong++;
    },
    onSentLate: (errno) => this.#sentLate(errno),
    onFailure: (errno) => {
      this.counters.lastError = errnoName(errno);
      this.#drop();
    },
  };
  #socket: DatagramSocket | undefined;
  #ifindex = 0;
  #addresses: Uint8Array[] = [];
  #toldError: string | undefined;
  #timer: NodeJS.Timeout | undefined;

  /** Throws a RangeError when there is nobody to send to. */
  constructor(options: ChannelOptions, onFrame: FrameSink, onState: LinkStateSink = () => {}) {
    const targets = options.group === undefined ? (options.peers ?? []) : [options.group];
    if (targets.length === 0)
      throw new RangeError(`link ${options.interface}: neither group nor peers are given`);
    this.options = options;
    this.#onFrame = onFrame;
    this.#onState = onState;
    this.#targets = targets;
  }

  /**
   * Opens the link. Rejects with InterfaceMissingError, AddressInUseError, AddressMissingError or SystemError
   * (native/system-error.ts); until `close`, a link that fails later is opened again by itself, and so is one whose
   * interface or address was missing.
   */
  async open(): Promise<void> {
    try {
      this.#openSocket();
    } catch (error) {
      if (!isWorthWaiting(error)) throw error;
      this.#toldError = this.counters.lastError = reasonOf(error);
      this.#startTimer();
      throw error;
    }
    this.#startTimer();
  }

  /** It has a socket, and the last frame was sent. */
  get isUp(): boolean {
    return this.#socket !== undefined && this.counters.lastError === undefined;
  }

  /** Index of the interface the socket is bound to; 0 while it has none. */
  get ifindex(): number {
    return this.#ifindex;
  }

  /** Sends a frame to all on the link. The buffer must stay as it is until it is sent. */
  send(frame: Uint8Array, length: number): void {
    if (this.#socket === undefined) {
      this.counters.sendErrors++;
      return;
    }
    const addresses = this.#addresses;
    let error: string | undefined;
    for (let i = 0; i < addresses.length; i++) error = this.#sendTo(i, frame, length) ?? error;
    // One peer that cannot be sent to is not hidden by the next that can.
    if (error !== this.counters.lastError) this.counters.lastError = error;
    if (error === 'ENODEV') this.#check();
  }

  #sendTo(target: number, frame: Uint8Array, length: number): string | undefined {
    const socket = this.#socket;
    if (socket === undefined) return 'ENODEV';
    this.counters.sentFrames++;
    this.counters.sentBytes += length;
    const errno = socket.send(frame, length, this.#addresses[target]);
    if (errno === 0) return undefined;
    this.counters.sendErrors++;
    return errnoName(errno);
  }

  #sentLate(errno: number): void {
    if (errno !== 0) this.counters.sendErrors++;
    const error = errno === 0 ? undefined : errnoName(errno);
    if (error !== this.counters.lastError) this.counters.lastError = error;
  }

  /** Reads what waits for about `budgetMs`: false when the socket was read to empty, or is not there. */
  read(budgetMs: number): boolean {
    return this.#socket?.read(budgetMs) ?? false;
  }

  close(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
    this.#drop();
  }

  #openSocket(): void {
    const { options } = this;
    const family = isIPv6(this.#targets[0]) ? 'IPv6' : 'IPv4';
    const made = openUdpSocket({
      interface: options.interface,
      family,
      port: options.port,
      // A socket bound to a unicast address would not hear the group.
      ...(options.group === undefined ? { bindAddress: options.address } : { group: options.group }),
      receiveBufferBytes: options.receiveBufferBytes ?? RECEIVE_BUFFER_BYTES,
      multicastLoop: options.multicastLoop ?? false,
    });
    this.#addresses = this.#targets.map((target) => udpTarget(family, target, options.port, made.ifindex));
    this.counters.lastError = undefined;
    this.#socket = new DatagramSocket(made.fd, this.#sink);
    this.#ifindex = made.ifindex;
    this.receiveBufferBytes = made.receiveBufferBytes;
  }

  #drop(): void {
    const socket = this.#socket;
    this.#socket = undefined;
    this.#ifindex = 0;
    socket?.close();
  }

  #startTimer(): void {
    this.#timer = setInterval(() => this.#look(), CHECK_INTERVAL_MS);
    this.#timer.unref();
  }

  #look(): void {
    this.#check();
    const { lastError } = this.counters;
    if (lastError === this.#toldError) return;
    this.#toldError = lastError;
    this.#onState(lastError);
  }

  #check(): void {
    const now = interfaceIndex(this.options.interface);
    if (this.#timer === undefined || (now === this.#ifindex && this.#socket !== undefined)) return;
    this.#drop();
    if (now === 0) {
      this.counters.lastError = 'ENODEV';
      return;
    }
    this.counters.reopened++;
    try {
      this.#openSocket();
    } catch (error) {
      this.counters.lastError = reasonOf(error);
    }
  }
}

/** True for what comes by itself: an interface that is made late, an IPv6 address that is checked for duplicates first. */
export function isWorthWaiting(error: unknown): boolean {
  return error instanceof InterfaceMissingError || error instanceof AddressMissingError;
}

function reasonOf(error: unknown): string {
  if (error instanceof InterfaceMissingError) return 'ENODEV';
  return (error as NodeJS.ErrnoException).code ?? 'unknown';
}
