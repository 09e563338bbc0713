/** Raw IP sockets, for protocols that node has no sockets for. Only root of a lab's namespace may open them. */
import {
  AF_INET,
  AF_INET6,
  bind,
  EAGAIN,
  lastErrno,
  MSG_DONTWAIT,
  pinnedBytes,
  recv,
  SOCK_CLOEXEC,
  SOCK_NONBLOCK,
  SOCK_RAW,
  sendto,
  socket,
} from '../../../native/libc.js';
import { addressFromText, sockaddrInternet } from '../../../native/structs.js';
import { SystemError } from '../../../native/system-error.js';

const PACKET_MAX_BYTES = 2048;

/** A packet as it came: its payload, and its IPv4 source address; only valid until the next one is read. */
export interface RawPacket {
  readonly data: Buffer;
  readonly source: string;
}

/** One socket of one protocol; it gets every packet of it that comes to this host, or to the address it is bound to. */
export class RawSocket {
  readonly #fd: number;
  readonly #family: number;
  readonly #buffer = pinnedBytes(PACKET_MAX_BYTES);
  readonly #out = pinnedBytes(PACKET_MAX_BYTES);

  constructor(isIpv6: boolean, protocol: number, localAddress?: string) {
    this.#family = isIpv6 ? AF_INET6 : AF_INET;
    this.#fd = socket(this.#family, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol);
    if (this.#fd < 0) throw new SystemError(`open a raw socket of protocol ${protocol}`, lastErrno());
    if (localAddress === undefined) return;
    const address = this.#sockaddr(localAddress);
    if (bind(this.#fd, address, address.length) < 0) {
      throw new SystemError(`bind a raw socket to ${localAddress}`, lastErrno());
    }
  }

  /** Sends one packet; false if it could not be sent now. */
  send(data: Buffer, target: string): boolean {
    const address = this.#sockaddr(target);
    this.#out.set(data);
    return sendto(this.#fd, this.#out, data.length, MSG_DONTWAIT, address, address.length) === data.length;
  }

  /** The next packet that waits, or undefined. IPv4 ones come with their header, which is taken off. */
  receive(): RawPacket | undefined {
    const bytes = recv(this.#fd, this.#buffer, this.#buffer.length, MSG_DONTWAIT);
    if (bytes < 0) {
      const errno = lastErrno();
      if (errno === EAGAIN) return undefined;
      throw new SystemError('receive from a raw socket', errno);
    }
    const all = Buffer.from(this.#buffer.buffer, 0, bytes);
    if (this.#family === AF_INET6) return { data: all, source: '' };
    return { data: all.subarray((all[0] & 15) * 4), source: all.subarray(12, 16).join('.') };
  }

  #sockaddr(text: string): Uint8Array {
    const address = addressFromText(this.#family, text);
    if (address === undefined) throw new RangeError(`${text} is no address of this socket's family`);
    return sockaddrInternet(this.#family, address, 0, 0);
  }
}
