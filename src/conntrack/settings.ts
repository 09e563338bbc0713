/** What a command line asks for, in numbers and bytes: the result of parsing. */
import { AF_INET, AF_INET6, IPPROTO_ICMP, IPPROTO_ICMPV6 } from '../flow/conntrack-enums.js';
import { ParameterError } from './errors.js';
import type { LabelMap } from './labels.js';
import type { TableName } from './legality.js';
import type { CommandLetter } from './options.js';
import type { MaskedNumber, StatusBits, Translation } from './values.js';

/** One tuple as far as it was given. Ports and GRE keys stand in the same places. */
export interface TupleSettings {
  source?: Uint8Array;
  destination?: Uint8Array;
  first?: number;
  second?: number;
}

export interface OutputSettings {
  isXml: boolean;
  isSave: boolean;
  isExtended: boolean;
  hasId: boolean;
  hasTimestamp: boolean;
  hasKernelTimestamp: boolean;
  hasLabels: boolean;
}

/** Kinds of events, as bits. */
export const ON_NEW = 1;
export const ON_UPDATE = 2;
export const ON_DESTROY = 4;
export const ON_ALL = ON_NEW | ON_UPDATE | ON_DESTROY;

export interface Settings {
  readonly letter: CommandLetter;
  readonly table: TableName;
  readonly given: ReadonlySet<string>;
  /** AF_INET, AF_INET6, or undefined: both. */
  family?: number;
  protocol?: number;
  readonly original: TupleSettings;
  readonly reply: TupleSettings;
  /** Of an expectation: what is expected, and its mask. */
  readonly expected: TupleSettings;
  readonly mask: TupleSettings;
  icmpType?: number;
  icmpCode?: number;
  icmpId?: number;
  state?: number;
  vtagOriginal?: number;
  vtagReply?: number;
  isServer?: boolean;
  timeout?: number;
  status?: StatusBits;
  mark?: MaskedNumber;
  id?: number;
  zone?: number;
  originalZone?: number;
  replyZone?: number;
  sourceNat?: Translation;
  destinationNat?: Translation;
  anyNat?: Translation;
  /** Label bits, 16 bytes each. */
  labels?: Uint8Array;
  labelsAdded?: Uint8Array;
  /** Undefined value of a given option: all of them. */
  labelsDeleted?: Uint8Array | 'all';
  labelMap?: LabelMap;
  readonly output: OutputSettings;
  events: number;
  bufferBytes?: number;
  isZeroing: boolean;
}

export function newSettings(letter: CommandLetter, table: TableName, given: ReadonlySet<string>): Settings {
  const output = {
    ...{ isXml: false, isSave: false, isExtended: false, hasId: false },
    ...{ hasTimestamp: false, hasKernelTimestamp: false, hasLabels: false },
  };
  return {
    ...{ letter, table, given, original: {}, reply: {}, expected: {}, mask: {}, output },
    ...{ events: 0, isZeroing: false },
  };
}

/** The family of an address, held against the family so far. */
export function joinFamily(settings: Settings, written: string, bytes: Uint8Array): void {
  const family = bytes.length === 16 ? AF_INET6 : AF_INET;
  settings.family ??= family;
  if (settings.family === family) return;
  const names = family === AF_INET6 ? ['IPv6', 'IPv4'] : ['IPv4', 'IPv6'];
  throw new ParameterError(
    `${written}: an ${names[0]} address does not go with the ${names[1]} of the other options`,
  );
}

export const isIcmp = (protocol: number | undefined): boolean =>
  protocol === IPPROTO_ICMP || protocol === IPPROTO_ICMPV6;
