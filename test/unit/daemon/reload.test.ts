import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { loadConfig } from '../../../src/daemon/config-load.js';
import { generateKey } from '../../../src/daemon/key-file.js';
import { Keys } from '../../../src/daemon/keys.js';
import { reloadConfig } from '../../../src/daemon/reload.js';

let folder: string;
let file: string;
const NAME = new TextEncoder().encode('x');
const INCARNATION = new Uint8Array(16);

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'ct-reload-'));
  file = join(folder, 'c.yaml');
  for (const name of ['one', 'two']) writeKey(name);
});
afterEach(() => rmSync(folder, { recursive: true }));

const writeKey = (name: string) => writeFileSync(join(folder, name), generateKey(), { mode: 0o600 });

function writeConfig(security: string, more = ''): void {
  const link = '{ interface: sync, address: 10.9.0.1, group: 225.0.0.50 }';
  writeFileSync(file, `node: { name: fw1, cluster: c }\nlinks: [ ${link} ]\nsecurity: ${security}\n${more}`);
}

const ONE = () => `{ keys: [{ id: 1, file: ${folder}/one }] }`;
const BOTH = (send: number) =>
  `{ keys: [{ id: 1, file: ${folder}/one }, { id: 2, file: ${folder}/two }], send: ${send} }`;
const TWO = () => `{ keys: [{ id: 2, file: ${folder}/two }] }`;

function start(security: string) {
  writeConfig(security);
  const config = loadConfig(file);
  const said: string[] = [];
  const log = (_: string, text: string) => void said.push(text);
  const keys = new Keys(config.security, log);
  const knows = (id: number) => keys.cipher?.derive(id, NAME, NAME, INCARNATION, 1) !== undefined;
  return { keys, knows, said, reload: () => reloadConfig(config, keys, log) };
}

describe('a reload', () => {
  test('rotates keys in three steps, each at once and without a restart', () => {
    const { keys, knows, reload } = start(ONE());
    expect([knows(1), knows(2), keys.sendKeyId]).toEqual([true, false, 1]);
    const steps: [string, unknown][] = [
      [BOTH(1), [true, true, 1]],
      [BOTH(2), [true, true, 2]],
      [TWO(), [false, true, 2]],
    ];
    for (const [security, wanted] of steps) {
      writeConfig(security);
      expect(reload()).toEqual({ changed: ['security.keys'], needsRestart: [] });
      expect([knows(1), knows(2), keys.sendKeyId]).toEqual(wanted);
    }
  });

  test('takes a key that changed in its file, and leaves alone what did not change', () => {
    const { keys, reload } = start(BOTH(1));
    const before = keys.cipher?.generation;
    expect(reload()).toEqual({ changed: [], needsRestart: [] });
    expect(keys.cipher?.generation).toBe(before);
    writeKey('two');
    expect(reload().changed).toEqual(['security.keys']);
    expect(keys.cipher?.generation).not.toBe(before);
  });

  test('says what waits for a restart, and changes nothing of it', () => {
    const { reload } = start(ONE());
    writeConfig(ONE(), 'kernel: { audit_interval: 5m }\nreplicate: { mode: refresh }\n');
    expect(reload()).toEqual({ changed: [], needsRestart: ['kernel', 'replicate'] });
  });

  test('neither seals what was not sealed nor the other way round', () => {
    const open = start('none');
    expect([open.keys.cipher, open.keys.sendKeyId]).toEqual([undefined, 0]);
    expect(open.said[0]).toContain('not sealed');
    writeConfig(ONE());
    expect(open.reload()).toEqual({ changed: [], needsRestart: ['security'] });
    const sealed = start(ONE());
    writeConfig('none');
    expect(sealed.reload()).toEqual({ changed: [], needsRestart: ['security'] });
    expect(sealed.knows(1)).toBe(true);
  });

  test('with an error in the file changes nothing and says so', () => {
    const { keys, knows, reload, said } = start(ONE());
    writeConfig(BOTH(3));
    expect(reload).toThrow('security.send: 3 is not the id of a key');
    expect([knows(1), knows(2), keys.sendKeyId]).toEqual([true, false, 1]);
    expect(said.at(-1)).toContain('going on with the old one');
  });
});
