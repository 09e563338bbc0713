import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { StateFile } from '../../../src/daemon/state-file.js';
import type { PersistedState } from '../../../src/failover/state.js';

const STATE: PersistedState = {
  role: 'primary',
  term: 7,
  bootId: 'this-boot',
  sources: [{ node: 'fw2', incarnation: '0123456789abcdef0123456789abcdef' }],
};

describe('the state file', () => {
  let directory: string;
  let lines: string[];
  let file: StateFile;
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'conntwin-state-'));
    lines = [];
    file = new StateFile(join(directory, 'run', 'fw1.state'), (_, message) => lines.push(message));
  });
  afterEach(() => rmSync(directory, { recursive: true }));

  it('gives back what was written last in this boot', () => {
    file.write({ ...STATE, term: 6 });
    file.write(STATE);
    expect(file.read('this-boot')).toMatchObject(STATE);
  });

  it('is void after a reboot, for the kernel table is empty then', () => {
    file.write(STATE);
    expect(file.read('another-boot')).toBeUndefined();
    expect(lines).toEqual([]);
  });

  it('is silent where nothing was written, and says so where it is damaged', () => {
    expect(file.read('this-boot')).toBeUndefined();
    expect(lines).toEqual([]);
    file.write(STATE);
    writeFileSync(join(directory, 'run', 'fw1.state'), '{"role":"primary"');
    expect(file.read('this-boot')).toBeUndefined();
    expect(lines).toHaveLength(1);
  });

  it('says where, why and what to do when it cannot be written, also before there is a role', () => {
    writeFileSync(join(directory, 'run'), 'a file where the directory should be');
    const path = join(directory, 'run', 'fw1.state');
    const advice = `let the daemon's user write into ${join(directory, 'run')}, or name another state_dir`;
    expect(() => file.write(STATE)).toThrow(`cannot write ${path} (EEXIST): ${advice}`);
    file.check();
    expect(file.problem).toBe(`cannot write ${path} (EEXIST): ${advice}`);
    expect(lines).toEqual(['a role will not be remembered']);
  });

  it('leaves nothing behind where it only looks whether it could be written', () => {
    file.check();
    expect(file.problem).toBeUndefined();
    expect(readdirSync(join(directory, 'run'))).toEqual([]);
  });
});
