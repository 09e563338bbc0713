import { afterAll, beforeAll, expect, test } from 'vitest';
import { FirewallPair } from '../firewall-pair.js';
import { sized } from '../size.js';
import { AllTraffic } from './all-traffic.js';
import { CommandFailovers, type CommandWay } from './command-failovers.js';
import { wrongStates } from './kernel-states.js';
import { freeze, prepareTraffic, TRAFFIC_LAB } from './traffic-lab.js';

const CONNECTIONS = 50;
const TALK_WITHIN_MS = 15_000;
const WAYS: readonly CommandWay[] = [
  'planned, backup line first',
  'planned, primary line first',
  'cables cut',
  'daemon killed',
  'planned, backup line first',
  'cables cut',
  'planned, primary line first',
  'daemon killed',
  'cables cut',
  'planned, backup line first',
];
/** keepalived does ten of its own in every run (traffic-vrrp.test.ts). */
const SHOWN = WAYS.slice(0, sized(6, 10));

let pair: FirewallPair;
let traffic: AllTraffic;
let failovers: CommandFailovers;
let openedMs: number;
beforeAll(async () => {
  pair = await FirewallPair.create(TRAFFIC_LAB);
  await prepareTraffic(pair.lab, CONNECTIONS);
  failovers = new CommandFailovers(pair);
  openedMs = performance.now();
  traffic = await AllTraffic.open(pair.lab, CONNECTIONS);
  await freeze(pair.lab);
  await traffic.allTalk(TALK_WITHIN_MS);
  await failovers.verified();
});
afterAll(() => pair?.close());

for (const [index, way] of SHOWN.entries()) {
  test(`failover ${index + 1} by command (${way}) loses no connection of any kind`, async () => {
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

test('after all of them those that were silent all along talk as well', async ({ task }) => {
  await failovers.withLogs('the last word', () => traffic.allTalk(TALK_WITHIN_MS, 'last'));
  Object.assign(task.meta, { note: `survivors and longest silence: ${traffic.summary()}` });
  await pair.verified(TALK_WITHIN_MS);
  await traffic.close();
});
