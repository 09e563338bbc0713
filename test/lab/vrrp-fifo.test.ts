/** A whole daemon whose notify FIFO is not as it should be: it says so, keeps its role, and goes on when it is mended. */
import { chmodSync, chownSync, closeSync, constants, openSync, rmSync, statSync, writeSync } from 'node:fs';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Role } from '../../src/control/messages.js';
import { eventually } from './deadline.js';
import { vrrpPaths } from './keepalived.js';
import { Lab } from './lab.js';
import { LabDaemon } from './lab-daemon.js';

const WITHIN = { withinMs: 15_000, everyMs: 20 };
const STRANGER = 65_534;

let lab: Lab;
let daemon: LabDaemon;
let fifo: string;
beforeAll(async () => {
  lab = await Lab.create();
  fifo = vrrpPaths(lab, 'fw1').fifo;
  daemon = new LabDaemon(lab, 'fw1', { failover: { vrrp_fifo: fifo, vrrp_name: 'edge' } });
  await daemon.start();
});
afterAll(() => lab?.close());

const open = () => openSync(fifo, constants.O_RDWR | constants.O_NONBLOCK);
function write(...pieces: (string | Buffer)[]): void {
  const file = open();
  for (const piece of pieces) writeSync(file, Buffer.from(piece));
  closeSync(file);
}
const becomes = (role: Role) =>
  eventually(`fw1 is ${role}`, WITHIN, async () => (await daemon.status()).role === role);
const warns = (what: RegExp) =>
  eventually(`it warns: ${what}`, WITHIN, async () => {
    const { warnings } = await daemon.status();
    if (!warnings.some((text) => what.test(text))) throw new Error(warnings.join('; '));
    return true;
  });
const logs = (what: RegExp) => eventually(`it logs ${what}`, WITHIN, () => what.test(daemon.log()));

test('a FIFO that is missing is made, also while it runs, for its owner alone, and followed', async () => {
  await warns(/keepalived does not have the FIFO open: is it running\?/);
  expect(statSync(fifo).mode & 0o7777).toBe(0o600);
  rmSync(fifo);
  await eventually('it is made again', WITHIN, () => statSync(fifo, { throwIfNoEntry: false })?.isFIFO());
  write('GROUP "edge" MASTER 0\n');
  await becomes('primary');
});

test('what is no line of keepalived changes nothing and is told; the line after it counts', async () => {
  const { pid } = daemon;
  const noise = Buffer.from(Array.from({ length: 2000 }, (_, i) => (i * 7919) & 0xff)).toString('latin1');
  write(
    'GROUP "edge" BACKUP\n',
    'GROUP "edge" SLAVE 0\n',
    'GROUP "other" BACKUP 0\n',
    Buffer.from(`${noise}\n`, 'latin1'),
    `${'GROUP "edge" BACKUP 0'.repeat(200)}\n`,
    '\n\0\n',
  );
  await logs(/vrrp: lines too long for keepalived were skipped/);
  await logs(/"line":"GROUP \\"edge\\" SLAVE 0","msg":"vrrp: not a line of keepalived"/);
  expect((await daemon.status()).role).toBe('primary');
  write('GROUP "edge" BAC', 'KUP 0\n');
  await becomes('backup');
  expect(daemon.pid).toBe(pid);
});

/** Gives the FIFO to another user. False where this root has no other users: in a user namespace of its own. */
function giveAway(): boolean {
  try {
    chownSync(fifo, STRANGER, STRANGER);
    return true;
  } catch {
    return false;
  }
}

test('what a stranger owns, or may write into, is not followed until it is put right', async ({ task }) => {
  const { changes } = (await daemon.status()).vrrp!;
  if (giveAway()) {
    await warns(/vrrp\.fifo: it belongs to uid 65534, neither root nor this daemon: remove it/);
    write('GROUP "edge" MASTER 0\n');
    const { code, stdout } = await daemon.cli(['ready']);
    expect([code, stdout]).toEqual([1, expect.stringContaining('belongs to uid 65534')]);
    chownSync(fifo, process.geteuid!(), process.getegid!());
  } else Object.assign(task.meta, { note: 'no other user here: only the mode was tried' });
  chmodSync(fifo, 0o622);
  await warns(/others than its owner may write into it \(mode 0622\)/);
  write('GROUP "edge" MASTER 0\n');
  rmSync(fifo);
  await eventually('it is open again', WITHIN, async () => {
    const { warnings } = await daemon.status();
    return !warnings.some((text) => /vrrp\.fifo:/.test(text));
  });
  expect(await daemon.status()).toMatchObject({ role: 'backup', vrrp: { changes } });
  write('GROUP "edge" MASTER 0\n');
  await becomes('primary');
});
