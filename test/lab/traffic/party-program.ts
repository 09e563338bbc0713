/**
 * One side of all live traffic, as a program that runs in a namespace of the lab:
 *   party-program.js inside|outside COUNT [KIND...]
 * COUNT connections of each kind (all kinds when none is named): it opens those whose opener it is, and answers the
 * others. Each line of standard input is a command, answered by one JSON line (`PartyReply`):
 *   listen       opens what listens
 *   open         opens the connections; answered when each has talked, or the time is over
 *   round MS     answered when each that is not lost has talked once more, or the time is over
 *   last MS      the same, for the silent ones as well
 *   end          errors no longer count
 * It ends when standard input does.
 */
import { createInterface } from 'node:readline';
import type { Conversation } from './conversation.js';
import { listenFtp, openFtp } from './ftp-end.js';
import { Holdings, type KindState } from './holdings.js';
import { KINDS, type Kind, type Party } from './kinds.js';
import { echoGre, openGre, openPings, type Pump } from './raw-end.js';
import { answerSctp, openSctp } from './sctp-end.js';
import { SipPhone } from './sip-phone.js';
import { listenSip } from './sip-server.js';
import { listenTcp, openTcp } from './tcp-end.js';
import { listenTftp, openTftp } from './tftp-end.js';
import { listenUdp, openUdp } from './udp-end.js';

export interface PartyReply {
  readonly isOver: boolean;
  /** Of this program's own turns since its last answer: what it took longer for was late at its sockets already. */
  readonly longestTurnMs: number;
  readonly kinds: readonly KindState[];
}

type Open = (kind: Kind, number: number) => Conversation;
type Listen = (kind: Kind, take: (conversation: Conversation) => void) => Promise<void>;

/** The plays that a helper of the kernel reads, by their first word. */
const OPENERS: Readonly<Record<string, Open>> = {
  ftp: openFtp,
  tftp: openTftp,
  sip: (kind, number) => new SipPhone(kind, number),
};
const LISTENERS: Readonly<Record<string, Listen>> = { ftp: listenFtp, tftp: listenTftp, sip: listenSip };

const TICK_MS = 5;
const OPEN_WITHIN_MS = 20_000;

class PartyProgram {
  readonly #holdings = new Holdings();
  readonly #pumps: Pump[] = [];
  readonly #kinds: readonly Kind[];
  #tickedMs = performance.now();
  #longestTurnMs = 0;

  constructor(
    private readonly side: Party,
    private readonly count: number,
    names: readonly string[],
  ) {
    this.#kinds = names.length === 0 ? KINDS : KINDS.filter(({ name }) => names.includes(name));
    setInterval(() => this.#tick(performance.now()), TICK_MS);
  }

  async obey(line: string): Promise<PartyReply> {
    const [command, withinMs] = line.split(' ');
    const now = performance.now();
    if (command === 'listen') await this.#listen();
    else if (command === 'open') {
      this.#open();
      return this.#round(OPEN_WITHIN_MS);
    } else if (command === 'round' || command === 'last') {
      this.#holdings.beginRound(now, command === 'last');
      return this.#round(Number(withinMs));
    } else if (command === 'end') this.#holdings.end();
    else throw new RangeError(`no command is called ${command}`);
    return this.#reply();
  }

  #tick(now: number): void {
    this.#longestTurnMs = Math.max(this.#longestTurnMs, now - this.#tickedMs);
    this.#tickedMs = now;
    for (const pump of this.#pumps) pump();
    this.#holdings.tick(now);
  }

  async #listen(): Promise<void> {
    const take = (conversation: Conversation) => this.#holdings.add(conversation);
    for (const kind of this.#kinds) {
      if (kind.opener === this.side) continue;
      const listen = LISTENERS[kind.play.split('-')[0]];
      if (listen !== undefined) await listen(kind, take);
      else if (kind.protocol === 'tcp') await listenTcp(kind, take);
      else if (kind.protocol === 'udp') await listenUdp(kind, take);
      else if (kind.protocol === 'gre') this.#pumps.push(echoGre());
      else if (kind.protocol === 'sctp') this.#pumps.push(answerSctp(kind));
    }
  }

  #open(): void {
    for (const kind of this.#kinds) if (kind.opener === this.side) this.#openKind(kind);
  }

  #openKind(kind: Kind): void {
    const { count } = this;
    const all = (open: Open) => Array.from({ length: count }, (_, number) => open(kind, number));
    const shared = { icmp: openPings, icmpv6: openPings, sctp: openSctp };
    const single = { tcp: openTcp, udp: openUdp, gre: openGre };
    const { protocol } = kind;
    if (protocol === 'tcp' || protocol === 'udp' || protocol === 'gre') {
      const open = OPENERS[kind.play.split('-')[0]] ?? single[protocol];
      for (const one of all(open)) this.#holdings.add(one);
      return;
    }
    const { conversations, pump } = shared[protocol](kind, count);
    for (const one of conversations) this.#holdings.add(one);
    this.#pumps.push(pump);
  }

  /** Resolves when nobody is waited for any more, or the time is over. */
  #round(withinMs: number): Promise<PartyReply> {
    const end = performance.now() + withinMs;
    return new Promise((resolve) => {
      const timer = setInterval(() => {
        if (!this.#holdings.isRoundOver && performance.now() < end) return;
        clearInterval(timer);
        resolve(this.#reply());
      }, TICK_MS);
    });
  }

  #reply(): PartyReply {
    const longestTurnMs = Math.round(this.#longestTurnMs);
    this.#longestTurnMs = 0;
    const kinds = this.#holdings.state(performance.now());
    return { isOver: this.#holdings.isRoundOver, longestTurnMs, kinds };
  }
}

const [side, count, ...names] = process.argv.slice(2);
const party = new PartyProgram(side as Party, Number(count), names);
const lines = createInterface({ input: process.stdin });
lines.on('line', async (line) => process.stdout.write(`${JSON.stringify(await party.obey(line))}\n`));
lines.on('close', () => process.exit(0));
