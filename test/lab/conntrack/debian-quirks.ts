/**
 * Where Debian's conntrack 1.4.7 takes a command line for something else than it says, each with the rule by which it
 * does. Our program is given what Debian's understands, so that everything else of the line is compared all the same, and
 * a quirk that is not as it stands here is a difference.
 */
import { existsSync } from 'node:fs';
import { COMMAND_OPTIONS } from '../../../src/conntrack/options.js';
import { status } from '../../../src/conntrack/values.js';
import type { Outcome } from './comparison.js';

type Words = readonly string[];

interface Quirk {
  readonly what: string;
  /** Commands by letter. */
  readonly commands: string;
  /** What our program is given in place of the words; the same words where the quirk has no part in them. */
  readonly understood: (words: Words, letter: string) => Words;
}

const KEY = /^--((orig|reply)-key-(src|dst)|srckey|dstkey)$/;
/** Linux 6.17 has lost the tracker of DCCP, and its settings with it. */
const HAS_DCCP = existsSync('/proc/sys/net/netfilter/nf_conntrack_dccp_timeout_open');
const REPLY_KEY = /^--reply-key-(src|dst)$/;
const PORT = /^--([sd]port|(orig|reply)-port-(src|dst))$/;

/** The words without these options and their values. */
const without = (words: Words, option: (word: string) => boolean): Words =>
  words.filter((word, i) => !option(word) && !(i > 0 && option(words[i - 1])));

/** The words with this option's values replaced. */
const replaced = (words: Words, isOption: (word: string) => boolean, by: (value: string) => string): Words =>
  words.map((word, i) => (i > 0 && isOption(words[i - 1]) ? by(word) : word));

const isMark = (word: string): boolean => word === '-m' || word === '--mark';
const isStatus = (word: string): boolean => word === '-u' || word === '--status';
const isOutput = (word: string): boolean => word === '-o' || word === '--output';

/** The status behind the mark, as a number, or undefined. */
function statusBehindMark(words: Words): number | undefined {
  const [mark, at] = [words.findIndex(isMark), words.findIndex(isStatus)];
  return mark >= 0 && at > mark ? status('-u', words[at + 1]).set : undefined;
}

/** No random flow has it. */
const NOBODYS_MARK = '0xffffffff';

function markOf(words: Words, letter: string): Words {
  const bits = statusBehindMark(words);
  if (bits === undefined) return words;
  return replaced(words, isMark, (value) => {
    const [asked, mask] = value.split('/');
    // The kernel is asked for the mark that was written, then the rows are held against the status.
    if ('LD'.includes(letter)) return Number(asked) === bits ? value : NOBODYS_MARK;
    return mask === undefined ? String(bits) : `${bits}/${mask}`;
  });
}

/** The words without some forms of output. */
function withoutForms(words: Words, forms: RegExp): Words {
  const at = words.findIndex(isOutput);
  if (at < 0) return words;
  const left = words[at + 1].split(',').filter((form) => !forms.test(form));
  return left.length > 0 ? replaced(words, isOutput, () => left.join(',')) : without(words, isOutput);
}

const QUIRKS: readonly Quirk[] = [
  {
    what: 'GRE keys are read, and no flow is held against them',
    commands: 'LDUE',
    understood: (words) => without(words, (word) => KEY.test(word)),
  },
  {
    what: "a new flow's reply keys are the inverse of its own, whatever was given",
    commands: 'IA',
    understood: (words) => (words.includes('-s') ? without(words, (word) => REPLY_KEY.test(word)) : words),
  },
  {
    what: 'a port in hexadecimal is port 0',
    commands: 'LGDIAUE',
    understood: (words) =>
      replaced(
        words,
        (word) => PORT.test(word),
        (value) => (value.startsWith('0x') ? '0' : value),
      ),
  },
  {
    what: '-U finds DCCP flows that the kernel tracks without ports, whatever ports are given',
    commands: 'U',
    understood: (words) =>
      words.includes('dccp') && !HAS_DCCP ? without(words, (word) => PORT.test(word)) : words,
  },
  { what: 'a -u behind -m writes its bits into the mark as well', commands: 'LDIAU', understood: markOf },
  {
    what: '-D shows no labels',
    commands: 'D',
    understood: (words) => withoutForms(words, /^labels$/),
  },
  {
    what: '-D and -U show no times',
    commands: 'DU',
    understood: (words) => withoutForms(words, /^ktimestamp$/),
  },
  {
    what: '-F with a family empties both',
    commands: 'F',
    understood: (words) =>
      words.includes('expect') ? words : without(words, (word) => word === '-f' || word === '--family'),
  },
];

