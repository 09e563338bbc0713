import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ConfigError } from '../../../src/daemon/config.js';
import { checkConfig, loadConfig } from '../../../src/daemon/config-load.js';
import { parseDuration, parseListen, parseSize } from '../../../src/daemon/config-units.js';
import { generateKey } from '../../../src/daemon/key-file.js';
import { CONFIG_FILE_MAX_BYTES, NAME_MAX_BYTES } from '../../../src/limits.js';

const MINIMAL = `node: { name: fw1, cluster: edge }
links: [ { interface: sync, address: 10.9.0.1, group: 225.0.0.50 } ]
security: none
`;

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'ct-config-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

/** The problems of a text, one line each, as an operator reads them. */
function problems(text: string): string[] {
  try {
    checkConfig('c.yaml', text);
  } catch (error) {
    if (error instanceof ConfigError) return error.message.split('\n');
    throw error;
  }
  return [];
}

/** The minimal configuration with one more line. */
const plus = (line: string) => problems(`${MINIMAL}${line}\n`);
/** The minimal configuration with a text replaced. */
const swap = (what: string, by: string) => problems(MINIMAL.replace(what, by));

describe('a right configuration', () => {
  test('of three lines gets every default', () => {
    expect(checkConfig('c.yaml', MINIMAL)).toEqual({
      file: 'c.yaml',
      node: { name: 'fw1', cluster: 'edge' },
      links: [
        {
          interface: 'sync',
          address: '10.9.0.1',
          group: '225.0.0.50',
          peer: undefined,
          port: 3780,
          mtu: 1500,
        },
      ],
      security: 'none',
      kernel: { eventBufferBytes: 64 << 20, auditIntervalMs: 60_000 },
      replicate: { ignoreAddresses: [] },
      failover: { standby: 'cold', commitTimeoutMs: 0 },
      control: { socket: '/run/conntwin/control.sock' },
      metrics: { host: '127.0.0.1', port: 9466 },
      stateDir: '/run/conntwin',
    });
  });

  test('with everything set says what it says', () => {
    const config = checkConfig(
      'c.yaml',
      `
node:
  name: fw-2.lab
  cluster: edge
links:
  - interface: eth1.100
    address: 10.9.0.2
    peer: 10.9.0.1
    port: 4000
    mtu: 9000
security: none
kernel: { event_buffer: 2MiB, audit_interval: 5m }
replicate: { ignore: { addresses: [192.0.2.1, "2001:db8::1"], local: false }, expectations: none }
failover: { standby: cold, commit_timeout: 180s, vrrp_fifo: null, gate: none }
control: { socket: /tmp/fw2/control.sock }
metrics: { listen: "[::1]:9000" }
`,
    );
    expect(config).toMatchObject({
      links: [{ group: undefined, peer: '10.9.0.1', port: 4000, mtu: 9000 }],
      kernel: { eventBufferBytes: 2 << 20, auditIntervalMs: 300_000 },
      replicate: { ignoreAddresses: ['192.0.2.1', '2001:db8::1'] },
      failover: { commitTimeoutMs: 180_000 },
      metrics: { host: '::1', port: 9000 },
      stateDir: '/tmp/fw2',
    });
  });

  test.each(['off', 'null', 'false', '~'])('with metrics: %s has no listener', (value) => {
    expect(checkConfig('c.yaml', `${MINIMAL}metrics: ${value}\n`).metrics).toBeUndefined();
  });

  test('is what the sample in config/ holds', () => {
    expect(loadConfig('config/conntwin.yaml')).toMatchObject({
      node: { name: 'fw1', cluster: 'edge' },
      security: 'none',
    });
  });
});

