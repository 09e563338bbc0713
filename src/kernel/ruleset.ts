/**
 * What the rules of this network namespace make the kernel do, asked of nf_tables itself, over netlink: no process is
 * started and no text is parsed. The kernel tracks connections of a family only while some rule of it uses ct or nat, and
 * translates only while there is a chain of type nat (FACTS of 6.18: an empty one will do).
 */
import { existsSync, readFileSync } from 'node:fs';
import { pinnedBytes } from '../../native/libc.js';
import { NetlinkSocket } from '../../native/netlink-socket.js';
import { SystemError } from '../../native/system-error.js';
import { NLM_F_DUMP, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR } from './enums.js';
import {
  NFNL_SUBSYS_NFTABLES,
  NFPROTO_INET,
  NFPROTO_IPV4,
  NFPROTO_IPV6,
  NFT_MSG_GETCHAIN,
  NFT_MSG_GETRULE,
  NFT_MSG_NEWCHAIN,
  NFT_MSG_NEWRULE,
  NFTA_CHAIN_TYPE,
  NFTA_EXPR_DATA,
  NFTA_EXPR_NAME,
  NFTA_LIST_ELEM,
  NFTA_MATCH_NAME,
  NFTA_RULE_EXPRESSIONS,
} from './nf-tables-enums.js';

/** By family: connections are tracked, and translated. */
export interface FamilyFacts {
  isTracked: boolean;
  isTranslated: boolean;
}

export interface RulesetFacts {
  readonly ipv4: FamilyFacts;
  readonly ipv6: FamilyFacts;
  /** Rules of iptables-legacy stand beside, or nf_tables could not be asked: what is not seen here may be there. */
  isUncertain: boolean;
}

/** The kernel never builds a longer dump datagram. */
const DATAGRAM_MAX_BYTES = 32768;
const HEADER_BYTES = 16;
/** struct nfgenmsg: family, version, resource id. */
const GENERIC_BYTES = 4;
const ATTRIBUTE_BYTES = 4;
const TYPE_MASK = 0x3fff;
/** Expressions that make the kernel track (nf_ct_netns_get in net/netfilter/nft_*.c). */
const TRACKING = new Set(['ct', 'nat', 'masq', 'redir', 'connlimit', 'synproxy', 'flow_offload']);
/** Matches and targets of iptables (by nft_compat) that do. */
const TRACKING_XT =
  /^(conntrack|state|conn.*|CONN.*|ctstate|helper|cluster|socket|CT|SYNPROXY|MASQUERADE|SNAT|DNAT|REDIRECT|NETMAP)$/;
/** iptables-legacy keeps its tables elsewhere; their names are root's to read. */
const LEGACY = { ipv4: '/proc/net/ip_tables_names', ipv6: '/proc/net/ip6_tables_names' } as const;

/** One look at the rules, a datagram (up to 32 KiB of rules) a step. */
export class RulesetReader {
  readonly facts: RulesetFacts = {
    ipv4: { isTracked: false, isTranslated: false },
    ipv6: { isTracked: false, isTranslated: false },
    isUncertain: false,
  };
  private readonly data = pinnedBytes(DATAGRAM_MAX_BYTES);
  private readonly view = new DataView(this.data.buffer);
  private socket: NetlinkSocket | undefined;
  private asked: typeof NFT_MSG_GETCHAIN | typeof NFT_MSG_GETRULE = NFT_MSG_GETCHAIN;

  constructor() {
    this.lookAtLegacy();
    try {
      this.socket = new NetlinkSocket();
      this.ask(NFT_MSG_GETCHAIN);
    } catch (error) {
      if (!(error instanceof SystemError)) throw error;
      this.giveUp();
    }
  }

  /** Reads one datagram; true when the look is over. */
  step(): boolean {
    const { socket } = this;
    if (socket === undefined) return true;
    const length = socket.receive(this.data);
    // The kernel writes the next part of a dump before the call that reads the last one returns: EAGAIN is an error too.
    if (length < 0) return this.giveUp();
    for (let from = 0; length - from >= HEADER_BYTES; ) {
      const bytes = this.view.getUint32(from, true);
      if (bytes < HEADER_BYTES || bytes > length - from) return this.giveUp();
      const type = this.view.getUint16(from + 4, true);
      if (type === NLMSG_ERROR) return this.giveUp();
      if (type === NLMSG_DONE) return this.endOfDump();
      this.message(type & 0xff, from + HEADER_BYTES, from + bytes);
      from += (bytes + 3) & ~3;
    }
    // Of twenty thousand rules the first few tell.
    return this.asked === NFT_MSG_GETRULE && this.isTrackingKnown ? this.end() : false;
  }

