import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { runCli } from '../../../src/cli/program.js';
import { ControlError } from '../../../src/control/backend.js';
import { ControlServer } from '../../../src/control/server.js';
import { recordFromFlow } from '../../../src/flow/flow.js';
import { allocateMemory, MAX_RECORD_BYTES } from '../../../src/flow/record.js';
import { FakeBackend, sampleStatus } from '../control/fake-backend.js';

let folder: string;
let socket: string;
let server: ControlServer;
const backend = new FakeBackend();
const fresh = new FakeBackend();

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'ct-cli-'));
  socket = join(folder, 'control.sock');
  server = await ControlServer.listen(socket, backend);
});
afterAll(() => {
  server.close();
  rmSync(folder, { recursive: true, force: true });
});
beforeEach(() => {
  Object.assign(backend, {
    report: sampleStatus(),
    failoverReport: { ...fresh.failoverReport },
    verifyReport: { ...fresh.verifyReport },
    error: undefined,
    batches: [],
  });
  backend.asked.length = 0;
});

interface Outcome {
  code: number;
  out: string;
  err: string;
}

interface RunOptions {
  isInteractive?: boolean;
  /** Lines of the terminal that standard output is. */
  screenLines?: number;
  /** and its width. */
  screenColumns?: number;
  /** Pieces of output after which the user has enough. */
  stopAfter?: number;
  onOut?: (pieces: number) => void;
}

async function run(argv: readonly string[], options: RunOptions = {}) {
  const outcome: Outcome = { code: -1, out: '', err: '' };
  const stop = new AbortController();
  let pieces = 0;
  outcome.code = await runCli(argv, {
    out: async (text) => {
      outcome.out += text;
      if (++pieces === options.stopAfter) stop.abort();
      options.onOut?.(pieces);
    },
    err: (text) => {
      outcome.err += text;
    },
    isInteractive: options.isInteractive === true,
    screenLines: () => options.screenLines,
    screenColumns: () => options.screenColumns,
    interruption: () => stop.signal,
  });
  return outcome;
}

/** Runs with the fake daemon's socket. */
const call = (line: string, options?: RunOptions) => run(['--socket', socket, ...line.split(' ')], options);

