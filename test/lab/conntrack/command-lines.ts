/**
 * Random command lines of conntrack(8) over few addresses and ports, so that most of them meet a flow. What is left out on
 * purpose, because Debian's 1.4.7 does what nobody wants, stands beside each place; ARCHITECTURE.md has the list.
 */
import type { Random } from '../random.js';

/**
 * How flows of a round may look: Debian's -U looks for a flow in zone 0 only, and counts those that the kernel refused to
 * change for their fixed timeout, so a round has either zones and fixed timeouts, or updates.
 */
export interface RoundKind {
  readonly hasZones: boolean;
}

const one = <T>(random: Random, choices: readonly T[]): T => choices[random(choices.length)];
const maybe = (random: Random, percent: number, words: () => string[]): string[] =>
  random(100) < percent ? words() : [];

const V4 = ['10.0.0.1', '10.0.0.2', '10.0.1.1', '192.0.2.7'];
const V4_TO = ['10.9.0.1', '10.9.0.2', '203.0.113.9'];
const V6 = ['2001:db8::1', '2001:db8::2', 'fd00::5:0:0:1', '::ffff:10.0.0.1'];
const V6_TO = ['2001:db8:1::1', 'fd00::9'];
const PORTS = ['1', '2', '1024', '65535'];
// Debian's reads 0x1bb as port 0.
const TO_PORTS = ['22', '80', '443'];
const TCP_STATES = ['SYN_SENT', 'SYN_RECV', 'ESTABLISHED', 'FIN_WAIT', 'CLOSE_WAIT', 'LAST_ACK', 'TIME_WAIT'];
const SCTP_STATES = ['CLOSED', 'COOKIE_WAIT', 'COOKIE_ECHOED', 'ESTABLISHED', 'SHUTDOWN_SENT'];
const MARKS = ['0', '1', '5', '0x10', '255'];
const STATUS = ['ASSURED', 'SEEN_REPLY', 'SEEN_REPLY,ASSURED', 'UNSET', 'FIXED_TIMEOUT'];
// UNSET, as a condition, is refused by Debian's with "invalid parameters".
const STATUS_HAD = ['ASSURED', 'SEEN_REPLY', 'SEEN_REPLY,ASSURED'];
// Debian's -D takes no notice of ! and deletes the others as well.
const STATUS_ASKED = [...STATUS_HAD, '!ASSURED', '!SEEN_REPLY'];
const LABELS = ['zero', 'five', 'top', 'five,six'];
const OUTPUTS = ['extended', 'id', 'extended,id', 'xml', 'save', 'ktimestamp', 'labels', 'xml,labels'];
// Debian's 1.4.7 names the ends of DCCP that a kernel since 6.17 does not know, so DCCP stays out.
// Debian's knows labels and times in a listing only, and does not end the document of a -G.
const OUTPUTS_OF_DELETE = ['extended', 'id', 'extended,id', 'xml', 'save'];
const OUTPUTS_OF_GET = ['extended', 'id', 'save'];
const PROTOCOLS = ['tcp', 'udp', 'udplite', 'sctp', 'icmp', 'gre', '50', 'esp', '6', 'icmpv6'];

/** What names one flow wholly. */
interface Flow {
  readonly protocol: string;
  readonly words: readonly string[];
  readonly isV6: boolean;
}

const isTcp = (protocol: string): boolean => protocol === 'tcp' || protocol === '6';

function tuple(random: Random): Flow {
  const protocol = one(random, PROTOCOLS);
  const isV6 = protocol === 'icmpv6' || (protocol !== 'icmp' && random(4) === 0);
  const words = ['-s', one(random, isV6 ? V6 : V4), '-d', one(random, isV6 ? V6_TO : V4_TO), '-p', protocol];
  return { protocol, isV6, words: [...words, ...layer4(random, protocol)] };
}

function layer4(random: Random, protocol: string): string[] {
  if (protocol === 'icmp' || protocol === 'icmpv6') {
    const type = protocol === 'icmp' ? one(random, ['8', '13']) : '128';
    const option = `--${protocol}`;
    return [`${option}-type`, type, `${option}-code`, '0', `${option}-id`, one(random, PORTS)];
  }
  if (protocol === 'gre') return ['--srckey', one(random, PORTS), '--dstkey', one(random, PORTS)];
  if (protocol === '50' || protocol === 'esp') return [];
  const long = random(4) === 0;
  const [from, to] = long ? ['--orig-port-src', '--orig-port-dst'] : ['--sport', '--dport'];
  return [from, one(random, PORTS), to, one(random, TO_PORTS)];
}

