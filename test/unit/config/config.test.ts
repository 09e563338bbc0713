import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ConfigError } from '../../../src/daemon/config.js';
import { checkConfig, loadConfig } from '../../../src/daemon/config-load.js';
import { configAsYaml } from '../../../src/daemon/config-show.js';
import { parseDuration, parseListen, parseSize } from '../../../src/daemon/config-units.js';
import { generateKey, unreadable } from '../../../src/daemon/key-file.js';
import { CONFIG_FILE_MAX_BYTES, KEYS_MAX, LIST_ENTRIES_MAX, NAME_MAX_BYTES } from '../../../src/limits.js';

const MINIMAL = `node: { name: fw1, cluster: edge }
links: [ { interface: sync, address: 10.9.0.1, group: 225.0.0.50 } ]
security: none
`;

/** Conditions that every flow fulfils. */
const ANY = { protocols: [], addresses: [], ports: [], zones: [], marks: [] };

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
          peers: [],
          port: 3780,
          mtu: 1500,
        },
      ],
      security: 'none',
      kernel: { eventBufferBytes: 64 << 20, auditIntervalMs: 60_000 },
      replicate: {
        mode: 'reliable',
        expectations: 'all',
        ...ANY,
        tcpStates: [],
        status: [],
        minAgeMs: 0,
        direction: 'both',
        ignore: { ...ANY, local: true },
      },
      failover: {
        standby: 'cold',
        commitTimeoutMs: 0,
        purgeAfterMs: 60_000,
        timeoutFloorsS: { tcp: 30, udp: 30, sctp: 30, icmp: 30, other: 30 },
      },
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
replicate:
  mode: refresh
  expectations: [ftp, sip]
  protocols: [tcp, UDP, 47]
  addresses: [10.0.0.0/8, "2001:db8::/32"]
  ports: [80, 8000-8099]
  zones: [0, 7]
  marks: ["0x10/0xf0", 0x20, 5]
  tcp_states: [established, LISTEN]
  status: [assured]
  min_age: 5s
  direction: original
  ignore: { addresses: [192.0.2.1, "2001:db8::1"], protocols: [icmp], ports: [53], zones: [9], marks: [1], local: false }
failover:
  standby: hot
  purge_after: 0
  commit_timeout: 180s
  timeout_floors: { tcp: 1m, udp: 10, icmp: 0 }
  vrrp_fifo: /run/conntwin/vrrp.fifo
  vrrp_name: edge
  track_file: /run/conntwin/ready
  gate: none
