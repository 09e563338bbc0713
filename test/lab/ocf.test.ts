import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Lab } from './lab.js';
import { LabDaemon } from './lab-daemon.js';
import { CONNTWIN_PROGRAM, program, repositoryRoot } from './program.js';

// Exit codes of resource agents (OCF Resource Agent API 1.1).
const SUCCESS = 0;
const GENERIC = 1;
const UNIMPLEMENTED = 3;
const INSTALLED = 5;
const CONFIGURED = 6;
const NOT_RUNNING = 7;
const PROMOTED = 8;

let lab: Lab;
/** Only its configuration is used: the agent runs the daemon. */
let fw1: LabDaemon;
let directory: string;
beforeAll(async () => {
  lab = await Lab.create();
  fw1 = new LabDaemon(lab, 'fw1');
  directory = join(lab.directory, 'fw1');
  // What Pacemaker has: it notes the promotion score.
  writeFileSync(join(directory, 'crm_master'), `#!/bin/sh\necho "$*" >>${directory}/scores\n`, {
    mode: 0o755,
  });
});
afterAll(() => lab?.close());

/** Calls an action as Pacemaker does; resolves with its exit code. */
async function call(action: string, parameters: Record<string, string> = {}): Promise<number> {
  const environment = {
    OCF_RESOURCE_INSTANCE: 'conntwin:0',
    OCF_RESKEY_config: fw1.configFile,
    OCF_RESKEY_command: program(CONNTWIN_PROGRAM).join(' '),
    OCF_RESKEY_logfile: fw1.logFile,
    OCF_RESKEY_CRM_meta_timeout: '30000',
    HA_RSCTMP: directory,
    PATH: `${directory}:${process.env.PATH}`,
    ...parameters,
  };
  const settings = Object.entries(environment).map(([name, value]) => `${name}=${value}`);
  const agent = join(repositoryRoot(), 'config/ocf/conntwin');
  const { code } = await lab.tryExec('fw1', ['env', ...settings, 'sh', agent, action]);
  return code;
}

/** What runs under this number, empty if nothing does: who inherits an orphan may let it stand there as a zombie. */
function commandOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'latin1');
  } catch {
    return '';
  }
}

const pid = () => Number(readFileSync(join(directory, 'conntwin-conntwin:0.pid'), 'utf8'));

test('the agent describes itself: XML in which every tag is closed, with all actions of a promotable clone', async () => {
  const { stdout } = await lab.tryExec('fw1', [
    'sh',
    join(repositoryRoot(), 'config/ocf/conntwin'),
    'meta-data',
  ]);
  const open: string[] = [];
  for (const [, close, name, empty] of stdout.matchAll(
    /<(\/?)([a-z][a-z-]*)(?:\s+[a-z_-]+="[^"<&]*")*\s*(\/?)>/g,
  )) {
    if (close === '/') expect(open.pop()).toBe(name);
    else if (empty === '') open.push(name);
  }
  expect(open).toEqual([]);
  expect(stdout.replace(/<[^>]*>/g, '')).not.toMatch(/[<>&]/);
  for (const action of ['start', 'stop', 'promote', 'demote', 'monitor', 'validate-all', 'meta-data']) {
    expect(stdout).toContain(`<action name="${action}"`);
  }
  expect(stdout).toContain('role="Promoted"');
});

test('what is wrong with the installation has the code that says so', async () => {
  expect(await call('validate-all')).toBe(SUCCESS);
  expect(await call('validate-all', { OCF_RESKEY_command: '/no/such/conntwin' })).toBe(INSTALLED);
  const wrong = join(directory, 'wrong.yaml');
  writeFileSync(wrong, 'node: { name: fw1 }\n');
  expect(await call('start', { OCF_RESKEY_config: wrong })).toBe(CONFIGURED);
  expect(await call('migrate_to')).toBe(UNIMPLEMENTED);
});

test('a life: started, promoted, killed, started again as unpromoted, demoted, stopped; each action safe to repeat', async () => {
  expect(await call('monitor')).toBe(NOT_RUNNING);
  expect(await call('promote')).toBe(NOT_RUNNING);
  expect(await call('stop')).toBe(SUCCESS);
  expect(await call('start')).toBe(SUCCESS);
  expect(await call('start')).toBe(SUCCESS);
  expect(await call('monitor')).toBe(SUCCESS);
  expect(readFileSync(join(directory, 'scores'), 'utf8')).toMatch(/-v 5\n/);
  expect(await call('promote')).toBe(SUCCESS);
  expect(await call('promote')).toBe(SUCCESS);
  expect(await call('monitor')).toBe(PROMOTED);
  expect((await fw1.status()).role).toBe('primary');
  process.kill(pid(), 'SIGKILL');
  expect(await call('monitor')).toBe(NOT_RUNNING);
  expect(await call('start')).toBe(SUCCESS);
  expect(await call('monitor')).toBe(SUCCESS);
  expect(await call('promote')).toBe(SUCCESS);
  expect(await call('demote')).toBe(SUCCESS);
  expect(await call('monitor')).toBe(SUCCESS);
  const daemon = pid();
  expect(commandOf(daemon)).toContain('daemon');
  expect(await call('stop')).toBe(SUCCESS);
  expect(commandOf(daemon)).toBe('');
  expect(await call('monitor')).toBe(NOT_RUNNING);
});

test('a daemon that hangs is an error, and is stopped in the time that Pacemaker gives', async () => {
  expect(await call('start')).toBe(SUCCESS);
  const daemon = pid();
  process.kill(daemon, 'SIGSTOP');
  const hurried = { OCF_RESKEY_CRM_meta_timeout: '4000' };
  expect(await call('monitor', hurried)).toBe(GENERIC);
  expect(await call('stop', hurried)).toBe(SUCCESS);
  expect(commandOf(daemon)).toBe('');
});
