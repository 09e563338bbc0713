/** Every line of docs/flows.md, as it stands there; and what changes on a hot backup do to the flows that it holds. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { eventually } from './deadline.js';
import { FirewallPair } from './firewall-pair.js';
import type { FirewallName } from './lab.js';
import type { LabDaemon } from './lab-daemon.js';
import { CONNTWIN_PROGRAM, program, repositoryRoot } from './program.js';

const WITHIN = { withinMs: 15_000, everyMs: 100 };
/** Longer than what hot standby takes to put back a flow that ended by itself. */
const RESPECTED_MS = 2500;
const LOOK_EVERY_MS = 50;
const DOCUMENT = readFileSync(join(repositoryRoot(), 'docs/flows.md'), 'utf8');
const LINES = [...DOCUMENT.matchAll(/```sh\n([\s\S]*?)```/g)].flatMap(([, block]) =>
  block.trim().split('\n'),
);
/** Lines that change nothing. */
const LOOKS = /^conntwin (flows|expectations) (list|count|get|watch|diff)\b/;

let pair: FirewallPair;
beforeAll(async () => {
  pair = await FirewallPair.create({ config: { failover: { standby: 'hot' } } });
  await pair.lab.exec('fw1', ['sysctl', '-qw', 'net.netfilter.nf_conntrack_acct=1']);
});
afterAll(() => pair?.close());

/** A command of the daemon's firewall that must end with this exit code. */
async function conntwin(daemon: LabDaemon, args: readonly string[], wanted = 0): Promise<string> {
  const { code, stdout, stderr } = await daemon.cli(args);
  if (code !== wanted) throw new Error(`conntwin ${args.join(' ')}: exit code ${code}: ${stdout}${stderr}`);
  return stdout;
}

const create = (daemon: LabDaemon, port: number, ...more: string[]) =>
  conntwin(daemon, [
    ...['flows', 'create', 'tcp', `10.1.0.7:${port}`, '10.2.0.9:443', '--timeout', '1h'],
    ...more,
  ]);

/** `conntwin conntrack` on the backup. */
const conntrack = (...args: string[]) =>
  pair.lab.exec('fw2', [...program(CONNTWIN_PROGRAM), 'conntrack', ...args]);

/** The flow's line in a kernel, as conntrack(8) prints it; empty if it is not there. */
async function line(fw: FirewallName, port: number): Promise<string> {
  const { stdout } = await pair.lab.tryExec(fw, ['conntrack', '-L', '-p', 'tcp', '--sport', String(port)]);
  return stdout.trim();
}

const isThere = (fw: FirewallName, port: number, pattern: RegExp) =>
  eventually(`${fw} has port ${port} as ${pattern}`, WITHIN, async () => {
    const text = await line(fw, port);
    if (!pattern.test(text)) throw new Error(text);
    return true;
  });

/** Creates flows on the primary that the backup then holds. */
const createHeld = (...ports: number[]) =>
  Promise.all(
    ports.map(async (port) => {
      await create(pair.fw1, port);
      await isThere('fw2', port, /mark=0/);
    }),
  );

/** The flows are as they are for so long as nothing is said of them. */
async function remain(fw: FirewallName, ports: readonly number[], pattern: RegExp): Promise<void> {
  const end = performance.now() + RESPECTED_MS;
  while (performance.now() < end) {
    for (const port of ports) expect(await line(fw, port)).toMatch(pattern);
    await pause(LOOK_EVERY_MS);
  }
}

test('own flows and held flows are told apart on both nodes', async () => {
  await create(pair.fw1, 40_000);
  await isThere('fw2', 40_000, /mark=0/);
  const owners = async (daemon: LabDaemon, ...more: string[]) => {
    const text = await conntwin(daemon, ['flows', 'list', '--json', '--where', 'sport=40000', ...more]);
    return text
      .trim()
      .split('\n')
      .map((row) => JSON.parse(row))
      .map(({ owner, node }) => [owner, node]);
  };
  const held = ['held', 'fw1'];
  await eventually('the backup knows whose it is', WITHIN, async () => {
    expect(await owners(pair.fw2)).toEqual([held]);
    return true;
  });
  expect(await owners(pair.fw1)).toEqual([['own', undefined]]);
  expect(await owners(pair.fw1, '--table', 'mirror')).toEqual([['own', undefined]]);
  expect(await owners(pair.fw2, '--table', 'replica', '--node', 'fw1')).toEqual([held]);
  expect(await conntwin(pair.fw2, ['flows', 'count', '--where', 'own'])).toBe('0\n');
  expect(await conntwin(pair.fw2, ['flows', 'list', '-o', 'table'])).toMatch(/^PROTO .*OWNER.*\n.*held fw1/);
});

