import { existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { eventually } from './deadline.js';
import { Keepalived, vrrpPaths } from './keepalived.js';
import { Lab, SERVER_ADDRESS } from './lab.js';

let lab: Lab;
let fw1: Keepalived;
let fw2: Keepalived;
beforeAll(async () => {
  lab = await Lab.create();
  for (const fw of lab.firewalls) mkdirSync(join(lab.directory, fw));
  fw1 = new Keepalived(lab, 'fw1');
  fw2 = new Keepalived(lab, 'fw2');
  await Promise.all([fw1.start(), fw2.start()]);
});
afterAll(() => lab?.close());

const ping = () => lab.tryExec('client', ['ping', '-c', '1', '-W', '1', SERVER_ADDRESS]);
const reaches = (withinMs = 5000) =>
  eventually('the client reaches the server', { withinMs }, async () => (await ping()).code === 0);

test('the keepalived samples elect one master, which has the addresses and passes traffic', async () => {
  await fw1.becomes('MASTER');
  expect(fw2.state).toBe('BACKUP');
  expect(await Promise.all([fw1.hasAddresses(), fw2.hasAddresses()])).toEqual([true, false]);
  await reaches();
  expect(existsSync(vrrpPaths(lab, 'fw1').fifo)).toBe(true);
  const complaints = /rounding|unknown keyword|Unable|does not exist - |advert error|checksum|WARNING/i;
  expect(fw1.log() + fw2.log()).not.toMatch(complaints);
});

test('a keepalived killed without a word is replaced within a second or so, and comes back', async () => {
  await fw1.kill();
  await fw1.dropAddresses();
  await fw2.becomes('MASTER');
  await reaches();
  await fw1.start();
  await fw1.becomes('MASTER');
  await fw2.becomes('BACKUP');
  await reaches();
  expect(fw2.log()).not.toMatch(/advert error|checksum/);
});

test('a keepalived that is stopped hands over', async () => {
  await fw1.stop();
  await fw2.becomes('MASTER');
  expect(await Promise.all([fw1.hasAddresses(), fw2.hasAddresses()])).toEqual([false, true]);
  await reaches();
});
