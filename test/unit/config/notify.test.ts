/** keepalived's notify script, with a command in the place of `conntwin` that only notes what it was told. */
import { spawnSync } from 'node:child_process';
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';

const SCRIPT = join(import.meta.dirname, '../../../config/keepalived/notify.sh');
const BOOT = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
/** More clock ticks since boot than any machine has been up. */
const LATER = 2 ** 40;

let directory: string;
let told: string;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'conntwin-notify-'));
  told = join(directory, 'told');
  const command = join(directory, 'command');
  writeFileSync(command, `#!/bin/sh\necho "$*" >>${told}\n`);
  chmodSync(command, 0o755);
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

const wantedFile = () => join(directory, 'notify.wanted');

function notify(state: string): number | null {
  const env = {
    ...process.env,
    CONNTWIN_SOCKET: join(directory, 'control.sock'),
    CONNTWIN_COMMAND: join(directory, 'command'),
    CONNTWIN_LOG: join(directory, 'log'),
  };
  return spawnSync('sh', [SCRIPT, 'GROUP', 'edge', state, '100'], { env }).status;
}

/** Roles that the daemon was asked for, in their order. */
const roles = () =>
  existsSync(told)
    ? readFileSync(told, 'utf8')
        .trim()
        .split('\n')
        .map((line) => line.split(' ').at(-1))
    : [];

it('does what it was called for, each time', () => {
  for (const state of ['MASTER', 'BACKUP', 'FAULT', 'MASTER']) expect(notify(state)).toBe(0);
  expect(roles()).toEqual(['primary', 'backup', 'fault', 'primary']);
});

it('does what a script wants that was started after it and came first', () => {
  writeFileSync(wantedFile(), `backup ${LATER} 7 ${BOOT}\n`);
  expect(notify('MASTER')).toBe(0);
  expect(roles()).toEqual(['backup']);
});

it('takes no notice of what was wanted before it, or of a file that says nothing', () => {
  for (const before of [
    `backup 1 7 ${BOOT}\n`,
    `backup ${LATER} 7 of-another-boot\n`,
    'backup\n',
    '',
    `backup x y ${BOOT}\n`,
  ]) {
    writeFileSync(wantedFile(), before);
    expect(notify('MASTER')).toBe(0);
  }
  expect(roles()).toEqual(Array(5).fill('primary'));
});

it('asks for nothing in states that are of no consequence, and refuses what is none', () => {
  expect(notify('MASTER_RX_LOWER_PRI')).toBe(0);
  expect(notify('SOMETHING')).toBe(2);
  expect(roles()).toEqual([]);
});
