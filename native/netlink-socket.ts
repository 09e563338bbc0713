import {
  AF_NETLINK,
  bind,
  close,
  connect,
  getsockname,
  getsockopt,
  lastErrno,
  MSG_DONTWAIT,
  pinnedBytes,
  recv,
  recvInPool,
  recvmmsg,
  SO_ATTACH_FILTER,
  SO_MEMINFO,
  SO_RCVBUF,
  SO_RCVBUFFORCE,
  SO_SNDBUF,
  SO_SNDBUFFORCE,
  SOCK_CLOEXEC,
  SOCK_NONBLOCK,
  SOCK_RAW,
  SOL_SOCKET,
  send,
  sendInPool,
  setsockopt,
  socket,
} from './libc.js';
import {
  type BpfInstruction,
  BpfProgram,
  type DatagramVector,
  SOCKADDR_NL_BYTES,
  sockaddrNetlink,
} from './structs.js';
import { SystemError } from './system-error.js';

export const NETLINK_ROUTE = 0; // linux/netlink.h, and the next one
const NETLINK_NETFILTER = 12;
const SOL_NETLINK = 270; // linux/socket.h
const NETLINK_ADD_MEMBERSHIP = 1; // linux/netlink.h, and the next four
const NETLINK_DROP_MEMBERSHIP = 2;
const NETLINK_BROADCAST_ERROR = 4;
const NETLINK_NO_ENOBUFS = 5;
const NETLINK_CAP_ACK = 10;
// linux/sock_diag.h, enum SK_MEMINFO_*: 9 words of 4 bytes
const SK_MEMINFO_RMEM_ALLOC = 0;
const SK_MEMINFO_RCVBUF = 1;
const SK_MEMINFO_DROPS = 8;
const SK_MEMINFO_BYTES = 36;

/** A nonblocking netlink socket in the network namespace it was opened in. Close it when done. */
export class NetlinkSocket {
  readonly fd: number;
  /** The kernel's name for this socket; not the process id but for a process's first netlink socket. */
  readonly portId: number;
  private readonly option = pinnedBytes(4);
  private readonly optionValue = new Int32Array(this.option.buffer);
  private readonly optionLength = pinnedBytes(4);
  private readonly optionLengthValue = new Uint32Array(this.optionLength.buffer);
  private readonly memoryInfo = pinnedBytes(SK_MEMINFO_BYTES);
  private readonly memoryWords = new Uint32Array(this.memoryInfo.buffer);
  private isClosed = false;
  /** Memory of the calls that threads of the pool are in. */
  private readonly held: Uint8Array[] = [];

  /** Throws SystemError: EPROTONOSUPPORT when the kernel has no nfnetlink. */
  constructor(protocol: typeof NETLINK_ROUTE | typeof NETLINK_NETFILTER = NETLINK_NETFILTER) {
    this.fd = socket(AF_NETLINK, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol);
    if (this.fd < 0) throw new SystemError('open netlink socket', lastErrno());
    try {
      this.check(bind(this.fd, sockaddrNetlink(0), SOCKADDR_NL_BYTES), 'bind netlink socket');
      // Connected to the kernel, the socket refuses what other processes send to its port id.
      this.check(connect(this.fd, sockaddrNetlink(0), SOCKADDR_NL_BYTES), 'connect netlink socket');
      const address = pinnedBytes(SOCKADDR_NL_BYTES);
      this.optionLengthValue[0] = SOCKADDR_NL_BYTES;
      this.check(getsockname(this.fd, address, this.optionLength), 'read netlink port id');
      this.portId = new DataView(address.buffer).getUint32(4, true);
    } catch (error) {
      this.close();
      throw error;
    }
  }

  private check(result: number, operation: string): void {
    if (result < 0) throw new SystemError(operation, lastErrno());
  }

  private setInteger(level: number, name: number, value: number): number {
    this.optionValue[0] = value;
    return setsockopt(this.fd, level, name, this.option, 4);
  }

  private getInteger(level: number, name: number): number {
    this.optionLengthValue[0] = 4;
    this.check(
      getsockopt(this.fd, level, name, this.option, this.optionLength),
      'read netlink socket option',
    );
    return this.optionValue[0];
  }

  /**
   * Asks for `bytes` of receive buffer past the system's limit, or within it where that is not allowed
   * (a rootless namespace). Returns what it is now, in bytes as the kernel counts (twice the request).
   */
  setReceiveBuffer(bytes: number): number {
    if (this.setInteger(SOL_SOCKET, SO_RCVBUFFORCE, bytes) < 0) {
      this.check(this.setInteger(SOL_SOCKET, SO_RCVBUF, bytes), 'set netlink receive buffer');
    }
    return this.getInteger(SOL_SOCKET, SO_RCVBUF);
  }