describe('status', () => {
  test('as JSON has everything, the names of the contract included', async () => {
    const { code, out } = await call('status --json');
    expect(code).toBe(0);
    expect(JSON.parse(out)).toEqual(sampleStatus());
  });

  test('for people begins with who this is and what is wrong', async () => {
    const { code, out } = await call('status');
    expect(code).toBe(0);
    const lines = out.split('\n');
    expect(lines[0]).toBe(
      'fw1 in edge: BACKUP, ready to take over, commit runs (commit: 3 of 12)  (term 1700000000001, up 1 h 2 min, conntwin 0.1.0)',
    );
    expect(lines[1]).toBe('! the sync link is not sealed');
    expect(out).toContain(
      'mirror          12      3         89abcdef01234567  501       7 events lost and audited',
    );
    expect(out).toContain(
      'replica of fw2  20,000  17        0123456789abcdef  40001     in sync, 4 in this kernel',
    );
    expect(out).toContain('fw2   primary  yes    40001     500 of 501       1.5 ms  proven');
    expect(out).toContain('sync  data   10.9.0.1  225.0.0.50 port 3780  501 frames, 60.0 kB');
    expect(out).toContain('fw2 heard 12 ms ago, hears us 30 ms ago');
    expect(out).toContain('mode reliable, sealed with key 2');
    expect(out).toContain(
      'last promote: 20,000 committed, 3 kept, 2 updated, 1 replaced, 5 rejected (kernel-full 4, reply-taken 1) in 62 ms from fw2, 2023-11-14 22:13:20 UTC',
    );
    expect(out).toContain('\n  fw2: 20,011 flows and 10 expectations, primary in term');
    expect(out).toContain('audits: background runs; 9 so far (1 unclean), 2 flows put right');
  });

  test('of a node in step says that all is well', async () => {
    backend.report.warnings = [];
    expect((await call('status')).out.split('\n')[1]).toBe('all is well');
  });

  test('names every trouble: split brain, silence, an unproven replica', async () => {
    const { report } = backend;
    report.role = 'primary';
    report.warnings.push('split brain: fw2 is primary too');
    report.peers.push({ ...report.peers[0], node: 'fw3', alive: false });
    report.replicas[0].inSync = false;
    report.mirrorReady = false;
    report.state = 'joining';
    report.peers[0].verdict = 'suspect';
    const { out } = await call('status');
    expect(out.split('\n').filter((line) => line.startsWith('! '))).toEqual([
      '! split brain: fw2 is primary too',
      '! joining: flows are not sorted out yet, wait a moment',
      '! the first dump of the kernel is not whole yet',
      '! fw2 has no proven replica of this node (suspect)',
      '! fw3 is silent',
      '! the replica of fw2 is not proven',
      '! the sync link is not sealed',
    ]);
  });

  test('is never well while this node is not ready to take over', async () => {
    const { report } = backend;
    report.warnings = [];
    report.ready = {
      isReady: false,
      reasons: ['the replica of fw2 is proven for 3 s, 5 s are wanted'],
      exitCode: 1,
    };
    const lines = (await call('status')).out.split('\n');
    expect(lines[0]).toContain('BACKUP, NOT ready to take over, commit runs');
    expect(lines[1]).toBe('! not ready to take over: the replica of fw2 is proven for 3 s, 5 s are wanted');
    expect(lines[2]).toBe('');
  });

  test('says one silence once, and that nobody is primary', async () => {
    const { report } = backend;
    Object.assign(report.peers[0], { alive: false, role: 'primary' });
    report.warnings = ['fw2 was not heard for 4 s'];
    const { out } = await call('status');
    expect(out.split('\n').filter((line) => line.startsWith('! '))).toEqual([
      '! no peer is heard: nothing is replicated',
      '! no primary is heard: `conntwin failover primary` on the node that has the addresses',
      '! fw2 was not heard for 4 s',
    ]);
    Object.assign(report.peers[0], { alive: true, role: 'backup' });
    report.warnings = [];
    expect((await call('status')).out).toContain('! no primary is heard');
  });

  test('of a node that never heard another one says what to look at', async () => {
    Object.assign(backend.report, { peers: [], replicas: [] });
    const { out } = await call('status');
    expect(out).toContain(
      '! no peer is heard: nothing is replicated; do the rules let UDP port 3780 on sync in,',
    );
  });

  test('of a node that just started has no holes', async () => {
    Object.assign(backend.report, { peers: [], replicas: [], links: [], lastPromote: null });
    const { out } = await call('status');
    expect(out).toContain('! no peer is heard');
    expect(out).toContain('last promote: none since the start');
    expect(out).not.toMatch(/undefined|NaN|null/);
  });

  test('shows a link that is down with its error, and one by unicast with its peers', async () => {
    const [link] = backend.report.links;
    const down = {
      ...link,
      isUp: false,
      isData: false,
      lastError: 'ENODEV',
      group: '',
      peers: ['fd00::2', 'fd00::3'],
    };
    backend.report.links = [{ ...link, isData: false }, down];
    const { out } = await call('status');
    expect(out).toMatch(/sync +up +10\.9\.0\.1 +225\.0\.0\.50 port 3780/);
    expect(out).toMatch(/sync +DOWN ENODEV +10\.9\.0\.1 +fd00::2, fd00::3 port 3780/);
  });

  test('--watch draws over the last page on a terminal, and what does not fit is cut off', async () => {
    const whole = (await call('status')).out.split('\n');
    const { out } = await call('status --watch --interval 0.1', { stopAfter: 2, screenLines: 8 });
    const [, first, second] = out.split('\x1b[H');
    expect(first.startsWith('\x1b[2Jfw1 in edge')).toBe(true);
    expect(second).toMatch(/^fw1 in edge/);
    for (const page of [first, second]) expect(page.endsWith('\x1b[J')).toBe(true);
    const lines = second.split('\x1b[K\n');
    expect(lines.slice(0, 6)).toEqual(whole.slice(0, 6));
    expect(lines[6]).toBe(`... ${whole.length - 7} more lines`);
    expect(lines).toHaveLength(8);
  });

  test('--watch writes page after page, with a line between them, where there is no terminal', async () => {
    const { out } = await call('status --watch --interval 0.1', { stopAfter: 2 });
    const page = (await call('status')).out;
    expect(out).toBe(`${page}${'-'.repeat(72)}\n${page}`);
  });

  test('--watch says that the daemon went away, and goes on when it is back', async () => {
    const onOut = (pieces: number) => {
      backend.error = pieces === 1 ? new ControlError('unreachable', 'the daemon is gone') : undefined;
    };
    const pending = call('status --watch --interval 0.1 --json', { stopAfter: 2, onOut });
    await vi.waitFor(() => expect(backend.asked.length).toBeGreaterThan(1), 5000);
    backend.error = undefined;
    const { code, out, err } = await pending;
    expect(code).toBe(0);
    expect(err).toMatch(/^conntwin: the daemon on .*; trying again\n/);
    expect(out.trim().split('\n')).toHaveLength(2);
  });

  test('--watch fails like any call when there never was a daemon', async () => {
    const { code, err } = await run(['--socket', '/nowhere/s.sock', 'status', '--watch'], { stopAfter: 9 });
    expect(code).toBe(4);
    expect(err).toContain('/nowhere/s.sock');
  });

  test.each(['0', '0.05', '4000', 'soon'])('--interval %s is refused', async (text) => {
    expect((await call(`status --watch --interval ${text}`)).code).toBe(2);
  });

  test('--watch asks again every second until it is stopped', async () => {
    const { code, out } = await call('status --watch --json', { stopAfter: 2 });
    expect(code).toBe(0);
    expect(backend.asked).toEqual(['status', 'status']);
    expect(
      out
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line).node),
    ).toEqual(['fw1', 'fw1']);
  });
});

