/** Reading the configuration again while the daemon runs: SIGHUP, or the API's Reload. */
import type { ReloadReport } from '../control/messages.js';
import type { Log } from '../flow/log.js';
import type { Config } from './config.js';
import { loadConfig } from './config-load.js';
import type { Keys } from './keys.js';

/** Sections that say something else, as `links` or `kernel`, and what of `security` keys cannot change. */
function differing(config: Config, now: Config): string[] {
  const isSealedSame = (config.security === 'none') === (now.security === 'none');
  return (Object.keys(config) as (keyof Config)[]).filter((key) => {
    if (key === 'security') return !isSealedSame;
    return JSON.stringify(config[key]) !== JSON.stringify(now[key]);
  });
}

/**
 * Applies what can change at once, the keys, and says what only a restart changes. Throws ConfigError with every
 * problem of the file, and then nothing has changed.
 */
export function reloadConfig(config: Config, keys: Keys, log: Log): ReloadReport {
  try {
    const now = loadConfig(config.file);
    const changed = keys.replace(now.security) ? ['security.keys'] : [];
    const needsRestart = differing(config, now);
    log('info', 'configuration read again', { changed, needsRestart });
    return { changed, needsRestart };
  } catch (error) {
    const { message } = error as Error;
    log('error', 'the new configuration has errors, going on with the old one', { errors: message });
    throw error;
  }
}
