import { readFileSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { generate } from './background-flows.js';
import { eventually } from './deadline.js';
import { vrrpPaths } from './keepalived.js';
import { VrrpPair } from './vrrp-pair.js';

const FLOWS = 2000;
/** A replica must be proven for five seconds. */
const READY_WITHIN_MS = 20_000;

let pair: VrrpPair;
beforeAll(async () => {
  pair = await VrrpPair.create({ keepalived: { preemptDelayS: 1 } });
});
afterAll(() => pair?.close());

const file = (fw: 'fw1' | 'fw2') => readFileSync(vrrpPaths(pair.lab, fw).trackFile, 'utf8');
const isReady = (fw: 'fw1' | 'fw2') =>
  eventually(`${fw} is ready`, { withinMs: READY_WITHIN_MS }, async () => {
    const { ready } = await pair[fw].daemon.status();
    if (!ready.isReady) throw new Error(ready.reasons.join('; '));
    return file(fw) === '1\n';
  });

test('a firewall that starts alone is not ready at first, and becomes master and primary all the same', async () => {
  await pair.fw1.daemon.start();
  const { code, stdout } = await pair.fw1.daemon.cli(['ready']);
  expect([code, stdout]).toEqual([1, expect.stringMatching(/^NOT ready\n(! joining|! no other node)/)]);
  expect(file('fw1')).toBe('0\n');
  await pair.fw1.keepalived.start();
  await isReady('fw1');
  expect((await pair.fw1.daemon.status()).role).toBe('primary');
  expect((await pair.fw1.daemon.cli(['ready'])).stdout).toBe('ready\n');
  await generate(pair.lab, 'fw1', 'create', FLOWS);
});

test('its backup is not ready before its replica was proven for five seconds', async () => {
  await pair.fw2.daemon.start();
  await pair.fw2.keepalived.start();
  await pair.settled('fw1');
  expect(file('fw2')).toBe('0\n');
  // Joining comes first, and lasts as long as the machine needs.
  await eventually('fw2 waits for its replica', { withinMs: READY_WITHIN_MS }, async () => {
    const { ready } = await pair.fw2.daemon.status();
    expect(ready.isReady).toBe(false);
    return /replica of fw1 is (not proven|proven for \d s)/.test(ready.reasons.join());
  });
  await isReady('fw2');
});

test('a firewall that comes back takes over only when it is ready, and then with all flows', async () => {
  await pair.fw1.keepalived.stop();
  await pair.settledRole('fw1', 'backup');
  await pair.fw1.daemon.stop();
  expect(file('fw1')).toBe('0\n');
  await pair.settledRole('fw2', 'primary');
  // Without a daemon that is ready it has priority 110 against the other's 150.
  await pair.fw1.keepalived.start();
  await pause(2500);
  expect([pair.fw1.keepalived.state, pair.fw2.keepalived.state]).toEqual(['BACKUP', 'MASTER']);
  await pair.fw1.daemon.start();
  await pair.settled('fw2');
  await isReady('fw1');
  await pair.settled('fw1');
  await pair.verified();
  const { kept, replaced, rejected } = (await pair.fw1.daemon.status()).lastPromote!;
  expect([kept + replaced, rejected]).toEqual([FLOWS, 0]);
});

test('the daemon of a primary that stops leaves the file as it is: the flows stay where they are', async () => {
  await pair.fw1.daemon.stop();
  expect(file('fw1')).toBe('1\n');
  await pair.fw1.daemon.start();
  expect(file('fw1')).toBe('1\n');
  await pair.settled('fw1');
});
