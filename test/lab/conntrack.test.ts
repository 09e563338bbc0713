/** The conntrack command as a process, beside Debian's: random command lines, the manual's examples, events, many flows. */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { enterNetNamespace } from '../../native/net-namespace.js';
import { CounterMap } from '../../src/flow/counters.js';
import { recordFromFlow } from '../../src/flow/flow.js';
import { KernelBatch, OP_CREATE } from '../../src/flow/kernel-port.js';
import { allocateMemory, MAX_RECORD_BYTES } from '../../src/flow/record.js';
import { Injector } from '../../src/kernel/injector.js';
import { commandEnvironment, ended, run, runSync } from './command.js';
import { compare, differenceOf, type Outcome } from './conntrack/comparison.js';
import { debianOutcome } from './conntrack/debian-quirks.js';
import { Twins } from './conntrack/twins.js';
import { eventually } from './deadline.js';
import { CONNTWIN_PROGRAM, program, repositoryRoot } from './program.js';
import { sized } from './size.js';

const WITHIN = { withinMs: 60_000 };
let twins: Twins;
let directory: string;

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'ct-command-'));
  symlinkSync(program(CONNTWIN_PROGRAM)[1], join(directory, 'conntrack'));
  twins = await Twins.create();
});
afterAll(() => {
  twins?.close();
  rmSync(directory, { recursive: true, force: true });
});
beforeEach(() => twins.flush());

function inside<T>(namespace: string, use: () => T): T {
  const leave = enterNetNamespace(namespace);
  try {
    return use();
  } finally {
    leave();
  }
}

/** The command as a process, by the link that has conntrack's name. */
const twinArgv = (words: readonly string[]): string[] => [
  process.execPath,
  join(directory, 'conntrack'),
  ...words,
];
const runTwin = (words: readonly string[], input = ''): Outcome =>
  inside(twins.twin, () => runSync(twinArgv(words), input));
/** Its standard input must be a real pipe: it opens it once more by its name. */
const runDebian = (words: readonly string[], input = ''): Outcome =>
  inside(twins.debian, () => runSync(['sh', '-c', 'cat | conntrack "$@"', 'sh', ...words], input));

test('random command lines come to the same in both programs', async () => {
  // Always the same lines: what a new line finds is news of Debian's program as often as of ours, and is looked for with
  // `npm run test:conntrack`, which takes new ones.
  const seed = Number(process.env.CONNTWIN_SEED ?? 4711) % 1_000_000;
  const [node, script] = program('test/lab/conntrack/compare-program');
  const argv = [node, script, '--seed', String(seed), '--count', String(sized(120, 10_000))];
  const labelled = join(repositoryRoot(), 'test/lab/conntrack/labelled.sh');
  expect(await run(['sh', labelled, ...argv])).toMatch(/ 0 differ;/);
});

/** Flows for the manual's examples, of both families, translated and in a zone. */
const FLOWS = [
  '-I -p tcp -s 1.2.3.4 -d 192.0.2.1 --sport 1000 --dport 22 --state ESTABLISHED -t 1000 -u SEEN_REPLY,ASSURED',
  '-I -p udp -s 1.2.3.4 -d 192.0.2.1 --sport 1001 --dport 53 -t 1000',
  '-I -p udp -s 10.0.0.1 -d 192.0.2.1 --sport 1002 --dport 53 -t 1000 --src-nat 203.0.113.1:2000',
  '-I -p tcp -s 10.0.0.1 -d 192.0.2.1 --sport 1003 --dport 80 --state SYN_SENT -t 1000 -w 11',
  '-I -p udp -s 10.0.0.2 -d 192.0.2.1 --sport 1004 --dport 53 -t 1000 -w 11',
  '-I -p tcp -s 2001:db8::1 -d 2001:db8::2 --sport 1005 --dport 80 --state ESTABLISHED -t 1000',
  '-I -p icmpv6 -s 2001:db8::1 -d 2001:db8::2 --icmpv6-type 128 --icmpv6-code 0 --icmpv6-id 5 -t 1000',
];