control: { socket: /tmp/fw2/control.sock }
metrics: { listen: "[::1]:9000" }
`,
    );
    expect(config).toMatchObject({
      links: [{ group: undefined, peers: ['10.9.0.1'], port: 4000, mtu: 9000 }],
      kernel: { eventBufferBytes: 2 << 20, auditIntervalMs: 300_000 },
      replicate: {
        mode: 'refresh',
        expectations: ['ftp', 'sip'],
        protocols: [6, 17, 47],
        addresses: ['10.0.0.0/8', '2001:db8::/32'],
        ports: [
          { first: 80, last: 80 },
          { first: 8000, last: 8099 },
        ],
        zones: [0, 7],
        marks: [
          { value: 0x10, mask: 0xf0 },
          { value: 0x20, mask: 0xffffffff },
          { value: 5, mask: 0xffffffff },
        ],
        tcpStates: ['ESTABLISHED', 'SYN_SENT2'],
        status: ['ASSURED'],
        minAgeMs: 5000,
        direction: 'original',
        ignore: {
          addresses: ['192.0.2.1', '2001:db8::1'],
          protocols: [1],
          ports: [{ first: 53, last: 53 }],
          zones: [9],
          marks: [{ value: 1, mask: 0xffffffff }],
          local: false,
        },
      },
      failover: {
        commitTimeoutMs: 180_000,
        timeoutFloorsS: { tcp: 60, udp: 10, sctp: 30, icmp: 0, other: 30 },
        vrrpFifo: '/run/conntwin/vrrp.fifo',
        vrrpName: 'edge',
        trackFile: '/run/conntwin/ready',
      },
      metrics: { host: '::1', port: 9000 },
      stateDir: '/tmp/fw2',
    });
  });

  test('has up to eight links, IPv4 and IPv6, multicast and unicast, also on one interface', () => {
    const links = [
      '{ interface: sync, address: 10.9.0.1, group: 225.0.0.50 }',
      '{ interface: sync, address: "fd00::1", group: "ff02::50" }',
      '{ interface: sync, address: "fe80::1", group: "ff05::50", port: 3781 }',
      '{ interface: b, address: 10.8.0.1, peers: [10.8.0.2, 10.8.0.3], mtu: 9000 }',
      '{ interface: b, address: 10.8.1.1, peer: 10.8.1.2 }',
      '{ interface: c, address: "fd01::1", peers: ["fd01::2"] }',
      '{ interface: d, address: 10.7.0.1, group: 239.1.2.3 }',
      '{ interface: e, address: 10.6.0.1, group: 239.1.2.3 }',
    ];
    const text = MINIMAL.replace(/links:.*/, `links: [ ${links.join(', ')} ]`);
    expect(checkConfig('c.yaml', text).links.map(({ group, peers }) => group ?? peers)).toEqual([
      '225.0.0.50',
      'ff02::50',
      'ff05::50',
      ['10.8.0.2', '10.8.0.3'],
      ['10.8.1.2'],
      ['fd01::2'],
      '239.1.2.3',
      '239.1.2.3',
    ]);
    const nine = text.replace(' ]\nsec', ', { interface: f, address: 10.5.0.1, group: 239.1.2.3 } ]\nsec');
    expect(problems(nine)).toEqual(['c.yaml:2: links: has more than 8 links, keep the best ones']);
  });

  test('is what `config show` prints of it', () => {
    const file = join(folder, 'shown.yaml');
    const sample = readFileSync('config/conntwin.yaml', 'utf8');
    const full = `${MINIMAL}replicate: { ports: [80, 8000-8099], marks: ["0x10/0xf0"], protocols: [tcp, 200], min_age: 1500ms,
      tcp_states: [LISTEN], status: [ASSURED], expectations: [ftp], mode: best-effort, direction: reply, zones: [3],
      ignore: { addresses: [10.0.0.0/8], ports: [53], local: false } }
