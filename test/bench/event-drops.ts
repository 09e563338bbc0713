/** Events that the kernel could not deliver, by the kernel's own count. */
import type { FirewallName, Lab } from '../lab/lab.js';

const NETLINK_NETFILTER = 12;
/** Fields of a line of /proc/net/netlink. */
const PROTOCOL = 1;
const DROPS = 8;

/** Dropped so far at all nfnetlink sockets that are open in this firewall. */
export async function eventDrops(lab: Lab, fw: FirewallName): Promise<number> {
  const [, ...lines] = (await lab.exec(fw, ['cat', '/proc/net/netlink'])).trim().split('\n');
  const sockets = lines.map((each) => each.trim().split(/\s+/));
  return sockets
    .filter((fields) => Number(fields[PROTOCOL]) === NETLINK_NETFILTER)
    .reduce((sum, fields) => sum + Number(fields[DROPS]), 0);
}
