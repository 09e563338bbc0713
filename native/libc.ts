/**
 * The few libc calls Conntwin makes, declared for koffi: the only door to C.
 *
 * Every function returns what C returns; on -1 the caller reads `lastErrno()` at once, since any later call,
 * also one inside Node, overwrites it. Memory that C keeps by address after a call (iovecs, filter programs)
 * must be held in a field of a live object, or it is collected and the heap is corrupted.
 */
import { endianness } from 'node:os';
import koffi from 'koffi';

/** Memory whose address does not move: an ArrayBuffer outside the JavaScript heap, viewed as bytes. */
export function pinnedBytes(bytes: number): Uint8Array {
  return new Uint8Array(new ArrayBuffer(bytes));
}

if (koffi.sizeof('void *') !== 8 || endianness() !== 'LE') {
  throw new Error('Conntwin runs on 64-bit little-endian Linux only');
}
const library = koffi.load(null);

type PoolCall = (
  fd: number,
  data: Uint8Array,
  length: number,
  flags: number,
  done: (error: unknown, result: number) => void,
) => void;

/** The same C function, called on a thread of Node's pool. */
function libraryAsync(declaration: string): PoolCall {
  const call = library.func(declaration) as unknown as { async: PoolCall };
  return (fd, data, length, flags, done) => call.async(fd, data, length, flags, done);
}

// asm-generic/errno-base.h and asm-generic/errno.h
export const EPERM = 1;
export const ENOENT = 2;
export const EAGAIN = 11;
export const EBUSY = 16;
export const EEXIST = 17;
export const EINVAL = 22;
export const EPROTONOSUPPORT = 93;
export const EADDRINUSE = 98;
export const EADDRNOTAVAIL = 99;
export const ENOBUFS = 105;
export const ECANCELED = 125;

// linux/time.h
export const CLOCK_THREAD_CPUTIME_ID = 3;

// linux/socket.h, asm-generic/socket.h, linux/net.h
export const AF_INET = 2;
export const AF_INET6 = 10;
export const AF_NETLINK = 16;
export const SOCK_DGRAM = 2;
export const SOCK_RAW = 3;
export const SOCK_NONBLOCK = 0o4000;
export const SOCK_CLOEXEC = 0o2000000;
export const MSG_TRUNC = 0x20;
export const MSG_DONTWAIT = 0x40;
export const SOL_SOCKET = 1;
export const SO_SNDBUF = 7;
export const SO_RCVBUF = 8;
export const SO_BINDTODEVICE = 25;
export const SO_ATTACH_FILTER = 26;
export const SO_SNDBUFFORCE = 32;
export const SO_RCVBUFFORCE = 33;
export const SO_MEMINFO = 55;

/** Errno of the call that just failed. Valid only until the next call of any kind. */
export const lastErrno = (): number => koffi.errno();
/** Address of memory made by `pinnedBytes`: for pointers inside structs. */
export const addressOf = (memory: Uint8Array): bigint => koffi.address(memory);

export const socket = library.func('int socket(int domain, int type, int protocol)') as (
  domain: number,
  type: number,
  protocol: number,
) => number;

export const close = library.func('int close(int fd)') as (fd: number) => number;

export const bind = library.func('int bind(int fd, void *address, uint32_t length)') as (
  fd: number,
  address: Uint8Array,
  length: number,
) => number;

export const connect = library.func('int connect(int fd, void *address, uint32_t length)') as (
  fd: number,
  address: Uint8Array,
  length: number,
) => number;

export const getsockname = library.func('int getsockname(int fd, void *address, void *length)') as (
  fd: number,
  address: Uint8Array,
  length: Uint8Array,
) => number;

export const setsockopt = library.func(
  'int setsockopt(int fd, int level, int name, void *value, uint32_t length)',
) as (fd: number, level: number, name: number, value: Uint8Array, length: number) => number;

export const getsockopt = library.func(
  'int getsockopt(int fd, int level, int name, void *value, void *length)',
) as (fd: number, level: number, name: number, value: Uint8Array, length: Uint8Array) => number;

export const send = library.func('int64_t send(int fd, void *data, size_t length, int flags)') as (
  fd: number,
  data: Uint8Array,
  length: number,
  flags: number,
) => number;

export const sendto = library.func(
  'int64_t sendto(int fd, void *data, size_t length, int flags, void *address, uint32_t addressLength)',
) as (
  fd: number,
  data: Uint8Array,
  length: number,
  flags: number,
  address: Uint8Array,
  addressLength: number,
) => number;

export const recv = library.func('int64_t recv(int fd, void *data, size_t length, int flags)') as (
  fd: number,
  data: Uint8Array,
  length: number,
  flags: number,
) => number;

/** `send` and `recv` on a thread of the pool, for calls that can hold the event loop; they do not tell their errno. */
export const sendInPool = libraryAsync('int64_t send(int fd, void *data, size_t length, int flags)');
export const recvInPool = libraryAsync('int64_t recv(int fd, void *data, size_t length, int flags)');

export const recvmmsg = library.func(
  'int recvmmsg(int fd, void *vector, uint32_t count, int flags, void *timeout)',
) as (fd: number, vector: Uint8Array, count: number, flags: number, timeout: null) => number;

export const sendmmsg = library.func('int sendmmsg(int fd, void *vector, uint32_t count, int flags)') as (
  fd: number,
  vector: Uint8Array,
  count: number,
  flags: number,
) => number;

export const inetPton = library.func('int inet_pton(int family, str text, void *address)') as (
  family: number,
  text: string,
  address: Uint8Array,
) => number;

export const ifNameToIndex = library.func('uint32_t if_nametoindex(str name)') as (name: string) => number;

export const setns = library.func('int setns(int fd, int kind)') as (fd: number, kind: number) => number;

export const mkfifo = library.func('int mkfifo(str path, uint32_t mode)') as (
  path: string,
  mode: number,
) => number;

export const clockGettime = library.func('int clock_gettime(int clock, void *time)') as (
  clock: number,
  time: Uint8Array,
) => number;
