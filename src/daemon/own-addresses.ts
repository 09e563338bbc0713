/**
 * The addresses of this network namespace, followed as they change: rtnetlink tells of a change, and then all are read
 * again, because an address is local as long as any interface has it.
 */
import { performance } from 'node:perf_hooks';
import { EAGAIN, pinnedBytes } from '../../native/libc.js';
import { NETLINK_ROUTE, NetlinkSocket } from '../../native/netlink-socket.js';
import { ReadinessWatcher } from '../../native/readiness.js';
import { SystemError } from '../../native/system-error.js';
import { formatAddress } from '../flow/address.js';
import { hasOtherSource, LocalFlows } from '../flow/local-flows.js';
import type { Log } from '../flow/log.js';
import type { Memory } from '../flow/record.js';
import { ADDRESS_LEFT_MS, ADDRESSES_INTERVAL_MS, OWN_ADDRESSES_MAX } from '../limits.js';

// linux/rtnetlink.h
const RTM_NEWADDR = 20;
const RTM_GETADDR = 22;
const RTNLGRP_IPV4_IFADDR = 5;
const RTNLGRP_IPV6_IFADDR = 9;
// linux/if_addr.h: struct ifaddrmsg is u8 family, u8 prefix length, u8 flags, u8 scope, u32 interface
const IFADDRMSG_BYTES = 8;
const IFA_ADDRESS = 1;
const IFA_LOCAL = 2;
const IFA_BROADCAST = 4;
/** The loopback interface has this number in every namespace (net/net_namespace.h). */
const LOOPBACK_IFINDEX = 1;
// linux/netlink.h
const NLMSG_HEADER_BYTES = 16;
const NLMSG_ERROR = 2;
const NLMSG_DONE = 3;
const NLM_F_REQUEST = 0x01;
const NLM_F_DUMP_INTR = 0x10;
const NLM_F_DUMP = 0x300;
/** The kernel never builds a longer dump datagram. */
const DATAGRAM_MAX_BYTES = 32_768;
/** Changes come in groups; they are read together. Milliseconds. */
const SETTLE_MS = 20;

/** What this machine calls its own. */
interface Own {
  /** Single addresses, broadcast ones among them. */
  readonly addresses: Uint8Array[];
  /** Blocks that are local as a whole: those of the loopback interface. */
  readonly blocks: string[];
}

export interface OwnAddressesOptions {
  readonly log: Log;
  /** Called after the set has been replaced by another one. */
  readonly onChange: () => void;
}

/** Keeps `local` up to date until it is closed. */
export class OwnAddresses {
  readonly local = new LocalFlows();
  readonly #options: OwnAddressesOptions;
  readonly #listener: NetlinkSocket;
  readonly #watcher: ReadinessWatcher;
  readonly #data = pinnedBytes(DATAGRAM_MAX_BYTES);
  readonly #poll: NodeJS.Timeout;
  #soon: NodeJS.Timeout | undefined;
  #known = '';
  /** Something changed since the addresses were read. */
  #isOld = false;
  #addresses = new Map<string, Uint8Array>();
  /** Addresses that are gone, and until when they count as having left. */
  readonly #left = new Map<string, { bytes: Uint8Array; untilMs: number }>();

