/**
 * Which options go with which command, and which a command cannot do without: what conntrack(8) allows, as a table. A
 * letter stands for one option; the tables are read once per run, so they are written to be read by people.
 */
import { ParameterError } from './errors.js';
import { COMMANDS, type CommandLetter, spelled } from './options.js';
import { neededSpec, type ProtocolSpec, protocolOptions, protocolSpec } from './protocols.js';

export const TABLES = ['conntrack', 'expect', 'dying', 'unconfirmed'] as const;
export type TableName = (typeof TABLES)[number];

const TUPLES = ['src', 'dst', 'reply-src', 'reply-dst', 'protonum'];
const MASKS = ['mask-src', 'mask-dst'];
const ZONES = ['zone', 'orig-zone', 'reply-zone'];
const NAT = ['src-nat', 'dst-nat'];
const SHOW = [
  ...[...TUPLES, ...MASKS, ...NAT, ...ZONES],
  ...['any-nat', 'status', 'mark', 'secmark', 'family', 'output', 'label', 'labelmap', 'zero'],
];
const MAKE = [...TUPLES, ...NAT, ...ZONES, 'timeout', 'status', 'mark', 'label-add', 'labelmap'];
const EXPECTED = ['tuple-src', 'tuple-dst'];

/** Options of each command and table; what is not here is refused. A combination that is absent does not exist. */
const ALLOWED: Readonly<Record<string, readonly string[]>> = {
  'L conntrack': SHOW,
  'L dying': SHOW,
  'L unconfirmed': SHOW,
  'L expect': ['family', 'output'],
  'G conntrack': [...TUPLES, 'id', 'output', 'label', 'labelmap'],
  'G expect': ['src', 'dst', 'protonum'],
  'D conntrack': [
    ...[...TUPLES, ...MASKS, ...NAT, ...ZONES],
    ...['timeout', 'status', 'mark', 'id', 'family', 'output', 'label', 'labelmap'],
  ],
  'D expect': ['src', 'dst', 'protonum'],
  'I conntrack': MAKE,
  'I expect': [...TUPLES, ...EXPECTED, ...MASKS, 'timeout', 'status'],
  'A conntrack': MAKE,
  'U conntrack': [
    ...[...TUPLES, ...MASKS, ...NAT],
    ...['timeout', 'status', 'mark', 'id', 'family', 'output', 'label', 'label-add', 'label-del', 'labelmap'],
  ],
  'E conntrack': [
    ...[...TUPLES, ...MASKS, ...NAT, ...ZONES],
    ...['any-nat', 'mark', 'secmark', 'family', 'output', 'label', 'labelmap', 'event-mask', 'buffer-size'],
  ],
  'E expect': ['output'],
  'F conntrack': ['family'],
  'F expect': [],
  'C conntrack': [],
  'C expect': [],
  'S conntrack': [],
  'S expect': [],
  'V conntrack': [],
  'h conntrack': [],
};

/** Options that a command cannot do without, in the order in which they are asked for. */
const NEEDED: Readonly<Record<string, readonly string[]>> = {
  'G conntrack': ['protonum'],
  'I conntrack': ['protonum', 'timeout'],
  'A conntrack': ['protonum', 'timeout'],
  'G expect': ['src', 'dst', 'protonum'],
  'D expect': ['src', 'dst', 'protonum'],
  'I expect': ['src', 'dst', 'protonum', 'timeout', 'tuple-src', 'tuple-dst', 'mask-src', 'mask-dst'],
};

/** Options of a protocol that go with few commands only; the others go with every command that takes tuples. */
const PROTOCOL_ONLY: readonly (readonly [RegExp, readonly string[]])[] = [
  [/^(tuple|mask)-(port|key)-/, ['I expect', 'G expect', 'D expect']],
  [/^(orig|reply)-vtag$|^role$/, ['I conntrack', 'A conntrack', 'U conntrack']],
  [/^icmp(v6)?-|^state$/, Object.keys(ALLOWED).filter((key) => !key.endsWith(' expect'))],
];

/** Every option that goes with a command, those of protocols too; undefined if there is no such command. */
export function allowedOptions(letter: CommandLetter, table: string): readonly string[] | undefined {
  const key = `${letter} ${table}`;
  const allowed = ALLOWED[key];
  if (allowed === undefined || !allowed.includes('protonum')) return allowed;
  const ofProtocols = protocolOptions().filter((name) => goesWith(name, key));
  return [...new Set([...allowed, ...ofProtocols])];
}

const needs = (name: string, why: string): ParameterError =>
  new ParameterError(`${spelled(name)}: it is missing: ${why}`);

