import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { KernelSettings } from '../../../src/daemon/kernel-settings.js';
import { SETTINGS_INTERVAL_MS } from '../../../src/limits.js';
import { SETTINGS_MAX } from '../../../src/wire/control-messages.js';

let directory: string;
let now: number;
let settings: KernelSettings;
const sysctl = (name: string, value: string) =>
  writeFileSync(join(directory, 'net', `nf_conntrack_${name}`), `${value}\n`);

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'settings-'));
  for (const name of ['net', 'module']) mkdirSync(join(directory, name));
  for (const name of [
    'nf_conntrack',
    'nf_conntrack_sip',
    'nf_conntrack_ftp',
    'nf_conntrack_netlink',
    'nf_nat',
  ]) {
    mkdirSync(join(directory, 'module', name));
  }
  now = 0;
  settings = new KernelSettings(() => now, join(directory, 'net'), join(directory, 'module'));
});
afterEach(() => rmSync(directory, { recursive: true }));

describe('settings that should agree', () => {
  it('are helpers, sizes, strictness and timeouts, as far as the kernel has them', () => {
    sysctl('max', '262144');
    sysctl('tcp_loose', '1');
    sysctl('udp_timeout', '30');
    sysctl('count', '5');
    expect(settings.read()).toEqual([
      ['helpers', 'ftp sip'],
      ['max', '262144'],
      ['tcp_loose', '1'],
      ['udp_timeout', '30'],
    ]);
  });

  it('are read again after a while, not at each question', () => {
    sysctl('max', '1');
    const first = settings.read();
    sysctl('max', '2');
    now += SETTINGS_INTERVAL_MS - 1;
    expect(settings.read()).toBe(first);
    now += 1;
    expect(settings.read()).toContainEqual(['max', '2']);
  });

  it('are never more than one message takes, nor longer', () => {
    for (let i = 0; i < 100; i++) sysctl(`proto${i}_timeout`, '9'.repeat(500));
    expect(settings.read().length).toBeLessThanOrEqual(SETTINGS_MAX);
    for (const [, text] of settings.read()) expect(text.length).toBeLessThanOrEqual(64);
  });

  it('are none where there is no conntrack', () => {
    const nothing = new KernelSettings(() => 0, '/nowhere', '/nowhere');
    expect(nothing.read()).toEqual([['helpers', '']]);
  });
});