failover: { gate: { allow: { interfaces: [mgmt], tcp_ports: [22, 8000-8099] } } }`;
    for (const text of [sample, MINIMAL, full]) {
      const config = checkConfig(file, text);
      expect(checkConfig(file, configAsYaml(config))).toEqual(config);
    }
  });

  test('has a gate that lets SSH and BFD pass, or what is written instead', () => {
    const gateOf = (text: string) =>
      checkConfig('c.yaml', `${MINIMAL}failover: { gate: ${text} }\n`).failover.gate;
    const one = (port: number) => ({ first: port, last: port });
    const byDefault = {
      interfaces: [],
      sources: [],
      tcpPorts: [one(22)],
      udpPorts: [{ first: 3784, last: 3785 }, one(4784)],
    };
    expect(gateOf('none')).toBeUndefined();
    expect(gateOf('drop')).toEqual(byDefault);
    expect(gateOf('{ allow: {} }')).toEqual(byDefault);
    expect(
      gateOf('{ allow: { interfaces: [mgmt], sources: [192.0.2.0/24], tcp_ports: [], udp_ports: [161] } }'),
    ).toEqual({
      interfaces: ['mgmt'],
      sources: ['192.0.2.0/24'],
      tcpPorts: [],
      udpPorts: [one(161)],
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
    ['group: 225.0.0.50', 'group: 10.0.0.1', 'links[0].group: "10.0.0.1" is not a multicast group'],
    ['group: 225.0.0.50', 'group: "ff01::1"', 'links[0].group: "ff01::1" is not a multicast group'],
    ['group: 225.0.0.50', 'group: "ff02::1"', 'links[0].group: is IPv6 and the address is not'],
    ['address: 10.9.0.1', 'address: "::"', 'links[0].address: "::" is not an IPv4 or IPv6 address'],
    ['address: 10.9.0.1', 'address: "fe80::1%sync"', 'links[0].address: "fe80::1%sync" is not'],
    ['group: 225.0.0.50', 'mtu: 1500', 'links[0]: no group, peer or peers'],
    ['group: 225.0.0.50', 'group: 225.0.0.50, peer: 10.9.0.2', 'links[0]: more than one of group, peer'],
    ['group: 225.0.0.50', 'peer: 10.9.0.2, peers: [10.9.0.3]', 'links[0]: more than one of group, peer'],
    ['group: 225.0.0.50', 'peers: []', 'links[0].peers: names nobody'],
    ['group: 225.0.0.50', 'peers: 10.9.0.2', 'links[0].peers: "10.9.0.2" is not a list'],
    ['group: 225.0.0.50', 'peers: [10.9.0.2, 10.9.0.2]', 'links[0].peers[1]: stands twice'],
    ['group: 225.0.0.50', 'peers: [10.9.0.2, 10.9.0.1]', "links[0].peers[1]: is this node's own address"],
    ['group: 225.0.0.50', 'peers: ["fd00::2"]', 'links[0].peers[0]: is IPv6 and the address is not'],
    ['group: 225.0.0.50', 'peer: 10.9.0.1', "links[0].peer: is this node's own address"],
    ['225.0.0.50', '225.0.0.50, port: 65536', 'links[0].port: 65536 is not a UDP port (1 to 65535)'],
    ['225.0.0.50', '225.0.0.50, mtu: 9001', "links[0].mtu: 9001 is not the link's MTU (1280 to 9000)"],
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
    ['security: none', 'security: {}', 'security: no key, write `security: none`, or'],
    ['security: none', 'security: { keys: [] }', 'security.keys: no key, write'],
    [
      'security: none',
      'security: { key_file: /k, keys: [{ id: 1, file: /k }] }',
      'security: both key_file and keys',
    ],
    ['security: none', 'security: { key_file: /k, send: 2 }', 'security.send: is not the id of a key'],
    [
      'security: none',
      'security: { keys: [{ id: 1, file: /k }, { id: 2, file: /l }] }',
      'security.send: missing, write the id of the key to send with, as `send: 1`',
    ],
    [
      'security: none',
      'security: { keys: [{ id: 1, file: /k }], send: 2 }',
      'security.send: 2 is not the id of a key',
    ],
    [
      'security: none',
      'security: { keys: [{ id: 0, file: /k }] }',
      'security.keys[0].id: 0 is not a key id (1 to 255)',
    ],
    ['security: none', 'security: { keys: [{ id: 256, file: /k }] }', 'security.keys[0].id: 256 is not'],
    [
      'security: none',
      'security: { keys: [{ id: 3, file: /k }, { id: 3, file: /l }], send: 3 }',
      'security.keys[1].id: 3 stands twice',
    ],
    [
      'security: none',
      'security: { keys: [{ id: 1, fil: /k }] }',
      'security.keys[0].fil: unknown key, did you mean `file`?',
    ],
    ['fw1', 'x'.repeat(NAME_MAX_BYTES + 1), 'node.name: "xxx'],
    ['node: { name: fw1, cluster: edge }', 'node: fw1', 'node: "fw1" is not a section, write `node: { name'],
  ])('%s as %s', (what, by, text) => {
    expect(swap(what, by).join()).toContain(text);
  });

  test.each([
    ['kernel: { event_buffer: 64 apples }', 'kernel.event_buffer: "64 apples" is not a size'],
    ['kernel: { event_buffer: 2GiB }', 'kernel.event_buffer: "2GiB" is not a size from 64KiB to 1GiB'],
    ['kernel: { audit_interval: 1w }', 'kernel.audit_interval: "1w" is not a time'],
    ['kernel: null', 'kernel: null is not a section'],
    [
      'failover: { standby: warm }',
      'failover.standby: "warm" is not a way to stand by, write `standby: cold` or `standby: hot`',
    ],
    [
      'failover: { purge_after: 500ms }',
      'failover.purge_after: "500ms" is not 0 (never) or a time from 1s to 1d, write `purge_after: 60s`',
    ],
    [
      'failover: { timeout_floors: { tcp: 2h } }',
      'failover.timeout_floors.tcp: "2h" is not a time from 0 to 1h',
    ],
    ['failover: { timeout_floors: { udp: 1500ms } }', 'write `udp: 30s`'],
    [
      'failover: { timeout_floors: { upd: 3s } }',
      'failover.timeout_floors.upd: unknown key, did you mean `udp`?',
    ],
    ['failover: { timeout_floors: 30s }', 'failover.timeout_floors: "30s" is not a section'],
    [
      'failover: { vrrp_fifo: vrrp.fifo }',
      'failover.vrrp_fifo: "vrrp.fifo" is not a FIFO (an absolute path)',
    ],
    [
      'failover: { vrrp_fifo: /a, vrrp_name: "a b" }',
      'failover.vrrp_name: "a b" is not the name of a vrrp_sync',
    ],
    [
      'failover: { vrrp_name: edge }',
      'failover.vrrp_name: names whom to follow, and no FIFO, write `vrrp_fifo:',
    ],
    [
      'failover: { track_file: ready }',
      'failover.track_file: "ready" is not a file (an absolute path), write `',
    ],
    [
      'failover: { vrrp_fifo: /a, track_file: /a }',
      'failover.track_file: is the FIFO too, write another path',
    ],
    [
      `control: { socket: /run/${'x'.repeat(103)} }`,
      'is not a socket (an absolute path of at most 107 bytes), write `socket: /run/conntwin/control.sock`',
    ],
    ['failover: { gate: nft }', 'failover.gate: "nft" is not a gate, write `gate: none`, `gate: drop`, or'],
    [
      'failover: { gate: { allow: { port: [22] } } }',
      'failover.gate.allow.port: unknown key, leave it out or write',
    ],
    [
      'failover: { gate: { allow: { tcp_ports: [ssh] } } }',
      'failover.gate.allow.tcp_ports[0]: "ssh" is not a port',
    ],
    [
      'failover: { gate: { allow: { interfaces: [a/b] } } }',
      'gate.allow.interfaces[0]: "a/b" is not an interface name',
    ],
    ['failover: { gate: { allow: { sources: [here] } } }', 'gate.allow.sources[0]: "here" is not an address'],
    ['kernel: { event_buffer: 65535 }', 'kernel.event_buffer: 65535 is not a size from 64KiB to 1GiB'],
    [
      'replicate: { mode: fast }',
      'replicate.mode: "fast" is not a mode, write one of reliable, refresh, best-effort',
    ],
    [
      'replicate: { expectations: some }',
      'replicate.expectations: "some" is not a choice, write `all`, `none`',
    ],
    ['replicate: { expectations: ["a b"] }', 'replicate.expectations[0]: "a b" is not the name of a helper'],
    [
      'replicate: { protocols: [tpc] }',
      'replicate.protocols[0]: "tpc" is not a protocol, write one of icmp, tcp',
    ],
    ['replicate: { protocols: [256] }', 'replicate.protocols[0]: 256 is not a protocol'],
    ['replicate: { addresses: [10.0.0.0/33] }', 'replicate.addresses[0]: "10.0.0.0/33" is not an address'],
    ['replicate: { ports: [80-70] }', 'replicate.ports[0]: "80-70" is not a port or range of ports'],
    ['replicate: { ports: [65536] }', 'replicate.ports[0]: 65536 is not a port'],
    ['replicate: { zones: [65536] }', 'replicate.zones[0]: 65536 is not a zone (0 to 65535)'],
    ['replicate: { marks: ["0x1/"] }', 'replicate.marks[0]: "0x1/" is not a mark'],
    ['replicate: { marks: [4294967296] }', 'replicate.marks[0]: 4294967296 is not a mark'],
    ['replicate: { tcp_states: [OPEN] }', 'replicate.tcp_states[0]: "OPEN" is not a TCP state'],
    ['replicate: { status: [REPLIED] }', 'replicate.status[0]: "REPLIED" is not a status'],
    ['replicate: { min_age: 2d }', 'replicate.min_age: "2d" is not a time from 0 to 1d'],
    ['replicate: { direction: left }', 'replicate.direction: "left" is not a direction'],
    ['replicate: { ignore: { local: maybe } }', 'replicate.ignore.local: "maybe" is not a choice'],
    ['replicate: { ignore: { tcp_states: [CLOSE] } }', 'replicate.ignore.tcp_states: unknown key'],
    [
      `replicate: { zones: [${Array.from({ length: LIST_ENTRIES_MAX + 1 }, (_, i) => i).join()}] }`,
      `replicate.zones: has more than ${LIST_ENTRIES_MAX} entries`,
    ],
    ['metrics: { listen: 9466 }', 'metrics.listen: 9466 is not an address and port'],
    ['metrics: { listn: 9466 }', 'metrics.listn: unknown key, did you mean `listen`?'],
    ['metrics: yes', 'metrics: "yes" is not a listener'],
    [
      'metrics: { listen: "localhost:1" }',
      'metrics.listen: "localhost:1" is not an address and port, write `listen: 127.0.0.1:9466`',
    ],
    ['control: { socket: run/x }', 'control.socket: "run/x" is not a socket (an absolute path of'],
  ])('%s', (line, text) => {
    const found = plus(line);
    expect(found.join('\n')).toContain(text);
    expect(found[0]).toMatch(/^c\.yaml:4: /);
  });

  test.each([
    ['{ interface: sync, address: 10.9.0.1, group: 225.0.0.50 }', 'itself again'],
    [
      '{ interface: sync, address: 10.9.0.1, group: 225.0.0.51 }',
      'another group, which one socket would hear too',
    ],
    ['{ interface: sync, address: 10.9.0.9, peer: 10.9.0.2 }', 'an address beside a socket for any address'],
  ])('a second link %s: %s', (second) => {
    expect(problems(MINIMAL.replace('} ]', `}, ${second} ]`))).toEqual([
      'c.yaml:2: links[1]: uses the interface and port of links[0], write another interface or port',
    ]);
  });

  test('one key more than there may be', () => {
    const keys = Array.from({ length: KEYS_MAX + 1 }, (_, i) => `{ id: ${i + 1}, file: /k${i} }`);
    expect(swap('security: none', `security: { keys: [${keys.join()}], send: 1 }`)).toEqual([
      `c.yaml:3: security.keys: has more than ${KEYS_MAX} keys, leave out those that nobody sends with`,
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
    expect(checkConfig('c.yaml', text).security).toEqual({ keys: [{ id: 1, file }], sendKeyId: 1 });
    chmodSync(file, 0o640);
    expect(problems(text)[0]).toContain(`${at} others may read ${file}`);
    writeFileSync(file, generateKey().slice(4));
    chmodSync(file, 0o600);
    expect(problems(text)[0]).toContain(`${at} ${file} holds no key of 32 bytes`);
  });

  test("with a key that is root's, while the daemon runs as another user, does not ask for a new one", () => {
    expect(unreadable('/etc/conntwin/key', 'EACCES', 994)).toBe(
      'cannot read /etc/conntwin/key (EACCES), it belongs to another user: ' +
        'run as root, or let root say `chown 994 /etc/conntwin/key`',
    );
    expect(unreadable('/k', 'ENOENT', 994)).toContain('(ENOENT), make one with');
  });

  test('with keys are checked one by one, and no two may hold the same key', () => {
    const files = ['one', 'two', 'three'].map((name) => join(folder, name));
    const same = generateKey();
    writeFileSync(files[0], same, { mode: 0o600 });
    writeFileSync(files[1], generateKey(), { mode: 0o600 });
    const keys = files.map((file, i) => `\n    - { id: ${i + 4}, file: ${file} }`).join('');
    const text = MINIMAL.replace('none', `\n  send: 5\n  keys:${keys}`);
    expect(problems(text)).toEqual([expect.stringContaining('c.yaml:8: security.keys[2].file: cannot read')]);
    writeFileSync(files[2], same, { mode: 0o600 });
    expect(problems(text)).toEqual([
      `c.yaml:8: security.keys[2].file: ${files[2]} holds the key of id 4, make another one for id 6`,
    ]);
    writeFileSync(files[2], generateKey());
    const { security } = checkConfig('c.yaml', text);
    expect(security).toEqual({ keys: files.map((file, i) => ({ id: i + 4, file })), sendKeyId: 5 });
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