describe("the examples of conntrack(8)'s manual", () => {
  beforeEach(() => {
    for (const line of FLOWS) {
      const words = line.split(' ');
      const [debian, twin] = [runDebian(words), inside(twins.twin, () => runSync(['conntrack', ...words]))];
      expect([debian.code, twin.code, debian.stderr]).toEqual([0, 0, twin.stderr]);
    }
  });

  // Debian's -U shows some of the flows that it has changed.
  const same = (debian: Outcome, twin: Outcome, isPart = false): void => {
    expect(compare(debian, twin, isPart)).toBeUndefined();
    const tables = twins.tables();
    expect(differenceOf(tables.debian, tables.twin)).toBeUndefined();
  };

  test.each([
    '-L',
    '-L -o extended',
    '-L -o xml',
    '-L -o save',
    '-L -f ipv6 -o extended',
    '-L --src-nat',
    '-D -s 1.2.3.4',
    '-U -s 1.2.3.4 -m 1',
  ])('conntrack %s', (line) => {
    const words = line.split(' ');
    same(runDebian(words), runTwin(words), words[0] === '-U');
  });

  test('conntrack -L -w 11 -o save | sed "s/-w 11/-w 12/g" | conntrack --load-file -', () => {
    const words = '-L -w 11 -o save'.split(' ');
    const [debian, twin] = [runDebian(words), runTwin(words)];
    same(debian, twin);
    const moved = (saved: Outcome) => saved.stdout.replaceAll('-w 11', '-w 12');
    same(runDebian(['--load-file', '-'], moved(debian)), runTwin(['--load-file', '-'], moved(twin)));
    expect(runTwin(['-L', '-w', '12']).stderr).toMatch(/: 2 flow entries have been shown\.$/m);
  });
});

test('a file with a bad line changes nothing, and the line is named', () => {
  const file = `${FLOWS[0]}\n# all is well\n${FLOWS[1].replace('--dport 53', '--dport 70000')}\n`;
  const { code, stderr } = runTwin(['-R', '-'], file);
  expect([code, stderr.split('\n')[0]]).toEqual([
    2,
    'conntrack v1.4.9 (conntwin): -, line 3: --dport: "70000" is not a number from 0 to 65535',
  ]);
  expect(runTwin(['-C']).stdout).toBe('0\n');
});

test('a label counts as written in every flow that --label-add names, as in the original', () => {
  const labels = join(directory, 'labels.conf');
  writeFileSync(labels, '5 five\n6 six\n');
  for (const line of FLOWS.slice(0, 3)) runTwin(line.split(' '));
  const update = (line: string) => {
    const { code, stderr } = runTwin(['-U', '--labelmap', labels, '-f', 'ipv4', ...line.split(' ')]);
    return `${code} ${stderr.replace(/^.*: /, '').trim()}`;
  };
  expect(update('-p tcp --label-add five')).toBe('0 1 flow entries have been updated.');
  expect(update('--label-add five')).toBe('0 3 flow entries have been updated.');
  expect(update('--label-add five')).toBe('0 3 flow entries have been updated.');
  expect(update('-p tcp --label-del')).toBe('0 1 flow entries have been updated.');
  // Those that have labels, be it others.
  expect(update('--label-del six')).toBe('0 2 flow entries have been updated.');
  expect(update('-p tcp --label-del six')).toBe('1 0 flow entries have been updated.');
});

test('a DCCP flow that the kernel tracks without ports has no port 0', () => {
  const words = '-I -p dccp -s 10.0.0.1 -d 10.9.0.1 --sport 1 --dport 80 --state OPEN --role client -t 1000';
  for (const run of [runDebian, runTwin]) expect(run(words.split(' ')).code).toBe(0);
  const shown = (line: string) => {
    const [debian, twin] = [runDebian, runTwin].map((run) => run(line.split(' ')));
    expect(compare(debian, twin)).toBeUndefined();
    return twin.stderr;
  };
  expect(shown('-L -p dccp')).toContain(' 1 flow entries');
  expect(shown('-L -p dccp --dport 0')).toContain(' 0 flow entries');
  expect(shown('-L -p dccp --reply-port-dst 0')).toContain(' 0 flow entries');
});

