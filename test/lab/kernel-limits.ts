/**
 * How many flows this machine's kernel holds. The limit and the hash size are the machine's, not a namespace's: real
 * root raises them for the time of a lab that needs more, and root of a user namespace has to do with what there is.
 */
import { readFileSync, writeFileSync } from 'node:fs';

const DIRECTORY = '/proc/sys/net/netfilter';
const MAX = 'nf_conntrack_max';
const BUCKETS = 'nf_conntrack_buckets';
/** Room for a million flows in each of two firewalls, which share one hash table. */
const RAISED = { [MAX]: 2_097_152, [BUCKETS]: 1_048_576 } as const;
/** Room for what else is in a kernel table. */
const SPARE_FLOWS = 10_000;
/** Two firewalls' flows over the buckets: longer chains make every number of a test the hash table's. */
const FIREWALLS = 2;

function read(name: string): number {
  try {
    return Number(readFileSync(`${DIRECTORY}/${name}`, 'utf8'));
  } catch {
    return 0;
  }
}

function write(name: string, value: number): boolean {
  try {
    writeFileSync(`${DIRECTORY}/${name}`, String(value));
    return true;
  } catch {
    return false;
  }
}

/** Makes room for `flows` in each firewall where it may; returns what puts the old values back. */
export function makeRoom(flows: number): () => void {
  const needed = { [MAX]: flows + SPARE_FLOWS, [BUCKETS]: flows * FIREWALLS };
  const old = new Map<string, number>();
  for (const name of [MAX, BUCKETS] as const) {
    const before = read(name);
    const isTooSmall = before > 0 && before < Math.min(needed[name], RAISED[name]);
    if (isTooSmall && write(name, RAISED[name])) old.set(name, before);
  }
  return () => {
    for (const [name, value] of old) write(name, value);
    old.clear();
  };
}

/** The number of flows, or as many as this kernel holds; `note` says so if they are fewer. */
export function flowsThatFit(wanted: number): { flows: number; note: string | undefined } {
  const undo = makeRoom(wanted);
  const limit = read(MAX);
  undo();
  // Before the first lab has loaded connection tracking nobody knows.
  const flows = limit === 0 ? wanted : Math.min(wanted, Math.max(0, limit - SPARE_FLOWS));
  const why = `with ${flows} flows instead of ${wanted}: nf_conntrack_max is ${limit}, and only real root may raise it`;
  return { flows, note: flows < wanted ? why : undefined };
}
