/**
 * Random command lines of conntrack(8). What is left out, because Debian's 1.4.7 does something that no other line of
 * ours says, stands beside each place; what it makes of the others is in debian-quirks.ts.
 */
import type { Random } from '../random.js';
import * as C from './choices.js';
import { expectationCreation, expectationLine } from './expectation-words.js';
import { creation, layer4, named, type RoundKind, state } from './flow-words.js';
import { WRONG_LINES } from './wrong-lines.js';

const { one, maybe, shuffled } = C;

/** Stands for the path of the file that -R loads. */
export const FILE = '@FILE';
/** Stands for the id of one of the flows there are: `@ID3`. Ids differ in the two tables. */
export const FLOW_ID = '@ID';

/** One step of a round. */
export interface CommandLine {
  readonly words: readonly string[];
  /** Lines of the file that -R loads. */
  readonly file?: readonly (readonly string[])[];
  /** What is done while -E listens. */
  readonly meanwhile?: readonly (readonly string[])[];
  /** Both tables are changed by our program: Debian's would make an expectation of a protocol that nobody named. */
  readonly isOurs?: true;
}

const STATUS_HAD = ['ASSURED', 'SEEN_REPLY', 'SEEN_REPLY,ASSURED', 'FIXED_TIMEOUT', 'UNSET'];
// Debian's -D takes no notice of ! and deletes the others as well.
const STATUS_ASKED = [...STATUS_HAD, '!ASSURED', '!SEEN_REPLY'];
const OUTPUTS = [
  ...['extended', 'id', 'extended,id', 'xml', 'save', 'ktimestamp', 'labels', 'xml,labels', 'timestamp'],
  ...['userspace', 'xml,ktimestamp', 'extended,ktimestamp,labels,id'],
];
const EVENT_MASKS = ['ALL', 'NEW', 'UPDATES', 'DESTROY', 'NEW,DESTROY', 'NEW,UPDATES,DESTROY'];
const MARK_CONDITIONS = [...C.MARKS, '0x5/0xf', '0/0xf0', '16/0x10', '4/0xff'];

/** An address, sometimes with a length or a mask, of its own or by --mask-src. */
function address(random: Random, end: 'src' | 'dst', isV6: boolean): string[] {
  const [names, pool] =
    end === 'src'
      ? [['-s', '--src', '--orig-src'], isV6 ? C.V6 : C.V4]
      : [['-d', '--dst', '--orig-dst'], isV6 ? C.V6_TO : C.V4_TO];
  const lengths = isV6
    ? ['/32', '/64', '/127', '/ffff:ffff::', '']
    : ['/8', '/24', '/31', '/32', '/255.255.0.0', ''];
  if (random(8) > 0) return [one(random, names), one(random, pool) + one(random, lengths)];
  const mask = one(random, isV6 ? ['ffff::', 'ffff:ffff:ffff:ffff::'] : ['255.0.0.0', '255.255.255.0']);
  return [one(random, names), one(random, pool), `--mask-${end}`, mask];
}

/** Addresses and protocol by which flows are chosen. */
function choice(random: Random, isV6: boolean): string[][] {
  return [
    maybe(random, 45, () => address(random, 'src', isV6)),
    maybe(random, 25, () => address(random, 'dst', isV6)),
    maybe(random, 10, () => ['-r', one(random, isV6 ? [...C.V6_TO, C.NAT_V6] : [...C.V4_TO, C.NAT_V4])]),
    maybe(random, 10, () => ['-q', one(random, isV6 ? C.V6 : C.V4)]),
    maybe(random, 50, () => {
      const protocol = one(
        random,
        C.PROTOCOLS.filter((p) => p !== (isV6 ? 'icmp' : 'icmpv6')),
      );
      return [one(random, ['-p', '--proto']), protocol, ...maybe(random, 50, () => oneOf4(random, protocol))];
    }),
  ];
}

/** One end of the layer-4 words, or the state. */
function oneOf4(random: Random, protocol: string): string[] {
  const words = layer4(random, protocol);
  const hasState = C.isTcp(protocol) || protocol === 'sctp' || protocol === 'dccp';
  if (hasState && random(3) === 0) return state(random, protocol).slice(0, 2);
  const hasPorts = words.length > 0 && !protocol.startsWith('icmp');
  if (hasPorts && random(3) === 0) {
    const what = protocol === 'gre' ? 'key' : 'port';
    return random(2) === 0
      ? [`--reply-${what}-src`, one(random, C.TO_PORTS)]
      : [`--reply-${what}-dst`, one(random, C.PORTS)];
  }
  const pair = words.length === 0 ? 0 : 2 * random(words.length / 2);
  return words.slice(pair, pair + 2);
}

