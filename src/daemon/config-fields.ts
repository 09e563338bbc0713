/** What the configuration's schema is made of: values whose problems say what is wrong and what to write instead. */
import { isAbsolute } from 'node:path';
import { z } from 'zod';
import { LIST_ENTRIES_MAX } from '../limits.js';
import type { PortRange } from './config.js';

/** What the kernel takes: no space, no slash, at most 15 bytes. */
export const INTERFACE_NAME = /^[^\s/]{1,15}$/;

/** Text of a schema's problem: what is wrong with the input, and what to write instead. */
export const say =
  (what: string, instead: string) =>
  ({ input }: { input?: unknown }): string =>
    input === undefined ? `missing, write ${instead}` : `${shown(input)} is not ${what}, write ${instead}`;

function shown(input: unknown): string {
  const text = JSON.stringify(input) ?? String(input);
  return text.length > 60 ? `${text.slice(0, 57)}...` : text;
}

/** A text or number that `parse` understands (undefined: it does not), as what it stands for. */
export function parsed<Value>(what: string, instead: string, parse: (text: string) => Value | undefined) {
  const error = say(what, instead);
  return z.union([z.string(), z.number()], { error }).transform((input, context): Value => {
    const value = parse(String(input));
    if (value !== undefined) return value;
    context.addIssue({ code: 'custom', message: error({ input }), input });
    return z.NEVER;
  });
}

/** A text that `isRight`. */
export function text(what: string, instead: string, isRight: (text: string) => boolean) {
  const error = say(what, instead);
  return z.string({ error }).refine(isRight, { error });
}

/** A whole number from `minimum` to `maximum`. */
export function whole(what: string, instead: string, minimum: number, maximum: number) {
  const error = say(`${what} (${minimum} to ${maximum})`, instead);
  return z.number({ error }).int({ error }).min(minimum, { error }).max(maximum, { error });
}

/** A map of exactly these keys; unknown ones are told by their own place. */
export function section<Shape extends z.ZodRawShape>(shape: Shape, instead: string) {
  return z.strictObject(shape, {
    error: (issue) => (issue.code === 'unrecognized_keys' ? undefined : say('a section', instead)(issue)),
  });
}

/** Some of `entry`, and by default none. */
export function list<Entry extends z.ZodType>(entry: Entry, instead: string) {
  const tooMany = `has more than ${LIST_ENTRIES_MAX} entries, write fewer, wider ones`;
  return z
    .array(entry, { error: say('a list', instead) })
    .max(LIST_ENTRIES_MAX, { error: tooMany })
    .default([]);
}

/** An absolute path, of at most so many bytes where that is limited. */
export const absolutePath = (what: string, instead: string, maxBytes?: number) =>
  text(
    `${what} (an absolute path${maxBytes === undefined ? '' : ` of at most ${maxBytes} bytes`})`,
    `\`${instead}\``,
    (value) =>
      isAbsolute(value) && !value.includes('\0') && Buffer.byteLength(value) <= (maxBytes ?? Infinity),
  );

/** `value` if it is in the range, or undefined. */
export function within(value: number | undefined, minimum: number, maximum: number): number | undefined {
  return value !== undefined && value >= minimum && value <= maximum ? value : undefined;
}

/** Ports of `80` or `8000-8099`; undefined if it is neither. */
export function parsePorts(word: string): PortRange | undefined {
  const match = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(word);
  if (match === null) return undefined;
  const first = Number(match[1]);
  const last = Number(match[2] ?? match[1]);
  return first <= last && last <= 0xffff ? { first, last } : undefined;
}
