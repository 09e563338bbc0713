import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { eventually } from './deadline.js';
import { FirewallPair } from './firewall-pair.js';
import { SERVER_ADDRESS } from './lab.js';
import { program } from './program.js';

let pair: FirewallPair;
beforeAll(async () => {
  pair = await FirewallPair.create();
});
afterAll(() => pair?.close());

/** Loads rules in place of all others. */
const rules = (text: string) =>
  pair.lab.exec('fw2', ['nft', '-f', '-'], { input: `flush ruleset\n${text}\n` });
const facts = async () => {
  const argv = program('test/lab/ruleset-program');
  return JSON.parse(await pair.lab.exec('fw2', argv)) as Record<string, unknown>;
};
const check = async () => {
  const { code, stdout } = await pair.fw2.cli(['ready', '--check', '--json']);
  return { code, reasons: (JSON.parse(stdout) as { reasons: string[] }).reasons };
};

const NO = { isTracked: false, isTranslated: false };
const TRACKED = { isTracked: true, isTranslated: false };
const BOTH = { isTracked: true, isTranslated: true };

test.each([
  ['', NO, NO],
  ['table ip n { chain c { type nat hook postrouting priority 100; }; }', { ...NO, isTranslated: true }, NO],
  ['table ip6 f { chain c { ct state new counter; }; }', NO, TRACKED],
  [
    'table inet f { chain c { type filter hook input priority 0; ct state vmap { new : accept }; }; }',
    TRACKED,
    TRACKED,
  ],
  ['table inet n { chain c { type nat hook postrouting priority 100; masquerade; }; }', BOTH, BOTH],
  ['table ip f { chain c { type filter hook prerouting priority 0; notrack; }; }', NO, NO],
  ['table ip f { chain c { meta mark set ct mark; }; }', TRACKED, NO],
])('the kernel itself says what rules make it do: %s', async (text, ipv4, ipv6) => {
  await rules(text);
  expect(await facts()).toEqual({ ipv4, ipv6, isUncertain: false });
});

test('a node whose rules do not do what the replica needs is not ready, and says what is missing', async () => {
  // The lab's rules translate a ping and label it.
  await pair.lab.tryExec('client', ['ping', '-c', '1', '-W', '1', SERVER_ADDRESS]);
  await eventually('the labelled flow is replicated', { withinMs: 10_000 }, async () => {
    const { stdout } = await pair.fw2.cli(['flows', 'list', '--table', 'external', '--json']);
    return /"labels"/.test(stdout);
  });
  await rules('');
  const { code, reasons } = await check();
  expect(code).toBe(1);
  expect(reasons.join('\n')).toMatch(/no rule here uses ct for IPv4/);
  expect(reasons.join('\n')).toMatch(/no nat chain for IPv4/);
  expect(reasons.join('\n')).toMatch(/no rule here uses ct label/);
  expect((await pair.fw2.status()).warnings.join('\n')).toMatch(/no nat chain for IPv4/);
});

test('with the sample rules it is ready, and the check leaves nothing in the kernel', async () => {
  const sample = readFileSync(join(import.meta.dirname, '../../config/nftables/conntwin.nft'), 'utf8');
  await rules(sample.replace('# ct label set 0', 'ct label set 0'));
  await eventually('fw2 is ready', { withinMs: 20_000, everyMs: 500 }, async () => {
    const { code, reasons } = await check();
    if (code !== 0) throw new Error(reasons.join('; '));
    return true;
  });
  expect(await pair.lab.exec('fw2', ['conntrack', '-L'])).not.toContain('192.0.2.');
});

test('nf_conntrack_events that somebody changed is told', async () => {
  await pair.lab.exec('fw2', ['sysctl', '-qw', 'net.netfilter.nf_conntrack_events=0']);
  expect((await check()).reasons.join()).toMatch(/nf_conntrack_events is 0/);
  await pair.lab.exec('fw2', ['sysctl', '-qw', 'net.netfilter.nf_conntrack_events=1']);
  expect((await check()).reasons.join()).not.toMatch(/nf_conntrack_events/);
});