test('what -o save says of every kind of flow is taken by -R as it stands', () => {
  const dccp = '-I -p dccp -s 10.0.0.1 -d 10.9.0.1 --sport 1 --dport 80 --state OPEN --role client -t 1000';
  for (const line of [...FLOWS, dccp]) expect(runTwin(line.split(' ')).code).toBe(0);
  const saved = runTwin(['-L', '-o', 'save']).stdout;
  runTwin(['-F']);
  expect(runTwin(['-R', '-'], saved)).toMatchObject({ code: 0, stderr: '' });
  expect(differenceOf(saved, runTwin(['-L', '-o', 'save']).stdout)).toBeUndefined();
});

test('a full disk is no list', () => {
  runTwin(FLOWS[1].split(' '));
  const full = (words: readonly string[]) =>
    inside(twins.twin, () => runSync(['sh', '-c', '"$@" > /dev/full', 'sh', ...words]));
  const command = full(twinArgv(['-L', '-o', 'save']));
  expect([command.code, command.stderr]).toEqual([1, 'conntrack: standard output: ENOSPC\n']);
  const flows = full([...program(CONNTWIN_PROGRAM), 'flows', 'list']);
  expect([flows.code, flows.stderr]).toEqual([4, 'conntwin: standard output: ENOSPC\n']);
});

test('-U fixes a timeout at the value that stands beside', () => {
  runTwin(FLOWS[1].split(' '));
  const { code, stdout } = runTwin('-U -p udp -t 500 -u FIXED_TIMEOUT'.split(' '));
  expect([code, stdout]).toEqual([0, expect.stringMatching(/^udp +17 (499|500) /)]);
});

/** A program that shows events, and what it has written. */
class Watcher {
  text = '';
  readonly child: ChildProcess;

  constructor(namespace: string, argv: readonly string[]) {
    const [file, ...args] = argv;
    this.child = inside(namespace, () => spawn(file, args, { env: commandEnvironment() }));
    this.child.stdout?.on('data', (chunk: Buffer) => {
      this.text += chunk.toString('latin1');
    });
  }

  get lines(): number {
    let lines = 0;
    for (let at = this.text.indexOf('\n'); at >= 0; at = this.text.indexOf('\n', at + 1)) lines++;
    return lines;
  }

  async stop(): Promise<number | null> {
    this.child.kill('SIGINT');
    await ended(this.child);
    return this.child.exitCode;
  }
}

/** Waits until both have heard a first event: from then on they miss none. */
async function listening(watchers: readonly Watcher[], poke: () => void): Promise<void> {
  await eventually('events in both programs', WITHIN, () => {
    poke();
    return watchers.every((watcher) => watcher.lines > 0);
  });
}

/** Sources of flows that come and go before and behind all others. */
const [BEGIN, END] = ['10.0.0.66', '10.0.0.77'];

