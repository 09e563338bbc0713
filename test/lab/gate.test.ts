/** The gate while a promote commits: what it keeps out, and that it never outlives its daemon. */
import { afterEach, describe, expect, test } from 'vitest';
import type { FailoverReport } from '../../src/control/messages.js';
import { generate } from './background-flows.js';
import { eventually } from './deadline.js';
import { FirewallPair } from './firewall-pair.js';
import { Lab } from './lab.js';
import { LabDaemon } from './lab-daemon.js';
import { PUSH_PORT, PushTraffic } from './push-traffic.js';
import { countResets, resetsSeen } from './reset-counter.js';
import { sized } from './size.js';

/**
 * Younger than the live connections, and so before them in the commit: it lasts until the gate was seen. Not more, for
 * the kernel opens the gate after five seconds, and on a crowded machine many of them are over by then.
 */
const FLOWS = sized(30_000, 300_000);
/** So many of them show that the commit has begun. */
const SOME = 100;
const CONNECTIONS = 40;
/** New clients, and the SNAT ports that they and the live connections share. */
const OTHERS = 64;
const SYNC_WITHIN_MS = 60_000;
const TALK_WITHIN_MS = 60_000;
const GATE_UP_WITHIN_MS = 20_000;
const GATE = { failover: { gate: 'drop' } };
let pair: FirewallPair | undefined;
let lab: Lab | undefined;
afterEach(async () => {
  await (pair?.lab ?? lab)?.close();
  pair = undefined;
  lab = undefined;
});

const tables = (of: Lab) => of.exec('fw2', ['nft', 'list', 'tables']);
const isGateGone = async (of: Lab) => !(await tables(of)).includes('conntwin_gate');

async function gateOf(daemon: LabDaemon) {
  return (await daemon.status()).gate;
}

/** Fills fw1's kernel and waits until fw2 has it all. */
async function fill({ lab: of, fw2 }: FirewallPair, connections: number): Promise<void> {
  await generate(of, 'fw1', 'create', FLOWS);
  await eventually('the replica of fw1 is in sync', { withinMs: SYNC_WITHIN_MS }, async () => {
    const replica = await fw2.replicaOf('fw1');
    return replica?.inSync === true && replica.flows >= FLOWS + connections;
  });
}

/** Tells whether a table's name was among the changes of fw2's rules since, without the help of fw2's daemon. */
async function watchTables(of: Lab): Promise<(table: string) => boolean> {
  const monitor = of.spawn('fw2', ['nft', 'monitor', 'tables'], { stdio: ['ignore', 'pipe', 'inherit'] });
  let seen = '';
  monitor.stdout?.on('data', (piece) => {
    seen += String(piece);
  });
  const sees = (table: string) => seen.includes(table);
  await eventually('nft tells of changes', { withinMs: GATE_UP_WITHIN_MS }, async () => {
    await of.exec('fw2', ['nft', 'add table inet marker; delete table inet marker']);
    return sees('marker');
  });
  return sees;
}

/**
 * Begins fw2's promote and stops its daemon as soon as its gate is up and `committed` flows are in the kernel. It runs
 * behind all others until then: the more crowded the machine is, the less of the commit is over when that is seen.
 * Throws if a live connection was committed.
 */
async function stopBehindGate(
  { lab: of, fw2 }: FirewallPair,
  committed = 0,
): Promise<{ promoting: Promise<FailoverReport> }> {
  const sees = await watchTables(of);
  fw2.isInNoHurry = true;
  const promoting = fw2.failover('primary');
  promoting.catch(() => undefined);
  await eventually('the gate is up', { withinMs: GATE_UP_WITHIN_MS, everyMs: 1 }, async () => {
    return sees('conntwin_gate') && (committed === 0 || (await of.kernelFlows('fw2')) >= committed);
  });
  fw2.pause();
  fw2.isInNoHurry = false;
  const live = await of.exec('fw2', ['conntrack', '-L', '-p', 'tcp', '--dport', String(PUSH_PORT)]);
  if (live !== '')
    throw new Error(`the gate was seen too late to show anything, these are committed:\n${live}`);
  return { promoting };
}

/**
 * Makes fw2 primary in fw1's place. The commit lasts until the gate has dropped `drops` packets, for the daemon stands
 * still until then. The live connections lose fw1 only when it does: who has heard nothing for long rarely tries again.
 */
