import { setTimeout as pause } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Churn, exercise } from './background-flows.js';
import { FirewallPair } from './firewall-pair.js';
import { flowsThatFit } from './kernel-limits.js';
import { chooseSeed, randomFrom } from './random.js';
import { sized } from './size.js';

const { flows: FLOWS, note } = flowsThatFit(sized(50_000, 300_000));
const PER_SECOND = 10_000;
const CHURN_FIRST = 30_000_000;
const KILLS = sized(6, 30);
/** How long a daemon lives at most between two kills, and how long it stays dead. Milliseconds. */
const ALIVE_MAX_MS = 2000;
const DEAD_MAX_MS = 500;
const VERIFY_WITHIN_MS = 30_000;

let pair: FirewallPair;
beforeAll(async () => {
  pair = await FirewallPair.create({ flows: FLOWS });
});
afterAll(() => pair?.close());

test('daemons killed at random moments of traffic and started again lose nothing', async ({ task }) => {
  const seed = chooseSeed();
  Object.assign(task.meta, { note: `${note === undefined ? '' : `${note}; `}seed ${seed}` });
  const random = randomFrom(seed);
  const { lab, daemons } = pair;
  const traffic = exercise(lab, 'fw1', FLOWS, { perSecond: PER_SECOND });
  const churns = [
    Churn.start(lab, 'fw1', 2000, 2000, CHURN_FIRST),
    Churn.start(lab, 'fw2', 500, 500, 2 * CHURN_FIRST),
  ];
  for (let n = 0; n < KILLS; n++) {
    const victim = daemons[random(daemons.length)];
    await pause(random(ALIVE_MAX_MS));
    await victim.kill();
    await pause(random(DEAD_MAX_MS));
    await victim.start();
  }
  await traffic;
  for (const churn of churns) expect(await churn.stop(), `seed ${seed}`).toMatchObject({ errors: {} });
  await pair.verified(VERIFY_WITHIN_MS).catch((error: Error) => {
    throw new Error(`seed ${seed}: ${error.message}`, { cause: error });
  });
  expect(await pair.replicatedFlows(), `seed ${seed}`).toBe(FLOWS / 2);
  const { role, mirror } = await pair.fw1.status();
  expect({ role, flows: mirror.flows }, `seed ${seed}`).toEqual({ role: 'primary', flows: FLOWS / 2 });
  expect((await pair.fw2.status()).mirror.flows, `seed ${seed}`).toBe(0);
}, 300_000);
