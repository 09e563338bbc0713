import { afterEach, beforeEach, expect, test } from 'vitest';
import { generate } from './background-flows.js';
import { eventually } from './deadline.js';
import { FirewallPair } from './firewall-pair.js';

const VERIFY_WITHIN_MS = 10_000;

let pair: FirewallPair;
beforeEach(async () => {
  pair = await FirewallPair.create();
});
afterEach(() => pair?.close());

test('a primary killed in mid-burst costs the backup nothing, and both verify after its restart', async () => {
  const flows = 100_000;
  const burst = generate(pair.lab, 'fw1', 'create', flows, { perSecond: 40_000 });
  await eventually('half of the burst is replicated', { withinMs: 20_000 }, async () => {
    return (await pair.replicatedFlows()) > flows / 2;
  });
  await pair.fw1.kill();
  const counts = [await pair.fw2.externalFlows()];
  const watched = new AbortController();
  const watching = watch(counts, watched.signal);
  await pair.fw1.start();
  expect(await burst).toMatchObject({ flows, errors: {} });
  await pair.verified(VERIFY_WITHIN_MS);
  watched.abort();
  await watching;
  const falls = counts.filter((count, i) => i > 0 && count < counts[i - 1]);
  expect(falls).toEqual([]);
  expect(counts.length).toBeGreaterThan(10);
  expect(await pair.replicatedFlows()).toBe(flows);
});

/** Notes the flows of fw2's replica every few milliseconds. */
async function watch(counts: number[], signal: AbortSignal): Promise<void> {
  await eventually('the watch is over', { withinMs: 60_000, everyMs: 20 }, async () => {
    counts.push(await pair.fw2.externalFlows());
    return signal.aborted;
  });
}

test('a backup restarted after a commit owns nothing and streams nothing back', async () => {
  const flows = 50_000;
  await generate(pair.lab, 'fw1', 'create', flows);
  await pair.verified(VERIFY_WITHIN_MS);
  expect((await pair.fw2.cli(['commit'])).code).toBe(0);
  expect(await pair.lab.kernelFlows('fw2')).toBe(flows);
  const bytesBefore = await pair.lab.syncBytesSent('fw2');
  await pair.fw2.kill();
  await pair.fw2.start();
  await pair.acquainted();
  await pair.verified(VERIFY_WITHIN_MS);
  const status = await pair.fw2.status();
  expect(status.mirror.flows).toBe(0);
  expect(status.replicas.find((r) => r.node === 'fw1')).toMatchObject({ inSync: true, flows, held: flows });
  expect((await pair.fw1.replicaOf('fw2'))?.flows).toBe(0);
  // Heartbeats, joining and digests; the flows themselves would be several times that.
  expect((await pair.lab.syncBytesSent('fw2')) - bytesBefore).toBeLessThan(flows * 10);
  expect(await pair.lab.kernelFlows('fw2')).toBe(flows);
});
