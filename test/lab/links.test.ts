import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { StatusReport } from '../../src/control/messages.js';
import { Churn } from './background-flows.js';
import { eventually } from './deadline.js';
import { Lab } from './lab.js';
import { LabDaemon, SYNC_GROUP, SYNC_PORT } from './lab-daemon.js';
import { addIpv6, addSecondCable, dropIpv4, undrop } from './second-link.js';

const CHANGES_PER_SECOND = 1000;
const ALIVE = 2000;
/** Three and a half heartbeats until a link counts as deaf, and some for a busy machine. */
const SWITCH_WITHIN_MS = 3000;
/** What the better link has to be well for. */
const BACK_AFTER_MS = 5000;
const VERIFY_WITHIN_MS = 10_000;

const dataLink = ({ links }: StatusReport) => links.findIndex(({ isData }) => isData);
const framesSent = ({ links }: StatusReport) => links.reduce((sum, link) => sum + link.framesSent, 0);

/** Resolves with the time it took until the data of a daemon goes to a link. Milliseconds. */
async function switched(daemon: LabDaemon, link: number, withinMs: number): Promise<number> {
  const since = performance.now();
  await eventually(`data of ${daemon.name} goes to link ${link}`, { withinMs }, async () => {
    return dataLink(await daemon.status()) === link;
  });
  return performance.now() - since;
}

/** How often a daemon said that the replica of a peer is not exact any more. */
const suspicions = (daemon: LabDaemon) =>
  readFileSync(daemon.logFile, 'utf8').split('"peer: suspect"').length - 1;

/** Frames a second that a daemon sends over a time, all links together. */
async function frameRate(daemon: LabDaemon, during: () => Promise<unknown>): Promise<number> {
  const before = framesSent(await daemon.status());
  const since = performance.now();
  await during();
  return ((framesSent(await daemon.status()) - before) * 1000) / (performance.now() - since);
}

async function startAll(daemons: readonly LabDaemon[]): Promise<void> {
  await Promise.all(daemons.map((daemon) => daemon.start()));
  await daemons[0].failover('primary');
  await eventually('all know each other', { withinMs: 15_000 }, async () => {
    const all = await Promise.all(daemons.map((daemon) => daemon.status()));
    return all.every(({ replicas }) => {
      return replicas.length === daemons.length - 1 && replicas.every(({ inSync }) => inSync);
    });
  });
}

/** Cuts link 0 under load, mends it, and checks both switches; `cut` and `mend` act on one firewall. */
async function cutAndMend(
  lab: Lab,
  daemons: readonly LabDaemon[],
  cut: () => Promise<void>,
  mend: () => Promise<void>,
): Promise<void> {
  const churn = Churn.start(lab, 'fw1', CHANGES_PER_SECOND, ALIVE);
  await eventually('the churn runs', { withinMs: 10_000 }, async () => {
    return (await daemons[0].status()).mirror.flows > ALIVE / 2;
  });
  for (const daemon of daemons) await daemon.verified(VERIFY_WITHIN_MS);
  const suspicionsBefore = daemons.map(suspicions);
  // A daemon that started late, or a machine that stood still for a moment, may have moved the data already.
  await switched(daemons[0], 0, BACK_AFTER_MS + SWITCH_WITHIN_MS);
  const usual = await frameRate(daemons[0], () => daemons[0].verified(VERIFY_WITHIN_MS));
  const rate = await frameRate(daemons[0], async () => {
    await cut();
    await switched(daemons[0], 1, SWITCH_WITHIN_MS);
    await Promise.all(daemons.map((daemon) => daemon.verified(VERIFY_WITHIN_MS)));
    await eventually('a warning names the link', { withinMs: SWITCH_WITHIN_MS }, async () => {
      expect((await daemons[0].status()).warnings.join('\n')).toMatch(/link sync \(10\.9\.0\.1\)/);
      return true;
    });
    await mend();
    const backAfterMs = await switched(daemons[0], 0, BACK_AFTER_MS + SWITCH_WITHIN_MS);
    // The time since the link was well again is what counts; the mending itself takes some of it.
    expect(backAfterMs).toBeGreaterThan(BACK_AFTER_MS - 1000);
    await Promise.all(daemons.map((daemon) => daemon.verified(VERIFY_WITHIN_MS)));
  });
  await churn.stop();
  await Promise.all(daemons.map((daemon) => daemon.verified(VERIFY_WITHIN_MS)));
  expect(daemons.map(suspicions)).toEqual(suspicionsBefore);
  expect(rate, `frames a second, of usually ${usual}`).toBeLessThan(3 * usual + 500);
}

