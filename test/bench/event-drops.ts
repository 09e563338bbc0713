/** Events that the kernel could not deliver, by the kernel's own count. */
import type { FirewallName, Lab } from '../lab/lab.js';

const NETLINK_NETFILTER = 12;
/** Fields of a line of /proc/net/netlink. */
const PROTOCOL = 1;
const GROUPS = 3;
const DROPS = 8;
/** Bit of NFNLGRP_CONNTRACK_UPDATE in the mask of groups: a socket that only wakes for new flows has no events to lose. */
const TAKES_UPDATES = 2;

/** Dropped so far at all nfnetlink sockets of this firewall that take conntrack events. */
export async function eventDrops(lab: Lab, fw: FirewallName): Promise<number> {
  const [, ...lines] = (await lab.exec(fw, ['cat', '/proc/net/netlink'])).trim().split('\n');
  const sockets = lines.map((each) => each.trim().split(/\s+/));
  return sockets
    .filter((fields) => Number(fields[PROTOCOL]) === NETLINK_NETFILTER)
    .filter((fields) => (Number.parseInt(fields[GROUPS], 16) & TAKES_UPDATES) !== 0)
    .reduce((sum, fields) => sum + Number(fields[DROPS]), 0);
}
