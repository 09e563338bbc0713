import { readFileSync, statSync } from 'node:fs';
import { CONFIG_FILE_MAX_BYTES } from '../limits.js';
import { ConfigError } from './config.js';

/** The file's text. Throws ConfigError if it cannot be read, or is too big to be a configuration. */
export function readConfigText(file: string): string {
  try {
    const { size } = statSync(file);
    if (size > CONFIG_FILE_MAX_BYTES) {
      const text = `is ${size} bytes long, a configuration has at most ${CONFIG_FILE_MAX_BYTES}`;
      throw new ConfigError(file, [{ line: 0, path: '', text }]);
    }
    return readFileSync(file, 'utf8');
  } catch (cause) {
    if (cause instanceof ConfigError) throw cause;
    const { code } = cause as NodeJS.ErrnoException;
    const advice =
      code === 'EACCES'
        ? 'let this user read it and its directory, or run as root'
        : 'name the file with --config, or start from the sample config/conntwin.yaml';
    throw new ConfigError(file, [{ line: 0, path: '', text: `cannot be read (${code}): ${advice}` }], {
      cause,
    });
  }
}
