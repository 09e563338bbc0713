import {
  AF_INET,
  AF_INET6,
  bind,
  close,
  EADDRINUSE,
  EADDRNOTAVAIL,
  EINVAL,
  getsockopt,
  ifNameToIndex,
  lastErrno,
  MSG_DONTWAIT,
  pinnedBytes,
  recvmmsg,
  SO_BINDTODEVICE,
  SO_RCVBUF,
  SO_RCVBUFFORCE,
  SOCK_CLOEXEC,
  SOCK_DGRAM,
  SOCK_NONBLOCK,
  SOL_SOCKET,
  sendto,
  setsockopt,
  socket,
} from './libc.js';
import {
  addressFromText,
  type DatagramVector,
  isMulticastAddress,
  membership,
  sockaddrInternet,
} from './structs.js';
import {
  AddressInUseError,
  AddressMissingError,
  InterfaceMissingError,
  SystemError,
} from './system-error.js';

const IPPROTO_IP = 0; // linux/in.h, and the next five
const IP_MULTICAST_IF = 32;
const IP_MULTICAST_TTL = 33;
const IP_MULTICAST_LOOP = 34;
const IP_ADD_MEMBERSHIP = 35;
const IP_MULTICAST_ALL = 49;
const IPPROTO_IPV6 = 41; // linux/in.h
const IPV6_MULTICAST_IF = 17; // linux/in6.h, and the next five
const IPV6_MULTICAST_HOPS = 18;
const IPV6_MULTICAST_LOOP = 19;
const IPV6_ADD_MEMBERSHIP = 20;
const IPV6_V6ONLY = 26;
const IPV6_MULTICAST_ALL = 29;

export interface UdpSocketOptions {
  /** Name of the one interface that is sent on and listened to. */
  readonly interface: string;
  readonly family: 'IPv4' | 'IPv6';
  /** Unicast address to listen on; without it any, which also receives the group. */
  readonly bindAddress?: string;
  readonly port: number;
  /** Multicast group to join on the interface. */
  readonly group?: string;
  readonly receiveBufferBytes: number;
  /** Whether other sockets of this host hear what is sent to the group (tests on one link). */
  readonly multicastLoop: boolean;
}

export interface UdpSocket {
  /** To be closed by `closeUdpSocket`, or by the close() of a node:dgram socket that was bound to it. */
  readonly fd: number;
  /** Binding is by index: when the interface is made anew the socket is deaf and must be reopened. */
  readonly ifindex: number;
  /** The receive buffer there is, in bytes as the kernel counts: twice the request, unless a limit cut it. */
  readonly receiveBufferBytes: number;
}

/** Index of a network interface, or 0 when there is none of this name. */
export const interfaceIndex = (name: string): number => ifNameToIndex(name);

function parseAddress(family: number, text: string): Uint8Array {
  const address = addressFromText(family, text);
  if (address !== undefined) return address;
  throw new SystemError(`read address "${text}"`, EINVAL, {
    advice: `write an IPv${family === AF_INET6 ? 6 : 4} address`,
  });
}

function setOption(fd: number, level: number, name: number, value: Uint8Array, what: string): void {
  if (setsockopt(fd, level, name, value, value.length) < 0) throw new SystemError(what, lastErrno());
}

function setInteger(fd: number, level: number, name: number, value: number, what: string): void {
  const bytes = pinnedBytes(4);
  new DataView(bytes.buffer).setInt32(0, value, true);
  setOption(fd, level, name, bytes, what);
}

function setReceiveBuffer(fd: number, bytes: number): number {
  try {
    setInteger(fd, SOL_SOCKET, SO_RCVBUFFORCE, bytes, 'set receive buffer');
  } catch {
    // Past the system's limit is for CAP_NET_ADMIN in the first user namespace only; take what the limit allows.
    setInteger(fd, SOL_SOCKET, SO_RCVBUF, bytes, 'set receive buffer');
  }
  const value = pinnedBytes(4);
  const length = pinnedBytes(4);
  new DataView(length.buffer).setUint32(0, 4, true);
  if (getsockopt(fd, SOL_SOCKET, SO_RCVBUF, value, length) < 0) {
    throw new SystemError('read receive buffer', lastErrno());
  }
  return new DataView(value.buffer).getInt32(0, true);
}

function bindSocket(fd: number, family: number, options: UdpSocketOptions, ifindex: number): void {
  const text = options.bindAddress ?? (family === AF_INET6 ? '::' : '0.0.0.0');
  const address = sockaddrInternet(family, parseAddress(family, text), options.port, ifindex);
  if (bind(fd, address, address.length) === 0) return;
  const errno = lastErrno();
  const operation = `bind ${text} port ${options.port} on ${options.interface}`;
  if (errno === EADDRINUSE) throw new AddressInUseError(operation, errno);
  if (errno === EADDRNOTAVAIL) throw new AddressMissingError(operation, errno);
  throw new SystemError(operation, errno);
}

