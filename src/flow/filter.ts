/** Filters over packed records: built once from words, then asked per record without allocating. */
import { parseAddressBlock } from './address.js';
import {
  AF_INET,
  AF_INET6,
  DCCP_STATE_NAMES,
  IPPROTO_DCCP,
  IPPROTO_SCTP,
  SCTP_STATE_NAMES,
  STATUS_NAMES,
  TCP_STATE_NAMES,
} from './conntrack-enums.js';
import { protocolNumber, stateNumber } from './flow-to-record.js';
import {
  addressBytes,
  DURABLE_STATUS,
  findPart,
  type Memory,
  OFF_FAMILY,
  OFF_ORIG_L4,
  OFF_ORIG_SRC,
  OFF_PROTOCOL,
  OFF_ZONE,
  offMark,
  offOrigDst,
  offProtoBits,
  offReplyDst,
  offReplyL4,
  offReplySrc,
  offState,
  offStatus,
  PART_STATUS_SHOWN,
  PROTO_HAS_STATE,
} from './record.js';
import { usesPorts } from './tuple.js';

/** What a flow must have; absent means any. Words as the options of conntrack(8) have them. */
export interface FilterOptions {
  family?: 'ipv4' | 'ipv6';
  /** Name or number. */
  protocol?: string;
  /** Address or address/prefix of the original tuple; then of the reply tuple. */
  source?: string;
  destination?: string;
  replySource?: string;
  replyDestination?: string;
  sourcePort?: number;
  destinationPort?: number;
  replySourcePort?: number;
  replyDestinationPort?: number;
  /** "value" or "value/mask", decimal or 0x hexadecimal. */
  mark?: string;
  zone?: number;
  /** Protoinfo state, by name; needs `protocol` tcp, sctp or dccp (tcp if there is none). */
  state?: string;
  /** Status names that must all be set; UNREPLIED stands for SEEN_REPLY not set. */
  status?: readonly string[];
}

/** An address block as words to mask and compare; `family` 0: any address. */
export class BlockFilter {
  readonly #family: number;
  readonly #words: number;
  readonly #mask = new Uint32Array(4);
  readonly #value = new Uint32Array(4);

