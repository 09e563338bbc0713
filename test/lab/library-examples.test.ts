/** Every program of docs/library.md, as it stands there. */
import type { ChildProcess } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Conntrack, type FlowInput } from '../../src/library/index.js';
import { run } from './command.js';
import { eventually } from './deadline.js';
import { FirewallPair } from './firewall-pair.js';
import { type FirewallName, Lab, SERVER_ADDRESS } from './lab.js';
import { program, repositoryRoot } from './program.js';

const WITHIN = { withinMs: 10_000, everyMs: 20 };
const DOCUMENT = readFileSync(join(repositoryRoot(), 'docs/library.md'), 'utf8');
/** Below package.json, so that "conntwin" is this package. */
const DIRECTORY = join(repositoryRoot(), 'dist', `examples-${process.pid}`);
const EXAMPLES = new Map(
  [...DOCUMENT.matchAll(/```js\n(\/\/ ([\w.-]+)[^\n]*\n[\s\S]*?)```/g)].map(([, text, name]) => [name, text]),
);
const HELPER_RULES = /```nft\n([\s\S]*?)```/.exec(DOCUMENT)?.[1] ?? '';
/** What the connections back are to the firewall. */
const COUNTING_RULES = `
table ip seen {
  chain pre {
    type filter hook prerouting priority 0;
    iifname "wan" ip saddr ${SERVER_ADDRESS} tcp flags syn / syn,ack ct state new counter
    iifname "wan" ip saddr ${SERVER_ADDRESS} tcp flags syn / syn,ack ct state related counter
  }
}
`;
const ran = new Set<string>();

/** The command that runs an example. */
function example(name: string): string[] {
  const text = EXAMPLES.get(name);
  if (text === undefined) throw new Error(`docs/library.md has no ${name}`);
  ran.add(name);
  writeFileSync(join(DIRECTORY, name), text);
  return [process.execPath, join(DIRECTORY, name)];
}

/** The lines that a child has written so far. */
function linesOf(child: ChildProcess): string[] {
  const lines: string[] = [];
  if (child.stdout) createInterface({ input: child.stdout }).on('line', (line) => lines.push(line));
  return lines;
}

const has = (what: string, lines: readonly string[], start: string): Promise<string> =>
  eventually(`${what}: ${start}`, WITHIN, () => {
    const line = lines.find((l) => l.startsWith(start));
    if (line === undefined) throw new Error(lines.join(' | '));
    return line;
  });

beforeAll(() => mkdirSync(DIRECTORY, { recursive: true }));
afterAll(() => rmSync(DIRECTORY, { recursive: true, force: true }));

const flow = (n: number, destinationPort: number, more: Partial<FlowInput> = {}): FlowInput => ({
  protocol: 'tcp',
  original: { source: `10.1.0.${n}`, destination: '10.2.0.9', sourcePort: 4000, destinationPort },
  timeout: 600,
  protoinfo: { kind: 'tcp', state: 'ESTABLISHED' },
  status: ['SEEN_REPLY', 'ASSURED'],
  ...more,
});

