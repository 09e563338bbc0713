import { afterAll, beforeAll, expect, test } from 'vitest';
import { Churn, exercise, generate } from './background-flows.js';
import { eventually } from './deadline.js';
import { FirewallPair } from './firewall-pair.js';
import { kernelText, textDifference } from './kernel-text.js';
import { LiveTraffic } from './live-traffic.js';
import { sized } from './size.js';

const FLOWS = sized(30_000, 300_000);
const CHURN_PER_SECOND = 5000;
const CONNECTIONS = 20;
const ENDED_MEANWHILE = 100;
const IN_STEP_WITHIN_MS = 30_000;

let pair: FirewallPair;
beforeAll(async () => {
  pair = await FirewallPair.create({ flows: 2 * FLOWS, config: { failover: { standby: 'hot' } } });
});
afterAll(() => pair?.close());

/** Both kernels show the same flows, as conntrack(8) prints them. */
async function inStep(withinMs = IN_STEP_WITHIN_MS): Promise<void> {
  await eventually('both kernels show the same', { withinMs, everyMs: 200 }, async () => {
    const [left, right] = await Promise.all([kernelText(pair.lab, 'fw1'), kernelText(pair.lab, 'fw2')]);
    const differences = textDifference(left, right);
    if (differences.length > 0) throw new Error(differences.join('\n'));
    return true;
  });
}

test("the backup's kernel follows: created, updated, deleted, and what comes and goes", async () => {
  await exercise(pair.lab, 'fw1', FLOWS);
  await inStep();
  const churn = Churn.start(pair.lab, 'fw1', CHURN_PER_SECOND, 2000, 20_000_000);
  await eventually('flows that come and go are in the kernel', { withinMs: IN_STEP_WITHIN_MS }, async () => {
    return (await pair.fw2.status()).standby.deleted > FLOWS / 2 + CHURN_PER_SECOND;
  });
  const { standby } = await pair.fw2.status();
  expect(standby).toMatchObject({ mode: 'hot', source: 'fw1', refused: 0, isFull: false });
  expect((await churn.stop()).errors).toEqual({});
  await inStep();
  await pair.verified(IN_STEP_WITHIN_MS);
  const status = await pair.fw2.status();
  expect(status.standby).toMatchObject({ held: FLOWS / 2, waiting: 0, lagMs: 0, reinjected: 0 });
  expect(status.mirror.flows).toBe(0);
  expect(status.counters['kernel.message-length']).toBeUndefined();
});

test('a restarted backup owns nothing, and a flow that ended meanwhile is in no mirror', async () => {
  const bytesBefore = await pair.lab.syncBytesSent('fw2');
  await pair.fw2.kill();
  await generate(pair.lab, 'fw1', 'delete', ENDED_MEANWHILE);
  await pair.fw2.start();
  await pair.acquainted();
  await pair.verified(IN_STEP_WITHIN_MS);
  const status = await pair.fw2.status();
  expect(status.mirror.flows).toBe(0);
  expect((await pair.fw1.replicaOf('fw2'))?.flows).toBe(0);
  expect((await pair.lab.syncBytesSent('fw2')) - bytesBefore).toBeLessThan(FLOWS * 10);
  // What ended while it was away is held until the purge: nobody has told that it ended.
  expect(status.standby.held).toBe(FLOWS / 2);
  expect(await pair.lab.kernelFlows('fw2')).toBe(FLOWS / 2);
});

test('a failover changes labels, keeps every live connection, and the way back does too', async () => {
  const traffic = await LiveTraffic.start(pair.lab, CONNECTIONS);
  const total = await eventually('the connections are held', { withinMs: IN_STEP_WITHIN_MS }, async () => {
    const { replicas, standby } = await pair.fw2.status();
    const flows = replicas.find((r) => r.node === 'fw1')?.flows ?? 0;
    // What an earlier run left in the kernel is made anew, for its windows may be of the past.
    const areNew = standby.replaced >= FLOWS / 2 - ENDED_MEANWHILE;
    if (standby.waiting > 0 || !areNew || flows < FLOWS / 2 + CONNECTIONS) throw new Error(`${flows} flows`);
    return flows;
  });
  await Promise.all([pair.lab.cut('fw1'), pair.lab.activate('fw2')]);
  const report = await pair.fw2.failover('primary');
  expect(report).toMatchObject({ exitCode: 0, promote: { rejected: 0, replaced: 0 } });
  const { kept, committed, updated } = report.promote ?? { kept: 0, committed: 0, updated: 0 };
  // What ended while fw2 was away is held there, but nothing that a takeover would count.
  expect(kept + committed + updated).toBe(total - ENDED_MEANWHILE);
  expect(kept).toBeGreaterThan(total - ENDED_MEANWHILE - CONNECTIONS * 2);
  await eventually('every connection talks again', { withinMs: IN_STEP_WITHIN_MS }, () => traffic.isTalking);
  expect((await pair.fw1.failover('backup')).exitCode).toBe(0);
  await pair.lab.mend('fw1');
  // Once what fw2 had declared, and once what fw1 went on with meanwhile as a primary.
  await eventually('fw1 has given all away', { withinMs: IN_STEP_WITHIN_MS }, () => {
    return pair.fw1.log().split('a peer took over flows of this node').length > 2;
  });
  await pair.verified(IN_STEP_WITHIN_MS);
  await eventually('fw1 follows', { withinMs: IN_STEP_WITHIN_MS }, async () => {
    const { standby } = await pair.fw1.status();
    return standby.source === 'fw2' && standby.waiting === 0 && standby.held >= total;
  });
  await pair.lab.activate('fw1');
  expect((await pair.fw1.failover('primary')).exitCode).toBe(0);
  expect((await pair.fw2.failover('backup')).exitCode).toBe(0);
  await eventually('every connection talks again', { withinMs: IN_STEP_WITHIN_MS }, () => traffic.isTalking);
  expect(await traffic.finish()).toMatchObject({ alive: CONNECTIONS, dead: {} });
  await pair.verified(IN_STEP_WITHIN_MS);
});