function nat(random: Random, isV6: boolean, isWithAny: boolean): string[] {
  const option = one(random, isWithAny ? ['-n', '-g', '-j', '--any-nat'] : ['-n', '-g']);
  // Debian's -j with an address finds nothing when another address is given.
  const isAny = option === '-j' || option === '--any-nat';
  const [host, port] = isV6 ? [C.NAT_V6, `[${C.NAT_V6}]:2000`] : [C.NAT_V4, `${C.NAT_V4}:2000`];
  return [option, ...(isAny ? [] : maybe(random, 60, () => [one(random, [host, host, port])]))];
}

const zoneOf = (random: Random, kind: RoundKind, percent: number): string[] =>
  kind.hasZones
    ? maybe(random, percent, () => [one(random, C.ZONE_OPTIONS), one(random, [...C.ZONES, '2'])])
    : [];

const conditions = (random: Random, kind: RoundKind, status: readonly string[]): string[][] => [
  maybe(random, 25, () => [one(random, ['-m', '--mark']), one(random, MARK_CONDITIONS)]),
  maybe(random, 18, () => [one(random, ['-u', '--status']), one(random, status)]),
  maybe(random, 8, () => [one(random, ['-l', '--label']), one(random, C.LABELS)]),
  zoneOf(random, kind, 20),
];

/** The command before or behind its options. */
const around = (random: Random, command: string[], options: string[]): string[] =>
  random(5) === 0 ? [...options, ...command] : [...command, ...options];

function listing(random: Random, kind: RoundKind): string[] {
  const isV6 = random(4) === 0;
  const table = maybe(random, 35, () => [one(random, ['conntrack', 'conntrack', 'dying', 'unconfirmed'])]);
  const options = shuffled(random, [
    ...choice(random, isV6),
    maybe(random, 12, () => nat(random, isV6, true)),
    ...conditions(random, kind, STATUS_ASKED),
    maybe(random, 35, () => [one(random, ['-o', '--output']), one(random, OUTPUTS)]),
    maybe(random, 15, () => ['-f', isV6 ? 'ipv6' : 'ipv4']),
    // No flow of ours has a context, and neither program looks at it.
    maybe(random, 3, () => ['-c', '5']),
  ]);
  return around(random, [one(random, ['-L', '--dump']), ...table], options);
}

const zeroing = (random: Random): string[] =>
  shuffled(random, [
    ['-L'],
    [one(random, ['-z', '--zero'])],
    maybe(random, 30, () => ['-f', one(random, ['ipv4', 'ipv6'])]),
    maybe(random, 30, () => ['-o', one(random, OUTPUTS)]),
  ]);

function deletion(random: Random, kind: RoundKind, hasForm = true): string[] {
  const isV6 = random(4) === 0;
  const words = shuffled(random, [
    ...choice(random, isV6),
    maybe(random, 12, () => nat(random, isV6, false)),
    ...conditions(random, kind, STATUS_HAD),
    maybe(random, 10, () => ['-i', `${FLOW_ID}${random(100)}`]),
    maybe(random, 8, () => ['-f', isV6 ? 'ipv6' : 'ipv4']),
  ]);
  // A bare -D would empty the table too often.
  const narrow = words.length === 0 ? ['-s', one(random, C.V4)] : words;
  // Debian's -D compares the timeout where it compares anything else, and takes no notice of a -t alone.
  const isCompared = narrow.some((word) => /^(-[sdrpm]|--(src|dst|proto|mark))$/.test(word));
  const seconds = isCompared ? maybe(random, 8, () => [one(random, ['-t', '--timeout']), '1000']) : [];
  return [
    one(random, ['-D', '--delete']),
    ...narrow,
    ...seconds,
    ...(hasForm ? maybe(random, 35, () => ['-o', one(random, OUTPUTS)]) : []),
  ];
}

/** What a -U sets. Debian's --label-del of a label that the flow does not have takes all when it is a high one: no top. */
const changes = (random: Random): string[][] => [
  maybe(random, 60, () => ['-m', one(random, [...C.MARKS, '0x10/0xf0', '3/0xff'])]),
  maybe(random, 35, () => ['-u', one(random, ['SEEN_REPLY', 'SEEN_REPLY,ASSURED'])]),
  maybe(random, 30, () => ['-t', String(600 + random(3000))]),
  maybe(random, 20, () =>
    random(2) === 0
      ? ['--label-add', one(random, C.LABELS)]
      : ['--label-del', ...maybe(random, 70, () => [one(random, ['zero', 'five', 'five,six'])])],
  ),
];