describe('a wrong configuration names file, line, path, problem and what to write', () => {
  test('an unknown key, with the nearest known one', () => {
    expect(plus('kernal: { event_buffer: 64MiB }')).toEqual([
      'c.yaml:4: kernal: unknown key, did you mean `kernel`?',
    ]);
    expect(plus('kernel:\n  audit_interval: 60s\n  event-bufer: 64MiB')).toEqual([
      'c.yaml:6: kernel.event-bufer: unknown key, did you mean `event_buffer`?',
    ]);
    expect(swap('group:', 'gruop:')).toContain(
      'c.yaml:2: links[0].gruop: unknown key, did you mean `group`?',
    );
  });

  test('an unknown key that resembles none, with the list', () => {
    expect(plus('control: { colour: red }')).toEqual([
      'c.yaml:4: control.colour: unknown key, leave it out or write one of socket',
    ]);
  });

  test('what is missing, at the line of its section', () => {
    expect(swap('name: fw1, ', '')).toEqual([
      'c.yaml:1: node.name: missing, write the name of the node, as `name: fw1`',
    ]);
    expect(problems('')).toEqual([
      'c.yaml:1: missing, write the sections node, links and security (see the sample config/conntwin.yaml)',
    ]);
    expect(swap('security: none', '')).toEqual([
      'c.yaml:1: security: missing, write `security: none`, or `security: { key_file: /etc/conntwin/key }`',
    ]);
  });

  test('every problem at once, in the order of lines', () => {
    expect(swap('fw1', '"a b"').concat(swap('10.9.0.1', '10.9.0'))).toHaveLength(2);
    const both = problems(MINIMAL.replace('fw1', '"a b"').replace('10.9.0.1', '10.9.0'));
    expect(both.map((line) => line.split(':').slice(0, 3).join(':'))).toEqual([
      'c.yaml:1: node.name',
      'c.yaml:2: links[0].address',
    ]);
  });

  test('broken YAML and a key written twice', () => {
    expect(problems('node: { name: fw1\nlinks: []')[0]).toMatch(/^c\.yaml:\d: .*write valid YAML here$/);
    expect(plus('security: none')).toEqual(['c.yaml:4: Map keys must be unique, write valid YAML here']);
  });

  test('an alias bomb', () => {
    const bomb = Array.from({ length: 10 }, (_, i) => `a${i + 1}: &a${i + 1} [${`*a${i},`.repeat(10)}]`);
    expect(problems(`a0: &a0 x\n${bomb.join('\n')}`)[0]).toMatch(/^c\.yaml:1: .*without aliases$/);
  });

  test.each([
    ['group: 225.0.0.50', 'group: 10.0.0.1', 'links[0].group: "10.0.0.1" is not an IPv4 multicast group'],
    ['group: 225.0.0.50', 'mtu: 1500', 'links[0]: neither group nor peer'],
    ['group: 225.0.0.50', 'group: 225.0.0.50, peer: 10.9.0.2', 'links[0]: both group and peer'],
    ['group: 225.0.0.50', 'peer: 10.9.0.1', "links[0].peer: is this node's own address"],
    ['225.0.0.50', '225.0.0.50, port: 65536', 'links[0].port: 65536 is not a UDP port (1 to 65535)'],
    ['225.0.0.50', '225.0.0.50, mtu: 9001', "links[0].mtu: 9001 is not the link's MTU (576 to 9000)"],
    ['interface: sync', 'interface: sixteen-letters-', 'links[0].interface: "sixteen-letters-" is not'],
    ['security: none', 'security: off', 'security: "off" is not a choice'],
    [
      'security: none',
      'security: { key_file: key }',
      'security.key_file: "key" is not a key file (an absolute path)',
    ],
    [
      'security: none',
      'security: { keyfile: /k }',
      'security.keyfile: unknown key, did you mean `key_file`?',
    ],
    ['security: none', 'security: { keyfile: /k }', 'security.key_file: missing, write `key_file: /etc'],
    ['fw1', 'x'.repeat(NAME_MAX_BYTES + 1), 'node.name: "xxx'],
    ['node: { name: fw1, cluster: edge }', 'node: fw1', 'node: "fw1" is not a section, write `node: { name'],
  ])('%s as %s', (what, by, text) => {
    expect(swap(what, by).join()).toContain(text);
  });

  test.each([
    ['kernel: { event_buffer: 64 apples }', 'kernel.event_buffer: "64 apples" is not a size'],
    ['kernel: { event_buffer: 2GiB }', 'kernel.event_buffer: "2GiB" is not a size from 128KiB to 1GiB'],
    ['kernel: { audit_interval: 1w }', 'kernel.audit_interval: "1w" is not a time'],
    ['kernel: null', 'kernel: null is not a section'],
    [
      'failover: { standby: hot }',
      'failover.standby: "hot" is not supported yet (hot standby comes later), write cold',
    ],
    ['failover: { gate: nft }', 'failover.gate: "nft" is not supported yet'],
    ['failover: { purge_after: 60s }', 'failover.purge_after: not supported yet, leave it out'],
    ['replicate: { tcp_states: [LISTEN] }', 'replicate.tcp_states: not supported yet, leave it out'],
    ['replicate: { expectations: all }', 'replicate.expectations: "all" is not supported yet'],
    ['replicate: { ignore: { local: true } }', 'replicate.ignore.local: true is not supported yet'],
    [
      'replicate: { ignore: { addresses: [10.0.0.0/8] } }',
      'replicate.ignore.addresses[0]: "10.0.0.0/8" is not',
    ],
    ['metrics: { listen: 9466 }', 'metrics.listen: 9466 is not an address and port'],
    ['metrics: { listn: 9466 }', 'metrics.listn: unknown key, did you mean `listen`?'],
    ['metrics: yes', 'metrics: "yes" is not a listener'],
    [
      'metrics: { listen: "localhost:1" }',
      'metrics.listen: "localhost:1" is not an address and port, write `listen: 127.0.0.1:9466`',
    ],
    ['control: { socket: run/x }', 'control.socket: "run/x" is not a socket (an absolute path)'],
  ])('%s', (line, text) => {
    const found = plus(line);
    expect(found.join('\n')).toContain(text);
    expect(found[0]).toMatch(/^c\.yaml:4: /);
  });

  test('a second link', () => {
    const two = MINIMAL.replace('} ]', '}, { interface: b, address: 10.8.0.1, group: 225.0.0.51 } ]');
    expect(problems(two)).toEqual([
      'c.yaml:2: links: more than one link is not supported yet, keep the best one',
    ]);
  });
});