describe('reload', () => {
  test('says what took effect and what waits for a restart, by exit code 3', async () => {
    const { code, out } = await call('reload');
    expect(out).toBe('changed: log\nneeds a restart: links\n');
    expect([code, backend.asked]).toEqual([3, ['reload']]);
    expect(JSON.parse((await call('reload --json')).out)).toEqual({
      changed: ['log'],
      needsRestart: ['links'],
    });
  });
});

describe('failover and commit', () => {
  test('say what was done and exit with the report’s code', async () => {
    backend.failoverReport.exitCode = 3;
    backend.failoverReport.reasons = ['fw2 was silent: its last 12 ms may be missing'];
    const { code, out, err } = await call('failover primary');
    expect(out).toBe(
      'role primary, term 9\n' +
        '20,000 committed, 3 kept, 2 updated, 1 replaced, 5 rejected (kernel-full 4, reply-taken 1) in 62 ms from fw2, 2023-11-14 22:13:20 UTC\n' +
        'fw2: 20,011 flows and 10 expectations, primary in term 1700000000000, proven, alive\n' +
        'expectations: 7 committed, 1 kept, 2 rejected (no-master 2)\n' +
        '6 without their master, which is gone\n' +
        '7 without their helper, which this kernel lacks\n' +
        '325,382 flows/s, longest pause of the daemon 1.5 ms\n' +
        'rejected, reply-taken: tcp      6 300 ESTABLISHED src=10.1.0.1 dst=10.2.0.1 sport=1 dport=2\n' +
        '... and 4 more\n' +
        '! fw2 was silent: its last 12 ms may be missing\n',
    );
    expect([code, err, backend.asked]).toEqual([3, '', ['failover primary']]);
  });

  test('draw progress for somebody who looks, and wipe it', async () => {
    const { err } = await call('commit', { isInteractive: true });
    const wipe = '\r\x1b[K';
    expect(err.endsWith(wipe)).toBe(true);
    expect(err.split(wipe).at(-2)).toMatch(/^create: 500 of 20,000 {2}\([\d.]+ m?s\)$/);
  });

  test('as JSON are the report', async () => {
    expect(JSON.parse((await call('failover fault --json')).out)).toEqual(backend.failoverReport);
    expect(JSON.parse((await call('commit --json')).out)).toEqual(backend.failoverReport);
    expect(backend.asked).toEqual(['failover fault', 'commit']);
  });
});

describe('ready', () => {
  test('exits 0 when the node may take over', async () => {
    const { code, out } = await call('ready');
    expect([code, out, backend.asked]).toEqual([0, 'ready\n', ['ready false']]);
  });

  test('exits 1 with the reasons, after a new check if asked for, also as JSON', async () => {
    backend.report.ready = { isReady: false, reasons: ['the replica of fw1 is not proven'], exitCode: 1 };
    const { code, out } = await call('ready --check');
    expect([code, out]).toEqual([1, 'NOT ready\n! the replica of fw1 is not proven\n']);
    const json = await call('ready --json');
    expect([json.code, JSON.parse(json.out)]).toEqual([1, backend.report.ready]);
    expect(backend.asked).toEqual(['ready true', 'ready false']);
  });
});

describe('drill', () => {
  test('says what a promote would come to, as an estimate, and exits with the report’s code', async () => {
    Object.assign(backend.failoverReport, { role: 'backup', exitCode: 3, reasons: ['fw2 is not proven'] });
    const { code, out } = await call('drill');
    expect([code, backend.asked]).toEqual([3, ['drill']]);
    expect(out).toContain(
      'drill, nothing was changed: backup now, a promote would take term 9 and come to\n20,000 committed',
    );
    expect(out).toContain('rejected (kernel-full 4, reply-taken 1) in about 62 ms from fw2');
    expect(out).toContain('! fw2 is not proven');
    expect(JSON.parse((await call('drill --json')).out)).toEqual(backend.failoverReport);
  });
});

describe('purge', () => {
  test('says what went, what stayed and why', async () => {
    const { code, out } = await call('purge');
    expect([code, backend.asked]).toEqual([0, ['purge']]);
    expect(out).toBe('30 flows purged, 5 kept (local 2, refreshed 3) in 5.2 s, 2023-11-14 22:13:20 UTC\n');
    expect(JSON.parse((await call('purge --json')).out)).toEqual(backend.purgeReport);
    expect((await call('status')).out).toContain('last purge: 30 flows purged');
  });
});

