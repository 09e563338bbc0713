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

/** The key in a key file. Throws KeyFileError if others may read the file or it holds no key. */
export function readKeyFile(file: string): Uint8Array {
  const advice = `make one with \`conntwin key generate ${file}\` and copy it to every node`;
  let text: string;
  try {
    if ((statSync(file).mode & 0o077) !== 0) {
      throw new KeyFileError(`others may read ${file}, write \`chmod 600 ${file}\` in a shell`);
    }
    text = readFileSync(file, 'latin1');
  } catch (cause) {
    if (cause instanceof KeyFileError) throw cause;
    throw new KeyFileError(`cannot read ${file} (${(cause as NodeJS.ErrnoException).code}), ${advice}`, {
      cause,
    });
  }
  const line = text.trim();
  const key = Buffer.from(line, 'base64');
  if (key.length !== KEY_BYTES || key.toString('base64') !== line) {
    throw new KeyFileError(`${file} holds no key of ${KEY_BYTES} bytes in base64, ${advice}`);
  }
  return key;
}