test('a count of the kernel is had from the kernel: the daemon may stand still', async () => {
  const own = await pair.lab.exec('fw2', ['conntrack', '-C']);
  pair.fw2.pause();
  try {
    expect(await conntwin(pair.fw2, ['flows', 'count'])).toBe(own);
    expect(await conntwin(pair.fw2, ['flows', 'count', '--where', 'sport=40000'])).toBe('1\n');
  } finally {
    pair.fw2.resume();
  }
});

test('every line of docs/flows.md', async () => {
  await eventually(
    'nothing differs',
    WITHIN,
    async () => (await pair.fw2.cli(['flows', 'diff', 'fw1'])).code === 0,
  );
  expect(LINES.length).toBeGreaterThan(20);
  // What only looks does so together with its neighbours.
  const steps = LINES.reduce<string[][]>((all, text) => {
    const last = all.at(-1);
    if (last !== undefined && [text, last[0]].every((one) => LOOKS.test(one))) last.push(text);
    else all.push([text]);
    return all;
  }, []);
  for (const step of steps) await Promise.all(step.map(ofDocument));
});

/** Runs a line of the document where it says. */
async function ofDocument(text: string): Promise<void> {
  const daemon = text.includes('# on fw2') ? pair.fw2 : pair.fw1;
  const command = text
    .replace(/^conntwin /, `${program(CONNTWIN_PROGRAM).join(' ')} --config ${daemon.configFile} `)
    .replace('/tmp/fw2.sock', pair.fw2.socket);
  const { code, stdout, stderr } = await pair.lab.tryExec(daemon.name, ['sh', '-c', command]);
  expect([text, code, code === 0 ? '' : stdout + stderr]).toEqual([text, 0, '']);
}

test('a held flow that is deleted on the backup stays away until its owner speaks of it', async () => {
  await createHeld(41_001, 41_002);
  await eventually(
    'nothing differs',
    WITHIN,
    async () => (await pair.fw2.cli(['flows', 'diff', 'fw1'])).code === 0,
  );
  const { code, stdout, stderr } = await pair.fw2.cli(['flows', 'delete', '--where', 'held and sport=41001']);
  expect([code, stdout]).toEqual([0, '1 flow deleted\n']);
  expect(stderr).toContain('this node is a backup');
  await conntrack('-D', '-p', 'tcp', '--sport', '41002');
  await remain('fw2', [41_001, 41_002], /^$/);
  const found = await conntwin(pair.fw2, ['flows', 'diff', 'fw1'], 1);
  expect(found).toMatch(/replica of fw1 on fw2, kernel of fw2: DIFFERENT, 2 differences/);
  expect(found).toMatch(/missing: tcp .* sport=41001 /);
  expect(await conntwin(pair.fw1, ['flows', 'update', '--where', 'sport=41001', '--mark', '5'])).toBe(
    '1 flow updated\n',
  );
  await isThere('fw2', 41_001, /mark=5/);
  expect(await line('fw2', 41_002)).toBe('');
});

test('a held flow that is changed on the backup stays so until its owner speaks of it', async () => {
  await createHeld(42_001, 42_002);
  await conntwin(pair.fw2, ['flows', 'update', '--where', 'sport=42001', '--mark', '9']);
  await conntrack('-U', '-p', 'tcp', '--sport', '42002', '-m', '9');
  await remain('fw2', [42_001, 42_002], /mark=9/);
  expect(await line('fw1', 42_001)).toMatch(/mark=0/);
  await conntwin(pair.fw1, ['flows', 'update', '--where', 'sport in (42001, 42002)', '--mark', '7']);
  for (const port of [42_001, 42_002]) await isThere('fw2', port, /mark=7/);
});

test('both nodes named flow by flow, over both sockets', async () => {
  await create(pair.fw1, 43_001);
  const args = ['flows', 'diff', 'fw2', '--peer-socket', pair.fw2.socket, '--json'];
  await conntwin(pair.fw2, ['flows', 'delete', '--where', 'sport=40000']);
  const report = JSON.parse(await conntwin(pair.fw1, args, 1));
  const rows = report.comparisons.map(({ what, verdict }: { what: string; verdict: string }) => [
    what,
    verdict,
  ]);
  expect(rows).toEqual([
    ['mirror here, replica on fw2', 'equal'],
    ['mirror on fw2, replica here', 'equal'],
    ['replica of fw1 on fw2, kernel of fw2', 'different'],
  ]);
  // The latter was deleted long ago: hot standby has looked at every flow since, and respects it.
  for (const port of [40_000, 41_002]) expect(JSON.stringify(report)).toContain(`sport=${port}`);
  expect((await pair.fw1.cli(['flows', 'diff', 'fw9'])).stderr).toContain('no peer is called "fw9"');
  await conntwin(pair.fw1, ['flows', 'update', '--where', 'sport=40000', '--mark', '1']);
  await isThere('fw2', 40_000, /mark=1/);
});