/** What is judged: a command, its table, the names of the options given, and the protocol if there is one. */
export interface Judged {
  readonly letter: CommandLetter;
  readonly table: TableName;
  readonly given: ReadonlySet<string>;
  readonly protocol: number | undefined;
}

/** Throws ParameterError with the first option that does not belong, or that is missing. */
export function judge(judged: Judged): void {
  const { letter, table, given } = judged;
  const key = `${letter} ${table}`;
  const command = `-${letter} (${COMMANDS[letter]})`;
  const allowed = ALLOWED[key];
  if (allowed === undefined) throw new ParameterError(noSuchCommand(command, letter, table));
  const what = table === 'conntrack' ? command : `${command} ${table}`;
  for (const name of given) {
    if (name === 'nat-range' || allowed.includes(name) || isOfProtocol(name, judged)) continue;
    throw new ParameterError(`${spelled(name)}: it does not go with ${what}: leave it out`);
  }
  for (const name of NEEDED[key] ?? []) {
    if (!given.has(name)) throw needs(name, `${what} cannot do without it`);
  }
  if (given.has('any-nat') && (given.has('src-nat') || given.has('dst-nat'))) {
    throw new ParameterError('--any-nat: it stands for --src-nat or --dst-nat: give one of the three');
  }
  judgeMasks(judged);
  judgeZero(given);
  if (judged.protocol !== undefined) judgeProtocol(judged, neededSpec(judged.protocol, given), what);
}

function noSuchCommand(command: string, letter: CommandLetter, table: TableName): string {
  const tables = TABLES.filter((name) => `${letter} ${name}` in ALLOWED);
  return `${command}: it does not work on the table ${table}: use ${tables.join(' or ')}`;
}

function isOfProtocol(name: string, { letter, table, protocol }: Judged): boolean {
  if (protocol === undefined || !protocolSpec(protocol).options.some((spec) => spec.name === name))
    return false;
  return goesWith(name, `${letter} ${table}`);
}

function goesWith(protocolOption: string, key: string): boolean {
  const only = PROTOCOL_ONLY.find(([pattern]) => pattern.test(protocolOption))?.[1];
  return only === undefined || only.includes(key);
}

function judgeMasks({ table, given }: Judged): void {
  if (table === 'expect') return;
  for (const end of ['src', 'dst']) {
    if (given.has(`mask-${end}`) && !given.has(end)) {
      throw new ParameterError(`--mask-${end}: it masks the address of --${end}: give that too`);
    }
  }
}

/** The counters of all flows go to zero, also of those that a filter would hide. */
function judgeZero(given: ReadonlySet<string>): void {
  if (!given.has('zero')) return;
  const filter = [...given].find(
    (name) => !['zero', 'family', 'output', 'labelmap', 'nat-range'].includes(name),
  );
  if (filter === undefined) return;
  throw new ParameterError(
    `${spelled(filter)}: it does not go with -z (zero), which takes the counters of all flows: leave one out`,
  );
}

/** The tuple must be whole where it names one flow. */
function judgeProtocol({ letter, table, given }: Judged, spec: ProtocolSpec, what: string): void {
  const isMade = letter === 'I' || letter === 'A';
  if (!isMade && letter !== 'G' && !(letter === 'D' && table === 'expect')) return;
  const why = `${what} needs it to know the flow`;
  if (table === 'expect') {
    const [original, , tuple, mask] = spec.ends;
    for (const pair of isMade ? [original, tuple, mask] : [original]) {
      for (const name of pair ?? []) if (!given.has(name)) throw needs(name, why);
    }
    return;
  }
  if (isMade) {
    for (const name of spec.createNeeds) if (!given.has(name)) throw needs(name, why);
  } else if (spec.ends.length === 0) {
    for (const name of spec.createNeeds) if (!given.has(name)) throw needs(name, why);
  }
  judgeEnds(given, ['src', 'dst'], ['reply-src', 'reply-dst'], why);
  const [original, reply] = spec.ends;
  if (original !== undefined) judgeEnds(given, original, reply, why);
}

/** Both ends of the original tuple, or else both of the reply. */
function judgeEnds(
  given: ReadonlySet<string>,
  original: readonly [string, string],
  reply: readonly [string, string],
  why: string,
): void {
  const has = (pair: readonly string[]) => pair.every((name) => given.has(name));
  if (has(original) || has(reply)) return;
  const missing = original.find((name) => !given.has(name))!;
  throw needs(missing, `${why} (or both ends of the reply)`);
}
