/** The captured messages of test/fixtures/conntrack-events.json, each as bytes. */
import { readFileSync } from 'node:fs';

export interface CapturedMessage {
  readonly name: string;
  readonly command: string;
  readonly what: 'event' | 'dump';
  readonly bytes: Uint8Array;
}

interface FixtureFile {
  readonly kernel: string;
  readonly listing: { readonly lines: readonly string[] };
  readonly cases: readonly { name: string; command: string; what: 'event' | 'dump'; hex: string }[];
}

const file = JSON.parse(
  readFileSync(new URL('../../fixtures/conntrack-events.json', import.meta.url), 'utf8'),
) as FixtureFile;

/** Every captured message, in the order the kernel sent them. */
export const CAPTURED: readonly CapturedMessage[] = file.cases.map((c) => ({
  name: c.name,
  command: c.command,
  what: c.what,
  bytes: new Uint8Array(Buffer.from(c.hex, 'hex')),
}));

/** What conntrack(8) printed of the dumped table. */
export const LISTING: readonly string[] = file.listing.lines;

/** The messages of one case; throws if there is no such case. */
export function captured(name: string): CapturedMessage[] {
  const found = CAPTURED.filter((c) => c.name === name);
  if (found.length === 0) throw new Error(`no captured case ${name}`);
  return found;
}
