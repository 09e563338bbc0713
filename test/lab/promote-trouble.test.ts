/** A promote that has less to go by than it should: it takes the role all the same, and says what is missing. */
import { afterEach, expect, test } from 'vitest';
import type { FailoverReport } from '../../src/control/messages.js';
import { generate } from './background-flows.js';
import { eventually } from './deadline.js';
import { FirewallPair } from './firewall-pair.js';
import { Lab } from './lab.js';
import { LabDaemon } from './lab-daemon.js';
import { loseSyncFrames } from './sync-loss.js';

const FLOWS = 2000;
const LOST = 500;

let lab: Lab | undefined;
afterEach(() => lab?.close());

async function promoted(daemon: LabDaemon): Promise<FailoverReport & { code: number | null }> {
  const { code, stdout, stderr } = await daemon.cli(['failover', 'primary', '--json']);
  expect(stdout, stderr).not.toBe('');
  return { ...(JSON.parse(stdout) as FailoverReport), code };
}

test('a node that never heard anybody is primary with nothing, exits 3, and takes its own flows along', async () => {
  lab = await Lab.create();
  const fw2 = new LabDaemon(lab, 'fw2');
  await fw2.start();
  await generate(lab, 'fw2', 'create', 10);
  const { code, role, reasons, promote } = await promoted(fw2);
  expect([code, role, promote?.total, promote?.sources]).toEqual([3, 'primary', 0, []]);
  expect(reasons).toEqual(['no source: no peer has flows to take over']);
  await eventually('its own flows are its mirror', { withinMs: 10_000 }, async () => {
    return (await fw2.status()).mirror.flows === 10;
  });
});

test('a replica that lost frames for good is committed as it is, exits 3, and the rest is taken over from who has it', async () => {
  const pair = await FirewallPair.create({ config: { replicate: { mode: 'best-effort' } } });
  lab = pair.lab;
  const { fw1, fw2 } = pair;
  await generate(lab, 'fw1', 'create', FLOWS);
  await pair.verified(10_000);
  // fw2 is deaf while more flows come, and nothing is sent again in this mode.
  await loseSyncFrames(lab, 'fw2', 100);
  await generate(lab, 'fw1', 'create', LOST, { first: FLOWS });
  await eventually('fw1 has said them', { withinMs: 10_000 }, async () => {
    return (await fw1.status()).mirror.flows === FLOWS + LOST;
  });
  await lab.exec('fw2', ['nft', 'delete', 'table', 'inet', 'lab-loss']);
  await eventually('fw2 doubts what it has', { withinMs: 10_000 }, async () => {
    return (await fw2.replicaOf('fw1'))?.inSync === false;
  });
  const { code, role, reasons, promote } = await promoted(fw2);
  expect([code, role]).toEqual([3, 'primary']);
  expect(reasons).toEqual(['the replica of fw1 is not proven']);
  expect(promote).toMatchObject({ total: FLOWS, committed: FLOWS, rejected: 0, sources: ['fw1'] });
  expect((await fw1.failover('backup')).exitCode).toBe(0);
  await eventually('fw1 has handed over all of it', { withinMs: 20_000 }, async () => {
    const [one, two] = await Promise.all([fw1.status(), fw2.status()]);
    return one.mirror.flows === 0 && two.mirror.flows === FLOWS + LOST;
  });
  expect(await lab.kernelFlows('fw2')).toBeGreaterThanOrEqual(FLOWS + LOST);
});
