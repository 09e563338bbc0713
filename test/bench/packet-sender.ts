/** Raw IPv4 packets in batches: a hundred of them for one system call, in whatever namespace it was opened. */
import {
  AF_INET,
  close,
  connect,
  lastErrno,
  pinnedBytes,
  SO_SNDBUFFORCE,
  SOCK_CLOEXEC,
  SOCK_RAW,
  SOL_SOCKET,
  sendmmsg,
  setsockopt,
  socket,
} from '../../native/libc.js';
import { addressFromText, type DatagramVector, sockaddrInternet } from '../../native/structs.js';
import { SystemError } from '../../native/system-error.js';

const IPPROTO_RAW = 255; // linux/in.h: the packets bring their IPv4 header, the kernel writes its checksum
const SEND_BUFFER_BYTES = 16 << 20;
const MMSGHDR_BYTES = 64;

/** Sends to one address. Slots of the batch are filled by the caller, all of the same length. */
export class PacketSender {
  private readonly fd: number;

  /** Throws SystemError: EPERM without CAP_NET_RAW. */
  constructor(target: string) {
    this.fd = socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_RAW);
    if (this.fd < 0) throw new SystemError('open a raw socket', lastErrno());
    const size = pinnedBytes(4);
    new DataView(size.buffer).setInt32(0, SEND_BUFFER_BYTES, true);
    setsockopt(this.fd, SOL_SOCKET, SO_SNDBUFFORCE, size, size.length);
    const address = sockaddrInternet(AF_INET, addressFromText(AF_INET, target)!, 0, 0);
    if (connect(this.fd, address, address.length) < 0) {
      throw new SystemError(`connect a raw socket to ${target}`, lastErrno());
    }
  }

  /** Sends the first `count` packets of the batch, and waits for room where there is none. */
  send(batch: DatagramVector, count: number): void {
    for (let done = 0; done < count; ) {
      const headers = batch.headers.subarray(done * MMSGHDR_BYTES);
      const sent = sendmmsg(this.fd, headers, count - done, 0);
      if (sent < 0) throw new SystemError('send raw packets', lastErrno());
      done += sent;
    }
  }

  close(): void {
    close(this.fd);
  }
}
