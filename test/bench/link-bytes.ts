import type { Lab } from '../lab/lab.js';

/** Bytes on the sync cable so far, both directions, link headers and heartbeats included. */
export async function linkBytes(lab: Lab): Promise<number> {
  const [one, two] = await Promise.all([lab.syncBytesSent('fw1'), lab.syncBytesSent('fw2')]);
  return one + two;
}