  /** As setReceiveBuffer, for sending: the longest batch that one send takes. */
  setSendBuffer(bytes: number): number {
    if (this.setInteger(SOL_SOCKET, SO_SNDBUFFORCE, bytes) < 0) {
      this.check(this.setInteger(SOL_SOCKET, SO_SNDBUF, bytes), 'set netlink send buffer');
    }
    return this.getInteger(SOL_SOCKET, SO_SNDBUF);
  }

  /** Error answers carry the header of the request only, so that many fit into the receive buffer. */
  capAcknowledgements(): void {
    this.check(this.setInteger(SOL_NETLINK, NETLINK_CAP_ACK, 1), 'set NETLINK_CAP_ACK');
  }

  /** An overrun is not told as ENOBUFS, and drops nothing but what did not fit: read `drops` instead. */
  ignoreOverruns(): void {
    this.check(this.setInteger(SOL_NETLINK, NETLINK_NO_ENOBUFS, 1), 'set NETLINK_NO_ENOBUFS');
  }

  /** With it the kernel keeps a destroyed flow until this socket has taken its event. */
  setReliable(isReliable: boolean): void {
    const operation = 'set NETLINK_BROADCAST_ERROR';
    this.check(this.setInteger(SOL_NETLINK, NETLINK_BROADCAST_ERROR, isReliable ? 1 : 0), operation);
  }

  /** Throws SystemError: EPERM without CAP_NET_ADMIN. */
  joinGroup(group: number): void {
    this.check(this.setInteger(SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, group), 'join netlink group');
  }

  leaveGroup(group: number): void {
    this.check(this.setInteger(SOL_NETLINK, NETLINK_DROP_MEMBERSHIP, group), 'leave netlink group');
  }

  /** The kernel copies the program; it replaces an earlier one. */
  attachFilter(instructions: readonly BpfInstruction[]): void {
    const program = new BpfProgram(instructions);
    const operation = 'attach netlink socket filter';
    this.check(setsockopt(this.fd, SOL_SOCKET, SO_ATTACH_FILTER, program.header, 16), operation);
  }

  /** Reads the kernel's counters of this socket for the three getters below: one system call. */
  readMemoryInfo(): void {
    this.optionLengthValue[0] = SK_MEMINFO_BYTES;
    const result = getsockopt(this.fd, SOL_SOCKET, SO_MEMINFO, this.memoryInfo, this.optionLength);
    this.check(result, 'read SO_MEMINFO');
  }

  /** Messages lost for want of room, at the last readMemoryInfo. Counts up to 2^32 and starts again. */
  get drops(): number {
    return this.memoryWords[SK_MEMINFO_DROPS];
  }

  /** Bytes of buffer in use, at the last readMemoryInfo. An event takes 1,280. */
  get queuedBytes(): number {
    return this.memoryWords[SK_MEMINFO_RMEM_ALLOC];
  }

  /** Bytes of buffer there are, at the last readMemoryInfo. */
  get receiveBufferBytes(): number {
    return this.memoryWords[SK_MEMINFO_RCVBUF];
  }

  /** Sends one datagram to the kernel, which answers before this returns. 0, or the negative errno. */
  send(data: Uint8Array, length: number): number {
    return send(this.fd, data, length, 0) < 0 ? -lastErrno() : 0;
  }

  /** Reads one datagram: its length, or the negative errno (-EAGAIN: none is there). */
  receive(data: Uint8Array): number {
    const length = recv(this.fd, data, data.length, MSG_DONTWAIT);
    return length < 0 ? -lastErrno() : length;
  }

  /** As send, on a thread of the pool; `done` gets whether it went well. The socket is closed after that at the earliest. */
  sendInPool(data: Uint8Array, length: number, done: (isSent: boolean) => void): void {
    sendInPool(
      this.fd,
      data,
      length,
      0,
      this.hold(data, (n) => done(n >= 0)),
    );
  }

  /** As receive, on a thread of the pool; `done` gets the length, or -1 (a receive then tells why). */
  receiveInPool(data: Uint8Array, done: (length: number) => void): void {
    recvInPool(this.fd, data, data.length, MSG_DONTWAIT, this.hold(data, done));
  }

  /** Keeps the memory that a thread works on from being collected until its call has ended. */
  private hold(data: Uint8Array, done: (result: number) => void): (error: unknown, result: number) => void {
    this.held.push(data);
    return (error, result) => {
      this.held.splice(this.held.indexOf(data), 1);
      if (!this.isClosed) done(error === null || error === undefined ? Number(result) : -1);
      else if (this.held.length === 0) close(this.fd);
    };
  }

  /** Reads as many datagrams as there are and fit: their number, or the negative errno. */
  receiveMany(into: DatagramVector): number {
    const count = recvmmsg(this.fd, into.headers, into.capacity, MSG_DONTWAIT, null);
    return count < 0 ? -lastErrno() : count;
  }

  close(): void {
    if (this.isClosed) return;
    this.isClosed = true;
    // A thread may still be in a call: its number must not come to mean another file.
    if (this.held.length === 0) close(this.fd);
  }
}