function state(random: Random, protocol: string): string[] {
  if (isTcp(protocol)) return ['--state', one(random, TCP_STATES)];
  if (protocol !== 'sctp') return [];
  return ['--state', one(random, SCTP_STATES), '--orig-vtag', one(random, PORTS), '--reply-vtag', '7'];
}

/** A translation: whole, so that neither program leaves a choice to the kernel. */
function translated(random: Random, flow: Flow): string[] {
  // Debian's leaves the port out for others, and the kernel chooses one.
  const hasPorts = isTcp(flow.protocol) || flow.protocol === 'udp';
  if (!hasPorts) return [];
  const host = flow.isV6 ? '2001:db8::99' : '192.0.2.99';
  const at = (port: number) => (flow.isV6 ? `[${host}]:${port}` : `${host}:${port}`);
  const source = () => [one(random, ['-n', '--src-nat']), at(1000 + random(60_000))];
  const destination = () => ['-g', at(1000 + random(60_000))];
  const kind = random(10);
  if (kind === 0) return source();
  if (kind === 1) return destination();
  return kind === 2 ? [...source(), ...destination()] : [];
}

/** -I or -A of a random flow. */
export function creation(random: Random, kind: RoundKind): string[] {
  const flow = tuple(random);
  const zones = kind.hasZones
    ? maybe(random, 40, () => [one(random, ['-w', '--orig-zone', '--reply-zone']), one(random, ['1', '7'])])
    : [];
  return [
    one(random, ['-I', '-I', '-A', '--create']),
    ...flow.words,
    ...state(random, flow.protocol),
    // Long enough not to expire while it is looked at.
    ...['-t', String(600 + random(3000))],
    // Debian's writes the value of -u into the mark as well, so they are not given together, here or below.
    ...(random(2) === 0
      ? ['-u', one(random, kind.hasZones ? STATUS : STATUS.slice(0, -1))]
      : maybe(random, 80, () => ['-m', one(random, MARKS)])),
    ...translated(random, flow),
    ...zones,
    ...maybe(random, 15, () => ['--label-add', one(random, LABELS)]),
  ];
}

/** Addresses and protocol by which flows are chosen. */
function choice(random: Random, isV6 = random(4) === 0): string[] {
  const from = isV6 ? V6 : V4;
  const to = isV6 ? V6_TO : V4_TO;
  const lengths = isV6 ? ['/32', '/64', '/127', ''] : ['/8', '/24', '/31', '/32', ''];
  return [
    ...maybe(random, 45, () => ['-s', one(random, from) + one(random, lengths)]),
    ...maybe(random, 25, () => [one(random, ['-d', '--orig-dst']), one(random, to) + one(random, lengths)]),
    ...maybe(random, 10, () => ['-r', one(random, [...to, isV6 ? '2001:db8::99' : '192.0.2.99'])]),
    ...maybe(random, 10, () => ['-q', one(random, from)]),
    ...maybe(random, 40, () => {
      const protocol = one(random, isV6 ? PROTOCOLS.filter((p) => p !== 'icmp') : PROTOCOLS);
      return ['-p', protocol, ...maybe(random, 40, () => oneOf4(random, protocol))];
    }),
  ];
}

/** One end of the layer-4 words, or the state. */
function oneOf4(random: Random, protocol: string): string[] {
  // Debian's reads keys and does not look at them.
  if (protocol === 'gre') return [];
  const words = layer4(random, protocol);
  if ((isTcp(protocol) || protocol === 'sctp') && random(3) === 0) return state(random, protocol).slice(0, 2);
  if (isTcp(protocol) && random(3) === 0) return ['--reply-port-src', one(random, TO_PORTS)];
  const pair = words.length === 0 ? 0 : 2 * random(words.length / 2);
  return words.slice(pair, pair + 2);
}

