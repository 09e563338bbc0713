import { randomBytes } from 'node:crypto';
import { closeSync, fsyncSync, openSync, readFileSync, statSync, writeSync } from 'node:fs';
import { KEY_BYTES } from '../limits.js';

/** A key file that cannot be used or made; the message says what to do. */
export class KeyFileError extends Error {
  override readonly name = 'KeyFileError';
}

/** A new key as the one line of a key file: 32 random bytes in base64. */
export function generateKey(): string {
  return randomBytes(KEY_BYTES).toString('base64');
}

/** Writes a key to a new file that only its owner reads. Throws KeyFileError; an existing file is never touched. */
export function writeKeyFile(file: string, key: string): void {
  let fd: number;
  try {
    fd = openSync(file, 'wx', 0o600);
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    const advice =
      code === 'EEXIST'
        ? 'it exists and is not overwritten: peers that use its key would be cut off. Remove it first, or name another'
        : `${code}: choose a directory that exists and that you may write to`;
    throw new KeyFileError(`cannot write ${file}: ${advice}`, { cause });
  }
  try {
    writeSync(fd, `${key}\n`);
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

const howToMake = (file: string) =>
  `make one with \`conntwin key generate ${file}\` and copy it to every node`;

/** Why a key file was not read, and what to do. One that is there is not made anew: that would cut the peers off. */
export function unreadable(file: string, code: string, uid = process.getuid?.()): string {
  const advice =
    code === 'EACCES'
      ? `it belongs to another user: run as root, or let root say \`chown ${uid} ${file}\``
      : howToMake(file);
  return `cannot read ${file} (${code}), ${advice}`;
}

/** The key in a key file. Throws KeyFileError if others may read the file or it holds no key. */
export function readKeyFile(file: string): Uint8Array {
  let text: string;
  try {
    if ((statSync(file).mode & 0o077) !== 0) {
      throw new KeyFileError(`others may read ${file}, write \`chmod 600 ${file}\` in a shell`);
    }
    text = readFileSync(file, 'latin1');
  } catch (cause) {
    if (cause instanceof KeyFileError) throw cause;
    const { code = 'EIO' } = cause as NodeJS.ErrnoException;
    throw new KeyFileError(unreadable(file, code), { cause });
  }
  const line = text.trim();
  const key = Buffer.from(line, 'base64');
  if (key.length !== KEY_BYTES || key.toString('base64') !== line) {
    throw new KeyFileError(`${file} holds no key of ${KEY_BYTES} bytes in base64, ${howToMake(file)}`);
  }
  return key;
}