describe('verify', () => {
  test('exits 0 when all is equal', async () => {
    const { code, out } = await call('verify');
    expect(code).toBe(0);
    expect(out).toBe(
      'kernel 12 flows, mirror 12 flows: equal\nreplica on fw2: proven at 501\nequal (20 ms)\n',
    );
  });

  test('exits 1 and names the differences', async () => {
    Object.assign(backend.verifyReport, {
      exitCode: 1,
      differenceCount: 2,
      differences: [{ kind: 'missing', flow: 'tcp 6 src=10.0.0.1' }],
    });
    const { code, out } = await call('verify');
    expect(code).toBe(1);
    expect(out).toContain('12 flows: 2 differences\n  missing: tcp 6 src=10.0.0.1\n  ... and 1 more\n');
  });

  test('exits 3 when it cannot be proven, also as JSON', async () => {
    Object.assign(backend.verifyReport, { exitCode: 3, reasons: ['no peer'] });
    const { code, out } = await call('verify --json');
    expect([code, JSON.parse(out)]).toEqual([3, backend.verifyReport]);
  });
});

test('resync and flush pass their word on and print the answer', async () => {
  expect(await call('resync send')).toEqual({ code: 0, out: 'send done\n', err: '' });
  expect(await call('flush external')).toEqual({ code: 0, out: 'external flushed\n', err: '' });
  expect(JSON.parse((await call('flush kernel --json')).out)).toEqual({
    flows: 12,
    message: 'kernel flushed',
  });
  expect(backend.asked).toEqual(['resync send', 'flush external', 'flush kernel']);
});

