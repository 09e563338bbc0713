/** Whether two programs said and did the same: text line by line, what standard error means, and the exit code. */

import { GENERAL_OPTIONS } from '../../../src/conntrack/options.js';

/** What a run left. */
export interface Outcome {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Timers go on while the two are run one after the other. Seconds. */
const TIMEOUT_TOLERANCE_S = 5;

/** Numbers that no two tables share, or that depend on the moment. */
const MASKED: readonly (readonly [RegExp, string])[] = [
  // Not the id of an ICMP tuple, which stands behind its code.
  [/(?<!code=\d+ )\bid=\d+/g, 'id=N'],
  [/<id>\d+<\/id>/g, '<id>N</id>'],
  [/delta-time=\d+/g, 'delta-time=N'],
  [/<deltatime>\d+<\/deltatime>/g, '<deltatime>N</deltatime>'],
  [/\[(start|stop)=[^\]]*\]/g, '[$1=N]'],
  [/<timestamp>.*?<\/timestamp>/g, '<timestamp>N</timestamp>'],
  [/<when>.*?<\/when>/g, '<when>N</when>'],
  [/^\[\d+\.\d+ *\]\t/g, '[N]\t'],
  [/portid=\d+( progname=\S+)?/g, 'portid=N'],
];
const TIMEOUTS = [
  /^()(\d+) proto=/,
  /^((?:ipv[46] +\d+ )?[a-z0-9]+ +\d+ )(\d+) /,
  /(-t )(\d+) /,
  /(<timeout>)(\d+)</,
];

interface Line {
  readonly text: string;
  readonly timeout: number | undefined;
}

/** A flow's line without what may differ. The order of a table's flows is the kernel's own. */
function lines(stdout: string): Line[] {
  const parsed = stdout.split('\n').map((raw) => {
    let text = raw;
    for (const [pattern, mask] of MASKED) text = text.replace(pattern, mask);
    let timeout: number | undefined;
    for (const pattern of TIMEOUTS) {
      text = text.replace(pattern, (whole, head: string, seconds: string) => {
        timeout = Number(seconds);
        return whole.replace(`${head}${seconds}`, `${head}T`);
      });
    }
    return { text, timeout };
  });
  const order = (a: Line, b: Line) =>
    a.text < b.text ? -1 : a.text > b.text ? 1 : (a.timeout ?? 0) - (b.timeout ?? 0);
  return parsed.sort(order);
}

/** What differs in two outputs, or undefined. */
export function differenceOf(debian: string, twin: string): string | undefined {
  const [a, b] = [lines(debian), lines(twin)];
  for (let i = 0; i < Math.max(a.length, b.length); i++) {
    if (a[i]?.text !== b[i]?.text) return `  debian: ${a[i]?.text}\n  twin:   ${b[i]?.text}`;
    if (Math.abs((a[i].timeout ?? 0) - (b[i].timeout ?? 0)) > TIMEOUT_TOLERANCE_S) {
      return `  timeout ${a[i].timeout} and ${b[i].timeout} of ${a[i].text}`;
    }
  }
  return undefined;
}

/** What an operation failed by, in the words of both. */
const FAILURES: readonly (readonly [string, RegExp])[] = [
  ['missing', /doesn't exist|no such (flow|expectation)|No such file/i],
  ['exists', /conntrack exists|is there already|File exists/],
  ['invalid', /invalid parameters|EINVAL/],
  ['busy', /resource busy|EBUSY/],
];

/** What standard error means: how much was done, or what failed; of a bad command line what it names. */
function meaning({ code, stderr }: Outcome): string {
  const done = /(\d+ (?:flow entries|expectations) have been \w+)/.exec(stderr)?.[1];
  if (done !== undefined) return done;
  if (/have? been emptied|has been emptied/.test(stderr)) return 'emptied';
  if (code !== 1) return '';
  return FAILURES.find(([, pattern]) => pattern.test(stderr))?.[0] ?? 'failed';
}

/** An option may be named as it was written: by its letter. */
const LETTERS: ReadonlyMap<string, string[]> = new Map(
  GENERAL_OPTIONS.map(({ name, letter }) => [`--${name}`, letter === undefined ? [] : [`-${letter}: `]]),
);

/** Words that Debian's message puts in quotes; ours must name at least one of them. */
function quoted(stderr: string): string[] {
  const message = stderr.split('\n').find((line) => line.includes('conntrack-tools')) ?? '';
  return [...message.matchAll(/[`']([^`']+)'/g)].flatMap(([, word]) => [word, ...(LETTERS.get(word) ?? [])]);
}

/** What differs between the two, or undefined. `isPart`: Debian's shows not all that it did. */
export function compare(debian: Outcome, twin: Outcome, isPart = false): string | undefined {
  if (debian.code !== twin.code) {
    return `  exit code ${debian.code} and ${twin.code}\n  debian: ${debian.stderr}\n  twin:   ${twin.stderr}`;
  }
  const [a, b] = [meaning(debian), meaning(twin)];
  if (a !== b) {
    const text = differenceOf(debian.stdout, twin.stdout) ?? '';
    return `  debian means "${a}": ${debian.stderr}\n  twin means "${b}":   ${twin.stderr}\n${text}`;
  }
  if (debian.code === 2) {
    const words = quoted(debian.stderr);
    if (words.length > 0 && !words.some((word) => twin.stderr.includes(word))) {
      return `  debian names ${words.join(', ')}; twin: ${twin.stderr}`;
    }
  }
  return differenceOf(debian.stdout, isPart ? commonLines(debian.stdout, twin.stdout) : twin.stdout);
}

/** The twin's lines that Debian's has too. */
function commonLines(debian: string, twin: string): string {
  const known = new Set(lines(debian).map(({ text }) => text));
  return twin
    .split('\n')
    .filter((line) => known.has(lines(line)[0].text))
    .join('\n');
}
