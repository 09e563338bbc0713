import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import * as conntrackEnums from '../../../src/flow/conntrack-enums.js';
import * as netlinkEnums from '../../../src/kernel/enums.js';
import * as nfTablesEnums from '../../../src/kernel/nf-tables-enums.js';

const HEADERS = [
  'sys/socket.h',
  'linux/in.h',
  'linux/in6.h',
  'linux/netlink.h',
  'linux/netfilter/nfnetlink.h',
  'linux/netfilter/nfnetlink_conntrack.h',
  'linux/netfilter/nf_conntrack_common.h',
  'linux/netfilter/nf_conntrack_tcp.h',
  'linux/netfilter/nf_conntrack_sctp.h',
  'linux/netfilter/nf_tables.h',
  'linux/netfilter/nf_tables_compat.h',
  'linux/netfilter_ipv4.h',
  'linux/rtnetlink.h',
  'linux/if_packet.h',
  'net/if.h',
];
/** User space sees this one under its old name. */
const OLD_NAMES: Record<string, string> = { IPS_NAT_CLASH: 'IPS_UNTRACKED' };
/** Names that headers of older kernels (Debian 12: 6.1) do not have yet. */
const MAY_BE_MISSING = ['CTA_TIMESTAMP_EVENT'];
const OURS = Object.fromEntries(
  Object.entries({ ...netlinkEnums, ...nfTablesEnums, ...conntrackEnums }).filter(
    ([, value]) => typeof value === 'number',
  ),
) as Record<string, number>;

function program(names: readonly string[]): string {
  const lines = names.map((name) => `printf("${name} %lld\\n", (long long)(${OLD_NAMES[name] ?? name}));`);
  const includes = ['stdio.h', ...HEADERS].map((header) => `#include <${header}>`);
  return `${includes.join('\n')}\nint main(void) {\n${lines.join('\n')}\nreturn 0; }\n`;
}

/** Compiles and runs the program in `directory`; what the headers do not know is in `missing`. */
function ask(
  directory: string,
  names: readonly string[],
): { values: Map<string, number>; missing: string[] } {
  const source = join(directory, 'enums.c');
  const binary = join(directory, 'enums');
  writeFileSync(source, program(names));
  const compiled = spawnSync('cc', ['-o', binary, source], {
    encoding: 'utf8',
    env: { ...process.env, LC_ALL: 'C' },
  });
  if (compiled.status !== 0) {
    const missing = [...compiled.stderr.matchAll(/'(\w+)' undeclared/g)].map((match) => match[1]);
    if (missing.length === 0) throw new Error(compiled.stderr);
    const rest = ask(
      directory,
      names.filter((name) => !missing.includes(name)),
    );
    return { values: rest.values, missing: [...missing, ...rest.missing] };
  }
  const lines = execFileSync(binary, { encoding: 'utf8' }).trim().split('\n');
  const values = new Map(lines.map((line) => [line.split(' ')[0], Number(line.split(' ')[1])]));
  return { values, missing: [] };
}

/** Why the headers cannot be asked here; undefined if they can. */
function obstacle(): string | undefined {
  if (spawnSync('cc', ['--version']).status !== 0) return 'no C compiler (Debian: gcc)';
  const includes = HEADERS.map((header) => `#include <${header}>`).join('\n');
  const result = spawnSync('cc', ['-E', '-o', '/dev/null', '-'], { input: includes, encoding: 'utf8' });
  return result.status === 0
    ? undefined
    : `no kernel headers (Debian: linux-libc-dev): ${result.stderr.slice(0, 200)}`;
}

describe('the constants', () => {
  const reason = obstacle();
  if (reason) console.warn(`skipped: comparing the constants with the system's headers: ${reason}`);

  it.skipIf(reason !== undefined)('are the numbers of the system headers, each under its C name', () => {
    const directory = mkdtempSync(join(tmpdir(), 'conntwin-enums-'));
    try {
      const { values, missing } = ask(directory, Object.keys(OURS));
      expect(missing.filter((name) => !MAY_BE_MISSING.includes(name))).toEqual([]);
      if (missing.length > 0) console.warn(`not in these headers, so not compared: ${missing.join(', ')}`);
      const known = Object.entries(OURS).filter(([name]) => !missing.includes(name));
      expect(Object.fromEntries(values)).toEqual(Object.fromEntries(known));
    } finally {
      rmSync(directory, { recursive: true, force: true });
    }
  });
});
