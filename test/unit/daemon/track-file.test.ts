import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { TrackFile } from '../../../src/daemon/track-file.js';
import { TRACK_FILE_LOOK_MS } from '../../../src/limits.js';

let directory: string;
let path: string;
let logged: string[];
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'conntwin-track-'));
  path = join(directory, 'ready');
  logged = [];
});
afterEach(() => rmSync(directory, { recursive: true }));

const make = () => new TrackFile(path, (level, message) => logged.push(`${level} ${message}`));
const read = () => readFileSync(path, 'utf8');

test('it says 1 when ready and 0 when not, readable for all, and leaves nothing beside', () => {
  const file = make();
  file.say(false, 0);
  expect(read()).toBe('0\n');
  file.say(true, 1);
  expect(read()).toBe('1\n');
  expect(statSync(path).mode & 0o777).toBe(0o644);
  expect(readdirSync(directory)).toEqual(['ready']);
});

test('it is written on a change only: keepalived reads it each time', () => {
  const file = make();
  file.say(true, 0);
  const { ino } = statSync(path);
  for (let now = 0; now < 10 * TRACK_FILE_LOOK_MS; now += 100) file.say(true, now);
  expect(statSync(path).ino).toBe(ino);
});

test('what the run before left, and what somebody else wrote or removed, is put right', () => {
  writeFileSync(path, '1\n');
  const file = make();
  file.say(false, 0);
  expect(read()).toBe('0\n');
  writeFileSync(path, 'x');
  file.say(false, 2 * TRACK_FILE_LOOK_MS);
  expect(read()).toBe('0\n');
  rmSync(path);
  file.say(false, 4 * TRACK_FILE_LOOK_MS);
  expect(read()).toBe('0\n');
});

test('a file that cannot be written is told once, and tried again', () => {
  path = join(directory, 'sub', 'ready');
  const file = make();
  for (let now = 0; now < 5; now++) file.say(true, now);
  expect(file.problem).toMatch(/^failover.track_file .* cannot be written \(ENOENT\)/);
  expect(logged).toHaveLength(1);
  mkdirSync(join(directory, 'sub'));
  file.say(true, 6);
  expect(file.problem).toBeUndefined();
  expect(read()).toBe('1\n');
});