const nat = (random: Random, isWithAny: boolean): string[] =>
  maybe(random, 12, () => {
    const option = one(random, isWithAny ? ['-n', '-g', '-j', '--any-nat'] : ['-n', '-g']);
    // Debian's -j with an address finds nothing when another address is given.
    const isAny = option === '-j' || option === '--any-nat';
    return [option, ...(isAny ? [] : maybe(random, 50, () => ['192.0.2.99']))];
  });

const conditions = (random: Random, kind: RoundKind, status: readonly string[]): string[] => [
  ...(random(2) === 0
    ? maybe(random, 40, () => ['-m', one(random, [...MARKS, '0x5/0xf', '0/0xf0', '16/0x10'])])
    : maybe(random, 30, () => ['-u', one(random, status)])),
  ...maybe(random, 8, () => ['-l', one(random, LABELS)]),
  ...(kind.hasZones
    ? maybe(random, 20, () => [
        one(random, ['-w', '--orig-zone', '--reply-zone']),
        one(random, ['1', '7', '2']),
      ])
    : []),
];

const output = (random: Random): string[] => maybe(random, 35, () => ['-o', one(random, OUTPUTS)]);

function listing(random: Random, kind: RoundKind): string[] {
  const isV6 = random(4) === 0;
  return shuffled(
    random,
    ['-L', ...maybe(random, 30, () => ['conntrack'])],
    [
      ...choice(random, isV6),
      ...(isV6 ? [] : nat(random, true)),
      ...conditions(random, kind, STATUS_ASKED),
      ...output(random),
      ...maybe(random, 10, () => ['-f', isV6 ? 'ipv6' : 'ipv4']),
    ],
  );
}

/** The command before or behind its options. */
function shuffled(random: Random, command: string[], options: string[]): string[] {
  return random(5) === 0 ? [...options, ...command] : [...command, ...options];
}

const deletion = (random: Random, kind: RoundKind): string[] => {
  const isV6 = random(4) === 0;
  const words = [
    ...choice(random, isV6),
    ...(isV6 ? [] : nat(random, false)),
    ...conditions(random, kind, STATUS_HAD),
  ];
  // A bare -D would empty the table too often.
  const narrow = words.length === 0 ? ['-s', one(random, V4)] : words;
  return ['-D', ...narrow, ...maybe(random, 35, () => ['-o', one(random, OUTPUTS_OF_DELETE)])];
};

/** Debian's needs a family to update anything, and sends the translation of -n along, which the kernel refuses. */
function update(random: Random): string[] {
  const isV6 = random(3) === 0;
  const from = ['-s', one(random, isV6 ? V6 : V4) + one(random, ['', isV6 ? '/64' : '/24'])];
  const what = [
    ...(random(3) > 0
      ? maybe(random, 70, () => ['-m', one(random, [...MARKS, '0x10/0xf0'])])
      : ['-u', one(random, ['SEEN_REPLY', 'SEEN_REPLY,ASSURED'])]),
    ...maybe(random, 30, () => ['-t', String(600 + random(3000))]),
    ...maybe(random, 20, () => [one(random, ['--label-add', '--label-del']), one(random, LABELS)]),
  ];
  // Without -p Debian's shows not all that it has changed.
  const protocol = one(
    random,
    isV6 ? ['tcp', 'udp', 'icmpv6', '50', 'sctp'] : ['tcp', 'udp', 'icmp', '50', 'sctp'],
  );
  const hasState = protocol === 'tcp' && random(2) === 0;
  const layer = ['-p', protocol, ...(hasState ? ['--state', one(random, TCP_STATES)] : [])];
  return [
    '-U',
    ...from,
    ...layer,
    ...(what.length === 0 ? ['-m', '9'] : what),
    ...maybe(random, 20, () => ['-o', 'id']),
  ];
}

function getting(random: Random): string[] {
  return ['-G', ...tuple(random).words, ...maybe(random, 20, () => ['-o', one(random, OUTPUTS_OF_GET)])];
}

