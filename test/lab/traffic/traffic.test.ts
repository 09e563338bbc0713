import { afterAll, beforeAll, expect, test } from 'vitest';
import type { FirewallPair } from '../firewall-pair.js';
import { sized } from '../size.js';
import { AllTraffic } from './all-traffic.js';
import { Failovers, type Way } from './failovers.js';
import { wrongStates } from './kernel-states.js';
import { freeze, trafficPair } from './traffic-pair.js';

const CONNECTIONS = sized(50, 50);
const TALK_WITHIN_MS = 15_000;
const TEN: readonly Way[] = [
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

let pair: FirewallPair;
let traffic: AllTraffic;
let failovers: Failovers;
let openedMs: number;
beforeAll(async () => {
  pair = await trafficPair(CONNECTIONS);
  failovers = new Failovers(pair);
  openedMs = performance.now();
  traffic = await AllTraffic.open(pair.lab, CONNECTIONS);
  await freeze(pair);
  await traffic.allTalk(TALK_WITHIN_MS);
  await failovers.verified();
});
afterAll(() => pair?.close());

/** Fails with the ends of both logs: what the daemons did is half of the story. */
async function withLogs(what: string, action: () => Promise<void>): Promise<void> {
  try {
    await action();
  } catch (error) {
    const logs = pair.daemons.map((daemon) => `--- log of ${daemon.name}\n${daemon.logEnd()}`);
    const report = JSON.stringify(failovers.report);
    throw new Error([`${what}: ${(error as Error).message}`, report, ...logs].join('\n'), { cause: error });
  }
}

for (const [index, way] of TEN.entries()) {
  test(`failover ${index + 1} of ten (${way}) loses no connection of any kind`, async () => {
    await withLogs(way, async () => {
      await failovers.over(way);
      await traffic.allTalk(TALK_WITHIN_MS);
      expect(await wrongStates(pair.lab, failovers.active.name, CONNECTIONS, openedMs)).toEqual([]);
      await failovers.back(way);
      await traffic.allTalk(TALK_WITHIN_MS);
      await failovers.verified();
    });
  });
}

test('after ten failovers those that were silent all along talk as well', async ({ task }) => {
  await withLogs('the last word', () => traffic.allTalk(TALK_WITHIN_MS, 'last'));
  Object.assign(task.meta, { note: `survivors and longest silence: ${traffic.summary()}` });
  await pair.verified(TALK_WITHIN_MS);
  await traffic.close();
});
