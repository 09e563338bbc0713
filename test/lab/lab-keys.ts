/** Key files of a lab. */
import { join } from 'node:path';
import { generateKey, writeKeyFile } from '../../src/daemon/key-file.js';
import type { Lab } from './lab.js';

/** Makes a key file in the lab's directory and returns its path. */
export function makeKeyFile(lab: Lab, name: string): string {
  const file = join(lab.directory, `${name}.key`);
  writeKeyFile(file, generateKey());
  return file;
}
