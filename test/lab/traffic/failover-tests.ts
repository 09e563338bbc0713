/** The tests of a file in which live connections of every kind go through failovers, one after the other. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { eventually } from '../deadline.js';
import { AllTraffic } from './all-traffic.js';
import type { Failovers } from './failovers.js';
import { countStates, wrongStates } from './kernel-states.js';
import { freeze, prepareTraffic } from './traffic-lab.js';

const CONNECTIONS = 50;
const TALK_WITHIN_MS = 30_000;
const REAL_TIMEOUTS_WITHIN_MS = 20_000;
/** Of the connections of a kind, at least so many are in its state when the failovers begin. */
const STILL_SHARE = 0.5;

/** Registers a test for each of the failovers. `by` says in their names who makes them, `start` builds the lab. */
export function testFailovers<Way extends string>(
  by: string,
  ways: readonly Way[],
  start: () => Promise<Failovers<Way>>,
): void {
  let failovers: Failovers<Way>;
  let traffic: AllTraffic;
  let openedMs: number;
  let counts: ReadonlyMap<string, number>;
  beforeAll(async () => {
    failovers = await start();
    const { lab } = failovers.pair;
    await prepareTraffic(lab, CONNECTIONS);
    openedMs = performance.now();
    await failovers.withLogs('the opening', async () => {
      traffic = await AllTraffic.open(lab, CONNECTIONS);
      await freeze(lab);
      await traffic.allTalk(TALK_WITHIN_MS);
      await failovers.verified();
    });
    counts = await countStates(lab, failovers.active.name);
    expect(Math.min(...counts.values())).toBeGreaterThanOrEqual(STILL_SHARE * CONNECTIONS);
  });
  afterAll(() => failovers?.pair.close());

  /** At once, or after a hot standby's takeover, which gives flows the timeouts of their states, soon. */
  async function statesAreRight(): Promise<void> {
    const { active, isHot, pair } = failovers;
    const withinMs = isHot ? REAL_TIMEOUTS_WITHIN_MS : 0;
    await eventually('the states of the silent', { withinMs }, async () => {
      expect(await wrongStates(pair.lab, active.name, counts, openedMs)).toEqual([]);
      return true;
    });
  }

  for (const [index, way] of ways.entries()) {
    test(`failover ${index + 1} of ${ways.length} by ${by} (${way}) loses no connection of any kind`, async () => {
      await failovers.withLogs(way, async () => {
        await failovers.over(way);
        await traffic.allTalk(TALK_WITHIN_MS);
        await failovers.tookOver();
        await statesAreRight();
        await failovers.back(way);
        await traffic.allTalk(TALK_WITHIN_MS);
        await failovers.verified();
      });
    });
  }

  test('after all of them those that were silent all along talk as well', async ({ task }) => {
    await failovers.withLogs('the last word', () => traffic.allTalk(TALK_WITHIN_MS, 'last'));
    Object.assign(task.meta, { note: `survivors and longest silence: ${traffic.summary()}` });
    await failovers.pair.verified(TALK_WITHIN_MS);
    await traffic.close();
  });
}
