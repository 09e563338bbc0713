/** A round of the comparison: flows, then command lines that both programs are given. */
import { readFileSync } from 'node:fs';
import type { Random } from '../random.js';
import { type CommandLine, commandLine, FILE, FLOW_ID, lastLine } from './command-lines.js';
import { compare, type Outcome } from './comparison.js';
import { commandLetter, debianMeaning, debianOutcome, debianWords } from './debian-quirks.js';
import { creation } from './flow-words.js';
import { differenceOfRows, expectationRows, flowRows } from './kernel-rows.js';
import { Listeners } from './listeners.js';
import type { Tally } from './tally.js';
import type { Twins } from './twins.js';

const FLOWS_PER_ROUND = 30;
const LINES_PER_ROUND = 60;
/** Exit codes from here on are signals. */
const CRASHED = 128;
/** Looks at what only reads: somebody may have resized the hash table meanwhile. */
const LOOKS = 3;
const BUCKETS = '/proc/sys/net/netfilter/nf_conntrack_buckets';

const isChanging = (words: readonly string[]): boolean =>
  /^(-R|--load-file)/.test(words[0]) || /[DIAUF]/.test(commandLetter(words) ?? '') || words.some(isZero);
const isZero = (word: string): boolean => word === '-z' || word === '--zero';
const buckets = (): string => readFileSync(BUCKETS, 'latin1');

export class Round {
  private readonly twins: Twins;
  private readonly tally: Tally;
  private readonly seed: number;
  private readonly random: Random;

  constructor(twins: Twins, tally: Tally, seed: number, random: Random) {
    this.twins = twins;
    this.tally = tally;
    this.seed = seed;
    this.random = random;
  }

  /** Plays until the two tables come apart, or the lines are done. */
  async play(): Promise<void> {
    const { random, twins, tally } = this;
    const kind = { hasZones: random(2) === 0, made: [] };
    const [wantsMaster, wantsTraffic] = [random(3) === 0, random(3) === 0];
    twins.flush();
    const hasMaster = wantsMaster && (await twins.makeMaster());
    if (wantsTraffic) twins.makeTraffic();
    for (let i = 0; i < FLOWS_PER_ROUND && tally.hasRoom; i++) {
      if (!(await this.step({ words: creation(random, kind) }))) return;
    }
    for (let i = 0; i < LINES_PER_ROUND && tally.hasRoom; i++) {
      if (!(await this.step(commandLine(random, { ...kind, hasMaster })))) return;
    }
    if (tally.hasRoom) await this.step(lastLine(random));
  }

  /** Does one line in both; false if the two came apart, or the round cannot go on. */
  private async step(line: CommandLine): Promise<boolean> {
    const { tally } = this;
    const before = buckets();
    const isChange = line.isOurs === true || isChanging(line.words);
    let difference: string | undefined;
    for (let look = 0; look < (isChange || line.meanwhile !== undefined ? 1 : LOOKS); look++) {
      const outcome = line.meanwhile === undefined ? await this.run(line) : await this.listen(line);
      if (outcome === 'crashed') {
        tally.crash([...line.words, ...(line.file ?? []).flatMap((words) => ['\n   ', ...words])]);
        return false;
      }
      difference = outcome;
      if (difference === undefined) break;
    }
    if (difference === undefined && isChange) difference = this.tableDifference();
    if (before !== buckets()) {
      tally.resized++;
      return false;
    }
    tally.lines++;
    if (difference === undefined) return true;
    const file = line.file?.map((words) => `\n    ${words.join(' ')}`).join('') ?? '';
    const meanwhile = line.meanwhile?.map((words) => `\n    ${words.join(' ')}`).join('') ?? '';
    tally.difference(this.seed, line.words, `${file}${meanwhile}\n${difference}`);
    return !isChange && line.meanwhile === undefined;
  }