const letterOf = (word: string): string | undefined =>
  COMMAND_OPTIONS.find(({ name, letter }) => word === `-${letter}` || word === `--${name}`)?.letter;

/** The letter of a line's command, also where it stands behind options; undefined if there is none. */
export const commandLetter = (words: Words): string | undefined =>
  words.map(letterOf).find((letter) => letter !== undefined);

/** What our program is given so that it does what Debian's makes of these words, and the quirks that had a part in it. */
export function debianMeaning(words: Words): { words: Words; quirks: readonly string[] } {
  const letter = commandLetter(words) ?? '';
  let understood = words;
  const quirks: string[] = [];
  for (const quirk of QUIRKS) {
    if (letter === '' || !quirk.commands.includes(letter)) continue;
    const next = quirk.understood(understood, letter);
    if (next.join(' ') !== understood.join(' ')) quirks.push(quirk.what);
    understood = next;
  }
  return { words: understood, quirks };
}

const SOURCE = /^(-s|--src|--orig-src)$/;
const DESTINATION = /^(-d|--dst|--orig-dst)$/;
const MASKED = /^(.+)\/(.*[.:].*)$/;

/** What Debian's is given, since it refuses what ours takes: a mask behind an address, and UNSET as a condition (of nothing). */
export function debianWords(words: Words): Words {
  const at = words.findIndex(isStatus);
  const isNothing = /[LD]/.test(commandLetter(words) ?? '') && words[at + 1] === 'UNSET';
  const left = isNothing ? without(words, isStatus) : words;
  return left.flatMap((word, i) => {
    const before = left[i - 1] ?? '';
    const end = SOURCE.test(before) ? 'src' : DESTINATION.test(before) ? 'dst' : undefined;
    const masked = end === undefined ? null : MASKED.exec(word);
    return masked === null ? [word] : [masked[1], `--mask-${end}`, masked[2]];
  });
}

/** What Debian's outcome is read as, beside ours. */
export function debianOutcome(words: Words, debian: Outcome, twin: Outcome): Outcome {
  const letter = commandLetter(words);
  const form = words[words.findIndex(isOutput) + 1] ?? '';
  // The document of a -G has no end.
  if (letter === 'G' && form.includes('xml') && debian.stdout !== '') {
    return { ...debian, stdout: `${debian.stdout}</conntrack>\n` };
  }
  // It deletes the expectation and then says that it could not; that the tables are the same is looked at as well.
  if (letter === 'D' && words.includes('expect') && debian.code === 1 && twin.code === 0) return twin;
  // 1.4.9 no longer says behind XML who caused an event.
  if (letter === 'E' && form.includes('xml')) {
    return { ...debian, stdout: debian.stdout.replace(/ \[USERSPACE\] portid=\d+( progname=\S+)?$/gm, '') };
  }
  // A wrong command line all the same.
  if (debian.stderr.includes('cannot combine save output')) return { ...debian, code: 2 };
  // -S counts what happened to either table, -V and -h are each program's own.
  if (letter !== undefined && 'SVh'.includes(letter) && debian.code === 0) {
    const isLike = letter !== 'S' || withoutNumbers(debian.stdout) === withoutNumbers(twin.stdout);
    return isLike ? { ...debian, stdout: twin.stdout } : debian;
  }
  return debian;
}

const withoutNumbers = (text: string): string => text.replace(/=\d+/g, '=N');
