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
/** A part of what each kind of datagram comes to when none is lost. */
const LEAST_COUNTED = {
  'frame.malformed': 10_000,
  'frame.unproven': 2000,
  'frame.own': 2000,
  'frame.own-name': 200,
  'frame.cluster': 200,
  'frame.key': 50,
  'frame.version': 200,
  'frame.class': 50,
  'control.stale': 500,
  'control.malformed': 100,
  'stream.duplicate': 100,
};
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

/** Counters (each with those that add a version, as `frame.version-3`) that must have grown by so many between two looks. */
function expectCounted(
  before: Record<string, number>,
  after: Record<string, number>,
  least: Record<string, number>,
): void {
  const grown = Object.fromEntries(Object.entries(after).map(([name, n]) => [name, n - (before[name] ?? 0)]));
  for (const [name, count] of Object.entries(least)) {
    const isIt = ([other]: [string, number]) => other === name || other.startsWith(`${name}-`);
    const sum = Object.entries(grown)
      .filter(isIt)
      .reduce((total, [, n]) => total + n, 0);
    expect(sum, `${name} of ${JSON.stringify(grown)}`).toBeGreaterThanOrEqual(count);
  }
}

test('100,000 hostile datagrams are counted and change nothing', async () => {
  const { counters: before } = await pair.fw2.status();
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
  // Each kind is a seventh; how many are lost in full buffers is the machine's business.
  const { counters: after } = await pair.fw2.status();
  expectCounted(before, after, LEAST_COUNTED);
});

/** Writes a random string to a UNIX socket and resolves when the connection has ended: false if it never began. */
function writeRandom(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    let isConnected = false;
    socket.on('connect', () => {
      isConnected = true;
    });
    socket.on('error', () => undefined);
    socket.on('close', () => resolve(isConnected));
    socket.resume();
    socket.end(randomBytes(1 + (randomBytes(2).readUInt16LE() % 2000)));
  });
}

test('10,000 random strings to the control socket leave the daemon answering', async () => {
  const { counters: before } = await pair.fw1.status();
  for (let done = 0; done < STRINGS; ) {
    // A full accept queue refuses some: they are made up for.
    const written = await Promise.all(Array.from({ length: AT_ONCE }, () => writeRandom(pair.fw1.socket)));
    done += written.filter(Boolean).length;
  }
  const status = await pair.fw1.status();
  expect(status.role).toBe('primary');
  expectCounted(before, status.counters, { 'control.not-http2': STRINGS });
  const { code, stdout } = await pair.fw1.cli(['status', '--json']);
  expect(code).toBe(0);
  expect(JSON.parse(stdout)).toMatchObject({ node: 'fw1' });
  await pair.verified(10_000);
});