function setMulticast(fd: number, family: number, options: UdpSocketOptions, ifindex: number): void {
  const loop = options.multicastLoop ? 1 : 0;
  const none = new Uint8Array(family === AF_INET6 ? 16 : 4);
  if (family === AF_INET6) {
    setInteger(fd, IPPROTO_IPV6, IPV6_MULTICAST_ALL, 0, 'set IPV6_MULTICAST_ALL');
    setInteger(fd, IPPROTO_IPV6, IPV6_MULTICAST_IF, ifindex, 'set IPV6_MULTICAST_IF');
    setInteger(fd, IPPROTO_IPV6, IPV6_MULTICAST_HOPS, 1, 'set IPV6_MULTICAST_HOPS');
    setInteger(fd, IPPROTO_IPV6, IPV6_MULTICAST_LOOP, loop, 'set IPV6_MULTICAST_LOOP');
  } else {
    // Without it a group that any other socket joined on the link would be delivered here too.
    setInteger(fd, IPPROTO_IP, IP_MULTICAST_ALL, 0, 'set IP_MULTICAST_ALL');
    setOption(fd, IPPROTO_IP, IP_MULTICAST_IF, membership(family, none, ifindex), 'set IP_MULTICAST_IF');
    setInteger(fd, IPPROTO_IP, IP_MULTICAST_TTL, 1, 'set IP_MULTICAST_TTL');
    setInteger(fd, IPPROTO_IP, IP_MULTICAST_LOOP, loop, 'set IP_MULTICAST_LOOP');
  }
  if (options.group === undefined) return;
  const group = parseAddress(family, options.group);
  if (!isMulticastAddress(family, group)) {
    throw new SystemError(`join group ${options.group}`, EINVAL, {
      advice: 'a group is an address of 224.0.0.0/4 or ff00::/8',
    });
  }
  const level = family === AF_INET6 ? IPPROTO_IPV6 : IPPROTO_IP;
  const name = family === AF_INET6 ? IPV6_ADD_MEMBERSHIP : IP_ADD_MEMBERSHIP;
  // By index, since addMembership of node:dgram needs an address on the link.
  const what = `join group ${options.group} on ${options.interface}`;
  setOption(fd, level, name, membership(family, group, ifindex), what);
}

/** Where datagrams go, in the form the kernel takes it. Throws SystemError on a text that is no address. */
export function udpTarget(
  family: 'IPv4' | 'IPv6',
  address: string,
  port: number,
  ifindex: number,
): Uint8Array {
  const number = family === 'IPv6' ? AF_INET6 : AF_INET;
  return sockaddrInternet(number, parseAddress(number, address), port, ifindex);
}

/**
 * Sends one datagram at once, without waiting: 0, or the errno. node:dgram makes a request object, an array and two
 * closures a datagram, which under load is what the garbage collector is kept busy with.
 */
export function sendDatagram(fd: number, data: Uint8Array, length: number, target: Uint8Array): number {
  return sendto(fd, data, length, MSG_DONTWAIT, target, target.length) < 0 ? lastErrno() : 0;
}

/**
 * Reads as many datagrams as wait and fit: their number, or the negative errno (-EAGAIN: there is none). One that is
 * longer than a slot has MSG_TRUNC in its flags.
 */
export function receiveDatagrams(fd: number, into: DatagramVector): number {
  const count = recvmmsg(fd, into.headers, into.capacity, MSG_DONTWAIT, null);
  return count < 0 ? -lastErrno() : count;
}

/** Closes what openUdpSocket opened; what watches the descriptor is closed before. */
export function closeUdpSocket(fd: number): void {
  close(fd);
}

/**
 * Opens a nonblocking UDP socket tied to one interface: nothing from another link arrives, and no second daemon can take the port (no SO_REUSEADDR: it would get all unicast).
 * Throws InterfaceMissingError, AddressInUseError, AddressMissingError or SystemError; the caller closes the fd.
 */
export function openUdpSocket(options: UdpSocketOptions): UdpSocket {
  const family = options.family === 'IPv6' ? AF_INET6 : AF_INET;
  const ifindex = ifNameToIndex(options.interface);
  if (ifindex === 0) throw new InterfaceMissingError(options.interface, lastErrno());
  const fd = socket(family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) throw new SystemError(`open ${options.family} UDP socket`, lastErrno());
  try {
    if (family === AF_INET6) setInteger(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1, 'set IPV6_V6ONLY');
    const device = new TextEncoder().encode(`${options.interface}\0`);
    setOption(fd, SOL_SOCKET, SO_BINDTODEVICE, device, `bind socket to interface ${options.interface}`);
    const receiveBufferBytes = setReceiveBuffer(fd, options.receiveBufferBytes);
    setMulticast(fd, family, options, ifindex);
    bindSocket(fd, family, options, ifindex);
    return { fd, ifindex, receiveBufferBytes };
  } catch (error) {
    close(fd);
    throw error;
  }
}
