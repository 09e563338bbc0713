/** The keys that the configuration names: read from their files, and replaced while the daemon runs. */
import type { Log } from '../flow/log.js';
import { type NumberedKey, PskCipher } from './cipher.js';
import type { SecurityConfig } from './config.js';
import { readKeyFile } from './key-file.js';

export class Keys {
  /** Undefined: `security: none` was written out. */
  readonly cipher: PskCipher | undefined;
  #held: NumberedKey[];
  #sendKeyId: number;
  readonly #log: Log;

  /** Throws KeyFileError if a key file cannot be used. Says once when frames go unsealed. */
  constructor(security: SecurityConfig, log: Log) {
    this.#log = log;
    this.#held = readKeys(security);
    this.#sendKeyId = security === 'none' ? 0 : security.sendKeyId;
    if (security === 'none') {
      log('warn', 'the sync links are not sealed: keep them on cables of their own', {
        why: 'security is none',
      });
    } else this.cipher = new PskCipher(this.#held, this.#sendKeyId);
  }

  /** The id that frames are sealed with; 0 when they are not. */
  get sendKeyId(): number {
    return this.cipher?.sendKeyId ?? 0;
  }

  /**
   * Takes the keys of a configuration that was read again: peers and streams stay. True if anything changed, also in a
   * file. Only a restart seals what was not, or the other way round. Throws KeyFileError, and then nothing has changed.
   */
  replace(security: SecurityConfig): boolean {
    if (security === 'none' || this.cipher === undefined) return false;
    const keys = readKeys(security);
    if (security.sendKeyId === this.#sendKeyId && isSame(keys, this.#held)) return false;
    this.cipher.replace(keys, security.sendKeyId);
    this.#held = keys;
    this.#sendKeyId = security.sendKeyId;
    this.#log('info', 'keys were replaced', { ids: keys.map(({ id }) => id), send: security.sendKeyId });
    return true;
  }
}

function readKeys(security: SecurityConfig): NumberedKey[] {
  if (security === 'none') return [];
  return security.keys.map(({ id, file }) => ({ id, key: readKeyFile(file) }));
}

function isSame(keys: readonly NumberedKey[], others: readonly NumberedKey[]): boolean {
  const isIn = ({ id, key }: NumberedKey) =>
    others.some((other) => other.id === id && Buffer.compare(other.key, key) === 0);
  return keys.length === others.length && keys.every(isIn);
}
