/** A promote into a kernel that has no room for all: what has none is counted and said, and the rest is there. */
import { readFileSync, writeFileSync } from 'node:fs';
import { afterEach, expect, test } from 'vitest';
import type { FailoverReport } from '../../src/control/messages.js';
import { generate } from './background-flows.js';
import { FirewallPair } from './firewall-pair.js';
import { kernelText } from './kernel-text.js';

const FLOWS = 3000;
const ROOM = 2000;
/** A limit of the machine's, not of a namespace: no other lab runs beside this one. */
const LIMIT_FILE = '/proc/sys/net/netfilter/nf_conntrack_max';

let pair: FirewallPair | undefined;
let limit: string | undefined;

afterEach(async () => {
  if (limit !== undefined) writeFileSync(LIMIT_FILE, limit);
  await pair?.close();
});

test('a full kernel table: not ready before, exit 3 with the count after, and the rest goes on', async () => {
  pair = await FirewallPair.create();
  const { fw1, fw2, lab } = pair;
  await generate(lab, 'fw1', 'create', FLOWS);
  await pair.verified(10_000);
  limit = readFileSync(LIMIT_FILE, 'utf8');
  writeFileSync(LIMIT_FILE, String(ROOM));
  const ready = await fw2.cli(['ready', '--check']);
  expect([ready.code, ready.stdout]).toEqual([
    1,
    expect.stringMatching(/nf_conntrack_max is 2000, and a takeover is about 30\d\d flows/),
  ]);
  await fw1.kill();
  const { code, stdout, stderr } = await fw2.cli(['failover', 'primary', '--json']);
  expect(stdout, stderr).not.toBe('');
  const { role, promote, reasons } = JSON.parse(stdout) as FailoverReport;
  expect([code, role]).toEqual([3, 'primary']);
  const { committed = 0, rejectedBy } = promote ?? {};
  const rejected = rejectedBy?.['kernel-full'] ?? 0;
  expect(reasons).toEqual([
    `this kernel's table is full, flows without room: ${rejected}; raise nf_conntrack_max`,
  ]);
  // A few flows of the kernel's own may stand there too.
  expect(committed).toBeGreaterThan(ROOM - 50);
  expect(committed + rejected).toBe(promote?.total);
  expect(new Set(await kernelText(lab, 'fw2')).size).toBeGreaterThanOrEqual(committed);
  expect((await fw2.status()).mirror.flows).toBe(committed);
  writeFileSync(LIMIT_FILE, limit);
  expect((await fw2.verify()).differences).toEqual([]);
});
