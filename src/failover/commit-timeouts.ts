/**
 * The timeout that a commit gives a flow.
 *
 * | flow                        | timeout                                                                       |
 * |-----------------------------|-------------------------------------------------------------------------------|
 * | GRE                         | a day, fixed (see GRE_COMMIT_S)                                               |
 * | FIXED_TIMEOUT               | its own                                                                       |
 * | TCP, ESTABLISHED            | `commit_timeout`, or what this kernel gives the state; never its own: data in |
 * |                             | flight makes an event say 300 s of a flow that has five days                  |
 * | all others                  | their own, for the replica may know of a rule's timeout; at least the floor   |
 * |                             | of the protocol, as far as this kernel gives the state that much itself       |
 * | whose timeout was not told  | what this kernel gives the state                                              |
 */
import {
  IPPROTO_GRE,
  IPPROTO_ICMP,
  IPPROTO_ICMPV6,
  IPPROTO_SCTP,
  IPPROTO_TCP,
  IPPROTO_UDP,
  IPPROTO_UDPLITE,
  IPS_ASSURED,
  IPS_FIXED_TIMEOUT,
  TCP_CONNTRACK_ESTABLISHED,
} from '../flow/conntrack-enums.js';
import {
  addressBytes,
  HAS_TIMEOUT,
  type Memory,
  OFF_HAS,
  OFF_PROTOCOL,
  OFF_TIMEOUT,
  offState,
  offStatus,
} from '../flow/record.js';
import { GRE_COMMIT_S } from '../limits.js';

/** Seconds that a committed flow has at the least, by protocol. */
export interface TimeoutFloors {
  readonly tcp: number;
  readonly udp: number;
  readonly sctp: number;
  /** ICMP and ICMPv6. */
  readonly icmp: number;
  readonly other: number;
}

/**
 * A record may say what was left at its owner's last audit, a second perhaps, of a flow that is busy. Half a minute is
 * what an untuned kernel gives a UDP flow or an echo from packet to packet.
 */
export const DEFAULT_FLOORS: TimeoutFloors = { tcp: 30, udp: 30, sctp: 30, icmp: 30, other: 30 };

/**
 * Timeouts of an untuned kernel (Linux 6.18), seconds, by the name of their sysctl nf_conntrack_NAME. TCP's and SCTP's
 * stand in the order of their states, 0 (NONE) as 1; TCP's last is SYN_SENT2, a simultaneous open.
 */
const TCP_STATES: readonly (readonly [name: string, seconds: number])[] = [
  ['tcp_timeout_syn_sent', 120],
  ['tcp_timeout_syn_sent', 120],
  ['tcp_timeout_syn_recv', 60],
  ['tcp_timeout_established', 432_000],
  ['tcp_timeout_fin_wait', 120],
  ['tcp_timeout_close_wait', 60],
  ['tcp_timeout_last_ack', 30],
  ['tcp_timeout_time_wait', 120],
  ['tcp_timeout_close', 10],
  ['tcp_timeout_syn_sent', 120],
];
const SCTP_STATES: typeof TCP_STATES = [
  ['sctp_timeout_closed', 10],
  ['sctp_timeout_closed', 10],
  ['sctp_timeout_cookie_wait', 3],
  ['sctp_timeout_cookie_echoed', 3],
  ['sctp_timeout_established', 210],
  ['sctp_timeout_shutdown_sent', 3],
  ['sctp_timeout_shutdown_recd', 3],
  ['sctp_timeout_shutdown_ack_sent', 3],
  ['sctp_timeout_heartbeat_sent', 30],
];
const OTHERS = {
  udp: ['udp_timeout', 30],
  udpStream: ['udp_timeout_stream', 120],
  icmp: ['icmp_timeout', 30],
  icmpv6: ['icmpv6_timeout', 30],
  generic: ['generic_timeout', 600],
} as const;
type OtherTimeout = keyof typeof OTHERS;