async function takeOver(pair: FirewallPair, drops: number, meanwhile?: () => void): Promise<FailoverReport> {
  const { lab: of, fw2 } = pair;
  await of.cutSync('fw1');
  const { promoting } = await stopBehindGate(pair);
  try {
    await of.cut('fw1');
    await of.activate('fw2');
    meanwhile?.();
    await eventually(`the gate drops ${drops} packets`, { withinMs: 4000, everyMs: 20 }, async () => {
      const counter = await of.exec('fw2', ['nft', 'list counter inet conntwin_gate dropped']);
      return Number(/packets (\d+)/.exec(counter)?.[1]) >= drops;
    });
  } finally {
    fw2.resume();
  }
  return promoting;
}

describe('a raised gate', () => {
  test('lets no RST reach anybody where the input policy is accept, and no live connection dies', async () => {
    pair = await FirewallPair.create({ flows: FLOWS, config: GATE });
    const { lab, fw2 } = pair;
    await lab.exec('fw2', ['nft', 'add chain inet filter input { policy accept; }']);
    const traffic = await PushTraffic.start(lab, CONNECTIONS);
    await fill(pair, CONNECTIONS);
    await countResets(lab);
    const { promote } = await takeOver(pair, 1);
    await traffic.talks(TALK_WITHIN_MS);
    expect(traffic.state.dead).toEqual({});
    expect(await resetsSeen(lab)).toBe(0);
    expect(promote).toMatchObject({ rejected: 0 });
    const gate = await gateOf(fw2);
    expect(gate).toMatchObject({ state: 'ready', raised: 1, problem: '' });
    expect(gate.dropped).toBeGreaterThan(0);
    expect(await isGateGone(lab)).toBe(true);
  });

  test('keeps new clients from taking the SNAT ports of live connections that are not committed yet', async () => {
    pair = await FirewallPair.create({ flows: FLOWS, config: GATE });
    const { lab } = pair;
    for (const fw of lab.firewalls) {
      const rule = `oifname "wan" meta l4proto tcp snat to 10.2.0.254:40000-${40000 + OTHERS - 1}`;
      await lab.exec(fw, ['nft', `flush chain ip nat post; add rule ip nat post ${rule}`]);
    }
    const live = await PushTraffic.start(lab, CONNECTIONS);
    const others = PushTraffic.prepare(lab, OTHERS);
    await fill(pair, CONNECTIONS);
    // As many as there are ports, while the live ones are still to be committed.
    const { promote } = await takeOver(pair, OTHERS, () => others.open());
    expect(promote).toMatchObject({ rejected: 0 });
    await live.talks(TALK_WITHIN_MS);
    expect(live.state.dead).toEqual({});
    // What the gate held back comes again, and finds the ports that are left.
    await eventually('some of the new clients got through', { withinMs: TALK_WITHIN_MS }, () => {
      return others.state.connected > 0;
    });
  });

  test('goes with a daemon that is killed, and comes back with the promote that goes on', async () => {
    pair = await FirewallPair.create({ flows: FLOWS, config: GATE });
    const { lab, fw2 } = pair;
    await fill(pair, 0);
    // What it is about to do is written down before the first flow is.
    const { promoting } = await stopBehindGate(pair, SOME);
    expect(await isGateGone(lab)).toBe(false);
    await fw2.kill();
    await promoting.catch(() => undefined);
    await eventually('the table is gone', { withinMs: 10_000, everyMs: 10 }, () => isGateGone(lab));
    await fw2.start();
    await eventually('the promote is through', { withinMs: SYNC_WITHIN_MS }, async () => {
      return (await fw2.status()).lastPromote !== null;
    });
    expect(await gateOf(fw2)).toMatchObject({ state: 'ready', raised: 1 });
    expect(await isGateGone(lab)).toBe(true);
  });
});

test('a daemon whose gate another program holds does not start, and says where it stands', async () => {
  lab = await Lab.create();
  await lab.exec('fw1', ['nft', 'add table inet conntwin_gate']);
  const daemon = new LabDaemon(lab, 'fw1', GATE);
  await expect(daemon.start()).rejects.toThrow(
    /conntwin\.yaml: failover\.gate: make the table: .*another program/,
  );
});