describe('flows', () => {
  /** Packed records of TCP flows from these source ports. */
  function packed(...ports: number[]): Uint8Array {
    const memory = allocateMemory(ports.length * MAX_RECORD_BYTES);
    let at = 0;
    for (const sourcePort of ports) {
      const original = { source: '10.1.0.1', destination: '10.2.0.1', sourcePort, destinationPort: 443 };
      const protoinfo = { kind: 'tcp', state: 'ESTABLISHED' } as const;
      const status: ('ASSURED' | 'SEEN_REPLY')[] = ['SEEN_REPLY', 'ASSURED'];
      const flow = { family: 'ipv4', protocol: 'tcp', original, status, timeout: 300, protoinfo } as const;
      at += recordFromFlow({ ...flow, status }, memory, at);
    }
    return memory.u8.slice(0, at);
  }

  test('list prints a line for each record of each batch, as conntrack -L', async () => {
    backend.batches = [packed(1001, 1002), packed(1003)];
    const { code, out, err } = await call('flows list', { isInteractive: true });
    expect([code, err]).toEqual([0, '3 flows\n']);
    expect(out.split('\n')).toHaveLength(4);
    expect(out.split('\n')[1]).toMatch(
      /^tcp +6 300 ESTABLISHED src=10\.1\.0\.1 dst=10\.2\.0\.1 sport=1002 dport=443 src=10\.2\.0\.1 .*\[ASSURED\]/,
    );
  });

  test('list as extended and as JSON, one object a line', async () => {
    backend.batches = [packed(1001)];
    expect((await call('flows list -o extended')).out).toMatch(/^ipv4 +2 tcp +6 /);
    const json = (await call('flows list --json')).out;
    expect(JSON.parse(json)).toMatchObject({ protocol: 'tcp', original: { sourcePort: 1001 } });
    expect((await call('flows list -o json')).out).toBe(json);
  });

  test('on a terminal is a table as wide as that, which tells own flows from held ones', async () => {
    backend.batches = [packed(1001, 1002)];
    const { out } = await call('flows list', { screenColumns: 100 });
    expect(out.split('\n').slice(0, 3)).toEqual([
      'PROTO  FROM           TO            STATE        OWNER     STATUS   LEFT',
      'tcp    10.1.0.1:1001  10.2.0.1:443  established  held fw2  assured    5m',
      'tcp    10.1.0.1:1002  10.2.0.1:443  established  own       assured    5m',
    ]);
    const narrow = (await call('flows list', { screenColumns: 40 })).out.split('\n');
    expect(narrow.slice(0, 2)).toEqual(['PROTO  FROM           TO', 'tcp    10.1.0.1:1001  10.2.0.1:443']);
    const tiny = (await call('flows list', { screenColumns: 20 })).out.split('\n');
    expect(tiny[1]).toBe('tcp    10.1.0.1:100…');
  });

  test('as JSON says whose each is', async () => {
    backend.batches = [packed(1001, 1002)];
    const lines = (await call('flows list -o json')).out.trim().split('\n');
    expect(lines.map((line) => JSON.parse(line)).map(({ owner, node }) => [owner, node])).toEqual([
      ['held', 'fw2'],
      ['own', undefined],
    ]);
  });

  test('in order of a field, and the first of them only', async () => {
    backend.batches = [packed(1002, 1001), packed(1003)];
    const ports = async (options: string) =>
      [...(await call(`flows list ${options}`)).out.matchAll(/sport=(\d+) dport=443/g)].map(
        ([, port]) => port,
      );
    expect(await ports('--sort sport')).toEqual(['1003', '1002', '1001']);
    expect(await ports('--sort sport --reverse --top 2')).toEqual(['1001', '1002']);
    expect(await ports('--top 1 --sort src')).toEqual(['1002']);
  });

  test('an expression travels to the daemon as it was written, and a wrong one stays here', async () => {
    await call('flows count --where assured');
    expect(backend.asked).toEqual([{ table: 'kernel', node: '', filter: { status: [] }, where: 'assured' }]);
    const { code, err } = await run([
      '--socket',
      socket,
      'flows',
      'list',
      '--where',
      'proto=tcp and pront=5',
    ]);
    expect([code, backend.asked.length]).toEqual([2, 1]);
    expect(err).toBe(
      'conntwin: --where: column 15: "pront" is no field: did you mean "proto"?\n' +
        '  proto=tcp and pront=5\n' +
        '                ^\n',
    );
  });

  test('records of another layout are an error, not garbage', async () => {
    backend.batches = [packed(1001).slice(0, 50)];
    const { code, err } = await call('flows list');
    expect(code).toBe(4);
    expect(err).toContain('use the same version of conntwin');
  });

  test('filters reach the daemon as they were meant', async () => {
    const { code, out } = await call(
      'flows count --table external --node fw2 --protocol TCP --src 10.1.0.0/16 --dst 10.2.0.1 --sport 0 --dport 443 ' +
        '--mark 0x10/0xf0 --zone 7 --state established --status assured,UNREPLIED --status src_nat --family ipv4 -q 10.2.0.254',
    );
    expect([code, out]).toEqual([0, '20000\n']);
    expect(backend.asked).toEqual([
      {
        table: 'external',
        node: 'fw2',
        filter: {
          family: 'ipv4',
          protocol: 'tcp',
          source: '10.1.0.0/16',
          destination: '10.2.0.1',
          replyDestination: '10.2.0.254',
          sourcePort: 0,
          destinationPort: 443,
          mark: '0x10/0xf0',
          zone: 7,
          state: 'ESTABLISHED',
          status: ['ASSURED', 'UNREPLIED', 'SRC_NAT'],
        },
      },
    ]);
  });

  test('no filter is no filter, and the table is the kernel’s', async () => {
    expect((await call('flows count --json')).out).toBe('{\n  "count": 20000\n}\n');
    expect(backend.asked).toEqual([{ table: 'kernel', node: '', filter: { status: [] } }]);
  });

  test.each([
    ['--protocol nonsense', 'protocol'],
    ['--src 10.0.0.0/33', 'source: "10.0.0.0/33"'],
    ['--sport 65536', 'The port is a number from 0 to 65535.'],
    ['--mark x', 'mark: "x"'],
    ['--state NOWHERE', 'state: "NOWHERE"'],
    ['--status BLUE', 'status: "BLUE"'],
    ['--family ipx', 'The family is one of ipv4, ipv6.'],
    ['--table owls', 'The table is one of kernel, internal, external, mirror, replica.'],
    ['--node fw2', 'add --table external'],
    ['--src 10.0.0.0/33', '--src'],
    ['--where', '--where'],
    ['--where bytes>>5', '--where: column 7'],
    ['--table mirror --where bytes>5', "only the kernel's table has bytes"],
    [`--where ${'x'.repeat(9000)}`, 'longer than 8192 characters'],
    [`--where proto=${'x'.repeat(8000)}`, '...'],
    [`--protocol ${'x'.repeat(90_000)}`, '--protocol'],
    [`--sport ${'9'.repeat(90_000)}`, '--sport'],
  ])('count %s is a usage error', async (options, text) => {
    const { code, err } = await call(`flows count ${options}`);
    expect(code).toBe(2);
    expect(err).toContain(text);
    expect(err.length).toBeLessThan(1000);
    expect(backend.asked).toEqual([]);
  });
});

