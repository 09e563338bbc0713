import { randomBytes } from 'node:crypto';
import { connect } from 'node:net';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { generate } from './background-flows.js';
import { FirewallPair } from './firewall-pair.js';
import { kernelText, textDifference } from './kernel-text.js';
import { SYNC_GROUP, SYNC_PORT } from './lab-daemon.js';
import { program } from './program.js';

const FLOWS = 5000;
const DATAGRAMS = 100_000;
const STRINGS = 10_000;
const AT_ONCE = 50;

let pair: FirewallPair;
beforeAll(async () => {
  // fw3 has no daemon: it is the stranger on the sync link.
  pair = await FirewallPair.create({ firewalls: 3 });
  await generate(pair.lab, 'fw1', 'create', FLOWS);
  await pair.verified(10_000);
});
afterAll(() => pair?.close());

/** The sum of everything that the daemon counts. */
async function counted(daemon: FirewallPair['fw1']): Promise<number> {
  const { counters } = await daemon.status();
  return Object.values(counters).reduce((sum, count) => sum + count, 0);
}

test('100,000 hostile datagrams are counted and change nothing', async () => {
  const before = await counted(pair.fw2);
  const kernelBefore = await kernelText(pair.lab, 'fw1');
  const seed = randomBytes(4).readUInt32LE();
  const argv = [...program('test/lab/hostile-program'), SYNC_GROUP, SYNC_PORT, '10.9.0.3', DATAGRAMS, seed];
  const output = await pair.lab.exec('fw3', argv.map(String));
  expect(JSON.parse(output), `seed ${seed}`).toMatchObject({ sent: DATAGRAMS });
  const status = await pair.fw2.status();
  expect(status.role, `seed ${seed}`).toBe('backup');
  await pair.verified(20_000);
  expect((await pair.fw2.status()).replicas.find((r) => r.node === 'fw1')).toMatchObject({ flows: FLOWS });
  expect(textDifference(kernelBefore, await kernelText(pair.lab, 'fw1'))).toEqual([]);
  // Most of them; how many are lost in full buffers is the machine's business.
  expect((await counted(pair.fw2)) - before).toBeGreaterThan(DATAGRAMS / 10);
});

/** Writes a random string to a UNIX socket and resolves when the connection has ended, however. */
function writeRandom(path: string): Promise<void> {
  return new Promise((resolve) => {
    const socket = connect(path);
    socket.on('error', () => undefined);
    socket.on('close', () => resolve());
    socket.resume();
    socket.end(randomBytes(1 + (randomBytes(2).readUInt16LE() % 2000)));
  });
}

test('10,000 random strings to the control socket leave the daemon answering', async () => {
  for (let done = 0; done < STRINGS; done += AT_ONCE) {
    await Promise.all(Array.from({ length: AT_ONCE }, () => writeRandom(pair.fw1.socket)));
  }
  expect((await pair.fw1.status()).role).toBe('primary');
  const { code, stdout } = await pair.fw1.cli(['status', '--json']);
  expect(code).toBe(0);
  expect(JSON.parse(stdout)).toMatchObject({ node: 'fw1' });
  await pair.verified(10_000);
});