  /** Reads the addresses at once. Throws SystemError if they cannot be read. */
  constructor(options: OwnAddressesOptions) {
    this.#options = options;
    this.#listener = new NetlinkSocket(NETLINK_ROUTE);
    try {
      // Joined before the first read, or a change in between would be missed.
      this.#listener.joinGroup(RTNLGRP_IPV4_IFADDR);
      this.#listener.joinGroup(RTNLGRP_IPV6_IFADDR);
      this.#read();
    } catch (error) {
      this.#listener.close();
      throw error;
    }
    const changed = (): void => this.#changed();
    this.#watcher = new ReadinessWatcher(this.#listener.fd, changed, () => {
      // An overrun: what was lost does not matter, that something changed does.
      changed();
      this.#watcher.start();
    });
    this.#poll = setInterval(() => this.#refresh(), ADDRESSES_INTERVAL_MS);
    this.#poll.unref();
  }

  close(): void {
    clearInterval(this.#poll);
    clearTimeout(this.#soon);
    this.#watcher.close();
    this.#listener.close();
  }

  /**
   * True if the flow's source is translated to an address that has just left. The kernel tells of an address before it
   * destroys the flows of it, so what waits in the socket now is all there is to know.
   */
  hasLeft(m: Memory, at: number): boolean {
    // Most flows are not translated: they cost no look at the socket.
    if (!hasOtherSource(m, at)) return false;
    this.#listen();
    if (this.#isOld) this.#refresh();
    return this.local.hasLeft(m, at);
  }

  /** Reads the socket to empty; what it tells is only that something changed. */
  #listen(): void {
    while (this.#listener.receive(this.#data) !== -EAGAIN) this.#isOld = true;
  }

  #changed(): void {
    this.#listen();
    this.#isOld = true;
    this.#soon ??= setTimeout(() => {
      this.#soon = undefined;
      this.#refresh();
    }, SETTLE_MS);
  }

  #refresh(): void {
    // Before the reading: what changes meanwhile is told again.
    this.#isOld = false;
    try {
      if (this.#read()) this.#options.onChange();
    } catch (error) {
      this.#options.log('warn', 'the addresses of this machine could not be read', { reason: String(error) });
    }
  }

  /** Reads all addresses; true if they are others than before. */
  #read(): boolean {
    const own = readAddresses(this.#data);
    const addresses = new Map(own.addresses.map((a) => [formatAddress(a, 0, a.length), a]));
    this.#noteLeft(addresses);
    const known = [...addresses.keys(), ...own.blocks].sort().join();
    if (known === this.#known) return false;
    this.#known = known;
    this.#addresses = addresses;
    this.local.replace(own.addresses, own.blocks);
    this.#options.log('info', 'own addresses', { addresses: own.addresses.length, blocks: own.blocks });
    return true;
  }

  #noteLeft(addresses: ReadonlyMap<string, Uint8Array>): void {
    const now = performance.now();
    for (const [text, bytes] of this.#addresses) {
      if (!addresses.has(text) && this.#left.size < OWN_ADDRESSES_MAX)
        this.#left.set(text, { bytes, untilMs: now + ADDRESS_LEFT_MS });
    }
    for (const [text, { untilMs }] of this.#left) {
      if (addresses.has(text) || untilMs <= now) this.#left.delete(text);
    }
    this.local.setLeft([...this.#left.values()].map(({ bytes }) => bytes));
  }
}

/** All addresses of this network namespace; `data` is room for a datagram. Throws SystemError. */
function readAddresses(data: Uint8Array): Own {
  const own: Own = { addresses: [], blocks: [] };
  const socket = new NetlinkSocket(NETLINK_ROUTE);
  try {
    const request = pinnedBytes(NLMSG_HEADER_BYTES + IFADDRMSG_BYTES);
    const view = new DataView(request.buffer);
    view.setUint32(0, request.length, true);
    view.setUint16(4, RTM_GETADDR, true);
    view.setUint16(6, NLM_F_REQUEST | NLM_F_DUMP, true);
    const sent = socket.send(request, request.length);
    if (sent < 0) throw new SystemError('ask for the own addresses', -sent);
    for (;;) {
      const length = socket.receive(data);
      if (length <= 0) throw new SystemError('read the own addresses', -length);
      if (takeMessages(new DataView(data.buffer, 0, length), own)) return own;
    }
  } finally {
    socket.close();
  }
}

/** Takes the messages of one datagram; true after the last one of the dump. */
function takeMessages(view: DataView, own: Own): boolean {
  for (let at = 0; at + NLMSG_HEADER_BYTES <= view.byteLength; ) {
    const length = view.getUint32(at, true);
    if (length < NLMSG_HEADER_BYTES || at + length > view.byteLength) break;
    const type = view.getUint16(at + 4, true);
    if (type === NLMSG_DONE) return true;
    if (type === NLMSG_ERROR || (view.getUint16(at + 6, true) & NLM_F_DUMP_INTR) !== 0) {
      throw new SystemError('read the own addresses', EAGAIN);
    }
    if (type === RTM_NEWADDR) takeAddress(view, at + NLMSG_HEADER_BYTES, at + length, own);
    at += (length + 3) & ~3;
  }
  return false;
}

function takeAddress(view: DataView, from: number, end: number, own: Own): void {
  const prefix = view.getUint8(from + 1);
  const ifindex = view.getUint32(from + 4, true);
  const found = new Map<number, Uint8Array>();
  for (let at = from + IFADDRMSG_BYTES; at + 4 <= end; ) {
    const length = view.getUint16(at, true);
    if (length < 4 || at + length > end) break;
    found.set(
      view.getUint16(at + 2, true),
      new Uint8Array(view.buffer.slice(view.byteOffset + at + 4, view.byteOffset + at + length)),
    );
    at += (length + 3) & ~3;
  }
  // On a point-to-point link ADDRESS is the other end.
  const address = found.get(IFA_LOCAL) ?? found.get(IFA_ADDRESS);
  if (address === undefined || (address.length !== 4 && address.length !== 16)) return;
  if (own.addresses.length + 4 > OWN_ADDRESSES_MAX) return;
  own.addresses.push(address);
  if (address.length === 16) return;
  const broadcast = found.get(IFA_BROADCAST);
  if (broadcast?.length === 4) own.addresses.push(broadcast);
  // The kernel takes the whole block of an IPv4 address on the loopback interface as its own.
  if (ifindex === LOOPBACK_IFINDEX) own.blocks.push(`${formatAddress(address, 0, 4)}/${prefix}`);
  else if (prefix < 31) own.addresses.push(...subnetBroadcasts(address, prefix));
}

/** First and last address of an IPv4 subnet: the kernel's broadcast routes. */
function subnetBroadcasts(address: Uint8Array, prefix: number): Uint8Array[] {
  const hosts = 0xffffffff >>> prefix;
  const value = new DataView(address.buffer, address.byteOffset).getUint32(0);
  return [value & ~hosts, value | hosts].map((word) => {
    const bytes = new Uint8Array(4);
    new DataView(bytes.buffer).setUint32(0, word >>> 0);
    return bytes;
  });
}