describe('-E', () => {
  test.each([
    '',
    '-o extended,id',
    '-o timestamp',
    '-o xml',
    '-o save',
    '-p udp',
    '-s 10.0.0.0/8 -e NEW,DESTROY',
  ])('shows what Debian shows: %s', async (line) => {
    const words = ['-E', ...line.split(' ').filter(Boolean)];
    // In one namespace, so that both hear the same.
    const watchers = [
      new Watcher(twins.debian, ['conntrack', ...words]),
      new Watcher(twins.debian, twinArgv(words)),
    ];
    const act = (command: string) => runDebian(command.split(' '));
    const blink = (source: string) => {
      const words = `-p udp -s ${source} -d 192.0.2.9 --sport 9 --dport 9`;
      act(`-I ${words} -t 100`);
      act(`-D ${words}`);
    };
    await listening(watchers, () => blink('10.0.0.9'));
    blink(BEGIN);
    for (const flow of FLOWS) act(flow);
    act('-U -s 1.2.3.4 -p tcp -m 7');
    act('-U -s 1.2.3.4 -p udp -t 500');
    act('-D -s 10.0.0.1');
    act('-D -f ipv6');
    act('-D -s 1.2.3.4');
    blink(END);
    const isOver = (text: string) => text.split('\n').filter((row) => row.includes(END)).length === 2;
    await eventually('the last events', WITHIN, () => watchers.every(({ text }) => isOver(text)));
    expect(await Promise.all(watchers.map((watcher) => watcher.stop()))).toEqual([0, 0]);
    // They began to listen at different moments.
    const common = watchers.map(({ text }) => text.slice(text.lastIndexOf(BEGIN)));
    const debian = { code: 0, stdout: common[0], stderr: '' };
    common[0] = debianOutcome(words, debian, debian).stdout;
    expect(common[0].split('\n').length).toBeGreaterThan(5);
    expect(differenceOf(common[0], common[1])).toBeUndefined();
  });

  test('under 20,000 events a second nothing is lost', async () => {
    const flows = sized(20_000, 200_000);
    const watchers = [
      new Watcher(twins.twin, ['conntrack', '-E', '-e', 'NEW']),
      new Watcher(twins.twin, twinArgv(['-E', '-e', 'NEW'])),
    ];
    const injector = inside(twins.twin, () => new Injector(new CounterMap()));
    let next = 0;
    const create = (count: number): void => {
      const batch = new KernelBatch(128);
      for (let i = 0; i < count; i++) batch.add(OP_CREATE, 0, flowNumber(next++), 0);
      injector.execute(batch);
    };
    await listening(watchers, () => create(1));
    const before = next;
    const since = performance.now();
    while (next - before < flows) {
      // 20 a millisecond, as far as this process gets to run.
      const due = Math.min(flows, (performance.now() - since) * 20);
      while (next - before < due) create(Math.min(100, flows));
      await pause(1);
    }
    const created = next - before;
    await eventually('all events', WITHIN, () => watchers[1].text.includes(`${numberWords(next - 1)} `));
    const counted = new Set(watchers[1].text.match(/src=10\.\d+\.\d+\.\d+ dst=192[^[]*/g) ?? []);
    expect(counted.size).toBeGreaterThanOrEqual(created);
    expect(await Promise.all(watchers.map((watcher) => watcher.stop()))).toEqual([0, 0]);
    injector.close();
  });
});

const scratch = allocateMemory(MAX_RECORD_BYTES);
const octets = (n: number): string => `10.${(n >>> 16) & 255}.${(n >>> 8) & 255}.${n & 255}`;
const numberWords = (n: number): string => `src=${octets(n)} dst=192.0.2.1 sport=${1024 + (n % 50_000)}`;

function flowNumber(n: number) {
  const source = octets(n);
  recordFromFlow(
    {
      family: 'ipv4',
      protocol: n % 2 === 0 ? 'tcp' : 'udp',
      original: { source, destination: '192.0.2.1', sourcePort: 1024 + (n % 50_000), destinationPort: 443 },
      ...(n % 2 === 0 ? { protoinfo: { kind: 'tcp' as const, state: 'ESTABLISHED' } } : {}),
      status: n % 3 === 0 ? ['SEEN_REPLY', 'ASSURED'] : [],
      mark: n % 7,
      timeout: 3000,
    },
    scratch,
    0,
  );
  return scratch;
}

describe('expectations', () => {
  const TUPLE = '-p tcp -s 192.0.2.9 -d 10.0.0.9 --sport 0 --dport 2000';
  const MASTER = '-p tcp -s 10.0.0.9 -d 192.0.2.9 --sport 1000 --dport 21';
  const CREATE = `-I expect ${MASTER} -t 100 --tuple-src 192.0.2.9/32 --tuple-dst 10.0.0.9/32`;
  const PORTS = '--tuple-port-src 0 --tuple-port-dst 2000 --mask-port-src 0 --mask-port-dst 65535';

  /** A control connection with the FTP helper, in both namespaces; false where this kernel has no such helper. */
  const hasHelper = (): boolean =>
    [twins.debian, twins.twin].every((namespace) => {
      const injector = inside(namespace, () => new Injector(new CounterMap()));
      const batch = new KernelBatch(1);
      recordFromFlow(
        {
          family: 'ipv4',
          protocol: 'tcp',
          original: { source: '10.0.0.9', destination: '192.0.2.9', sourcePort: 1000, destinationPort: 21 },
          protoinfo: { kind: 'tcp', state: 'ESTABLISHED' },
          status: ['SEEN_REPLY', 'ASSURED'],
          helper: 'ftp',
          timeout: 3000,
        },
        scratch,
        0,
      );
      batch.add(OP_CREATE, 0, scratch, 0);
      injector.execute(batch);
      injector.close();
      return batch.errno[0] === 0;
    });

  test('are made, listed, found and deleted as Debian does', (context) => {
    if (!hasHelper()) context.skip('this kernel has no FTP helper');
    const words = `${CREATE} ${PORTS}`.split(' ');
    // Debian's own makes one of protocol 0, without ports.
    for (const namespace of [twins.debian, twins.twin]) {
      const made = inside(namespace, () => runSync(twinArgv(words)));
      expect([made.code, made.stdout, made.stderr]).toEqual([0, '', '']);
    }
    const same = (line: string) => {
      const [debian, twin] = [runDebian(line.split(' ')), runTwin(line.split(' '))];
      const timeless = (outcome: Outcome) => ({
        ...outcome,
        stdout: outcome.stdout.replace(/^\d+ proto/gm, 'T proto'),
      });
      expect([line, compare(timeless(debian), timeless(twin))]).toEqual([line, undefined]);
      return twin;
    };
    expect(same('-L expect').stdout).toContain('proto=6 src=192.0.2.9 dst=10.0.0.9 sport=0 dport=2000 ');
    for (const line of ['-L expect -o xml', '-L expect -f ipv6', '-L expect -f ipv4', '-C expect'])
      same(line);
    same(`-G expect ${TUPLE} --reply-port-src 0 --reply-port-dst 0`);
    expect(runTwin(`-G expect ${TUPLE}`.split(' ')).code).toBe(0);
    // Debian's deletes it and says that it could not.
    const deletion = `-D expect ${TUPLE} --reply-port-src 0 --reply-port-dst 0`.split(' ');
    runDebian(deletion);
    expect(runTwin(deletion).code).toBe(0);
    expect(same('-L expect').stdout).toBe('');
    expect(runTwin(`-D expect ${TUPLE}`.split(' ')).code).toBe(1);
  });
});

describe('many flows', () => {
  const flows = sized(5000, 300_000);

  beforeEach(() => {
    const injector = inside(twins.twin, () => new Injector(new CounterMap()));
    const batch = new KernelBatch(128);
    for (let n = 0; n < flows; n++) {
      batch.add(OP_CREATE, 0, flowNumber(n), 0);
      if (!batch.isFull && n < flows - 1) continue;
      injector.execute(batch);
      batch.clear();
    }
    injector.close();
  });

  test('-L shows them as Debian does, line by line', () => {
    const debian = inside(twins.twin, () => runSync(['conntrack', '-L']));
    const twin = runTwin(['-L']);
    expect(compare(debian, twin)).toBeUndefined();
    expect(twin.stderr).toContain(`${flows} flow entries have been shown`);
  });

  test('-D with a filter deletes those, and no others', () => {
    const { code, stdout, stderr } = runTwin(['-D', '-p', 'tcp', '-m', '3']);
    const wanted = [...Array(flows).keys()].filter((n) => n % 2 === 0 && n % 7 === 3).length;
    expect([code, stderr]).toEqual([
      0,
      `conntrack v1.4.9 (conntwin): ${wanted} flow entries have been deleted.\n`,
    ]);
    expect(stdout.split('\n').length - 1).toBe(wanted);
    const left = runTwin(['-L']).stderr;
    expect(left).toContain(`: ${flows - wanted} flow entries have been shown.`);
    expect(runTwin(['-D', '-p', 'tcp', '-m', '3']).code).toBe(1);
  });
});
