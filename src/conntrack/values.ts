/** Values of options: text in, numbers and bytes out. Each throws ParameterError that names the option. */
import { parseAddress } from '../flow/address.js';
import {
  IPS_ASSURED,
  IPS_EXPECTED,
  IPS_FIXED_TIMEOUT,
  IPS_HW_OFFLOAD,
  IPS_OFFLOAD,
  IPS_SEEN_REPLY,
} from '../flow/conntrack-enums.js';
import { ParameterError } from './errors.js';

/** Longest part of a bad value that a message repeats. Characters. */
const SHOWN_MAX = 60;
const U16_MAX = 0xffff;
const U32_MAX = 0xffffffff;
const NUMBER = /^(0x[0-9a-f]+|[0-9]+)$/i;
/** Addresses as inet_aton takes them besides the plain form, which are refused: 010.1 means another host to each reader. */
const CIDR = /^(.*)\/([^/]*)$/;

/** Throws the ParameterError of a bad value. */
export function refuse(option: string, value: string, wanted: string): never {
  const shown = value.length > SHOWN_MAX ? `${value.slice(0, SHOWN_MAX)}...` : value;
  throw new ParameterError(`${option}: "${shown}" is not ${wanted}`);
}

/** A number, decimal or 0x hexadecimal (a leading zero means octal, as C's strtoul reads it). */
export function number(option: string, text: string, max = U32_MAX): number {
  const wanted = `a number from 0 to ${max}`;
  if (!NUMBER.test(text)) refuse(option, text, wanted);
  const isOctal = /^0[0-7]+$/.test(text);
  const value = isOctal ? Number.parseInt(text, 8) : Number(text);
  if (value > max) refuse(option, text, wanted);
  return value;
}

export const port = (option: string, text: string): number => number(option, text, U16_MAX);

/** An address with its mask where one was given as a length. */
export interface MaskedAddress {
  readonly bytes: Uint8Array;
  readonly mask?: Uint8Array;
}

/** 4 or 16 bytes. */
export function address(option: string, text: string): Uint8Array {
  if (text.includes('/')) refuse(option, text, 'one address: this option takes no length or mask');
  return parseAddress(text) ?? refuse(option, text, 'an IPv4 or IPv6 address');
}

/** An address, address/length or address/mask. */
export function maskedAddress(option: string, text: string): MaskedAddress {
  const match = CIDR.exec(text);
  if (match === null) return { bytes: address(option, text) };
  const bytes = parseAddress(match[1]) ?? refuse(option, text, 'an IPv4 or IPv6 address');
  const written = parseAddress(match[2]);
  if (written?.length === bytes.length) return { bytes, mask: written };
  const bits = bytes.length * 8;
  if (!/^[0-9]{1,3}$/.test(match[2]) || Number(match[2]) > bits) {
    refuse(option, text, `an address with a length from 0 to ${bits} or a mask behind the slash`);
  }
  return { bytes, mask: lengthMask(bytes.length, Number(match[2])) };
}

function lengthMask(bytes: number, length: number): Uint8Array {
  return Uint8Array.from({ length: bytes }, (_, i) => 0xff00 >>> Math.min(8, Math.max(0, length - 8 * i)));
}

/** What a flow is translated to: an address, a port, both, or anything. */
export interface Translation {
  readonly address?: Uint8Array;
  readonly port?: number;
}

/** "address", "address:port", "[address]:port", or nothing. */
export function translation(option: string, text: string | undefined): Translation {
  if (text === undefined) return {};
  const bracketed = /^\[([^\]]*)\](?::(.*))?$/.exec(text);
  const plain = /^([^:]*)(?::([^:]*))?$/.exec(text);
  const [, host, portText] = bracketed ?? plain ?? [text, text, undefined];
  const to = address(option, host);
  if (portText === undefined) return { address: to };
  if (portText === '') refuse(option, text, 'complete: a port goes behind the colon');
  return { address: to, port: port(option, portText) };
}

/** A value and the bits of it that count. */
export interface MaskedNumber {
  readonly value: number;
  readonly mask: number;
}

/** "value" or "value/mask". */
export function mark(option: string, text: string): MaskedNumber {
  const [value, mask, ...more] = text.split('/');
  if (more.length > 0) refuse(option, text, 'value or value/mask');
  return {
    value: number(option, value),
    mask: mask === undefined ? U32_MAX : number(option, mask),
  };
}

/** The bits that conntrack(8) has words for. */
const STATUS_WORDS: readonly (readonly [string, number])[] = [
  ['ASSURED', IPS_ASSURED],
  ['SEEN_REPLY', IPS_SEEN_REPLY],
  ['UNSET', 0],
  ['FIXED_TIMEOUT', IPS_FIXED_TIMEOUT],
  ['EXPECTED', IPS_EXPECTED],
  ['OFFLOAD', IPS_OFFLOAD],
  ['HW_OFFLOAD', IPS_HW_OFFLOAD],
];
/** UNREPLIED is what a line shows for a flow without SEEN_REPLY. */
const UNREPLIED = 'UNREPLIED';

/** Bits that are to be set, and bits that are to be clear. */
export interface StatusBits {
  set: number;
  clear: number;
}

/** Words with commas between, each with ! in front to negate it; unambiguous beginnings will do. */
export function status(option: string, text: string): StatusBits {
  const bits = { set: 0, clear: 0 };
  for (const word of text.split(',')) {
    const isNegated = word.startsWith('!');
    const name = isNegated ? word.slice(1) : word;
    const known = [...STATUS_WORDS.map(([known]) => known), UNREPLIED];
    const found = oneOf(option, name, known);
    const bit = STATUS_WORDS.find(([known]) => known === found)?.[1] ?? IPS_SEEN_REPLY;
    if ((found === UNREPLIED) !== isNegated) bits.clear |= bit;
    else bits.set |= bit;
  }
  return bits;
}

/** The word that this begins, in any case; the first of several. */
export function oneOf(option: string, text: string, known: readonly string[]): string {
  const upper = text.toUpperCase();
  const found = text === '' ? undefined : known.find((word) => word.toUpperCase().startsWith(upper));
  return found ?? refuse(option, text, `one of ${known.join(', ')}`);
}

/** Words of a list with commas between. */
export const words = (option: string, text: string, known: readonly string[]): string[] =>
  text.split(',').map((word) => oneOf(option, word, known));