describe('on one firewall', () => {
  let lab: Lab;
  let ct: Conntrack;
  beforeAll(async () => {
    lab = await Lab.create();
    ct = await Conntrack.open({ netns: lab.namespace('fw1') });
    await lab.exec('fw1', ['nft', '-f', '-'], { input: HELPER_RULES });
  });
  afterAll(async () => {
    ct?.close();
    await lab?.close();
  });

  test('delete-ssh.mjs deletes all flows to port 22 and no other', async () => {
    for (const n of [1, 2, 3]) await ct.create(flow(n, 22));
    const v6 = { source: 'fd00:1::1', destination: 'fd00:2::1', sourcePort: 5, destinationPort: 22 };
    await ct.create({ ...flow(4, 22), original: v6 });
    await ct.create(flow(5, 443));
    expect(await lab.exec('fw1', example('delete-ssh.mjs'))).toBe('4 flows deleted\n');
    expect(await lab.exec('fw1', ['conntrack', '-L'])).toMatch(/^tcp .* dport=443 .*\n$/);
  });

  test('busiest.mjs tells who had how many bytes', async () => {
    await ct.flush();
    await lab.exec('fw1', ['sysctl', '-qw', 'net.netfilter.nf_conntrack_acct=1']);
    await lab.exec('client', ['ping', '-c', '2', '-i', '0.1', '-W', '5', SERVER_ADDRESS]);
    for (const n of [1, 2]) await ct.create(flow(n, 80));
    const said = await lab.exec('fw1', example('busiest.mjs'));
    // A ping is never assured, and created flows have seen no bytes.
    expect(said.trim().split('\n').sort()).toEqual(['10.1.0.1 0', '10.1.0.2 0']);
  });

  test('print.mjs prints the lines of conntrack -L, and JSON', async () => {
    await ct.flush();
    for (const n of [1, 2]) await ct.create(flow(n, 80, { mark: n }));
    await ct.create({ ...flow(3, 80), original: { ...flow(3, 80).original, source: '192.0.2.1' } });
    const withoutTime = (text: string) =>
      text
        .trim()
        .replaceAll(/ (59\d|600) /g, ' T ')
        .split('\n')
        .sort();
    const printed = await lab.exec('fw1', [...example('print.mjs'), '10.1.0.0/16']);
    const oracle = await lab.exec('fw1', ['conntrack', '-L', '-s', '10.1.0.0/16']);
    expect(withoutTime(printed)).toEqual(withoutTime(oracle));
    const json = await lab.exec('fw1', [...example('print.mjs'), '10.2.0.0/16', 'json']);
    const flows = json
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(flows.map(({ mark }) => mark).sort()).toEqual([1, 2, undefined]);
  });

  test('one-flow.mjs creates, changes, finds and deletes one', async () => {
    await ct.flush();
    expect(await lab.exec('fw1', example('one-flow.mjs'))).toBe('7 true\nundefined\n');
    expect(await ct.count()).toBe(0);
  });

  test('watch.mjs tells what happens until it is interrupted, and then ends well', async () => {
    await ct.flush();
    const child = lab.spawn('fw1', example('watch.mjs'), { stdio: ['ignore', 'pipe', 'inherit'] });
    const lines = linesOf(child);
    let n = 1;
    await eventually('it hears', WITHIN, async () => {
      await ct
        .create({ ...flow(n++ % 200, 53), protocol: 'udp', protoinfo: undefined, timeout: 5 })
        .catch(() => 0);
      return lines.some((line) => /^new 10\.1\.0\.\d+ 10\.2\.0\.9 53$/.test(line));
    });
    const ended = new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGINT');
    expect(await ended).toBe(0);
  });

  test('numbers.mjs and count-in.mjs tell numbers', async () => {
    await ct.create(flow(1, 80));
    expect(await lab.exec('fw1', example('numbers.mjs'))).toMatch(
      /^[1-9]\d* of \d+ flows\n(cpu \d+: \d+ dropped, \d+ early, \d+ inserts failed\n)+$/,
    );
    const [here, there] = [lab.namespace('fw1'), lab.namespace('fw2')];
    const said = await lab.exec('client', [...example('count-in.mjs'), here, there]);
    expect(said).toMatch(new RegExp(`^${here} [1-9]\\d*\n${there} \\d+\n$`));
  });

  test('callback-helper.mjs lets a connection back through a rule for `related`, translated', async () => {
    await ct.flush();
    await lab.exec('fw1', ['nft', '-f', '-'], { input: COUNTING_RULES });
    const counted = async (state: string) =>
      Number(
        new RegExp(`ct state ${state} counter packets (\\d+)`).exec(
          await lab.exec('fw1', ['nft', 'list', 'table', 'ip', 'seen']),
        )?.[1],
      );
    const call = await Callback.start(lab);
    // Nobody expects the first one: it comes to the firewall, and no further.
    const before = await call.from(41_000);
    call.go(before);
    await eventually('it is seen as new', WITHIN, async () => (await counted('new')) > 0);
    expect(await counted('related')).toBe(0);
    const helper = lab.spawn('fw1', example('callback-helper.mjs'), { stdio: ['ignore', 'pipe', 'inherit'] });
    const after = await call.expected(linesOf(helper), 42_000);
    call.go(after);
    await has('client', after.lines, 'data: hello');
    expect(await counted('related')).toBeGreaterThan(0);
    expect(before.lines).toEqual(['connected']);
  });
});

