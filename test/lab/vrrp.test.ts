import { closeSync, constants, openSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { generate } from './background-flows.js';
import { eventually } from './deadline.js';
import { vrrpPaths } from './keepalived.js';
import { SERVER_ADDRESS } from './lab.js';
import { VrrpPair } from './vrrp-pair.js';

const FLOWS = 5000;
const WITHIN_MS = 10_000;

let pair: VrrpPair;
beforeAll(async () => {
  // Without its weight a firewall comes back at once, and not after five seconds of a proven replica.
  pair = await VrrpPair.create({ failover: { track_file: null } });
});
afterAll(() => pair?.close());

/** Says it in a firewall's FIFO as keepalived does, beside the real one. */
function say(fw: 'fw1' | 'fw2', state: string): void {
  const fifo = openSync(vrrpPaths(pair.lab, fw).fifo, constants.O_RDWR | constants.O_NONBLOCK);
  writeSync(fifo, `GROUP "edge" ${state} 0\n`);
  closeSync(fifo);
}

test('a cluster that starts cold gets a primary, though nobody has a replica of anybody', async () => {
  await pair.start();
  const { vrrp } = await pair.fw1.daemon.status();
  expect(vrrp).toMatchObject({ name: 'edge', state: 'MASTER', isHeld: true });
  await generate(pair.lab, 'fw1', 'create', FLOWS);
  await pair.verified();
});

test('the sample is without fault: both sides of both firewalls hear each other, and traffic passes', async () => {
  const complaints = /rounding|unknown keyword|Unable|does not exist - |advert error|checksum|WARNING/i;
  expect(pair.fw1.keepalived.log() + pair.fw2.keepalived.log()).not.toMatch(complaints);
  expect(await pair.fw1.keepalived.hasAddresses()).toBe(true);
  expect(await pair.fw2.keepalived.hasAddresses()).toBe(false);
  await eventually('the client reaches the server', { withinMs: WITHIN_MS }, async () => {
    return (await pair.lab.tryExec('client', ['ping', '-c', '1', '-W', '1', SERVER_ADDRESS])).code === 0;
  });
});

test('a keepalived killed on the master: the other firewall gets addresses, role and flows', async () => {
  // On a busy machine it was the MASTER for a moment at the start, with nothing to take over.
  const before = (await pair.fw2.daemon.status()).lastPromote?.endedAtMs ?? 0;
  await pair.fw1.keepalived.kill();
  await pair.fw1.keepalived.dropAddresses();
  await pair.settledRole('fw2', 'primary');
  const promoted = await eventually('the promote has ended', { withinMs: WITHIN_MS }, async () => {
    const { lastPromote } = await pair.fw2.daemon.status();
    return lastPromote && lastPromote.endedAtMs > before ? lastPromote : undefined;
  });
  expect(promoted).toMatchObject({ rejected: 0, sources: ['fw1'] });
  expect(promoted.committed).toBeGreaterThanOrEqual(FLOWS);
  expect(await pair.fw2.keepalived.hasAddresses()).toBe(true);
  expect(await pair.lab.kernelFlows('fw2')).toBeGreaterThanOrEqual(FLOWS);
});

test('a keepalived that comes back takes the addresses back: a planned switch, and all is equal', async () => {
  await pair.fw1.keepalived.start();
  await pair.settled('fw1');
  await pair.verified();
  expect((await pair.fw1.daemon.status()).lastPromote).toMatchObject({ rejected: 0 });
  expect(await pair.fw1.keepalived.hasAddresses()).toBe(true);
});

test('a daemon restarted on the master, and one on the backup, go on in their roles without a word of keepalived', async () => {
  const before = await pair.lab.kernelFlows('fw1');
  for (const fw of [pair.fw1, pair.fw2]) {
    await fw.daemon.kill();
    await fw.daemon.start();
    await pair.settled('fw1');
    const { vrrp, lastPromote } = await fw.daemon.status();
    expect(vrrp).toMatchObject({ state: '', changes: 0, isHeld: true });
    expect(lastPromote).toBeNull();
  }
  await pair.verified();
  expect(await pair.lab.kernelFlows('fw1')).toBeGreaterThanOrEqual(before - 10);
});

test('what keepalived said while the daemon was away is followed when it is back', async () => {
  await pair.fw2.daemon.kill();
  await pair.fw1.keepalived.stop();
  await pair.fw2.keepalived.becomes('MASTER');
  await pair.fw2.daemon.start();
  await pair.settledRole('fw2', 'primary');
  await pair.settledRole('fw1', 'backup');
  await pair.fw1.keepalived.start();
  await pair.settled('fw1');
  await pair.verified();
});

test('a daemon that has lost its state says so, and a reload of keepalived says the state again', async () => {
  await pair.fw1.daemon.kill();
  rmSync(join(pair.lab.directory, 'fw1', 'fw1.state'));
  await pair.fw1.daemon.start();
  await eventually('the warning', { withinMs: WITHIN_MS }, async () => {
    return (await pair.fw1.daemon.status()).warnings.some((text) =>
      /keepalived has said no state/.test(text),
    );
  });
  pair.fw1.keepalived.reload();
  await pair.settled('fw1');
  await pair.verified();
});

test('ten quick changes on both, in the middle of promotes, end in one primary and equal tables', async () => {
  for (let i = 0; i < 10; i++) {
    say('fw1', i % 2 === 0 ? 'BACKUP' : 'MASTER');
    say('fw2', i % 2 === 0 ? 'MASTER' : 'BACKUP');
    await pause(i * 10);
  }
  await pair.settled('fw1');
  await pair.verified();
});

test('a promote begins within milliseconds of the line', async ({ task }) => {
  const startedMs: number[] = [];
  const looks = () => pair.fw2.daemon.log().matchAll(/"time":"([^"]+)"[^\n]*"promote: takes over"/g);
  for (let i = 0; i < 2; i++) {
    const count = [...looks()].length;
    const saidAt = performance.timeOrigin + performance.now();
    say('fw2', 'MASTER');
    await eventually(
      'the promote begins',
      { withinMs: WITHIN_MS, everyMs: 5 },
      () => [...looks()].length > count,
    );
    startedMs.push(Date.parse([...looks()].at(-1)![1]) - saidAt);
    say('fw2', 'BACKUP');
    await pair.settled('fw1');
  }
  startedMs.sort((a, b) => a - b);
  Object.assign(task.meta, {
    note: `from line to commit: ${startedMs.map((ms) => ms.toFixed(1)).join(', ')} ms`,
  });
  expect(startedMs[0]).toBeLessThan(1000);
});