describe('files', () => {
  test('that do not exist are named', () => {
    expect(() => loadConfig('/nowhere/c.yaml')).toThrow(
      '/nowhere/c.yaml: cannot be read (ENOENT): name the file with --config',
    );
  });

  test('one byte over the limit are refused unread', () => {
    const file = join(folder, 'big.yaml');
    writeFileSync(file, MINIMAL.padEnd(CONFIG_FILE_MAX_BYTES, '#'));
    expect(loadConfig(file).node.name).toBe('fw1');
    writeFileSync(file, MINIMAL.padEnd(CONFIG_FILE_MAX_BYTES + 1, '#'));
    expect(() => loadConfig(file)).toThrow('at most 1048576');
  });

  test('with a key must be private and hold one', () => {
    const file = join(folder, 'key');
    const text = MINIMAL.replace('none', `\n  key_file: ${file}`);
    const at = 'c.yaml:4: security.key_file:';
    expect(problems(text)[0]).toContain(`${at} cannot read ${file} (ENOENT), make one with`);
    writeFileSync(file, `${generateKey()}\n`, { mode: 0o600 });
    expect(checkConfig('c.yaml', text).security).toEqual({ keyFile: file });
    chmodSync(file, 0o640);
    expect(problems(text)[0]).toContain(`${at} others may read ${file}`);
    writeFileSync(file, generateKey().slice(4));
    chmodSync(file, 0o600);
    expect(problems(text)[0]).toContain(`${at} ${file} holds no key of 32 bytes`);
  });
});

describe('units', () => {
  test('sizes are binary, durations default to seconds', () => {
    expect(['1', '2KiB', '64MiB', '1G', '3 mib', '1.5M', '-1', 'x', ''].map(parseSize)).toEqual([
      1,
      2048,
      64 << 20,
      1 << 30,
      3 << 20,
      undefined,
      undefined,
      undefined,
      undefined,
    ]);
    expect(['0', '60', '250ms', '2m', '1d', '1 week', '1.5s'].map(parseDuration)).toEqual([
      0,
      60_000,
      250,
      120_000,
      86_400_000,
      undefined,
      undefined,
    ]);
  });

  test('listen addresses are literal', () => {
    expect(parseListen('127.0.0.1:80')).toEqual({ host: '127.0.0.1', port: 80 });
    expect(parseListen('[::1]:80')).toEqual({ host: '::1', port: 80 });
    for (const wrong of [
      '127.0.0.1',
      '::1:80',
      '[127.0.0.1]:80',
      '1.2.3:80',
      '127.0.0.1:0',
      '127.0.0.1:65536',
    ]) {
      expect(parseListen(wrong)).toBeUndefined();
    }
  });
});