/** The client's and the server's programs. */
class Callback {
  private constructor(private readonly lab: Lab) {}

  static async start(lab: Lab): Promise<Callback> {
    const server = [...program('test/lab/callback-program'), 'server'];
    await has(
      'server',
      linesOf(lab.spawn('server', server, { stdio: ['pipe', 'pipe', 'inherit'] })),
      'listening',
    );
    return new Callback(lab);
  }

  /** A client whose control connection stands. */
  async from(port: number): Promise<{ child: ChildProcess; lines: string[] }> {
    const command = [...program('test/lab/callback-program'), 'client', SERVER_ADDRESS, String(port)];
    const child = this.lab.spawn('client', command, { stdio: ['pipe', 'pipe', 'inherit'] });
    const lines = linesOf(child);
    await has('client', lines, 'connected');
    return { child, lines };
  }

  /** Clients, one after the other, until the helper program runs and expects one's connection back. */
  async expected(said: readonly string[], port: number): Promise<{ child: ChildProcess; lines: string[] }> {
    return eventually('the helper expects a connection', WITHIN, async () => {
      const from = said.length;
      const client = await this.from(port);
      port += 2; // The client listens on the next one.
      await eventually('it says so', { withinMs: 500, everyMs: 10 }, () => said.length > from);
      return client;
    });
  }

  go({ child }: { child: ChildProcess }): void {
    child.stdin?.write('go\n');
  }
}

describe('on a cluster', () => {
  let pair: FirewallPair;
  beforeAll(async () => {
    pair = await FirewallPair.create();
    for (const fw of ['fw1', 'fw2'] satisfies FirewallName[]) {
      await pair.lab.exec(fw, ['nft', '-f', '-'], { input: HELPER_RULES });
    }
  });
  afterAll(() => pair?.close());

  test('what callback-helper.mjs expects on the primary is expected on the backup after a failover', async () => {
    const { lab } = pair;
    const call = await Callback.start(lab);
    const helper = lab.spawn('fw1', example('callback-helper.mjs'), { stdio: ['ignore', 'pipe', 'inherit'] });
    const client = await call.expected(linesOf(helper), 43_000);
    const replicated = async () => (await pair.fw2.replicaOf('fw1'))?.expectations;
    await eventually('the backup has it', WITHIN, async () => ((await replicated()) ?? 0) > 0);
    await lab.activate('fw2');
    expect((await pair.fw2.failover('primary')).exitCode).toBe(0);
    call.go(client);
    await has('client', client.lines, 'data: hello');
  });
});

test('no program of the document was left out, and each agrees with the types of the package', async () => {
  expect(EXAMPLES.size).toBeGreaterThan(5);
  expect([...EXAMPLES.keys()].filter((name) => !ran.has(name))).toEqual([]);
  const compiler = [process.execPath, join(repositoryRoot(), 'node_modules/typescript/bin/tsc')];
  const options = '--allowJs --checkJs --noEmit --module nodenext --target es2023 --strict --types node';
  const files = [...ran].map((name) => join(DIRECTORY, name));
  // Programs know what is there; the declarations do not.
  await run([...compiler, ...options.split(' '), '--strictNullChecks', 'false', ...files]);
});
