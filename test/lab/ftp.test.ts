/** FTP and TFTP through NAT with the kernel's helpers, taken over in every state that a session can be in. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Flow } from '../../src/flow/flow.js';
import { eventually } from './deadline.js';
import { FirewallPair } from './firewall-pair.js';
import { FtpSession, helpFtp, startFtpServer } from './ftp-session.js';
import type { FirewallName } from './lab.js';
import { OUTSIDE_ADDRESS } from './ruleset.js';
import { TftpRequest } from './tftp-request.js';

const WITHIN = { withinMs: 10_000, everyMs: 20 };
/** Shorter as text than the address that it is translated to: each line that names it grows by two bytes. */
const CLIENT = '10.1.0.7';
/** The server inside, which is reached from outside by the firewalls' address. */
const INSIDE = '10.1.0.8';

const RULES = `table ip forwarding {
  chain pre {
    type nat hook prerouting priority -100;
    iifname "wan" tcp dport 21 dnat to ${INSIDE}
  }
}
table ip tftp {
  ct helper tftp {
    type "tftp" protocol udp;
  }
  chain pre {
    type filter hook prerouting priority 0;
    udp dport 69 ct helper set "tftp"
  }
}
insert rule inet filter forward iifname "wan" tcp dport 21 accept
`;

let pair: FirewallPair;
let active: FtpSession;
let passive: FtpSession;
/** Its control connection is closed while its data run. */
let half: FtpSession;
let request: TftpRequest;

beforeAll(async () => {
  pair = await FirewallPair.create();
  const { lab } = pair;
  for (const fw of ['fw1', 'fw2'] as const) {
    await helpFtp(lab, fw);
    await lab.exec(fw, ['nft', '-f', '-'], { input: RULES });
  }
  const addresses = [CLIENT, INSIDE].map((address) => `address add ${address}/16 dev eth0\n`).join('');
  await lab.exec('client', ['ip', '-batch', '-'], { input: addresses });
  await Promise.all([startFtpServer(lab), startFtpServer(lab, 'client')]);
  [active, half] = await Promise.all([
    FtpSession.open(lab, { own: CLIENT }),
    FtpSession.open(lab, { own: CLIENT }),
  ]);
  passive = await FtpSession.open(lab, { from: 'server', address: OUTSIDE_ADDRESS });
});
afterAll(() => pair?.close());

async function announce(session: FtpSession): Promise<void> {
  const port = await session.listen();
  const fields = [...CLIENT.split('.'), port >> 8, port & 255];
  // The server saw the translated address, in a line two bytes longer than the client's.
  expect(await session.say(`PORT ${fields.join(',')}`)).toContain(`200 ${OUTSIDE_ADDRESS} ${port}`);
}

/** By how many bytes what each side of a control connection says has grown, as fw2's replica has it. */
async function grown(): Promise<number[]> {
  const args = ['flows', 'list', '--table', 'external', '--dport', '21', '--state', 'ESTABLISHED', '--json'];
  const { stdout } = await pair.fw2.cli(args);
  const flows = stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Flow);
  return flows.map(({ seqadj }) => seqadj?.original?.after ?? seqadj?.reply?.after ?? 0).sort();
}

/** fw1's cables are pulled, and fw2 takes over; or the other way round. */
async function takeOver(from: FirewallName, to: FirewallName) {
  const { lab } = pair;
  const daemon = to === 'fw1' ? pair.fw1 : pair.fw2;
  await lab.cut(from);
  const report = await daemon.failover('primary');
  await lab.activate(to);
  return report;
}

test('sessions live on behind the other firewall: the control lines, an announced connection, and running data', async () => {
  await announce(half);
  await half.say('GO');
  await half.data();
  await announce(active);
  await active.say('GO');
  await active.data();
  // Announced before, and used after the takeover; each line has grown, so what follows is adjusted.
  await announce(active);
  await active.say('NOOP before');
  const door = await passive.passive();
  expect(door.host).toBe(OUTSIDE_ADDRESS);
  await passive.say('NOOP before');
  request = await TftpRequest.send(pair.lab);
  await eventually('the expectations are replicated', WITHIN, async () => {
    return (await pair.fw2.replicaOf('fw1'))?.expectations === 3;
  });
  // No event has told of it: two lines of the client's have grown, and one of the server's.
  await eventually('the replica has the sequence adjustment', { ...WITHIN, everyMs: 300 }, async () => {
    return (await grown()).join() === '2,2,4';
  });
  await half.end();
  await pair.lab.exec('fw1', ['conntrack', '-D', '-p', 'tcp', '--dport', '21', '--state', 'TIME_WAIT']);
  await pair.verified(10_000);

  const { promote } = await takeOver('fw1', 'fw2');
  expect(promote).toMatchObject({
    rejected: 0,
    withoutHelper: 0,
    withoutMaster: 1,
    expectations: { total: 3, committed: 3, rejected: 0 },
  });

  await request.answer();
  await active.say('NOOP after');
  await passive.say('NOOP after');
  await active.say('GO');
  await active.data();
  passive.enter(door);
  await passive.data();
  const before = await half.count();
  await eventually('the data go on', WITHIN, async () => (await half.count()) > before + 50);
});

test('and go on to work there: new connections are announced, translated and let in', async () => {
  await announce(active);
  await active.say('GO');
  await active.data();
  const door = await passive.passive();
  expect(door.host).toBe(OUTSIDE_ADDRESS);
  passive.enter(door);
  await passive.data();
  await passive.say('NOOP');
  await active.say('NOOP');
});

test('and come back to the first firewall, where older ones of them still stand', async () => {
  const { lab } = pair;
  await lab.mend('fw1');
  expect((await pair.fw1.failover('backup')).exitCode).toBe(0);
  await pair.verified(10_000);
  await announce(active);
  await active.say('NOOP again');
  const { promote } = await takeOver('fw2', 'fw1');
  expect(promote).toMatchObject({ rejected: 0 });
  await active.say('NOOP back');
  await active.say('GO');
  await active.data();
  await passive.say('NOOP back');
  const before = await half.count();
  await eventually('the data go on', WITHIN, async () => (await half.count()) > before + 50);
});
