import {
  chmodSync,
  chownSync,
  closeSync,
  constants,
  mkdirSync,
  mkdtempSync,
  openSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { makeFifo } from '../../../native/fifo.js';
import { VrrpFifo } from '../../../src/daemon/vrrp-fifo.js';
import { eventually } from '../../lab/deadline.js';

const WITHIN = { withinMs: 5000, everyMs: 5 };

let directory: string;
let path: string;
let text: string;
let logged: string[];
let fifo: VrrpFifo | undefined;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'conntwin-fifo-'));
  path = join(directory, 'vrrp.fifo');
  text = '';
  logged = [];
});
afterEach(() => {
  fifo?.close();
  fifo = undefined;
  rmSync(directory, { recursive: true });
});

function open(): VrrpFifo {
  fifo = new VrrpFifo(path, {
    push: (u8, length) => {
      text += new TextDecoder().decode(u8.subarray(0, length));
    },
    turn: () => undefined,
    restart: () => {
      text += '|';
    },
    log: (level, message) => logged.push(`${level} ${message}`),
  });
  return fifo;
}

const hold = () => openSync(path, constants.O_RDWR | constants.O_NONBLOCK);
const reads = (what: string) => eventually(`it reads ${what}`, WITHIN, () => text.endsWith(what));

test('a missing FIFO is made, for its owner only, and read as something comes', async () => {
  open();
  const { mode } = statSync(path);
  expect(mode & 0o777).toBe(0o600);
  const held = hold();
  writeSync(held, 'one\n');
  await reads('one\n');
  closeSync(held);
});

test('what keepalived wrote while nobody read is read at the start', async () => {
  makeFifo(path);
  const held = hold();
  writeSync(held, 'before\n');
  open();
  await reads('before\n');
  closeSync(held);
});

test('it tells whether somebody else has the FIFO open, and reads all the same when nobody stays', async () => {
  open();
  expect(fifo!.isHeld).toBe(false);
  const held = hold();
  await eventually('it is held', WITHIN, () => fifo!.isHeld);
  closeSync(held);
  await eventually('it is not held', WITHIN, () => !fifo!.isHeld);
  for (const word of ['a\n', 'b\n', 'c\n']) {
    writeFileSync(path, word, { flag: 'r+' });
    await reads(word);
  }
  // A pipe without a writer is readable without end: this one must not be.
  const before = process.cpuUsage();
  await pause(300);
  expect(process.cpuUsage(before).user).toBeLessThan(150_000);
});

test('another FIFO of that name, as a keepalived that comes back makes it, is opened; the old one is read to its end', async () => {
  open();
  const old = hold();
  const aside = `${path}.old`;
  renameSync(path, aside);
  writeSync(old, 'last\n');
  makeFifo(path);
  const held = hold();
  writeSync(held, 'first\n');
  await reads('first\n');
  expect(text).toBe('|last\n|first\n');
  closeSync(old);
  closeSync(held);
});

test.each([
  ['a file', () => writeFileSync(path, 'GROUP "edge" MASTER 0\n'), /is a file, not a FIFO: remove it/],
  ['a directory', () => mkdirSync(path), /is a directory, not a FIFO/],
  [
    'a FIFO that others may write',
    () => {
      makeFifo(path);
      chmodSync(path, 0o622);
    },
    /others than its owner may write into it \(mode 0622\): chmod 600/,
  ],
])('%s is refused, told once, and taken when it was mended', async (_, make, problem) => {
  make();
  open();
  expect(fifo!.problem).toMatch(problem);
  expect(fifo!.problem).toContain(`failover.vrrp_fifo ${path}`);
  await pause(500);
  expect(logged.filter((line) => problem.test(line))).toHaveLength(1);
  rmSync(path, { recursive: true });
  await eventually('it is open', WITHIN, () => fifo!.problem === undefined);
  expect(text).toBe('|');
});

test('a FIFO that becomes writable for others while it is open is closed', async () => {
  open();
  chmodSync(path, 0o666);
  await eventually('it is refused', WITHIN, () => fifo!.problem !== undefined);
  const held = hold();
  writeSync(held, 'GROUP "edge" MASTER 0\n');
  await pause(300);
  expect(text).toBe('|');
  closeSync(held);
});

test("a stranger's FIFO is refused", async (context) => {
  if (process.geteuid?.() !== 0) {
    Object.assign(context.task.meta, { note: 'only root can make a file of another user' });
    context.skip('only root can make a file of another user');
  }
  makeFifo(path);
  chownSync(path, 65534, 65534);
  open();
  expect(fifo!.problem).toMatch(/belongs to uid 65534, neither root nor this daemon/);
});

test('a missing directory is told, and waited for', async () => {
  path = join(directory, 'sub', 'vrrp.fifo');
  open();
  expect(fifo!.problem).toContain(`${join(directory, 'sub')} does not exist: make this directory`);
  mkdirSync(join(directory, 'sub'));
  await eventually('it is open', WITHIN, () => fifo!.problem === undefined);
});

test('a pipe that was full is told: the last lines may be lost', async () => {
  makeFifo(path);
  const held = hold();
  const line = 'GROUP "edge" BACKUP 0\n';
  expect(() => {
    for (;;) writeSync(held, line);
  }).toThrow('EAGAIN');
  open();
  await eventually('the loss is told', WITHIN, () => logged.some((l) => l.includes('was full')));
  closeSync(held);
});
