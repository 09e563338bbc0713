/** All conversations that one program holds, and what there is to say of them. */
import type { Conversation, Loss } from './conversation.js';

/** One that does not talk. */
export interface Silent {
  readonly number: number;
  readonly waitsFor: string;
}

/** One kind at one moment. Times are milliseconds. */
export interface KindState {
  readonly kind: string;
  /** Conversations that this end judges. */
  readonly held: number;
  /** Those that have talked at least once. */
  readonly made: number;
  readonly lost: readonly Loss[];
  /** Judged ones that did not yet talk in this round, neither lost nor silent by nature. */
  readonly silent: readonly Silent[];
  readonly longestSilenceMs: number;
}

/** Kinds that wait for a round to begin, and are silent until then. */
const PACED = /^ftp-active|^ftp-passive|^tftp|^sip-call|^sip-registration/;
/** A kind that says nothing between its first word and its last. */
const isSilentByNature = (conversation: Conversation): boolean =>
  conversation.kind.play === 'idle' || conversation.kind.play === 'closed';

export class Holdings {
  readonly #all: Conversation[] = [];
  #roundMs = 0;
  #isLastRound = false;

  add(conversation: Conversation): void {
    this.#all.push(conversation);
  }

  tick(now: number): void {
    for (const conversation of this.#all) conversation.tick(now);
  }

  /** From now on every conversation has to talk (again). In the last round also those that are silent by nature. */
  beginRound(now: number, isLast: boolean): void {
    this.#roundMs = now;
    this.#isLastRound = isLast;
    for (const conversation of this.#all) conversation.begin(now);
    if (isLast) for (const conversation of this.#all) conversation.finish(now);
  }

  /** Errors no longer count. */
  end(): void {
    for (const conversation of this.#all) conversation.isEnding = true;
  }

  /** True when nobody is waited for: each has talked in this round, or is lost. */
  get isRoundOver(): boolean {
    return this.#all.every((one) => !this.#isWaitedFor(one));
  }

  state(now: number): KindState[] {
    const kinds = new Map<string, Conversation[]>();
    for (const one of this.#all) {
      const list = kinds.get(one.kind.name);
      if (list === undefined) kinds.set(one.kind.name, [one]);
      else list.push(one);
    }
    return [...kinds].map(([kind, all]) => this.#stateOf(kind, all, now));
  }

  #stateOf(kind: string, all: readonly Conversation[], now: number): KindState {
    const judged = all.filter((one) => one.isJudge);
    const lost = all.filter((one) => one.loss !== undefined);
    const silences = judged.map((one) => {
      const isQuiet = one.loss !== undefined || isSilentByNature(one) || PACED.test(one.kind.play);
      const running = isQuiet ? 0 : one.silence(now);
      return Math.max(isSilentByNature(one) ? 0 : one.longestMs, running);
    });
    return {
      kind,
      held: judged.length,
      made: judged.filter((one) => one.isMade).length,
      lost: lost.map(({ number, loss }) => ({ kind, number, what: loss ?? '' })),
      silent: judged
        .filter((one) => this.#isWaitedFor(one))
        .map(({ number, waitsFor }) => ({ number, waitsFor })),
      longestSilenceMs: Math.round(Math.max(0, ...silences)),
    };
  }

  #isWaitedFor(one: Conversation): boolean {
    if (!one.isJudge || one.loss !== undefined) return false;
    if (!one.isMade) return true;
    const isExcused = one.kind.play === 'closed' || (one.kind.play === 'idle' && !this.#isLastRound);
    return !isExcused && !one.hasTalkedSince(this.#roundMs);
  }
}