describe('expectations refuse what makes no sense, and name it', () => {
  const MASTER = ['--master', 'tcp 10.1.0.7:40000 10.2.0.9:21'];
  const cases: [string[], string][] = [
    [
      ['list', '--where', 'bytes>5'],
      'column 1: an expectation has no bytes, but proto, protocol, family, orig.src',
    ],
    [['list', '--where', 'assured'], 'column 1: an expectation has no status, but proto'],
    [['list', '--where', 'dport=x'], '--where: column 7'],
    [['list', '--node', 'fw2'], '--node'],
    [['list', '-o', 'xml'], '--output'],
    [['count', '--table', 'owls'], '--table'],
    [['get', 'tcp', 'any'], 'three words'],
    [['get', 'tcp', 'any', '10.0.0.1'], 'destination: "10.0.0.1" is not address:port'],
    [['get', 'tcp', '1.2.3', '10.0.0.1:5'], 'source: "1.2.3"'],
    [['create', 'tcp', 'any', '10.0.0.1:5'], "'--master <flow>'"],
    [['create', 'tcp', 'any', '10.0.0.1:5', '--master', 'tcp'], '--master: '],
    [['create', 'tcp', 'any', '10.0.0.1:5', ...MASTER, '--timeout', '2d'], '--timeout: "2d"'],
    [['create', 'tcp', 'any', '10.0.0.1:5', ...MASTER, '--class', '256'], '--class'],
    [['create', 'tcp', 'any', '10.0.0.1:5', ...MASTER, '--zone', 'x'], '--zone'],
    [
      ['create', 'tcp', 'any', '10.0.0.1:5', ...MASTER, '--helper', 'x'.repeat(9000)],
      "'--helper <name>' argument 'xxx",
    ],
    [['create', 'tcp', '10.0.0.0/40', '10.0.0.1:5', ...MASTER], '"10.0.0.0/40"'],
    [['delete'], 'or say --all'],
    [['delete', '--all', '--where', 'dport=5'], 'leave one of them out'],
    [['watch', '--where', 'owner=own'], '--where'],
    [['watch', '--for', 'x'], '--for'],
    [['watch', '--count', '-1'], '--count'],
  ];
  test.each(cases)('%j', async (words, text) => {
    const { code, out, err } = await run(['--socket', socket, 'expectations', ...words]);
    expect([code, out]).toEqual([2, '']);
    expect(err).toContain(text);
    expect(err.length).toBeLessThan(600);
    expect(backend.asked).toEqual([]);
  });
});

describe('flows diff', () => {
  test('tells both verdicts, and where a peer or a replica is not proven exits 3', async () => {
    backend.report.peers[0].appliedSequence = 501;
    Object.assign(backend.report, { role: 'primary' });
    const equal = await call('flows diff fw2');
    expect(equal).toMatchObject({
      code: 0,
      out: 'mirror here, replica on fw2: equal (12 flows)\nmirror on fw2, replica here: equal (20,000 flows)\n',
    });
    backend.report.peers[0].alive = false;
    const { code, out } = await call('flows diff fw2 --json');
    expect([code, JSON.parse(out).exitCode]).toEqual([3, 3]);
    backend.report.peers[0].verdict = 'diverged';
    expect((await call('flows diff fw2')).out).toContain('fw2 says silent, at 501 of 501');
    expect((await call('flows diff fw9')).code).toBe(2);
  });
});

