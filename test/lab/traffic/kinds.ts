/** Every kind of connection that the failovers are tried with. */

/** What the two ends do with it. */
export type Play =
  /** The opener says something every so often, and the other end says it back. */
  | 'talk'
  /** As talk, but once at the start and once at the very end. */
  | 'idle'
  /** Bursts larger than an unscaled window, all the time; the other direction only acknowledges. */
  | 'bulk-down'
  | 'bulk-up'
  /** One end has shut down its direction, data goes on in the other. */
  | 'half-closed-down'
  | 'half-closed-up'
  /** Opened and closed at the start: only the kernels know of it. */
  | 'closed'
  /** UDP that nobody answers, from the opener; or from the other end, after one word of the opener. */
  | 'one-way-up'
  | 'one-way-down'
  /** Echo requests, which the other end's kernel answers. */
  | 'ping'
  /** FTP: a data connection is announced, and made in the next round. */
  | 'ftp-active'
  | 'ftp-passive'
  /** A data connection that runs on after its control connection was closed. */
  | 'ftp-data-active'
  | 'ftp-data-passive'
  /** TFTP: a file is asked for, and sent in the next round, from another port. */
  | 'tftp'
  /** SIP: audio is announced, and comes in the next round; then the call ends, and the next one begins. */
  | 'sip-call'
  /** The audio of one call runs all the time; each round announces it again. */
  | 'sip-media'
  /** A phone registers, and is called in the next round. */
  | 'sip-registration';

export type Party = 'inside' | 'outside';

export interface Kind {
  readonly name: string;
  readonly protocol: 'tcp' | 'udp' | 'icmp' | 'icmpv6' | 'gre' | 'sctp';
  readonly play: Play;
  /** Who opens the connections. */
  readonly opener: Party;
  /** The address and port that the opener uses; the port is this kind's own. */
  readonly target: string;
  readonly port: number;
  /** Where the other end listens, if translated. */
  readonly servicePort?: number;
  /** Nothing of it is translated. */
  readonly isRouted?: true;
}

export const INSIDE4 = '10.1.0.100';
export const OUTSIDE4 = '10.2.0.100';
export const SHARED4 = '10.2.0.254';
/** A second network outside, where the firewalls have one address only: that is the one masquerading takes. */
export const MASQUERADED4 = '10.4.0.100';
export const MASQUERADED6 = 'fd00:4::100';
export const INSIDE6 = 'fd00:1::100';
export const OUTSIDE6 = 'fd00:2::100';
export const SHARED6 = 'fd00:2::254';
/** FTP's inside address. Shorter as text than what it is translated to, so each line that names it grows. */
export const FTP_INSIDE4 = '10.1.9.9';
/** Inside addresses of GRE flows, one each: such a flow has no ports. */
export const greAddress = (number: number): string => `10.1.7.${number + 1}`;

const FIRST_PORT = 5001;
/** Destination translation changes the port as well for these. */
const FORWARDED_BY = 1000;

interface Row extends Omit<Kind, 'port' | 'opener' | 'servicePort'> {
  readonly opener?: Party;
  readonly isForwarded?: true;
}

