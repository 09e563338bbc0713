import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { expect, test } from 'vitest';

const HEADERS = [
  'asm-generic/errno-base.h',
  'asm-generic/errno.h',
  'asm-generic/socket.h',
  'linux/in.h',
  'linux/in6.h',
  'linux/netlink.h',
  'linux/sched.h',
  'linux/time.h',
].map((name) => `/usr/include/${name}`);
const missing = HEADERS.filter((path) => !existsSync(path));

/** Every `#define NAME NUMBER` of the headers. */
function defines(): Map<string, number> {
  const found = new Map<string, number>();
  for (const path of HEADERS) {
    for (const [, name, value] of readFileSync(path, 'utf8').matchAll(
      /^#\s*define\s+(\w+)\s+(0x[\da-f]+|\d+)\b/gim,
    )) {
      found.set(name, Number(value));
    }
  }
  return found;
}

/** Every constant of native/ that has a plain number, with its file. */
function constants(): [string, string, number][] {
  const directory = new URL('../../../native/', import.meta.url);
  return readdirSync(directory).flatMap((file) =>
    [
      ...readFileSync(new URL(file, directory), 'utf8').matchAll(
        /^(?:export )?const ([A-Z][A-Z0-9_]+) = (0x[\da-f]+|0o[0-7]+|\d+);/gm,
      ),
    ].map(([, name, value]): [string, string, number] => [file, name, Number(value)]),
  );
}

test.skipIf(missing.length > 0)(
  `constants of native/ are those of the system's headers${missing.length > 0 ? ` (missing: ${missing})` : ''}`,
  () => {
    const known = defines();
    const compared = constants().filter(([, name]) => known.has(name));
    for (const [file, name, value] of compared) {
      expect({ file, name, value }).toEqual({ file, name, value: known.get(name) });
    }
    expect(compared.length).toBeGreaterThan(30);
  },
);