  close(): void {
    this.socket?.close();
    this.socket = undefined;
  }

  private endOfDump(): boolean {
    if (this.asked === NFT_MSG_GETRULE || this.isTrackingKnown) return this.end();
    this.ask(NFT_MSG_GETRULE);
    return this.socket === undefined;
  }

  private get isTrackingKnown(): boolean {
    return this.facts.ipv4.isTracked && this.facts.ipv6.isTracked;
  }

  private end(): true {
    this.close();
    return true;
  }

  private giveUp(): true {
    this.facts.isUncertain = true;
    return this.end();
  }

  private ask(message: typeof NFT_MSG_GETCHAIN | typeof NFT_MSG_GETRULE): void {
    const request = pinnedBytes(HEADER_BYTES + GENERIC_BYTES);
    const view = new DataView(request.buffer);
    view.setUint32(0, request.length, true);
    view.setUint16(4, (NFNL_SUBSYS_NFTABLES << 8) | message, true);
    view.setUint16(6, NLM_F_REQUEST | NLM_F_DUMP, true);
    this.asked = message;
    if ((this.socket?.send(request, request.length) ?? 0) < 0) this.giveUp();
  }

  private message(type: number, from: number, to: number): void {
    const family = this.data[from];
    const at = from + GENERIC_BYTES;
    if (type === NFT_MSG_NEWCHAIN) {
      const chainType = this.find(at, to, NFTA_CHAIN_TYPE);
      if (chainType !== undefined && this.text(chainType) === 'nat') {
        for (const facts of this.familiesOf(family)) facts.isTranslated = true;
      }
    } else if (type === NFT_MSG_NEWRULE) {
      const expressions = this.find(at, to, NFTA_RULE_EXPRESSIONS);
      if (expressions === undefined) return;
      this.walk(expressions.from, expressions.to, (kind, start, end) => {
        if (kind !== NFTA_LIST_ELEM || !this.isTracking(start, end)) return;
        for (const facts of this.familiesOf(family)) facts.isTracked = true;
      });
    }
  }

  private isTracking(from: number, to: number): boolean {
    const name = this.find(from, to, NFTA_EXPR_NAME);
    if (name === undefined) return false;
    const text = this.text(name);
    if (text !== 'match' && text !== 'target') return TRACKING.has(text);
    const data = this.find(from, to, NFTA_EXPR_DATA);
    const extension = data && this.find(data.from, data.to, NFTA_MATCH_NAME);
    return extension !== undefined && TRACKING_XT.test(this.text(extension));
  }

  private familiesOf(family: number): FamilyFacts[] {
    const { ipv4, ipv6 } = this.facts;
    if (family === NFPROTO_INET) return [ipv4, ipv6];
    if (family === NFPROTO_IPV4) return [ipv4];
    return family === NFPROTO_IPV6 ? [ipv6] : [];
  }

  private text({ from, to }: { from: number; to: number }): string {
    let end = from;
    while (end < to && this.data[end] !== 0) end++;
    return Buffer.from(this.data.buffer, from, end - from).toString('latin1');
  }

  private find(from: number, to: number, wanted: number): { from: number; to: number } | undefined {
    let found: { from: number; to: number } | undefined;
    this.walk(from, to, (kind, start, end) => {
      if (kind === wanted) found ??= { from: start, to: end };
    });
    return found;
  }

  private walk(from: number, to: number, each: (kind: number, from: number, to: number) => void): void {
    for (let at = from; to - at >= ATTRIBUTE_BYTES; ) {
      const length = this.view.getUint16(at, true);
      if (length < ATTRIBUTE_BYTES || length > to - at) return;
      each(this.view.getUint16(at + 2, true) & TYPE_MASK, at + ATTRIBUTE_BYTES, at + length);
      at += (length + 3) & ~3;
    }
  }

  private lookAtLegacy(): void {
    for (const family of ['ipv4', 'ipv6'] as const) {
      if (!existsSync(LEGACY[family])) continue;
      try {
        const tables = readFileSync(LEGACY[family], 'latin1').split('\n').filter(Boolean);
        if (tables.includes('nat'))
          Object.assign(this.facts[family], { isTracked: true, isTranslated: true });
        else if (tables.length > 0) this.facts.isUncertain = true;
      } catch {
        this.facts.isUncertain = true;
      }
    }
  }
}
