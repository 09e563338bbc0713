import { afterAll, beforeAll, test } from 'vitest';
import { FirewallPair } from '../firewall-pair.js';
import { AllTraffic } from './all-traffic.js';
import { CommandFailovers as Failovers, type CommandWay as Way } from './command-failovers.js';
import { freeze, prepareTraffic, TRAFFIC_LAB } from './traffic-lab.js';

const N = Number(process.env.N ?? 50);
const WAYS = (process.env.WAYS ?? 'planned, backup line first').split(';') as Way[];
let pair: FirewallPair;
let failovers: Failovers;
beforeAll(async () => {
  pair = await FirewallPair.create(TRAFFIC_LAB);
  await prepareTraffic(pair.lab, N);
  failovers = new Failovers(pair);
});
afterAll(() => pair?.close());
test('dbg', async () => {
  const traffic = await AllTraffic.open(pair.lab, N, process.env.KINDS?.split(','));
  await freeze(pair.lab);
  for (let i = 0; i < Number(process.env.TIMES ?? 10); i++) {
    const way = WAYS[i % WAYS.length];
    const t0 = performance.now();
    await failovers.over(way);
    const t1 = performance.now();
    try {
      await traffic.allTalk(Number(process.env.MS ?? 8000));
    } catch (e) {
      console.log(
        i,
        way,
        (e as Error).message,
        JSON.stringify((await failovers.active.status()).lastPromote),
      );
      if (process.env.DBG)
        console.log(
          await pair.lab.exec(failovers.active.name, ['sh', '-c', `(${process.env.DBG}) 2>&1; true`]),
        );
      if (process.env.LOGS) console.log(pair.fw1.log(), pair.fw2.log());
      throw e;
    }
    const t2 = performance.now();
    await failovers.back(way);
    await traffic.allTalk(8000);
    const t3 = performance.now();
    await failovers.verified();
    console.log(
      i,
      way,
      [t1 - t0, t2 - t1, t3 - t2, performance.now() - t3].map(Math.round),
      JSON.stringify((await failovers.active.status()).lastPromote),
    );
  }
  console.log(traffic.summary());
}, 300000);
