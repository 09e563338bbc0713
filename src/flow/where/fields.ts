/** The fields that an expression can name, what their values look like, and where they stand in a record. */
import {
  AF_INET,
  AF_INET6,
  IPS_DST_NAT,
  IPS_SEEN_REPLY,
  IPS_SRC_NAT,
  PROTOCOL_NAMES,
  STATUS_NAMES,
} from '../conntrack-enums.js';
import type { FilterOptions } from '../filter.js';
import { OWNER_WORDS } from '../owner-mark.js';
import {
  familyOf,
  findPart,
  HAS_ID,
  HAS_TIMEOUT,
  type Memory,
  OFF_HAS,
  OFF_ID,
  OFF_ORIG_L4,
  OFF_ORIG_SRC,
  OFF_PROTOCOL,
  OFF_TIMEOUT,
  OFF_ZONE,
  offMark,
  offOrigDst,
  offReplyDst,
  offReplyL4,
  offReplySrc,
  PART_COUNTERS_ORIG,
  PART_COUNTERS_REPLY,
  PART_HELPER,
  PART_SECCTX,
  PART_TIMESTAMP,
  PART_USE,
} from '../record.js';
import { usesIcmp, usesPorts } from '../tuple.js';
import { parseAmount, parseSeconds } from './units.js';

/** What a record itself does not say. */
export interface About {
  /** OWNER_*. */
  owner: number;
  /** The peer whose flow it is, or empty. */
  node: string;
  /** Seconds since 1970. */
  now: number;
}

/** The value, or NaN where the flow has none. */
export type NumberReader = (m: Memory, at: number, addr: number, about: About) => number;

interface Named {
  readonly name: string;
  readonly aliases: readonly string[];
  /** For the help text. */
  readonly help: string;
  /** Only the kernel's table has it: no mirror, no replica, no event of an update. */
  readonly isShown?: boolean;
  /** The option of the kernel's own filter that says the same of one value. */
  readonly hint?: keyof FilterOptions;
}

export interface NumberField extends Named {
  readonly kind: 'number';
  /** More than one: any of them may have the value. */
  readonly readers: readonly NumberReader[];
  readonly parse: (text: string) => number | undefined;
  /** What a value must be, for an error. */
  readonly want: string;
  readonly isOrdered: boolean;
}
export interface AddressField extends Named {
  readonly kind: 'address';
  /** Distances from the record's start. */
  readonly places: readonly ((addr: number) => number)[];
}
export interface TextField extends Named {
  readonly kind: 'text';
  readonly part: number;
}
export interface OtherField extends Named {
  readonly kind: 'mark' | 'state' | 'status' | 'label' | 'node';
}
export type Field = NumberField | AddressField | TextField | OtherField;

const U16_MAX = 0xffff;
const TWO_TO_32 = 4294967296;
const NS_PER_S = 1e9;

function integer(max: number): (text: string) => number | undefined {
  return (text) => {
    const value = /^(\d{1,10}|0x[0-9a-f]{1,8})$/i.test(text) ? Number(text) : Number.NaN;
    return value <= max ? value : undefined;
  };
}

const u16 = { parse: integer(U16_MAX), want: `a number from 0 to ${U16_MAX}` };
const u8 = { parse: integer(255), want: 'a number from 0 to 255' };
const u32 = { parse: integer(0xffffffff), want: 'a number below 4294967296' };
const amount = { parse: parseAmount, want: 'an amount, such as 1500, 10k, 1M or 2GiB' };
const seconds = { parse: parseSeconds, want: 'a time, such as 90s, 5m, 1h30m or 2d' };

const portAt =
  (place: (addr: number) => number): NumberReader =>
  (m, at, addr) => {
    if (!usesPorts(m.u8[at + OFF_PROTOCOL])) return Number.NaN;
    const p = at + place(addr);
    return (m.u8[p] << 8) | m.u8[p + 1];
  };
const origSport = portAt(() => OFF_ORIG_L4);
const origDport = portAt(() => OFF_ORIG_L4 + 2);
const replySport = portAt(offReplyL4);
const replyDport = portAt((addr) => offReplyL4(addr) + 2);

const origSrc = () => OFF_ORIG_SRC;

const icmp =
  (read: (m: Memory, l4: number) => number): NumberReader =>
  (m, at) =>
    usesIcmp(m.u8[at + OFF_PROTOCOL]) ? read(m, at + OFF_ORIG_L4) : Number.NaN;

const u64 = (m: Memory, word: number): number => m.u32[word] + TWO_TO_32 * m.u32[word + 1];

