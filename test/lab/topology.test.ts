import { afterAll, beforeAll, expect, test } from 'vitest';
import { generate } from './background-flows.js';
import { runSync, tryRun } from './command.js';
import { Lab, SERVER_ADDRESS } from './lab.js';
import { LiveTraffic } from './live-traffic.js';

let lab: Lab;
beforeAll(async () => {
  lab = await Lab.create({ firewalls: 3 });
});
afterAll(() => lab?.close());

const ping = () => lab.tryExec('client', ['ping', '-c', '1', '-W', '1', SERVER_ADDRESS]);

test('the client reaches the server through the active firewall, translated', async () => {
  expect((await ping()).code).toBe(0);
  expect(await lab.exec('fw1', ['conntrack', '-L', '-p', 'icmp'])).toContain('dst=10.2.0.254');
  expect(await lab.kernelFlows('fw2')).toBe(0);
});

test('without its cables a firewall passes nothing, and another one takes over its addresses', async () => {
  await lab.cut('fw1');
  expect((await ping()).code).not.toBe(0);
  await lab.activate('fw2');
  expect((await ping()).code).toBe(0);
  await lab.mend('fw1');
  await lab.activate('fw1');
  expect((await ping()).code).toBe(0);
});

test('a firewall hears the others on the sync link until its cable is pulled', async () => {
  const pingSync = () => lab.tryExec('fw1', ['ping', '-c', '1', '-W', '1', '10.9.0.3']);
  expect((await pingSync()).code).toBe(0);
  await lab.cutSync('fw1');
  expect((await pingSync()).code).not.toBe(0);
  await lab.mendSync('fw1');
  expect((await pingSync()).code).toBe(0);
});

test('live connections die when the firewall loses their flows, and the report says so', async () => {
  const traffic = await LiveTraffic.start(lab, 5);
  expect(traffic.isTalking).toBe(true);
  await lab.exec('fw1', ['conntrack', '-F']);
  const report = await traffic.finish();
  expect(report).toMatchObject({ connections: 5, connected: 5, alive: 0, dead: { silence: 5 } });
  expect(report.longestSilenceMs).toBeGreaterThan(10_000);
});

test('the generator creates, updates and deletes the flows it is told to', async () => {
  const before = await lab.kernelFlows('fw2');
  expect(await generate(lab, 'fw2', 'create', 1000)).toMatchObject({ flows: 1000, errors: {} });
  expect(await lab.kernelFlows('fw2')).toBe(before + 1000);
  expect(await generate(lab, 'fw2', 'create', 100)).toMatchObject({ errors: { 17: 100 } });
  expect(await generate(lab, 'fw2', 'update', 1000)).toMatchObject({ errors: {} });
  expect(await lab.exec('fw2', ['conntrack', '-C'])).toBe(`${before + 1000}\n`);
  expect(await generate(lab, 'fw2', 'delete', 1000)).toMatchObject({ errors: {} });
  expect(await lab.kernelFlows('fw2')).toBe(before);
});

test('a new lab removes what the labs of ended processes left behind', async () => {
  const ended = runSync(['sh', '-c', 'echo $$']).stdout.trim();
  await tryRun(['ip', 'netns', 'add', `ctlab${ended}x1-fw1`]);
  const another = await Lab.create();
  await another.close();
  const left = runSync(['ip', 'netns', 'list']).stdout;
  expect(left).not.toContain(`ctlab${ended}x`);
  expect(left).not.toContain(another.prefix);
  expect(left).toContain(lab.prefix);
});
