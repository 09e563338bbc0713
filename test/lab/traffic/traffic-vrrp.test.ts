import { afterAll, beforeAll, expect, test } from 'vitest';
import type { VrrpPair } from '../vrrp-pair.js';
import { AllTraffic } from './all-traffic.js';
import { wrongStates } from './kernel-states.js';
import { freeze, prepareTraffic } from './traffic-lab.js';
import { startVrrp, VrrpFailovers, type VrrpWay } from './vrrp-failovers.js';

const CONNECTIONS = 50;
const TALK_WITHIN_MS = 15_000;
const TEN: readonly VrrpWay[] = [
  'keepalived stopped',
  'cables cut',
  'keepalived stopped',
  'power lost',
  'cables cut',
  'keepalived stopped',
  'power lost',
  'keepalived stopped',
  'cables cut',
  'keepalived stopped',
];

let pair: VrrpPair;
let traffic: AllTraffic;
let failovers: VrrpFailovers;
let openedMs: number;
beforeAll(async () => {
  pair = await startVrrp();
  await prepareTraffic(pair.lab, CONNECTIONS);
  failovers = new VrrpFailovers(pair);
  openedMs = performance.now();
  traffic = await AllTraffic.open(pair.lab, CONNECTIONS);
  await freeze(pair.lab);
  await traffic.allTalk(TALK_WITHIN_MS);
  await failovers.verified();
});
afterAll(() => pair?.close());

for (const [index, way] of TEN.entries()) {
  test(`failover ${index + 1} of ten by keepalived (${way}) loses no connection of any kind`, async () => {
    await failovers.withLogs(way, async () => {
      await failovers.over(way);
      await traffic.allTalk(TALK_WITHIN_MS);
      expect(await wrongStates(pair.lab, failovers.active.name, CONNECTIONS, openedMs)).toEqual([]);
      await failovers.back(way);
      await traffic.allTalk(TALK_WITHIN_MS);
      await failovers.verified();
    });
  });
}

test('after ten of them those that were silent all along talk as well', async ({ task }) => {
  await failovers.withLogs('the last word', () => traffic.allTalk(TALK_WITHIN_MS, 'last'));
  Object.assign(task.meta, { note: `survivors and longest silence: ${traffic.summary()}` });
  await pair.verified(TALK_WITHIN_MS);
  await traffic.close();
});