/** Packets (word 0) or bytes (word 2) of one direction. */
const counter =
  (part: number, word: number): NumberReader =>
  (m, at) => {
    const p = findPart(m, at, part);
    return p < 0 ? Number.NaN : u64(m, ((p + 4) >>> 2) + word);
  };
/** Of both directions; a new flow's event has one of them. */
const sum =
  (a: NumberReader, b: NumberReader): NumberReader =>
  (m, at, addr, about) => {
    const first = a(m, at, addr, about);
    const second = b(m, at, addr, about);
    if (Number.isNaN(first)) return second;
    return Number.isNaN(second) ? first : first + second;
  };
const [origPackets, origBytes] = [0, 2].map((word) => counter(PART_COUNTERS_ORIG, word));
const [replyPackets, replyBytes] = [0, 2].map((word) => counter(PART_COUNTERS_REPLY, word));

const header =
  (bit: number, offset: number): NumberReader =>
  (m, at) =>
    (m.u8[at + OFF_HAS] & bit) === 0 ? Number.NaN : m.u32[(at + offset) >>> 2];

const age: NumberReader = (m, at, _addr, about) => {
  const p = findPart(m, at, PART_TIMESTAMP);
  if (p < 0) return Number.NaN;
  const w = (p + 4) >>> 2;
  const start = u64(m, w);
  const stop = u64(m, w + 2);
  return start === 0 ? Number.NaN : (stop === 0 ? about.now : stop / NS_PER_S) - start / NS_PER_S;
};

const use: NumberReader = (m, at) => {
  const p = findPart(m, at, PART_USE);
  return p < 0 ? Number.NaN : m.u32[(p + 4) >>> 2];
};

/** Words for numbers, in any case. */
const among =
  (words: readonly (readonly [string, number])[], other?: (text: string) => number | undefined) =>
  (text: string): number | undefined =>
    words.find(([word]) => word === text.toLowerCase())?.[1] ?? other?.(text);

const PROTOCOLS = [...PROTOCOL_NAMES].map(([number, name]) => [name, number] as const);
const FAMILIES = [['ipv4', AF_INET] as const, ['ipv6', AF_INET6] as const];
const OWNERS = OWNER_WORDS.map((word, number) => [word, number] as const);
const wordsOf = (words: readonly (readonly [string, number])[]) => words.map(([word]) => word).join(', ');

type Values = Pick<NumberField, 'parse' | 'want'>;
const number = (
  name: string,
  aliases: readonly string[],
  help: string,
  { parse, want }: Values,
  readers: readonly NumberReader[],
  more: Partial<NumberField> = {},
): NumberField => ({ kind: 'number', name, aliases, help, parse, want, readers, isOrdered: true, ...more });

const address = (
  name: string,
  aliases: readonly string[],
  help: string,
  places: readonly ((addr: number) => number)[],
  hint?: keyof FilterOptions,
): AddressField => ({
  kind: 'address',
  name,
  aliases,
  help,
  places,
  ...(hint === undefined ? {} : { hint }),
});

const counted = (
  name: string,
  aliases: readonly string[],
  help: string,
  values: Values,
  reader: NumberReader,
): NumberField => number(name, aliases, help, values, [reader], { isShown: true });