  /** Runs a line in both; what differs, or undefined. */
  private async run(line: CommandLine): Promise<string | 'crashed' | undefined> {
    if (line.isOurs) return this.runOurs(line.words);
    const { twins } = this;
    const [debianLine, twinLine] = this.wordsOfBoth(line.words);
    let debian: Outcome;
    let twin: Outcome;
    if (line.file === undefined) {
      debian = twins.runDebian(debianLine);
      twin = await twins.runTwin(twinLine);
    } else {
      const [debianText, twinText] = this.filesOfBoth(line.file);
      const isPiped = line.words.includes('-');
      const at = (text: string) => line.words.map((word) => word.replace(FILE, () => twins.file(text)));
      debian = isPiped ? twins.pipeDebian(line.words, debianText) : twins.runDebian(at(debianText));
      twin = isPiped ? twins.pipeTwin(line.words, twinText) : await twins.runTwin(at(twinText));
    }
    if (debian.code >= CRASHED) return 'crashed';
    // Debian's -U shows not all that it changed.
    const isUpdate = commandLetter(line.file?.at(-1) ?? line.words) === 'U';
    const difference = compare(debianOutcome(line.words, debian, twin), twin, isUpdate);
    if (difference === undefined && debian.code === 0) this.count(line);
    return difference;
  }

  private count({ words, file }: CommandLine): void {
    const { coverage } = this.tally;
    coverage.add(words);
    for (const each of file ?? []) coverage.add(each);
  }

  private async runOurs(words: readonly string[]): Promise<string | undefined> {
    const { twins } = this;
    const first = await twins.runTwin(words, twins.debian);
    const difference = compare(first, await twins.runTwin(words));
    if (difference === undefined) this.tally.coverage.add(words);
    return difference;
  }

  /** What each is given: ids are its table's own, and ours is told what Debian's takes the words for. */
  private wordsOfBoth(words: readonly string[]): [readonly string[], readonly string[]] {
    const { twins, tally } = this;
    const { words: meant, quirks } = debianMeaning(words);
    for (const quirk of quirks) tally.quirk(quirk);
    const own = (namespace: string, line: readonly string[]) =>
      line.map((word) =>
        word.startsWith(FLOW_ID) ? this.idOf(namespace, Number(word.slice(FLOW_ID.length))) : word,
      );
    return [own(twins.debian, debianWords(words)), own(twins.twin, meant)];
  }

  private idOf(namespace: string, n: number): string {
    const rows = flowRows(namespace);
    return String(rows.length === 0 ? n : rows[n % rows.length].id);
  }

  private filesOfBoth(file: readonly (readonly string[])[]): [string, string] {
    const both = file.map((words) => this.wordsOfBoth(words));
    const text = (side: 0 | 1) => both.map((lines) => `${lines[side].join(' ')}\n`).join('');
    return [text(0), text(1)];
  }

  /** Lets both listen in one table while other lines are done. */
  private async listen({ words, meanwhile = [] }: CommandLine): Promise<string | 'crashed' | undefined> {
    const { twins, tally } = this;
    const { words: meant, quirks } = debianMeaning(words);
    for (const quirk of quirks) tally.quirk(quirk);
    const listeners = new Listeners(twins.debian, debianWords(words), meant);
    await listeners.ready();
    let isGoing = true;
    for (const change of meanwhile) isGoing = isGoing && (await this.step({ words: change }));
    const { debian, twin } = await listeners.stop();
    if (debian.code >= CRASHED) return 'crashed';
    const difference = compare(debianOutcome(words, debian, twin), twin);
    if (difference === undefined && debian.code === 0) tally.coverage.add(words);
    return difference;
  }

  /** What differs in the two tables. */
  private tableDifference(): string | undefined {
    const { debian, twin } = this.twins;
    const difference =
      differenceOfRows(flowRows(debian), flowRows(twin)) ??
      differenceOfRows(expectationRows(debian), expectationRows(twin));
    return difference === undefined ? undefined : `  the tables differ:\n${difference}`;
  }
}
