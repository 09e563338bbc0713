import { parse } from 'yaml';
import { DEFAULT_CONTROL_SOCKET } from './config.js';
import { readConfigText } from './config-text.js';

/**
 * control.socket of a configuration file, without checking the rest: a client call should neither fail for another
 * key's sake nor wait for the schema. Throws ConfigError if the file cannot be read.
 */
export function readSocketPath(file: string): string {
  const text = readConfigText(file);
  let plain: unknown;
  try {
    plain = parse(text);
  } catch {
    return DEFAULT_CONTROL_SOCKET;
  }
  const { control } = (plain ?? {}) as { control?: { socket?: unknown } | null };
  return typeof control?.socket === 'string' ? control.socket : DEFAULT_CONTROL_SOCKET;
}