export interface CommitTimeoutsOptions {
  readonly floors?: TimeoutFloors;
  /** For ESTABLISHED TCP flows, instead of the kernel's. Seconds; 0: the kernel's. */
  readonly establishedS?: number;
  /** nf_conntrack_NAME of this kernel, seconds; undefined where it has none. */
  readonly read?: (name: string) => number | undefined;
}

/** Timeouts of committed flows, seconds. */
export class CommitTimeouts {
  readonly #options: CommitTimeoutsOptions;
  readonly #floors: TimeoutFloors;
  readonly #tcp = new Float64Array(TCP_STATES.length);
  readonly #sctp = new Float64Array(SCTP_STATES.length);
  readonly #others: Record<OtherTimeout, number>;

  constructor(options: CommitTimeoutsOptions = {}) {
    this.#options = options;
    this.#floors = options.floors ?? DEFAULT_FLOORS;
    this.#others = { udp: 0, udpStream: 0, icmp: 0, icmpv6: 0, generic: 0 };
    this.refresh();
  }

  /** Reads this kernel's timeouts again: they may have been tuned. Some 25 small files. */
  refresh(): void {
    const read = ([name, seconds]: readonly [string, number]) => this.#options.read?.(name) ?? seconds;
    TCP_STATES.forEach((state, i) => {
      this.#tcp[i] = read(state);
    });
    SCTP_STATES.forEach((state, i) => {
      this.#sctp[i] = read(state);
    });
    for (const key of Object.keys(OTHERS) as OtherTimeout[]) this.#others[key] = read(OTHERS[key]);
    const { establishedS } = this.#options;
    if (establishedS) this.#tcp[TCP_CONNTRACK_ESTABLISHED] = establishedS;
  }

  /** The timeout to commit the flow at `at` with. */
  of(m: Memory, at: number): number {
    const addr = addressBytes(m, at);
    const own = m.u8[at + OFF_HAS] & HAS_TIMEOUT ? m.u32[(at + OFF_TIMEOUT) >>> 2] : 0;
    if (m.u8[at + OFF_PROTOCOL] === IPPROTO_GRE) return Math.max(own, GRE_COMMIT_S);
    if (m.u32[(at + offStatus(addr)) >>> 2] & IPS_FIXED_TIMEOUT && own > 0) return own;
    const kernel = this.#kernelTimeout(m, at, addr);
    const isEstablished =
      m.u8[at + OFF_PROTOCOL] === IPPROTO_TCP && m.u8[at + offState(addr)] === TCP_CONNTRACK_ESTABLISHED;
    if (isEstablished || own === 0) return kernel;
    return Math.max(own, Math.min(kernel, this.#floorOf(m.u8[at + OFF_PROTOCOL])));
  }

  /** What this kernel gives a flow in this state. */
  #kernelTimeout(m: Memory, at: number, addr: number): number {
    const others = this.#others;
    const isStream = (m.u32[(at + offStatus(addr)) >>> 2] & IPS_ASSURED) !== 0;
    const state = m.u8[at + offState(addr)];
    switch (m.u8[at + OFF_PROTOCOL]) {
      case IPPROTO_TCP:
        return this.#tcp[state] ?? this.#tcp[0];
      case IPPROTO_UDP:
      case IPPROTO_UDPLITE:
        return isStream ? others.udpStream : others.udp;
      case IPPROTO_SCTP:
        return this.#sctp[state] ?? this.#sctp[0];
      case IPPROTO_ICMP:
        return others.icmp;
      case IPPROTO_ICMPV6:
        return others.icmpv6;
      default:
        return others.generic;
    }
  }

  #floorOf(protocol: number): number {
    const floors = this.#floors;
    switch (protocol) {
      case IPPROTO_TCP:
        return floors.tcp;
      case IPPROTO_UDP:
      case IPPROTO_UDPLITE:
        return floors.udp;
      case IPPROTO_SCTP:
        return floors.sctp;
      case IPPROTO_ICMP:
      case IPPROTO_ICMPV6:
        return floors.icmp;
      default:
        return floors.other;
    }
  }
}
