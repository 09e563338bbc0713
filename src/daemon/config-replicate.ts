/** The schema of `replicate`: modes and filters, every word as what it stands for. */
import { z } from 'zod';
import { parseAddressBlock } from '../flow/address.js';
import { PROTOCOL_NAMES, STATUS_NAMES, TCP_STATE_NAMES } from '../flow/conntrack-enums.js';
import { MODES } from '../replication/ports.js';
import type { MarkMatch, ReplicateConfig } from './config.js';
import { list, parsed, parsePorts, say, section, text, whole, within } from './config-fields.js';
import { parseDuration } from './config-units.js';

const DAY_MS = 86_400_000;
/** NF_CT_HELPER_NAME_LEN less its NUL (linux/netfilter/nf_conntrack_common.h). */
const HELPER_NAME = /^[A-Za-z0-9_.-]{1,15}$/;
const DIRECTIONS = ['both', 'original', 'reply'] as const;

function parseProtocol(word: string): number | undefined {
  for (const [number, name] of PROTOCOL_NAMES) if (name === word.toLowerCase()) return number;
  return /^\d{1,3}$/.test(word) ? within(Number(word), 0, 255) : undefined;
}

function parseMark(word: string): MarkMatch | undefined {
  const match = /^(0x[0-9a-f]{1,8}|\d{1,10})(?:\/(0x[0-9a-f]{1,8}|\d{1,10}))?$/i.exec(word);
  if (match === null) return undefined;
  const value = Number(match[1]);
  const mask = Number(match[2] ?? 0xffffffff);
  return value <= 0xffffffff && mask <= 0xffffffff ? { value: (value & mask) >>> 0, mask } : undefined;
}

function parseTcpState(word: string): string | undefined {
  const name = word.toUpperCase();
  // The header's name for what conntrack(8) calls SYN_SENT2.
  return TCP_STATE_NAMES.find((known) => known === (name === 'LISTEN' ? 'SYN_SENT2' : name));
}

const conditions = {
  protocols: list(
    parsed(
      'a protocol',
      `one of ${[...PROTOCOL_NAMES.values()].join(', ')}, or a number to 255`,
      parseProtocol,
    ),
    '`protocols: [tcp, udp]`',
  ),
  addresses: list(
    text('an address or address/prefix', 'one as `192.0.2.1` or `10.0.0.0/8`', (value) => {
      return parseAddressBlock(value) !== undefined;
    }),
    '`addresses: [192.0.2.1, 2001:db8::/32]`',
  ),
  ports: list(parsed('a port or range of ports', 'one as `80` or `8000-8099`', parsePorts), '`ports: [80]`'),
  zones: list(whole('a zone', 'its number', 0, 0xffff), '`zones: [0, 7]`'),
  marks: list(parsed('a mark', 'value or value/mask, as `0x10/0xf0`', parseMark), '`marks: ["0x10/0xf0"]`'),
};

const expectations = z
  .union(
    [
      z.literal(['all', 'none']),
      list(
        text('the name of a helper', 'one as the kernel has it, as `ftp`', (value) =>
          HELPER_NAME.test(value),
        ),
        '`expectations: [ftp, sip]`',
      ),
    ],
    { error: say('a choice', '`all`, `none`, or names of helpers as `[ftp, sip]`') },
  )
  .default('all')
  // No helper is none; in the other lists nothing listed means any.
  .transform((value) => (value.length === 0 ? 'none' : value));

function word<const Word extends string>(what: string, words: readonly [Word, ...Word[]]) {
  return z.enum(words, { error: say(what, `one of ${words.join(', ')}`) }).default(words[0]);
}

/** `replicate`, as the daemon uses it. */
export const replicateSchema = section(
  {
    mode: word('a mode', MODES as readonly ['reliable', ...typeof MODES]),
    expectations,
    ...conditions,
    tcp_states: list(
      parsed('a TCP state', `one of ${TCP_STATE_NAMES.join(', ')}`, parseTcpState),
      '`tcp_states: [ESTABLISHED]`',
    ),
    status: list(
      parsed('a status', `one of ${STATUS_NAMES.join(', ')}`, (value) => {
        return STATUS_NAMES.find((known) => known === value.toUpperCase());
      }),
      '`status: [ASSURED]`',
    ),
    min_age: parsed('a time from 0 to 1d', '`min_age: 5s`', (value) => {
      return within(parseDuration(value), 0, DAY_MS);
    }).default(0),
    direction: word('a direction', DIRECTIONS),
    ignore: section(
      { ...conditions, local: z.boolean({ error: say('a choice', 'true or false') }).default(true) },
      '`ignore: { addresses: [192.0.2.1] }`',
    ).prefault({}),
  },
  '`replicate: { ignore: { addresses: [192.0.2.1] } }`, or leave it out',
).transform(({ tcp_states: tcpStates, min_age: minAgeMs, ...rest }): ReplicateConfig => {
  return { ...rest, tcpStates, minAgeMs };
});