describe('flows get, create, update, delete and watch refuse what makes no sense, and name it', () => {
  const LONG = 'x'.repeat(90_000);
  test.each([
    ['get', "missing required argument 'flow'"],
    ['get tcp', 'three words'],
    ['get tcp 10.0.0.1:1 10.0.0.2', '10.0.0.2: tcp has ports: write 10.0.0.2:PORT'],
    ['get icmp 10.0.0.1:1 10.0.0.2', '10.0.0.1:1: icmp has no ports'],
    ['get tcp 10.0.0.1:1 [fd00::1]:2', 'one is IPv4 and the other IPv6'],
    ['get owl 10.0.0.1 10.0.0.2', 'protocol: "owl"'],
    ['get tcp 10.0.0.1:1 10.0.0.300:2', 'destination: "10.0.0.300:2"'],
    ['get tcp 10.0.0.1:1 10.0.0.2:65536', 'destination: "10.0.0.2:65536"'],
    [`get tcp 10.0.0.1:1 ${LONG}`, 'destination: "xxx'],
    ['get tcp 10.0.0.1:1 10.0.0.2:2 --zone 70000', '--zone'],
    ['get tcp 10.0.0.1:1 10.0.0.2:2 --node fw2', '--node'],
    ['create tcp 10.0.0.1:1 10.0.0.2:2 --snat', '--snat'],
    ['create tcp 10.0.0.1:1 10.0.0.2:2 --snat 1.2.3', '--snat: "1.2.3"'],
    ['create tcp 10.0.0.1:1 10.0.0.2:2 --dnat fd00::1', '--dnat: fd00::1 is of another family'],
    ['create tcp 10.0.0.1:1 10.0.0.2:2 --dnat [fd00::1]:5', '--dnat: fd00::1 is of another family'],
    ['create icmp 10.0.0.1 10.0.0.2 --snat 10.0.0.3:5', '--snat: the protocol has no ports'],
    ['create tcp 10.0.0.1:1 10.0.0.2:2 --state asleep', '--state: "asleep" is no state'],
    ['create sctp 10.0.0.1:1 10.0.0.2:2 --state time-wait', '--state: "time-wait" is not a state of sctp'],
    ['create udp 10.0.0.1:1 10.0.0.2:2 --state established', '--state: udp has no states'],
    ['create tcp 10.0.0.1:1 10.0.0.2:2 --status unreplied', '--status: "unreplied"'],
    ['create tcp 10.0.0.1:1 10.0.0.2:2 --timeout soon', '--timeout: "soon" is not a time'],
    [`create tcp 10.0.0.1:1 10.0.0.2:2 --timeout ${'9'.repeat(90_000)}`, '--timeout: "999'],
    ['create tcp 10.0.0.1:1 10.0.0.2:2 --mark 0x1/', '--mark: "0x1/"'],
    ['create tcp 10.0.0.1:1 10.0.0.2:2 --label 128', '--label: "128"'],
    [`create tcp 10.0.0.1:1 10.0.0.2:2 --helper ${LONG}`, "'--helper <name>' argument 'xxx"],
    ['create icmp 10.0.0.1 10.0.0.2 --icmp-type 256', '--icmp-type'],
    ['create icmp 10.0.0.1 10.0.0.2 --icmp-code x', '--icmp-code'],
    ['create icmp 10.0.0.1 10.0.0.2 --icmp-id 65536', '--icmp-id'],
    ['update', 'or say --all'],
    ['update --all', 'nothing to change: give one of --mark'],
    ['update --all --mark', '--mark'],
    ['update --all --mark blue', '--mark: "blue"'],
    ['update --all --timeout 1x', '--timeout: "1x"'],
    ['update --all --set-state asleep', '--set-state: "asleep"'],
    ['update --all --set-status asleep', '--set-status: "asleep"'],
    ['update --all --add-label some', '--add-label: "some"'],
    ['update --all --remove-label 200', '--remove-label: "200"'],
    ['update --where src=5 --mark 5', '--where: column 5'],
    ['delete', 'or say --all'],
    ['delete --dry-run', 'or say --all'],
    ['delete --all --dport 22', 'leave one of them out'],
    ['delete --all tcp 10.0.0.1:1 10.0.0.2:2', 'leave one of them out'],
    ['delete --where', '--where'],
    ['watch --where held', '--where: an event does not say'],
    ['watch --events born', '--events: "born"'],
    ['watch --count 0', '--count'],
    ['watch --for ever', '--for: "ever"'],
    ['watch --for 1000d', '--for'],
    [`watch --events ${LONG}`, '--events: "xxx'],
    ['diff', "missing required argument 'peer'"],
    ['diff fw2 --peer-socket', '--peer-socket'],
    ['diff fw2 --where bytes>5', '--where: only what both tables have'],
    ['list --sort', '--sort'],
    ['list --sort colour', '--sort: "colour" is no field to sort by'],
    ['list --top 0', '--top'],
    ['list --top 100001', '--top'],
    ['list --reverse', '--reverse'],
    ['list -o csv', '--output'],
    ['list --table mirror --sort bytes', '--sort'],
  ])('flows %s', async (line, text) => {
    const { code, out, err } = await call(`flows ${line}`);
    expect([code, out]).toEqual([2, '']);
    expect(err).toContain(text);
    expect(err.length).toBeLessThan(600);
    expect(backend.asked).toEqual([]);
  });
});

describe('errors are one line and an exit code', () => {
  test.each([
    ['statsu', "unknown command 'statsu' (Did you mean status?)"],
    ['failover master', 'The role is one of primary, backup, fault.'],
    ['failover', "missing required argument 'role'"],
    ['status --jsn', "unknown option '--jsn'"],
    ['daemon --log-level loud', 'not one of debug, info, warn, error'],
  ])('conntwin %s: 2', async (line, text) => {
    const { code, out, err } = await call(line);
    expect([code, out]).toEqual([2, '']);
    expect(err).toMatch(/^conntwin: [^\n]+\n$/);
    expect(err).toContain(text);
  });

  test('no daemon: 4, and how to start one', async () => {
    const { code, err } = await run(['--socket', join(folder, 'none.sock'), 'status']);
    expect(code).toBe(4);
    expect(err).toMatch(/^conntwin: no daemon on [^\n]+: start it \(systemctl start conntwin\)[^\n]+\n$/);
  });

  test('a refusal of the daemon: 4, in its own words', async () => {
    backend.refuse('a promote runs: wait for it');
    expect(await call('commit')).toEqual({
      code: 4,
      out: '',
      err: 'conntwin: a promote runs: wait for it\n',
    });
  });

  test('--help of every command has examples and exits 0', async () => {
    const commands =
      'daemon|status|failover|resync|verify|drill|purge|commit|flush|flows list|flows count|flows get|flows create|flows update|flows delete|flows watch|flows diff|expectations list|expectations get|expectations create|expectations delete|expectations watch|expectations count|config check|config show|key generate';
    for (const command of commands.split('|')) {
      const { code, out } = await call(`${command} --help`);
      expect([command, code]).toEqual([command, 0]);
      expect(out).toContain(`conntwin ${command}`);
      expect(out).toMatch(/Examples:\n {2}conntwin/);
      expect(out).toContain('--json');
    }
    expect((await run(['--help'])).out).toContain('Exit codes:');
    expect((await run(['--version'])).out).toMatch(/^\d+\.\d+\.\d+\n$/);
    expect((await run([])).code).toBe(2);
  });
});