/** Command lines that are wrong, in ways that both refuse. */
const WRONG: readonly string[] = [
  '-L -G',
  '-L nonsense',
  '-X',
  '-L --nonsense',
  '-L --sport 1',
  '-L -p tcp --icmp-type 8',
  '-L -p',
  '-L -p nonsense',
  '-L -p 256',
  '-L -s nonsense',
  '-L -s 10.0.0.0/33',
  '-L -s 10.0.0.0/x',
  '-L -r 10.0.0.0/24',
  '-L -n 10.0.0.0/24',
  '-L -s 10.0.0.1 -d ::1',
  '-L -f ipv6 -s 10.0.0.1',
  '-L -f ipv5',
  '-L -t 5',
  '-L -e NEW',
  '-L -b 1000',
  '-L -i 5',
  '-L -o nonsense',
  '-L -u NONSENSE',
  '-L -l nonsense',
  '-L -n -j',
  '-L --mask-src 255.0.0.0',
  '-L --tuple-src 10.0.0.1',
  '-L -p tcp --state NONSENSE',
  '-L -p sctp --orig-vtag 1',
  '-L -p dccp --role client',
  '-L -p dccp --role nonsense',
  '-L expect -s 10.0.0.1',
  '-L expect -z',
  '-L -z -m 1',
  '-L -z -p tcp',
  '-D -j',
  '-D -z',
  '-D expect',
  '-U -w 1 -m 1',
  '-U -c 1',
  '-U expect',
  '-A expect',
  '-G',
  '-G -p tcp',
  '-G -p tcp -s 10.0.0.1 -d 10.9.0.1',
  '-G -p tcp -s 10.0.0.1 -d 10.9.0.1 --sport 1',
  '-G -p icmp -s 10.0.0.1 -d 10.9.0.1',
  '-G -p udp -s 10.0.0.1 -d 10.9.0.1 --sport 1 --dport 1 -w 1',
  '-G dying',
  '-F dying',
  '-F -s 10.0.0.1',
  '-C -f ipv4',
  '-S -L',
  '-V nonsense',
  '-I',
  '-I -p udp',
  '-I -p udp -t 5',
  '-I -p udp -t 5 -s 10.0.0.1 -d 10.9.0.1',
  '-I -p udp -t 5 --sport 1 --dport 2',
  '-I -p tcp -t 5 -s 10.0.0.1 -d 10.9.0.1 --sport 1 --dport 2',
  '-I -p sctp -t 5 -s 10.0.0.1 -d 10.9.0.1 --sport 1 --dport 2 --state CLOSED',
  '-I -p gre -t 5 -s 10.0.0.1 -d 10.9.0.1',
  '-I -p icmp -t 5 -s 10.0.0.1 -d 10.9.0.1',
  '-I -p udp -t 5 -s 10.0.0.0/24 -d 10.9.0.1 --sport 1 --dport 2',
  '-I -p udp -t 5 -s 10.0.0.1 -d 10.9.0.1 --sport 1 --dport 2 -l five',
  '-I -p udp -t 5 -s 10.0.0.1 -d 10.9.0.1 --sport 1 --dport 2 -n 10.0.0.9:',
  '-I -p udp -t 5 -s 10.0.0.1 -d 10.9.0.1 --sport 1 --dport 2 -n 10.0.0.9:70000',
  '-I -p udp -t 5 -s 10.0.0.1 -d 10.9.0.1 --sport 1 --dport 2 -o xml',
  '-I expect -s 10.0.0.1',
  '-E -z',
  '-E -u ASSURED',
  '-E -e NONSENSE',
  '-E expect -e NEW',
  '-R',
  '-R /nonexistent/file',
  '-L -p tcp --s 1',
  '--d',
  '-L --orig 10.0.0.1',
];

/** Command lines that are right, and of which it is enough to do them now and then. */
const PLAIN: readonly string[] = [
  '-C',
  '-L expect',
  '-L dying',
  '-L unconfirmed',
  '-C expect',
  '-F expect',
  '-L -o xml',
];

/** One random command line; what it does to the table is compared as well. */
export function commandLine(random: Random, kind: RoundKind): string[] {
  const roll = random(100);
  if (roll < 35) return listing(random, kind);
  if (roll < 45) return getting(random);
  if (roll < 55) return deletion(random, kind);
  if (roll < 65) return kind.hasZones ? listing(random, kind) : update(random);
  if (roll < 75) return creation(random, kind);
  if (roll < 95) return one(random, WRONG).split(' ');
  return one(random, PLAIN).split(' ');
}