const ROWS: readonly Row[] = [
  { name: 'tcp4-snat', protocol: 'tcp', play: 'talk', target: OUTSIDE4 },
  { name: 'tcp4-masquerade', protocol: 'tcp', play: 'talk', target: MASQUERADED4 },
  { name: 'tcp4-dnat', protocol: 'tcp', play: 'talk', opener: 'outside', target: SHARED4 },
  {
    name: 'tcp4-forwarded',
    protocol: 'tcp',
    play: 'talk',
    opener: 'outside',
    target: SHARED4,
    isForwarded: true,
  },
  { name: 'tcp4-dnat-snat', protocol: 'tcp', play: 'talk', opener: 'outside', target: SHARED4 },
  { name: 'tcp4-idle', protocol: 'tcp', play: 'idle', target: OUTSIDE4 },
  { name: 'tcp4-bulk-down', protocol: 'tcp', play: 'bulk-down', target: OUTSIDE4 },
  { name: 'tcp4-bulk-up', protocol: 'tcp', play: 'bulk-up', target: OUTSIDE4 },
  { name: 'tcp4-half-closed-down', protocol: 'tcp', play: 'half-closed-down', target: OUTSIDE4 },
  { name: 'tcp4-half-closed-up', protocol: 'tcp', play: 'half-closed-up', target: OUTSIDE4 },
  { name: 'tcp4-time-wait', protocol: 'tcp', play: 'closed', target: OUTSIDE4 },
  { name: 'tcp4-mark', protocol: 'tcp', play: 'talk', target: OUTSIDE4 },
  { name: 'tcp4-label', protocol: 'tcp', play: 'talk', target: OUTSIDE4 },
  { name: 'tcp4-zone', protocol: 'tcp', play: 'talk', target: OUTSIDE4 },
  { name: 'tcp6-routed', protocol: 'tcp', play: 'talk', target: OUTSIDE6, isRouted: true },
  { name: 'tcp6-snat', protocol: 'tcp', play: 'talk', target: OUTSIDE6 },
  { name: 'tcp6-dnat', protocol: 'tcp', play: 'talk', opener: 'outside', target: SHARED6 },
  { name: 'udp4-snat', protocol: 'udp', play: 'talk', target: OUTSIDE4 },
  { name: 'udp4-dnat', protocol: 'udp', play: 'talk', opener: 'outside', target: SHARED4 },
  { name: 'udp6-snat', protocol: 'udp', play: 'talk', target: OUTSIDE6 },
  { name: 'udp4-one-way-up', protocol: 'udp', play: 'one-way-up', target: OUTSIDE4 },
  { name: 'udp4-one-way-down', protocol: 'udp', play: 'one-way-down', target: OUTSIDE4 },
  { name: 'icmp-snat', protocol: 'icmp', play: 'ping', target: OUTSIDE4 },
  { name: 'icmpv6-snat', protocol: 'icmpv6', play: 'ping', target: OUTSIDE6 },
  { name: 'sctp-snat', protocol: 'sctp', play: 'talk', target: OUTSIDE4 },
  { name: 'gre-routed', protocol: 'gre', play: 'talk', target: OUTSIDE4 },
  { name: 'ftp-active', protocol: 'tcp', play: 'ftp-active', target: OUTSIDE4 },
  { name: 'ftp-passive', protocol: 'tcp', play: 'ftp-passive', opener: 'outside', target: SHARED4 },
  { name: 'ftp-data', protocol: 'tcp', play: 'ftp-data-active', target: OUTSIDE4 },
  { name: 'tftp', protocol: 'udp', play: 'tftp', target: OUTSIDE4 },
  { name: 'ftp6-active', protocol: 'tcp', play: 'ftp-active', target: OUTSIDE6 },
  { name: 'ftp6-passive', protocol: 'tcp', play: 'ftp-passive', opener: 'outside', target: SHARED6 },
  { name: 'ftp6-active-routed', protocol: 'tcp', play: 'ftp-active', target: OUTSIDE6, isRouted: true },
  { name: 'ftp6-passive-routed', protocol: 'tcp', play: 'ftp-passive', target: OUTSIDE6, isRouted: true },
  { name: 'sip-call', protocol: 'udp', play: 'sip-call', target: OUTSIDE4 },
  { name: 'sip-call-tcp', protocol: 'tcp', play: 'sip-call', target: OUTSIDE4 },
  { name: 'sip-media', protocol: 'udp', play: 'sip-media', target: OUTSIDE4 },
  { name: 'sip-registration', protocol: 'udp', play: 'sip-registration', target: OUTSIDE4 },
  // At the end, for the ports of SIP's audio go by the row.
  { name: 'ftp-data-passive', protocol: 'tcp', play: 'ftp-data-passive', opener: 'outside', target: SHARED4 },
  { name: 'udp4-masquerade', protocol: 'udp', play: 'talk', target: MASQUERADED4 },
  { name: 'tcp6-masquerade', protocol: 'tcp', play: 'talk', target: MASQUERADED6 },
  { name: 'tcp4-zone-original', protocol: 'tcp', play: 'talk', target: OUTSIDE4 },
  { name: 'tcp4-synproxy', protocol: 'tcp', play: 'talk', target: OUTSIDE4 },
];

export const KINDS: readonly Kind[] = ROWS.map(({ isForwarded, ...row }, index) => ({
  opener: 'inside',
  ...row,
  port: FIRST_PORT + index,
  servicePort: FIRST_PORT + index + (isForwarded ? FORWARDED_BY : 0),
}));

/** Whether it is made over IPv6. */
export const usesIpv6 = ({ target }: Kind): boolean => target.includes(':');

/** The kind of this name; throws if there is none. */
export function kindOf(name: string): Kind {
  const kind = KINDS.find((one) => one.name === name);
  if (kind === undefined) throw new RangeError(`no kind of traffic is called ${name}`);
  return kind;
}
