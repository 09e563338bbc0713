/** Live connections of many kinds between both sides, held by one program on each. */
import type { Lab } from '../lab.js';
import type { Loss } from './conversation.js';
import type { KindState, Silent } from './holdings.js';
import { KINDS } from './kinds.js';
import { PartyProcess } from './party.js';
import type { PartyReply } from './party-program.js';

/** A kind over both programs. */
export interface KindTotal {
  readonly kind: string;
  readonly held: number;
  readonly made: number;
  readonly lost: readonly Loss[];
  readonly silent: readonly Silent[];
  readonly longestSilenceMs: number;
}

/** Connections were lost, or did not talk in time; the message names kind, connection and what happened. */
export class TrafficLostError extends Error {
  override readonly name = 'TrafficLostError';

  constructor(
    message: string,
    /** The kinds that it happened to. */
    readonly kinds: readonly string[],
  ) {
    super(message);
  }
}

const SHOWN = 5;

export class AllTraffic {
  /** What was seen last. */
  totals: readonly KindTotal[] = [];
  readonly #parties: readonly PartyProcess[];
  readonly #kinds: readonly string[];

  private constructor(
    lab: Lab,
    private readonly count: number,
    kinds: readonly string[],
  ) {
    this.#kinds = kinds;
    this.#parties = [
      new PartyProcess(lab, 'inside', count, kinds),
      new PartyProcess(lab, 'outside', count, kinds),
    ];
  }

  /** Starts the programs and opens `count` connections of each kind. Throws TrafficLostError if some do not come. */
  static async open(
    lab: Lab,
    count: number,
    kinds: readonly string[] = KINDS.map(({ name }) => name),
  ): Promise<AllTraffic> {
    const traffic = new AllTraffic(lab, count, kinds);
    await traffic.#ask('listen');
    await traffic.#ask('open');
    await traffic.allTalk(20_000);
    return traffic;
  }

  /** Resolves when every connection has talked (again); throws TrafficLostError if one is lost, or silent for too long. */
  async allTalk(withinMs: number, command: 'round' | 'last' = 'round'): Promise<void> {
    const replies = await this.#ask(`${command} ${withinMs}`);
    this.totals = this.#kinds.map((kind) => total(kind, replies));
    const failed = this.totals
      .map((kind) => ({ kind: kind.kind, lines: failuresOf(kind, this.count, withinMs) }))
      .filter(({ lines }) => lines.length > 0);
    if (failed.length === 0) return;
    const turns = replies.map(({ longestTurnMs }) => longestTurnMs);
    const lines = failed.flatMap((one) => one.lines);
    lines.push(`longest turn of the program inside ${turns[0]} ms, outside ${turns[1]} ms`);
    throw new TrafficLostError(
      lines.join('\n'),
      failed.map(({ kind }) => kind),
    );
  }

  /** Ends the programs; what they see of that is no error. */
  async close(): Promise<void> {
    await this.#ask('end');
    await Promise.all(this.#parties.map((party) => party.close()));
  }

  /** A line a kind: survivors, and the longest silence of any. */
  summary(): string {
    return this.totals
      .map(
        ({ kind, made, lost, longestSilenceMs }) =>
          `${kind} ${made - lost.length} of ${this.count}, ${longestSilenceMs} ms`,
      )
      .join('; ');
  }

  #ask(command: string): Promise<PartyReply[]> {
    return Promise.all(this.#parties.map((party) => party.ask(command)));
  }
}

function total(kind: string, replies: readonly PartyReply[]): KindTotal {
  const parts = replies.flatMap(({ kinds }) => kinds.filter((one): one is KindState => one.kind === kind));
  const sum = (of: (part: KindState) => number) => parts.reduce((all, part) => all + of(part), 0);
  return {
    kind,
    held: sum(({ held }) => held),
    made: sum(({ made }) => made),
    lost: parts.flatMap(({ lost }) => lost),
    silent: parts.flatMap(({ silent }) => silent),
    longestSilenceMs: Math.max(0, ...parts.map(({ longestSilenceMs }) => longestSilenceMs)),
  };
}

function failuresOf({ kind, made, lost, silent }: KindTotal, count: number, withinMs: number): string[] {
  const lines = lost.slice(0, SHOWN).map(({ number, what }) => `${kind} ${number} was lost: ${what}`);
  if (lost.length > SHOWN) lines.push(`${kind}: ${lost.length} lost in all`);
  if (silent.length > 0) {
    const names = silent
      .slice(0, SHOWN)
      .map(({ number, waitsFor }) => `${number}${waitsFor && ` waits for ${waitsFor}`}`);
    if (silent.length > SHOWN) names.push('...');
    lines.push(`${kind}: ${silent.length} said nothing for ${withinMs} ms (${names.join(', ')})`);
  }
  if (made < count && lines.length === 0) lines.push(`${kind}: ${made} of ${count} were made`);
  return lines;
}
