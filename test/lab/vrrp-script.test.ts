import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { generate } from './background-flows.js';
import { eventually } from './deadline.js';
import { VrrpPair } from './vrrp-pair.js';

const FLOWS = 2000;

let pair: VrrpPair;
beforeAll(async () => {
  pair = await VrrpPair.create({ keepalived: { notify: 'script' } });
});
afterAll(() => pair?.close());

test('the notify script takes the roles where there is no FIFO', async () => {
  await pair.start();
  await generate(pair.lab, 'fw1', 'create', FLOWS);
  await pair.verified();
  await pair.fw1.keepalived.kill();
  await pair.fw1.keepalived.dropAddresses();
  const promoted = await eventually('fw2 has taken over', { withinMs: 15_000 }, async () => {
    return (await pair.fw2.daemon.status()).lastPromote ?? undefined;
  });
  expect(promoted).toMatchObject({ committed: FLOWS, rejected: 0 });
  // The script's own process ends, and logs, a moment later.
  await eventually('the script has logged it', { withinMs: 10_000 }, () => {
    const log = readFileSync(pair.fw2.keepalived.scriptLogFile, 'utf8');
    return /GROUP edge MASTER: failover primary: exit [03]: role primary/.test(log);
  });
});

test('it tries again when the daemon is away, and does what was wanted last', async () => {
  // What the track file says now is what keepalived reads while nobody writes it.
  await eventually('fw1 is ready', { withinMs: 30_000 }, async () => {
    return (await pair.fw1.daemon.status()).ready.isReady;
  });
  await pair.fw1.daemon.kill();
  await pair.fw1.keepalived.start();
  await pair.fw1.keepalived.becomes('MASTER');
  await pair.fw1.daemon.start();
  await pair.settled('fw1');
  expect(readFileSync(pair.fw1.keepalived.scriptLogFile, 'utf8')).toMatch(/exit 4: .*no daemon/);
  await pair.verified();
});