/** Debian's needs a family to update anything, and sends the translation of -n along, which the kernel refuses. */
function update(random: Random, hasForm = true): string[] {
  const isV6 = random(3) === 0;
  const protocol = one(
    random,
    C.PROTOCOLS.filter((p) => p !== (isV6 ? 'icmp' : 'icmpv6')),
  );
  const isWithState = random(3) === 0;
  // Debian's lets no -U change the role.
  const states = () => (protocol === 'dccp' ? state(random, protocol).slice(0, 2) : state(random, protocol));
  const layer = [
    ...['-p', protocol],
    ...(isWithState ? states() : maybe(random, 30, () => layer4(random, protocol).slice(0, 2))),
  ];
  const whose = random(4);
  const what = changes(random);
  return [
    ...[one(random, ['-U', '--update'])],
    ...shuffled(random, [
      whose > 0 ? address(random, 'src', isV6) : ['-f', isV6 ? 'ipv6' : 'ipv4'],
      whose === 1 ? address(random, 'dst', isV6) : [],
      whose === 2 ? maybe(random, 20, () => ['-r', one(random, isV6 ? C.V6_TO : C.V4_TO)]) : [],
      maybe(random, 70, () => layer),
      maybe(random, 8, () => ['-l', one(random, C.LABELS)]),
      maybe(random, 6, () => ['-i', `${FLOW_ID}${random(100)}`]),
      ...(what.flat().length === 0 ? [['-m', '9']] : what),
      hasForm ? maybe(random, 25, () => ['-o', one(random, OUTPUTS)]) : [],
    ]),
  ];
}

/** Debian's finds no flow by its reply. */
const getting = (random: Random, kind: RoundKind): string[] => [
  ...[one(random, ['-G', '--get'])],
  ...named(random, kind).words,
  ...maybe(random, 25, () => ['-o', one(random, OUTPUTS)]),
  ...maybe(random, 5, () => ['-l', one(random, C.LABELS)]),
  ...maybe(random, 5, () => ['-i', `${FLOW_ID}${random(100)}`]),
];

/** A file of lines that make and delete flows. Debian's shows all deleted flows as the last -o of the file says. */
function loading(random: Random, kind: RoundKind): CommandLine {
  const isInsert = (word: string) => word === '-I' || word === '--create';
  const file = Array.from({ length: 1 + random(8) }, () =>
    random(3) > 0
      ? creation(random, kind).map((word) => (isInsert(word) ? '-A' : word))
      : deletion(random, kind, false),
  );
  // Debian's carries no -U out that has a line behind it.
  if (!kind.hasZones && random(3) === 0) file.push(update(random, false));
  const words = one(random, [
    ['-R', FILE],
    ['--load-file', FILE],
    ['-R', '-'],
  ]);
  // Debian's crashes at labels in a file.
  const isLeftOut = (word: string) => word.startsWith(FLOW_ID) || /^(-l|--label.*)$/.test(word);
  return { words, file: file.filter((line) => !line.some(isLeftOut)) };
}

/** A listener, and changes for it to hear of. */
function listening(random: Random, kind: RoundKind): CommandLine {
  const isV6 = random(4) === 0;
  const words = shuffled(random, [
    ...choice(random, isV6),
    maybe(random, 8, () => nat(random, isV6, true)),
    maybe(random, 12, () => ['-m', one(random, MARK_CONDITIONS)]),
    maybe(random, 5, () => ['-l', one(random, C.LABELS)]),
    zoneOf(random, kind, 10),
    maybe(random, 30, () => ['-e', one(random, EVENT_MASKS)]),
    maybe(random, 20, () => ['-b', '1000000']),
    maybe(random, 10, () => ['-f', isV6 ? 'ipv6' : 'ipv4']),
    maybe(random, 40, () => ['-o', one(random, OUTPUTS)]),
  ]);
  const change = () => (kind.hasZones || random(2) === 0 ? deletion(random, kind) : update(random));
  const meanwhile = [
    creation(random, kind),
    creation(random, kind),
    creation(random, kind),
    change(),
    change(),
  ];
  return { words: [one(random, ['-E', '--event']), ...words], meanwhile };
}

/** Command lines that are right, and of which it is enough to do them now and then. */
const PLAIN: readonly string[] = [
  ...['-C', '--count', '-C conntrack', '-S', '-S expect', '-L expect', '-C expect', '-F expect', '-L dying'],
  ...['-L unconfirmed', '-L -o xml', '-L -a 5', '-V', '-h', '-L -m 0/0'],
];

/** One random command line; what it does to the table is compared as well. */
export function commandLine(random: Random, kind: RoundKind & { readonly hasMaster: boolean }): CommandLine {
  const roll = random(1000);
  if (roll < 300) return { words: listing(random, kind) };
  if (roll < 320) return { words: zeroing(random) };
  if (roll < 400) return { words: getting(random, kind) };
  if (roll < 490) return { words: deletion(random, kind) };
  if (roll < 610) return { words: kind.hasZones ? listing(random, kind) : update(random) };
  if (roll < 720) return { words: creation(random, kind) };
  if (roll < 750) return loading(random, kind);
  if (roll < 770) return listening(random, kind);
  if (roll < 830 && kind.hasMaster) {
    if (random(3) > 0) return { words: expectationLine(random) };
    return { words: expectationCreation(random), isOurs: true };
  }
  if (roll < 950) return { words: one(random, WRONG_LINES).split(' ') };
  return { words: one(random, PLAIN).split(' ') };
}

/** What a round ends with. */
export const lastLine = (random: Random): CommandLine => ({
  words: one(random, [['-F'], ['-F', '-f', 'ipv6'], ['--flush'], ['-D'], ['-F', 'conntrack']]),
});