  constructor(where: string, text: string | undefined) {
    this.#family = 0;
    this.#words = 0;
    if (text === undefined) return;
    const block = parseAddressBlock(text);
    if (block === undefined) throw new RangeError(`${where}: "${text}" is not an address or address/prefix`);
    this.#family = block.bytes.length === 16 ? AF_INET6 : AF_INET;
    this.#words = block.bytes.length >>> 2;
    new Uint8Array(this.#value.buffer).set(block.bytes);
    const mask = new Uint8Array(this.#mask.buffer);
    for (let i = 0; i < block.bytes.length; i++) {
      mask[i] = 0xff00 >>> Math.min(8, Math.max(0, block.prefix - 8 * i));
    }
  }

  /** The address stands at byte `p` of a record of this family. */
  matches(m: Memory, family: number, p: number): boolean {
    if (this.#family === 0) return true;
    if (this.#family !== family) return false;
    for (let i = 0; i < this.#words; i++) {
      // Uint32 on both sides, or the sign bit tells equal words apart.
      if ((m.u32[(p >>> 2) + i] & this.#mask[i]) >>> 0 !== this.#value[i]) return false;
    }
    return true;
  }
}

/** Value and mask of "value" or "value/mask"; throws RangeError. */
export function parseMark(text: string): { value: number; mask: number } {
  const match = /^(0x[0-9a-f]{1,8}|[0-9]{1,10})(?:\/(0x[0-9a-f]{1,8}|[0-9]{1,10}))?$/i.exec(text);
  const value = match ? Number(match[1]) : -1;
  const mask = match?.[2] === undefined ? 0xffffffff : Number(match[2]);
  if (value < 0 || value > 0xffffffff || mask > 0xffffffff) {
    throw new RangeError(`mark: "${text}" is not value or value/mask, such as 5 or 0x10/0xf0`);
  }
  return { value: (value & mask) >>> 0, mask };
}

function limited(where: string, value: number | undefined): number {
  if (value === undefined) return -1;
  if (!Number.isInteger(value) || value < 0 || value > 0xffff) {
    throw new RangeError(`${where}: ${value} is not an integer from 0 to 65535`);
  }
  return value;
}

function stateNames(protocol: number): readonly string[] {
  if (protocol === IPPROTO_SCTP) return SCTP_STATE_NAMES;
  return protocol === IPPROTO_DCCP ? DCCP_STATE_NAMES : TCP_STATE_NAMES;
}

/** IPS_* bits that must be set and clear for these names; throws RangeError for one that is none. */
export function statusMask(names: readonly string[]): { set: number; clear: number } {
  let set = 0;
  let clear = 0;
  for (const name of names) {
    const bit = (STATUS_NAMES as readonly string[]).indexOf(name);
    if (bit >= 0) set |= 1 << bit;
    else if (name === 'UNREPLIED') clear |= 1 << STATUS_NAMES.indexOf('SEEN_REPLY');
    else throw new RangeError(`status: "${name}" is not one of UNREPLIED, ${STATUS_NAMES.join(', ')}`);
  }
  return { set, clear };
}

/**
 * A compiled filter; the constructor throws a RangeError that names the option if a value is not possible.
 */
export class FlowFilter {
  readonly #family: number;
  readonly #protocol: number;
  readonly #source: BlockFilter;
  readonly #destination: BlockFilter;
  readonly #replySource: BlockFilter;
  readonly #replyDestination: BlockFilter;
  readonly #sourcePort: number;
  readonly #destinationPort: number;
  readonly #replySourcePort: number;
  readonly #replyDestinationPort: number;
  readonly #hasPorts: boolean;
  readonly #mark: number;
  readonly #markMask: number;
  readonly #zone: number;
  readonly #state: number;
  readonly #statusSet: number;
  readonly #statusClear: number;
  /** It asks for bits that a record's own status never has. */
  readonly #needsShown: boolean;

  constructor(options: FilterOptions) {
    this.#family = options.family === undefined ? 0 : options.family === 'ipv6' ? AF_INET6 : AF_INET;
    this.#source = new BlockFilter('source', options.source);
    this.#destination = new BlockFilter('destination', options.destination);
    this.#replySource = new BlockFilter('reply source', options.replySource);
    this.#replyDestination = new BlockFilter('reply destination', options.replyDestination);
    this.#sourcePort = limited('source port', options.sourcePort);
    this.#destinationPort = limited('destination port', options.destinationPort);
    this.#replySourcePort = limited('reply source port', options.replySourcePort);
    this.#replyDestinationPort = limited('reply destination port', options.replyDestinationPort);
    this.#hasPorts =
      (this.#sourcePort & this.#destinationPort & this.#replySourcePort & this.#replyDestinationPort) !== -1;
    const { value, mask } = options.mark === undefined ? { value: 0, mask: 0 } : parseMark(options.mark);
    this.#mark = value;
    this.#markMask = mask;
    this.#zone = limited('zone', options.zone);
    // A state's number means something for one protocol only.
    const protocol = options.protocol ?? (options.state === undefined ? undefined : 'tcp');
    this.#protocol = protocol === undefined ? -1 : protocolNumber('protocol', protocol);
    this.#state =
      options.state === undefined ? -1 : stateNumber('state', stateNames(this.#protocol), options.state);
    const { set, clear } = statusMask(options.status ?? []);
    this.#statusSet = set;
    this.#statusClear = clear;
    this.#needsShown = ((set | clear) & ~DURABLE_STATUS) !== 0;
  }

  /** True if the record at `at` has everything the filter asks for. */
  matches(m: Memory, at: number): boolean {
    const { u8, u16, u32 } = m;
    const addr = addressBytes(m, at);
    const family = u8[at + OFF_FAMILY] & 0x3f;
    if (this.#family !== 0 && family !== this.#family) return false;
    if (this.#protocol !== -1 && u8[at + OFF_PROTOCOL] !== this.#protocol) return false;
    if (this.#zone !== -1 && u16[(at + OFF_ZONE) >>> 1] !== this.#zone) return false;
    if ((u32[(at + offMark(addr)) >>> 2] & this.#markMask) >>> 0 !== this.#mark) return false;
    const status = this.#needsShown ? shownStatus(m, at) : u32[(at + offStatus(addr)) >>> 2];
    if ((status & this.#statusSet) !== this.#statusSet || (status & this.#statusClear) !== 0) return false;
    if (this.#state !== -1) {
      if ((u8[at + offProtoBits(addr)] & PROTO_HAS_STATE) === 0) return false;
      if (u8[at + offState(addr)] !== this.#state) return false;
    }
    if (this.#hasPorts && !this.#portsMatch(u8, at, addr)) return false;
    return (
      this.#source.matches(m, family, at + OFF_ORIG_SRC) &&
      this.#destination.matches(m, family, at + offOrigDst(addr)) &&
      this.#replySource.matches(m, family, at + offReplySrc(addr)) &&
      this.#replyDestination.matches(m, family, at + offReplyDst(addr))
    );
  }

  #portsMatch(u8: Uint8Array, at: number, addr: number): boolean {
    return (
      usesPorts(u8[at + OFF_PROTOCOL]) &&
      portMatches(u8, at + OFF_ORIG_L4, this.#sourcePort) &&
      portMatches(u8, at + OFF_ORIG_L4 + 2, this.#destinationPort) &&
      portMatches(u8, at + offReplyL4(addr), this.#replySourcePort) &&
      portMatches(u8, at + offReplyL4(addr) + 2, this.#replyDestinationPort)
    );
  }
}

/** Status with every bit that the kernel told, where the record has that. */
export function shownStatus(m: Memory, at: number): number {
  const shown = findPart(m, at, PART_STATUS_SHOWN);
  return shown >= 0 ? m.u32[(shown + 4) >>> 2] : m.u32[(at + offStatus(addressBytes(m, at))) >>> 2];
}

/** True if the port (network order) at byte `p` is the wanted one; -1: any. */
function portMatches(u8: Uint8Array, p: number, wanted: number): boolean {
  return wanted === -1 || ((u8[p] << 8) | u8[p + 1]) === wanted;
}
