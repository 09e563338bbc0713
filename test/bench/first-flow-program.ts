/**
 * Looks at the number of flows in this namespace's kernel four thousand times a second and tells when it has grown:
 *   first-flow-program.js MORE     one JSON line (`FirstFlow`) as soon as there are MORE flows than at the start
 */
import { closeSync, openSync, readSync } from 'node:fs';

const LOOK_MS = 0.25;

export interface FirstFlow {
  /** CLOCK_MONOTONIC, nanoseconds; `ready`: it looks from now on. */
  readonly kind: 'ready' | 'first';
  readonly atNs: string;
}

const say = (kind: FirstFlow['kind']) =>
  process.stdout.write(
    `${JSON.stringify({ kind, atNs: String(process.hrtime.bigint()) } satisfies FirstFlow)}\n`,
  );

const fd = openSync('/proc/sys/net/netfilter/nf_conntrack_count', 'r');
const text = Buffer.alloc(16);
const sleep = new Int32Array(new SharedArrayBuffer(4));
const flows = () => Number(text.toString('latin1', 0, readSync(fd, text, 0, text.length, 0)));

const limit = flows() + Number(process.argv[2]);
say('ready');
while (flows() < limit) Atomics.wait(sleep, 0, 0, LOOK_MS);
say('first');
closeSync(fd);
