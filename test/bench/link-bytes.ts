/** What went over the sync cable so far, both directions. */
import type { FirewallName, Lab } from '../lab/lab.js';

export interface LinkTraffic {
  /** Link headers and heartbeats included. */
  readonly bytes: number;
  readonly packets: number;
}

/** Fields of /proc/net/dev after the colon: what was sent. */
const BYTES_SENT = 8;
const PACKETS_SENT = 9;

async function sent(lab: Lab, fw: FirewallName): Promise<LinkTraffic> {
  const devices = (await lab.exec(fw, ['cat', '/proc/net/dev'])).split('\n');
  const fields = devices
    .find((each) => /^\s*sync:/.test(each))
    ?.split(':')[1]
    .trim()
    .split(/\s+/);
  return { bytes: Number(fields?.[BYTES_SENT]), packets: Number(fields?.[PACKETS_SENT]) };
}

export async function linkTraffic(lab: Lab): Promise<LinkTraffic> {
  const [one, two] = [await sent(lab, 'fw1'), await sent(lab, 'fw2')];
  return { bytes: one.bytes + two.bytes, packets: one.packets + two.packets };
}

/** Bytes alone. */
export async function linkBytes(lab: Lab): Promise<number> {
  return (await linkTraffic(lab)).bytes;
}
