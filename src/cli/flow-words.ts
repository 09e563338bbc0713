/** Flows named and described in words: `tcp 10.0.0.1:1234 10.2.0.1:443`, states, marks, times. Errors name the option. */
import { ControlError } from '../control/backend.js';
import { parseAddress } from '../flow/address.js';
import {
  DCCP_STATE_NAMES,
  IPPROTO_DCCP,
  IPPROTO_SCTP,
  IPPROTO_TCP,
  SCTP_STATE_NAMES,
  STATUS_NAMES,
  TCP_STATE_NAMES,
} from '../flow/conntrack-enums.js';
import { parseMark } from '../flow/filter.js';
import { protocolName, type StatusName, type Tuple } from '../flow/flow.js';
import { protocolNumber } from '../flow/flow-to-record.js';
import { usesIcmp, usesPorts } from '../flow/tuple.js';
import { statusWord, statusWords } from '../flow/where/fields.js';
import { parseSeconds } from '../flow/where/units.js';
import { suggestion } from '../flow/where/where-error.js';

const ICMP_ECHO: Readonly<Record<number, number>> = { 1: 8, 58: 128 };
const LABEL_MAX = 127;
const U16_MAX = 0xffff;
const U32_MAX = 0xffffffff;

export function refuse(option: string, value: string, want: string): never {
  throw new ControlError('invalid', `${option}: "${value}" is not ${want}`);
}

export interface Endpoint {
  readonly address: string;
  readonly port?: number;
}

/** "10.0.0.1:80", "[fd00::1]:80", or the address alone. */
export function endpoint(option: string, text: string): Endpoint {
  const match = /^\[([^\]]+)\](?::(\w+))?$/.exec(text) ?? /^([^:]+)(?::(\w+))?$/.exec(text) ?? [text, text];
  const want = 'an address, or address:port such as 10.0.0.1:80 or [fd00::1]:80';
  if (parseAddress(match[1]) === undefined) refuse(option, text, want);
  if (match[2] === undefined) return { address: match[1] };
  const port = /^(\d{1,5}|0x[0-9a-f]{1,4})$/i.test(match[2]) ? Number(match[2]) : U16_MAX + 1;
  if (port > U16_MAX) refuse(option, text, want);
  return { address: match[1], port };
}

export function protocol(option: string, text: string): string {
  try {
    return protocolName(protocolNumber(option, text.toLowerCase()));
  } catch (cause) {
    throw new ControlError('invalid', (cause as Error).message, { cause });
  }
}

export interface IcmpWords {
  icmpType?: number;
  icmpCode?: number;
  icmpId?: number;
}

/** Protocol and original tuple of three words. */
export function tuple(words: readonly string[], icmp: IcmpWords = {}): { protocol: string; original: Tuple } {
  if (words.length !== 3) {
    throw new ControlError(
      'invalid',
      `a flow is named by three words, such as tcp 10.0.0.1:1234 10.2.0.1:443, and here are ${words.length}`,
    );
  }
  const name = protocol('protocol', words[0]);
  const number = protocolNumber('protocol', name);
  const [from, to] = [endpoint('source', words[1]), endpoint('destination', words[2])];
  if (from.address.includes(':') !== to.address.includes(':')) {
    throw new ControlError('invalid', 'source and destination: one is IPv4 and the other IPv6');
  }
  const original: Tuple = { source: from.address, destination: to.address };
  const hasPorts = usesPorts(number);
  const missing = [words[1], words[2]].find((_, i) => ([from, to][i].port === undefined) === hasPorts);
  if (missing !== undefined) {
    const problem = hasPorts ? `${name} has ports: write ${missing}:PORT` : `${name} has no ports`;
    throw new ControlError('invalid', `${missing}: ${problem}`);
  }
  if (hasPorts) Object.assign(original, { sourcePort: from.port, destinationPort: to.port });
  if (usesIcmp(number)) {
    const { icmpType = ICMP_ECHO[number], icmpCode = 0, icmpId = 0 } = icmp;
    Object.assign(original, { icmpType, icmpCode, icmpId });
  }
  return { protocol: name, original };
}

/** The same flow as a filter has it. */
export function tupleFilter(words: readonly string[]) {
  const { protocol: name, original } = tuple(words);
  const { source, destination, sourcePort, destinationPort } = original;
  const ports = sourcePort === undefined ? {} : { sourcePort, destinationPort };
  return { protocol: name, source, destination, ...ports };
}

/** Whole seconds. */
export function seconds(option: string, text: string): number {
  const value = parseSeconds(text) ?? -1;
  if (value < 0 || value > U32_MAX) refuse(option, text, 'a time, such as 90s, 5m or 2h30m');
  return Math.round(value);
}

export function mark(option: string, text: string): { value: number; mask: number } {
  try {
    return parseMark(text);
  } catch {
    return refuse(option, text, 'a number or value/mask, such as 5 or 0x10/0xf0');
  }
}

const STATES: Readonly<Record<number, readonly string[]>> = {
  [IPPROTO_TCP]: TCP_STATE_NAMES,
  [IPPROTO_SCTP]: SCTP_STATE_NAMES,
  [IPPROTO_DCCP]: DCCP_STATE_NAMES,
};

/** The state's number by protocol; -1 for one that has none of this name. */
export function stateNumbers(option: string, text: string): Int8Array {
  const name = text.toUpperCase().replaceAll('-', '_');
  const numbers = new Int8Array(256).fill(-1);
  for (const [number, names] of Object.entries(STATES)) numbers[Number(number)] = names.indexOf(name);
  if (numbers.every((number) => number < 0)) {
    const known = [...new Set(Object.values(STATES).flat())].map((word) =>
      word.toLowerCase().replaceAll('_', '-'),
    );
    const hint = suggestion(text.replaceAll('_', '-'), known) || `, but ${known.join(', ')}`;
    throw new ControlError('invalid', `${option}: "${text}" is no state${hint}`);
  }
  return numbers;
}

/** The name of the protocol's state. */
export function stateOf(option: string, text: string, protocolWord: string): string {
  const number = protocolNumber('protocol', protocolWord);
  const state = stateNumbers(option, text)[number];
  if (state < 0) refuse(option, text, `a state of ${protocolWord}`);
  return STATES[number][state];
}

/** Names of status bits that can be set. */
export function statusNames(option: string, text: string): StatusName[] {
  return text.split(',').map((word) => {
    const bits = statusWord(word);
    if (bits === undefined || bits.set === 0) {
      const known = statusWords().filter((name) => statusWord(name)?.set !== 0);
      refuse(option, word, `one of ${known.join(', ')}`);
    }
    return STATUS_NAMES[31 - Math.clz32(bits.set)];
  });
}

/** Numbers of labels, with commas between. */
export function labels(option: string, text: string): number[] {
  return text.split(',').map((word) => {
    const label = /^\d{1,3}$/.test(word) ? Number(word) : LABEL_MAX + 1;
    if (label > LABEL_MAX) refuse(option, word, `a number from 0 to ${LABEL_MAX}`);
    return label;
  });
}
