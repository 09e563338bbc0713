/** The conntrack sysctls of this network namespace: /proc/sys/net/netfilter/nf_conntrack_*. */
import { readFileSync, writeFileSync } from 'node:fs';

const path = (name: string): string => `/proc/sys/net/netfilter/nf_conntrack_${name}`;

/** Reads nf_conntrack_NAME; undefined where the kernel has no such sysctl. */
export function readSysctl(name: string): number | undefined {
  try {
    return Number.parseInt(readFileSync(path(name), 'latin1'), 10);
  } catch {
    return undefined;
  }
}

/** Writes nf_conntrack_NAME and reads it back; false where that is missing, not allowed or not taken. */
export function writeSysctl(name: string, value: number): boolean {
  try {
    writeFileSync(path(name), String(value));
  } catch {
    return false;
  }
  return readSysctl(name) === value;
}

/** Part of the conntrack table in use, 0 to 1; flows whose DESTROY was not taken yet count. */
export function tableFill(): number {
  const max = readSysctl('max') ?? 0;
  return max === 0 ? 0 : (readSysctl('count') ?? 0) / max;
}