test('expectations are made, found by what they are, told apart by owner, and taken back', async () => {
  await create(pair.fw1, 45_001, '--helper', 'ftp');
  const watch = pair.fw1.cli([
    'expectations',
    'watch',
    '--json',
    '--count',
    '2',
    '--where',
    'dport=45003',
    '--for',
    '15s',
  ]);
  const master = ['--master', 'tcp 10.1.0.7:45001 10.2.0.9:443'];
  const made = await eventually('the watch hears both', WITHIN, async () => {
    const text = await conntwin(pair.fw1, [
      'expectations',
      'create',
      'tcp',
      'any',
      '10.1.0.7:45003',
      ...master,
    ]);
    expect(await conntwin(pair.fw1, ['expectations', 'delete', '--where', 'dport=45003'])).toBe(
      '1 expectation deleted\n',
    );
    const heard = await Promise.race([watch, pause(300)]);
    return heard === undefined ? undefined : text;
  });
  expect(made).toMatch(/dport=45003/);
  const { code, stdout, stderr } = await watch;
  expect([code, stderr]).toEqual([0, '2 events; none lost\n']);
  // It may have begun to listen between the two.
  const heard = stdout
    .trim()
    .split('\n')
    .map((row) => JSON.parse(row).event);
  expect(heard.sort()).toEqual(['destroy', 'new']);
  await conntwin(pair.fw1, ['expectations', 'create', 'tcp', '10.2.0.0/16', '10.1.0.7:45004', ...master]);
  const oracle = await pair.lab.exec('fw1', ['conntrack', '-L', 'expect']);
  expect(oracle).toMatch(/mask-src=255\.255\.0\.0 .*dport=45004|dport=45004 .*mask-src=255\.255\.0\.0/);
  const rows = await conntwin(pair.fw1, [
    'expectations',
    'list',
    '--json',
    '--where',
    'own and src=10.2.0.0/16',
  ]);
  expect(JSON.parse(rows)).toMatchObject({ owner: 'own', tuple: { destinationPort: 45_004 } });
  await eventually('the backup has it', WITHIN, async () => {
    const there = await conntwin(pair.fw2, ['expectations', 'list', '--table', 'replica', '--json']);
    return JSON.parse(there).node === 'fw1';
  });
  expect(await conntwin(pair.fw1, ['expectations', 'delete', '--all', '--dry-run'])).toMatch(
    /^1 .* would be/,
  );
  await conntwin(pair.fw1, ['expectations', 'get', 'tcp', '10.2.0.0/16', '10.1.0.7:45004']);
  await conntwin(pair.fw1, ['expectations', 'delete', 'tcp', 'any', '10.1.0.7:45004']);
  await conntwin(pair.fw1, ['expectations', 'get', 'tcp', 'any', '10.1.0.7:45004'], 1);
});

test('events are watched, counted and end well', async () => {
  const watch = pair.lab.spawn(
    'fw1',
    [...program(CONNTWIN_PROGRAM), 'flows', 'watch', '--json', '--where', 'sport=44001'],
    { stdio: ['ignore', 'pipe', 'pipe'] },
  );
  let [out, err] = ['', ''];
  watch.stdout?.on('data', (data) => {
    out += data;
  });
  watch.stderr?.on('data', (data) => {
    err += data;
  });
  const ended = new Promise((resolve) => watch.once('exit', resolve));
  await eventually('it hears', WITHIN, async () => {
    await create(pair.fw1, 44_001).catch(() => '');
    await conntwin(pair.fw1, ['flows', 'delete', '--where', 'sport in (44001, 44002)']);
    return out.includes('"event":"destroy"');
  });
  watch.kill('SIGINT');
  expect(await ended).toBe(0);
  expect(out).not.toContain('44002');
  expect(err).toMatch(/new \d+ \(.*\/s\), update \d+ .*, destroy [1-9]\d* .*; none lost/);
});

test('a flush on the backup is made good by a takeover', async () => {
  const before = await conntwin(pair.fw1, ['flows', 'count', '--where', 'own and dport=443']);
  await conntrack('-F');
  await remain('fw2', [42_001], /^$/);
  expect((await pair.fw1.failover('backup')).exitCode).toBe(0);
  expect((await pair.fw2.failover('primary')).exitCode).toBe(0);
  for (const port of [40_000, 41_001, 42_001, 43_001]) await isThere('fw2', port, /ESTABLISHED/);
  await eventually('all are its own', WITHIN, async () => {
    return (await conntwin(pair.fw2, ['flows', 'count', '--where', 'own and dport=443'])) === before;
  });
});
