/** Who else on this kernel hears of conntrack events: a listener in any namespace makes each creation cost twice. */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';

const NETLINK_NETFILTER = 12;
/** Groups 1 to 3: new, update, destroy. */
const CONNTRACK_GROUPS = 0x7;

/** Processes with such a socket, by id. One that ends meanwhile is none. */
export function conntrackListeners(): Set<number> {
  const pids = readdirSync('/proc').filter((name) => /^\d+$/.test(name));
  const listeners = new Set<number>();
  const seen = new Map<string, ReturnType<typeof inodesOf>>();
  for (const pid of pids) {
    try {
      const namespace = readlinkSync(`/proc/${pid}/ns/net`);
      if (!seen.has(namespace)) seen.set(namespace, inodesOf(pid));
      const inodes = seen.get(namespace)!;
      if (inodes.size === 0) continue;
      for (const fd of readdirSync(`/proc/${pid}/fd`)) {
        if (inodes.has(readlinkSync(`/proc/${pid}/fd/${fd}`))) listeners.add(Number(pid));
      }
    } catch {
      // It has ended, or is not ours to look at.
    }
  }
  return listeners;
}

/** Sockets of the process's network namespace that listen, as links in /proc name them. */
function inodesOf(pid: string): Set<string> {
  const lines = readFileSync(`/proc/${pid}/net/netlink`, 'utf8').trim().split('\n').slice(1);
  const fields = lines.map((line) => line.trim().split(/\s+/));
  const isListener = ([, protocol, , groups]: string[]) =>
    Number(protocol) === NETLINK_NETFILTER && (Number.parseInt(groups, 16) & CONNTRACK_GROUPS) !== 0;
  return new Set(fields.filter(isListener).map((all) => `socket:[${all[9]}]`));
}