/** In the order in which the help tells them. */
export const FIELDS: readonly Field[] = [
  number(
    'proto',
    ['protocol'],
    'tcp, udp, icmp, ..., or a number',
    { parse: among(PROTOCOLS, u8.parse), want: `one of ${wordsOf(PROTOCOLS)}, or a number from 0 to 255` },
    [(m, at) => m.u8[at + OFF_PROTOCOL]],
    { isOrdered: false, hint: 'protocol' },
  ),
  number('family', [], 'ipv4 or ipv6', { parse: among(FAMILIES), want: 'ipv4 or ipv6' }, [familyOf], {
    isOrdered: false,
    hint: 'family',
  }),
  address(
    'orig.src',
    ['src', 'source'],
    'who opened it: an address, or a block such as 10.1.0.0/16',
    [origSrc],
    'source',
  ),
  address('orig.dst', ['dst', 'destination'], 'to where', [offOrigDst], 'destination'),
  address('reply.src', [], 'who answers: what DNAT made of orig.dst', [offReplySrc], 'replySource'),
  address('reply.dst', [], 'to where: what SNAT made of orig.src', [offReplyDst], 'replyDestination'),
  address('address', ['addr', 'host'], 'any of these four', [origSrc, offOrigDst, offReplySrc, offReplyDst]),
  number('orig.sport', ['sport'], 'ports (GRE: keys)', u16, [origSport], { hint: 'sourcePort' }),
  number('orig.dport', ['dport'], 'the port of the service', u16, [origDport], { hint: 'destinationPort' }),
  number('reply.sport', [], '', u16, [replySport], { hint: 'replySourcePort' }),
  number('reply.dport', [], '', u16, [replyDport], { hint: 'replyDestinationPort' }),
  number('port', [], 'any of these four', u16, [origSport, origDport, replySport, replyDport]),
  number('icmp.type', [], '', u8, [icmp((m, l4) => m.u8[l4 + 2])]),
  number('icmp.code', [], '', u8, [icmp((m, l4) => m.u8[l4 + 3])]),
  number('icmp.id', [], '', u16, [icmp((m, l4) => (m.u8[l4] << 8) | m.u8[l4 + 1])]),
  { kind: 'state', name: 'state', aliases: [], help: 'established, time-wait, ..., of TCP, SCTP and DCCP' },
  { kind: 'status', name: 'status', aliases: [], help: 'assured, unreplied, snat, ...: "=" is "has it"' },
  number('timeout', ['expires'], 'what is left, 90s or 5m', seconds, [header(HAS_TIMEOUT, OFF_TIMEOUT)]),
  { kind: 'mark', name: 'mark', aliases: [], help: 'a number, or value/mask' },
  number('zone', [], '0 for none', u16, [(m, at) => m.u16[(at + OFF_ZONE) >>> 1]], { hint: 'zone' }),
  { kind: 'label', name: 'label', aliases: ['labels'], help: 'the number of a label that it has' },
  { kind: 'text', name: 'helper', aliases: [], help: 'ftp, sip, ...', part: PART_HELPER },
  { kind: 'text', name: 'secctx', aliases: [], help: 'security context', part: PART_SECCTX, isShown: true },
  counted('bytes', [], 'of both directions, 1M or 10GiB', amount, sum(origBytes, replyBytes)),
  counted('packets', [], 'of both directions', amount, sum(origPackets, replyPackets)),
  counted('orig.bytes', [], '', amount, origBytes),
  counted('reply.bytes', [], '', amount, replyBytes),
  counted('orig.packets', [], '', amount, origPackets),
  counted('reply.packets', [], '', amount, replyPackets),
  counted('age', [], 'since it began, 10m or 2d', seconds, age),
  counted('use', [], '', u32, use),
  number('id', [], "the kernel's number of it", u32, [header(HAS_ID, OFF_ID)]),
  number(
    'owner',
    [],
    "own, held (a peer's, in this kernel), replica (a peer's, not in it), none",
    { parse: among(OWNERS), want: `one of ${wordsOf(OWNERS)}` },
    [(_m, _at, _addr, about) => about.owner],
    { isOrdered: false },
  ),
  { kind: 'node', name: 'node', aliases: ['peer'], help: 'the peer whose flow it is' },
];

const BY_NAME: ReadonlyMap<string, Field> = new Map(
  FIELDS.flatMap((field) => [field.name, ...field.aliases].map((name) => [name, field] as const)),
);

/** The field of this name or alias. */
export const fieldNamed = (name: string): Field | undefined => BY_NAME.get(name.toLowerCase());
export const fieldNames = (): string[] => [...BY_NAME.keys()];

/** The number that a mark's record has. */
export const readMark: NumberReader = (m, at, addr) => m.u32[(at + offMark(addr)) >>> 2];

/** Words of `status`, and words that stand alone. Bits that must be set, and bits that must be clear; any of `any`. */
export interface StatusWord {
  readonly set: number;
  readonly clear: number;
  readonly any: number;
}
const bit = (set: number): StatusWord => ({ set, clear: 0, any: 0 });
const STATUS_BY_WORD: ReadonlyMap<string, StatusWord> = new Map([
  ...STATUS_NAMES.map((name, i) => [name.toLowerCase().replaceAll('_', '-'), bit(1 << i)] as const),
  ['unreplied', { set: 0, clear: IPS_SEEN_REPLY, any: 0 }],
  ['replied', bit(IPS_SEEN_REPLY)],
  ['snat', bit(IPS_SRC_NAT)],
  ['dnat', bit(IPS_DST_NAT)],
  ['nat', { set: 0, clear: 0, any: IPS_SRC_NAT | IPS_DST_NAT }],
]);

const asWord = (text: string): string => text.toLowerCase().replaceAll('_', '-');
export const statusWord = (text: string): StatusWord | undefined => STATUS_BY_WORD.get(asWord(text));
export const statusWords = (): string[] => [...STATUS_BY_WORD.keys()];
