import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { parseCommand } from '../../../src/conntrack/parse.js';
import { splitWords } from '../../../src/conntrack/split-words.js';
import { AF_INET, AF_INET6, IPPROTO_TCP, IPPROTO_UDP } from '../../../src/flow/conntrack-enums.js';

const parse = (line: string) => parseCommand(splitWords(line));

describe('words', () => {
  test('letters stand in one word, values are glued on or follow, long names take = or a word', () => {
    for (const line of [
      '-L -p tcp --sport 10 -o id',
      '-Lp tcp --sport=10 -oid',
      '-L -ptcp --orig-port-src 10 --output id',
      '--dump --proto tcp --sport 10 --output=id',
      '-p tcp --sport 10 -o id -L',
      '-L conntrack -p tcp --sport 10 -o id',
      '-L -p tcp --sport 10 -o id -- conntrack',
    ]) {
      const settings = parse(line);
      expect([line, settings.letter, settings.table, settings.protocol]).toEqual([
        line,
        'L',
        'conntrack',
        IPPROTO_TCP,
      ]);
      expect(settings.original.first).toBe(10);
      expect(settings.output.hasId).toBe(true);
    }
  });

  test('a long name may be shortened as far as it stays clear, also to two names of one option', () => {
    expect(parse('--du --orig-s 10.0.0.1').original.source).toEqual(Uint8Array.of(10, 0, 0, 1));
    expect(parse('-L --prot udp').protocol).toBe(IPPROTO_UDP);
    expect(() => parse('-L --orig 10.0.0.1')).toThrow(/^--orig: it may be short for .*--orig-src/);
  });

  test("a protocol's options are known behind -p only, and the message says of which protocol they are", () => {
    expect(() => parse('-L --sport 10 -p tcp')).toThrow(/^--sport: it belongs to a protocol: put -p tcp /);
    expect(() => parse('-L -p tcp --icmp-type 8')).toThrow(/^--icmp-type: it belongs to .*-p icmp before/);
    expect(parse('-L -p tcp -p udp --sport 10').protocol).toBe(IPPROTO_UDP);
  });

  test("a protocol's options go with every table of flows, and with expectations where they have a meaning", () => {
    expect(parse('-L dying -p icmp --icmp-type 8').icmpType).toBe(8);
    expect(parse('-L unconfirmed -p tcp --state ESTABLISHED').state).toBe(3);
    expect(() => parse('-G expect -p tcp --state ESTABLISHED')).toThrow(/^--state: it does not go with -G/);
    expect(() => parse('-L -p tcp --tuple-port-src 5')).toThrow(/^--tuple-port-src: it does not go with -L/);
  });

  test('an optional value may be left out, glued on, or follow', () => {
    expect(parse('-L -n').sourceNat).toEqual({});
    expect(parse('-L -n -p tcp').sourceNat).toEqual({});
    const wanted = { address: Uint8Array.of(192, 0, 2, 1), port: 80 };
    for (const line of ['-L -n 192.0.2.1:80', '-L -n192.0.2.1:80', '-L --src-nat=192.0.2.1:80']) {
      expect(parse(line).sourceNat).toEqual(wanted);
    }
    expect(parse('-L -g [2001:db8::1]:80').destinationNat?.port).toBe(80);
    expect(parse('-L -g [2001:db8::1]').family).toBe(AF_INET6);
  });

  test('tables and words of lists may be shortened, in any case', () => {
    expect(parse('-L exp').table).toBe('expect');
    const { isXml, hasKernelTimestamp, hasTimestamp } = parse('-L -o XML,kt').output;
    expect([isXml, hasKernelTimestamp, hasTimestamp]).toEqual([true, true, false]);
    expect(parse('-L -u ass,!SEEN').status).toEqual({ set: 4, clear: 2 });
    expect(parse('-L -u UNREPLIED').status).toEqual({ set: 0, clear: 2 });
  });

  test('one command, one table, and no stray words', () => {
    expect(() => parse('-L -G')).toThrow(/^-G: -L stands there already/);
    expect(() => parse('-s 10.0.0.1')).toThrow(/^no command/);
    expect(() => parse('-D -s 10.0.0.1 10.0.0.2 10.0.0.3')).toThrow(/"10.0.0.3": this word belongs to no/);
    expect(() => parse('-L flows')).toThrow(/^table: "flows" is not one of conntrack, expect/);
  });

  test('quotes hold words together and # begins a comment', () => {
    expect(splitWords(`-I  -s "10.0.0.1" -l 'a b'c # rest`)).toEqual(['-I', '-s', '10.0.0.1', '-l', 'a bc']);
    expect(splitWords('# only')).toEqual([]);
    expect(() => splitWords('-s "10')).toThrow(/opened and not closed/);
  });
});

describe('values', () => {
  test('labels have the names of the file that --labelmap names, wherever it stands', () => {
    const directory = mkdtempSync(join(tmpdir(), 'ct-labels-'));
    const file = join(directory, 'labels.conf');
    try {
      writeFileSync(file, '# number and name\n9 nine\n200 too-high\n');
      for (const line of [`-L -l nine --labelmap ${file}`, `-L --labelmap=${file} -l nine`]) {
        expect(parse(line).labels?.[1]).toBe(2);
      }
      expect(() => parse(`-L -l ten --labelmap ${file}`)).toThrow(`-l: "ten" is not a label of ${file}`);
      expect(() => parse(`-L -l too-high --labelmap ${file}`)).toThrow(/^-l: /);
      expect(() => parse(`-L --labelmap ${directory}`)).toThrow(/^--labelmap: .*EISDIR/);
    } finally {
      rmSync(directory, { recursive: true });
    }
  });

  test('addresses take a length or a mask, and give the family', () => {
    expect(parse('-L -s 10.1.2.3/12').mask.source).toEqual(Uint8Array.of(255, 240, 0, 0));
    expect(parse('-L -s 10.1.2.3/255.0.255.0').mask.source).toEqual(Uint8Array.of(255, 0, 255, 0));
    expect(parse('-L -s 10.1.2.3 --mask-src 255.0.0.0').mask.source).toEqual(Uint8Array.of(255, 0, 0, 0));
    expect(parse('-L -d 2001:db8::/33').mask.destination?.slice(3, 6)).toEqual(Uint8Array.of(255, 128, 0));
    expect(parse('-L -s 10.1.2.3').family).toBe(AF_INET);
    expect(parse('-L').family).toBeUndefined();
  });

  test('numbers are decimal, hexadecimal, or octal with a leading zero', () => {
    const marks = ['10', '0x10', '010'].map((text) => parse(`-L -m ${text}`).mark?.value);
    expect(marks).toEqual([10, 16, 8]);
    expect(parse('-L -m 0x10/0xf0').mark).toEqual({ value: 16, mask: 240 });
  });

  test('LISTEN and SYN_SENT2 are one state', () => {
    expect(parse('-L -p tcp --state LISTEN').state).toBe(9);
    expect(parse('-L -p tcp --state SYN_SENT2').state).toBe(9);
  });

  test('the two families do not go together, whoever comes first', () => {
    expect(() => parse('-L -s 10.0.0.1 -d 2001:db8::1')).toThrow(/^-d: an IPv6 address does not go/);
    expect(() => parse('-L -f ipv6 -n 10.0.0.1')).toThrow(/^-n: an IPv4 address does not go/);
    expect(() => parse('-L -s 10.0.0.1 -f ipv6')).toThrow(/^-f: ipv6 does not go/);
  });
});
