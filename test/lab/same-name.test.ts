import { afterAll, beforeAll, expect, test } from 'vitest';
import { generate } from './background-flows.js';
import { eventually } from './deadline.js';
import { FirewallPair } from './firewall-pair.js';
import { LabDaemon } from './lab-daemon.js';

const FLOWS = 5000;
const THEIR_FIRST = 10_000_000;
const SAID_WITHIN_MS = 10_000;
const VERIFY_WITHIN_MS = 10_000;
const NAME = /name/i;

let pair: FirewallPair;
let impostor: LabDaemon;
beforeAll(async () => {
  pair = await FirewallPair.create({ firewalls: 3 });
  await generate(pair.lab, 'fw1', 'create', FLOWS);
  await generate(pair.lab, 'fw3', 'create', FLOWS, { first: THEIR_FIRST });
  await pair.verified(VERIFY_WITHIN_MS);
  // A machine whose configuration was copied from fw1, with its address changed and its name not.
  impostor = new LabDaemon(pair.lab, 'fw3', { node: { name: 'fw1', cluster: 'lab' } });
});
afterAll(() => pair?.close());

/** Warnings of a daemon that speak of a name. */
async function nameWarnings(daemon: LabDaemon): Promise<string[]> {
  return (await daemon.status()).warnings.filter((text) => NAME.test(text));
}

test('two daemons with one name both say so, in the log and in status', async () => {
  await impostor.start();
  for (const daemon of [pair.fw1, impostor]) {
    await eventually(`the log of the one in ${daemon.name} says so`, { withinMs: SAID_WITHIN_MS }, () =>
      /another daemon uses the name of this node/.test(daemon.log()),
    );
    await eventually(
      `the status of the one in ${daemon.name} says so`,
      { withinMs: SAID_WITHIN_MS },
      async () => {
        return (await nameWarnings(daemon)).length > 0;
      },
    );
  }
});

test('the peer keeps to the one it knew, and says that there is another', async () => {
  const { fw1, fw2 } = pair;
  await eventually('the peer says so', { withinMs: SAID_WITHIN_MS }, () =>
    /two daemons use one node name/.test(fw2.log()),
  );
  const { incarnation } = await fw1.status();
  // Both go on changing; only one of them is listened to.
  await generate(pair.lab, 'fw1', 'update', FLOWS);
  await generate(pair.lab, 'fw3', 'update', FLOWS, { first: THEIR_FIRST });
  await eventually('the replica of the first one is equal', { withinMs: VERIFY_WITHIN_MS }, async () => {
    const { mirror } = await fw1.status();
    const replica = await fw2.replicaOf('fw1');
    return replica?.inSync && replica.digest === mirror.digest && replica.incarnation === incarnation;
  });
  const { replicas } = await fw2.status();
  expect(replicas.map((r) => [r.node, r.flows])).toEqual([['fw1', FLOWS]]);
  await pair.verified(VERIFY_WITHIN_MS);
  // It waits for a WELCOME first, which nobody gives to a second one of a name.
  await eventually('the impostor holds its own flows', { withinMs: SAID_WITHIN_MS }, async () => {
    return (await impostor.status()).mirror.flows === FLOWS;
  });
});

test('when the other one is gone, nothing is left of it', async () => {
  await impostor.stop();
  await eventually('nobody speaks of a name any more', { withinMs: SAID_WITHIN_MS }, async () => {
    return [...(await nameWarnings(pair.fw1)), ...(await nameWarnings(pair.fw2))].length === 0;
  });
  await pair.verified(VERIFY_WITHIN_MS);
  expect(await pair.replicatedFlows()).toBe(FLOWS);
});
