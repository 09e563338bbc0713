/** What random command lines are made of: few addresses, ports and words, so that most lines meet a flow. */
import type { Random } from '../random.js';

export const V4 = ['10.0.0.1', '10.0.0.2', '10.0.1.1', '192.0.2.7'];
export const V4_TO = ['10.9.0.1', '10.9.0.2', '203.0.113.9'];
export const V6 = ['2001:db8::1', '2001:db8::2', 'fd00::5:0:0:1', '::ffff:10.0.0.1'];
export const V6_TO = ['2001:db8:1::1', 'fd00::9'];
/** What translated ends become. */
export const NAT_V4 = '192.0.2.99';
export const NAT_V6 = '2001:db8::99';
export const PORTS = ['1', '2', '1024', '65535'];
export const TO_PORTS = ['22', '80', '443', '0x50'];
export const ZONES = ['1', '7'];
export const ZONE_OPTIONS = ['-w', '--orig-zone', '--reply-zone'];
export const MARKS = ['0', '1', '2', '4', '5', '0x10', '255'];
export const LABELS = ['zero', 'five', 'top', 'five,six'];
export const TCP_STATES = [
  ...['SYN_SENT', 'SYN_RECV', 'ESTABLISHED', 'FIN_WAIT', 'CLOSE_WAIT', 'LAST_ACK', 'TIME_WAIT', 'CLOSE'],
  'LISTEN',
];
export const SCTP_STATES = ['CLOSED', 'COOKIE_WAIT', 'COOKIE_ECHOED', 'ESTABLISHED', 'SHUTDOWN_SENT'];
export const DCCP_STATES = ['REQUEST', 'RESPOND', 'PARTOPEN', 'OPEN', 'CLOSEREQ', 'CLOSING', 'TIMEWAIT'];
export const PROTOCOLS = [
  ...['tcp', 'udp', 'udplite', 'sctp', 'dccp', 'icmp', 'gre', '50', 'esp', '6', '0x11', 'icmpv6'],
];

export const one = <T>(random: Random, choices: readonly T[]): T => choices[random(choices.length)];

/** The words, in so many cases of a hundred. */
export const maybe = (random: Random, percent: number, words: () => string[]): string[] =>
  random(100) < percent ? words() : [];

/** Groups of words in any order. */
export function shuffled(random: Random, groups: readonly string[][]): string[] {
  const left = [...groups];
  const words: string[] = [];
  while (left.length > 0) words.push(...left.splice(random(left.length), 1)[0]);
  return words;
}

export const isTcp = (protocol: string): boolean => protocol === 'tcp' || protocol === '6';
export const isUdp = (protocol: string): boolean => protocol === 'udp' || protocol === '0x11';
