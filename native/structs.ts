/** Kernel struct layouts: built by hand in pinned memory, with offsets as the 64-bit ABI has them. */
import { AF_INET, AF_INET6, AF_NETLINK, addressOf, inetPton, pinnedBytes } from './libc.js';

/** struct sockaddr_nl, linux/netlink.h: u16 family, u16 pad, u32 port id, u32 groups. */
export const SOCKADDR_NL_BYTES = 12;

/** A sockaddr_nl of this port id; 0 is the kernel, or "choose one" for bind. */
export function sockaddrNetlink(portId: number): Uint8Array {
  const bytes = pinnedBytes(SOCKADDR_NL_BYTES);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, AF_NETLINK, true);
  view.setUint32(4, portId, true);
  return bytes;
}

/** Network-order bytes of an address, or undefined when the text is not an address of the family. */
export function addressFromText(family: number, text: string): Uint8Array | undefined {
  const bytes = pinnedBytes(family === AF_INET6 ? 16 : 4);
  return inetPton(family, text, bytes) === 1 ? bytes : undefined;
}

/** A sockaddr_in or sockaddr_in6; `ifindex` scopes a link-local IPv6 address. */
export function sockaddrInternet(
  family: number,
  address: Uint8Array,
  port: number,
  ifindex: number,
): Uint8Array {
  const isV6 = family === AF_INET6;
  const bytes = pinnedBytes(isV6 ? 28 : 16);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, family, true);
  view.setUint16(2, port, false);
  bytes.set(address, isV6 ? 8 : 4);
  const isLinkLocal = isV6 && address[0] === 0xfe && (address[1] & 0xc0) === 0x80;
  if (isLinkLocal) view.setUint32(24, ifindex, true);
  return bytes;
}

/** struct ip_mreqn or ipv6_mreq: a group on the interface with this index. */
export function membership(family: number, group: Uint8Array, ifindex: number): Uint8Array {
  const isV6 = family === AF_INET6;
  const bytes = pinnedBytes(isV6 ? 20 : 12);
  bytes.set(group);
  new DataView(bytes.buffer).setUint32(isV6 ? 16 : 8, ifindex, true);
  return bytes;
}

/** True for 224.0.0.0/4 and ff00::/8. */
export const isMulticastAddress = (family: number, address: Uint8Array): boolean =>
  family === AF_INET ? address[0] >>> 4 === 14 : address[0] === 0xff;

/** One instruction of classic BPF: code, jump if true, jump if false, constant (linux/filter.h). */
export type BpfInstruction = readonly [code: number, jt: number, jf: number, k: number];

/** struct sock_fprog and the instructions it points to, held together so that neither is collected. */
export class BpfProgram {
  readonly header = pinnedBytes(16);
  private readonly code: Uint8Array;

  constructor(instructions: readonly BpfInstruction[]) {
    this.code = pinnedBytes(Math.max(instructions.length, 1) * 8);
    const code = new DataView(this.code.buffer);
    instructions.forEach(([op, jt, jf, k], i) => {
      code.setUint16(i * 8, op, true);
      code.setUint8(i * 8 + 2, jt);
      code.setUint8(i * 8 + 3, jf);
      code.setUint32(i * 8 + 4, k, true);
    });
    const header = new DataView(this.header.buffer);
    header.setUint16(0, instructions.length, true);
    header.setBigUint64(8, addressOf(this.code), true);
  }
}

// struct mmsghdr on a 64-bit ABI: struct msghdr of 56 bytes, then u32 msg_len, padded to 64.
const MMSGHDR_BYTES = 64;
const MSG_IOV = 16;
const MSG_IOVLEN = 24;
const MSG_FLAGS = 48;
const MSG_LEN = 56;
const IOVEC_BYTES = 16;

/**
 * Room for a batch of datagrams and the mmsghdr and iovec arrays that point into it, made once: recvmmsg
 * fills it without an allocation. Slots are an odd number of cache lines apart, so that they do not all
 * compete for the same lines of the first-level cache as a stride of 4 KiB would make them.
 */
export class DatagramVector {
  readonly capacity: number;
  readonly slotBytes: number;
  readonly data: Uint8Array;
  readonly headers: Uint8Array;
  private readonly stride: number;
  private readonly iovecs: Uint8Array;
  private readonly words: Uint32Array;

  constructor(capacity: number, slotBytes: number) {
    this.capacity = capacity;
    this.slotBytes = slotBytes;
    this.stride = (Math.ceil(slotBytes / 64) | 1) * 64;
    this.data = pinnedBytes(capacity * this.stride);
    this.headers = pinnedBytes(capacity * MMSGHDR_BYTES);
    this.iovecs = pinnedBytes(capacity * IOVEC_BYTES);
    this.words = new Uint32Array(this.headers.buffer);
    const headers = new DataView(this.headers.buffer);
    const iovecs = new DataView(this.iovecs.buffer);
    const dataAddress = addressOf(this.data);
    const iovecAddress = addressOf(this.iovecs);
    for (let i = 0; i < capacity; i++) {
      iovecs.setBigUint64(i * IOVEC_BYTES, dataAddress + BigInt(i * this.stride), true);
      iovecs.setBigUint64(i * IOVEC_BYTES + 8, BigInt(slotBytes), true);
      headers.setBigUint64(i * MMSGHDR_BYTES + MSG_IOV, iovecAddress + BigInt(i * IOVEC_BYTES), true);
      headers.setBigUint64(i * MMSGHDR_BYTES + MSG_IOVLEN, 1n, true);
    }
  }

  /** Where datagram `i` starts in `data`. */
  start(i: number): number {
    return i * this.stride;
  }

  /** Bytes of datagram `i` as received. */
  length(i: number): number {
    return this.words[(i * MMSGHDR_BYTES + MSG_LEN) >>> 2];
  }

  /** The MSG_* flags of datagram `i`: MSG_TRUNC when it was longer than a slot. */
  flags(i: number): number {
    return this.words[(i * MMSGHDR_BYTES + MSG_FLAGS) >>> 2];
  }
}