describe('two firewalls with a multicast link by IPv4 and one by IPv6', () => {
  let lab: Lab;
  let daemons: LabDaemon[];
  beforeAll(async () => {
    lab = await Lab.create();
    await addSecondCable(lab);
    daemons = (['fw1', 'fw2'] as const).map((fw, i) => {
      const links = [
        { interface: 'sync', address: `10.9.0.${i + 1}`, group: SYNC_GROUP, port: SYNC_PORT },
        { interface: 'sync2', address: `fd00:9::${i + 1}`, group: 'ff02::50', port: SYNC_PORT },
      ];
      return new LabDaemon(lab, fw, { links });
    });
    await startAll(daemons);
  });
  afterAll(() => lab?.close());

  test('an interface that is set down costs nothing, and data returns 5 s after it is up', async () => {
    await cutAndMend(
      lab,
      daemons,
      () => lab.cutSync('fw1'),
      () => lab.mendSync('fw1'),
    );
  });

  test('a link on which one node is deaf costs nothing, and data returns when it hears again', async () => {
    await cutAndMend(
      lab,
      daemons,
      () => dropIpv4(lab, 'fw2', 'sync'),
      () => undrop(lab, 'fw2'),
    );
  });

  test('datagrams of the group, or to its address, that come on another interface are never taken', async () => {
    // The rules of the lab would drop them: here the sockets have to.
    await lab.exec('fw1', ['nft', 'add', 'rule', 'inet', 'filter', 'input', 'iifname', 'lan', 'accept']);
    await lab.exec('client', ['ip', 'address', 'add', 'fd00:1::100/64', 'dev', 'eth0', 'nodad']);
    await lab.exec('fw1', ['ip', 'address', 'add', 'fd00:1::1/64', 'dev', 'lan', 'nodad']);
    await lab.exec('client', ['ip', 'route', 'add', '10.9.0.0/24', 'via', '10.1.0.1']);
    await lab.exec('client', ['ip', 'route', 'add', 'fd00:9::/64', 'via', 'fd00:1::1']);
    const before = await daemons[0].status();
    const witness = lab.exec('fw1', [process.execPath, '-e', WITNESS]);
    await lab.exec('client', [process.execPath, '-e', STRANGER]);
    // The same datagrams did come to this host: an ordinary socket of each family heard group and address.
    expect(JSON.parse(await witness)).toEqual(['group4', 'group6', 'one4', 'one6']);
    const after = await daemons[0].status();
    const refused = ({ counters }: StatusReport) => counters['frame.malformed'] ?? 0;
    expect(refused(after)).toBe(refused(before));
  });
});

/** Hears on another port what the stranger sends to both, and tells the texts when it has heard four. */
const WITNESS = `
const dgram = require('node:dgram');
const heard = new Set();
const done = () => { console.log(JSON.stringify([...heard].sort())); process.exit(0); };
setTimeout(done, 10000);
const on = (message) => { heard.add(String(message)); if (heard.size === 4) done(); };
const four = dgram.createSocket('udp4', on).bind(3799, () => four.addMembership('${SYNC_GROUP}', '10.1.0.1'));
const six = dgram.createSocket({ type: 'udp6', ipv6Only: true }, on);
six.bind(3799, () => six.addMembership('ff02::50', '::%lan'));
`;

/** Sends to group and address on the port of the sync links first, then on the witness's, until the witness must have heard. */
const STRANGER = `
const dgram = require('node:dgram');
const four = dgram.createSocket('udp4');
const six = dgram.createSocket('udp6');
let left = 30;
four.bind(() => six.bind(() => {
  four.setMulticastInterface('10.1.0.100');
  six.setMulticastInterface('::%eth0');
  const timer = setInterval(() => {
    for (const port of [${SYNC_PORT}, 3799]) {
      four.send('group4', port, '${SYNC_GROUP}');
      four.send('one4', port, '10.9.0.1');
      six.send('group6', port, 'ff02::50');
      six.send('one6', port, 'fd00:9::1');
    }
    if (--left > 0) return;
    clearInterval(timer);
    four.close();
    six.close();
  }, 50);
}));
`;

describe('three firewalls with two unicast links', () => {
  let lab: Lab;
  let daemons: LabDaemon[];
  beforeAll(async () => {
    lab = await Lab.create({ firewalls: 3 });
    for (const fw of lab.firewalls) await addIpv6(lab, fw, 'sync');
    const numbers = lab.firewalls.map((_, i) => i + 1);
    daemons = lab.firewalls.map((fw, i) => {
      const others = numbers.filter((number) => number !== i + 1);
      const links = [
        { interface: 'sync', address: `10.9.0.${i + 1}`, peers: others.map((n) => `10.9.0.${n}`) },
        { interface: 'sync', address: `fd00:9::${i + 1}`, peers: others.map((n) => `fd00:9::${n}`) },
      ];
      return new LabDaemon(lab, fw, { links });
    });
    await startAll(daemons);
  });
  afterAll(() => lab?.close());

  test('one receiver that is deaf on the first link moves the data, and nobody loses anything', async () => {
    await cutAndMend(
      lab,
      daemons,
      () => dropIpv4(lab, 'fw3', 'sync'),
      () => undrop(lab, 'fw3'),
    );
  });
});
