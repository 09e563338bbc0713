import { InvalidArgumentError } from 'commander';
import { NAME_MAX_BYTES, NAME_PATTERN, SOCKET_PATH_MAX_BYTES } from '../limits.js';

/** ftp, ftp-2121, Q.931, ...: what the kernel's field holds. */
const HELPER_NAME = /^[A-Za-z][\w.-]{0,14}$/;

/** A parser for an argument that is one of some words. */
export function choice<Word extends string>(what: string, words: readonly Word[]): (text: string) => Word {
  return (text) => {
    const word = words.find((known) => known === text);
    if (word === undefined) throw new InvalidArgumentError(`The ${what} is one of ${words.join(', ')}.`);
    return word;
  };
}

/** A parser for a whole number from 0 to 65535: a port, a zone. */
export function u16(what: string): (text: string) => number {
  return (text) => {
    const value = /^\d{1,5}$/.test(text) ? Number(text) : -1;
    if (value < 0 || value > 0xffff)
      throw new InvalidArgumentError(`The ${what} is a number from 0 to 65535.`);
    return value;
  };
}

/** A parser for a whole number from 1 to a limit. */
export function atMost(what: string, max: number): (text: string) => number {
  return (text) => {
    const value = /^\d{1,10}$/.test(text) ? Number(text) : 0;
    if (value < 1 || value > max) throw new InvalidArgumentError(`The ${what} is a number from 1 to ${max}.`);
    return value;
  };
}

/** A parser for words separated by commas, upper case as the kernel's names; may be given again. */
export function words(text: string, before: string[] = []): string[] {
  return [...before, ...text.toUpperCase().split(',')];
}

/** A node's name. */
export function nodeName(text: string): string {
  if (NAME_PATTERN.test(text) && text.length <= NAME_MAX_BYTES) return text;
  throw new InvalidArgumentError(
    `A node's name has 1 to ${NAME_MAX_BYTES} letters, digits, ".", "_" and "-": conntwin status lists them.`,
  );
}

/** A file's name: an empty one is a variable of a script that was not set. */
export function fileName(text: string): string {
  if (text !== '') return text;
  throw new InvalidArgumentError('It is empty: name a file.');
}

/** The path of a UNIX socket. */
export function socketPath(text: string): string {
  if (text !== '' && Buffer.byteLength(text) <= SOCKET_PATH_MAX_BYTES) return text;
  throw new InvalidArgumentError(`The path of a socket has 1 to ${SOCKET_PATH_MAX_BYTES} bytes.`);
}

/** The name of a connection tracking helper. */
export function helperName(text: string): string {
  if (HELPER_NAME.test(text)) return text;
  throw new InvalidArgumentError(
    'The name of a helper has up to 15 letters, digits, ".", "_" and "-": ftp, sip, ...',
  );
}