describe('configuration', () => {
  const text = () => `node: { name: fw1, cluster: edge }
links: [ { interface: sync, address: 10.9.0.1, group: 225.0.0.50 } ]
security: none
control: { socket: ${socket} }
kernel: { event_buffer: 512KiB, audit_interval: 1500ms }
metrics: off
`;
  const write = (name: string, content: string) => {
    const file = join(folder, name);
    writeFileSync(file, content);
    return file;
  };

  test('names the socket for every call', async () => {
    const { code, out } = await run(['--config', write('c.yaml', text()), 'status', '--json']);
    expect([code, JSON.parse(out).node]).toEqual([0, 'fw1']);
  });

  test('with an error elsewhere does not keep an operator from the status', async () => {
    const file = write('broken.yaml', `${text()}nonsense: 1\n`);
    expect((await run(['status', '--config', file])).code).toBe(0);
  });

  test('that was named and is not there is an error: 2', async () => {
    const { code, err } = await run(['--config', '/nowhere.yaml', 'status']);
    expect(code).toBe(2);
    expect(err).toMatch(/^\/nowhere\.yaml: cannot be read \(ENOENT\)[^\n]+\n$/);
  });

  test('check says ok, or every problem with file and line: 2', async () => {
    const right = write('right.yaml', text());
    expect(await run(['config', 'check', right])).toEqual({ code: 0, out: `${right}: ok\n`, err: '' });
    const wrong = write('wrong.yaml', text().replace('none', 'maybe').replace('512KiB', '5 apples'));
    const { code, out, err } = await run(['--config', wrong, 'config', 'check']);
    expect([code, out]).toEqual([2, '']);
    const lines = err.trimEnd().split('\n');
    expect(lines[0]).toContain(`${wrong}:3: security: "maybe" is not a choice, write`);
    expect(lines[1]).toContain(`${wrong}:5: kernel.event_buffer: "5 apples" is not a size`);
    expect(lines).toHaveLength(2);
  });

  test('show prints a configuration that means the same', async () => {
    const first = await run(['config', 'show', write('show.yaml', text())]);
    expect(first.out).toContain('event_buffer: 512KiB');
    const second = await run(['config', 'show', write('shown.yaml', first.out)]);
    expect(second).toEqual(first);
    const json = JSON.parse((await run(['config', 'show', join(folder, 'show.yaml'), '--json'])).out);
    expect(json).toMatchObject({
      metrics: 'off',
      kernel: { audit_interval: '1500ms' },
      links: [{ mtu: 1500 }],
    });
  });

  test('daemon does not start with a wrong one', async () => {
    const { code, err } = await run(['--config', write('w.yaml', 'node: 1\n'), 'daemon']);
    expect(code).toBe(2);
    expect(err).toContain('w.yaml:1: node: 1 is not a section');
  });
});

describe('key generate', () => {
  test('writes 32 random bytes that only the owner reads, and never twice to one file', async () => {
    const file = join(folder, 'key');
    expect((await run(['key', 'generate', file])).code).toBe(0);
    const key = readFileSync(file, 'latin1');
    expect(Buffer.from(key, 'base64')).toHaveLength(32);
    expect(statSync(file).mode & 0o777).toBe(0o600);
    const { code, err } = await run(['key', 'generate', file]);
    expect(code).toBe(4);
    expect(err).toContain('is not overwritten');
    expect(readFileSync(file, 'latin1')).toBe(key);
  });

  test('prints a fresh one without a file', async () => {
    const [first, second] = [await run(['key', 'generate']), await run(['key', 'generate'])];
    expect(Buffer.from(first.out, 'base64')).toHaveLength(32);
    expect(first.out).not.toBe(second.out);
    expect(existsSync('undefined')).toBe(false);
  });
});
