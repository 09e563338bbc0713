/**
 * What a primary owes to peers that were primary beside it, or that it has taken over (PROTOCOL.md, sections 6 and 8).
 *
 *     a former primary whose tenure nobody took over --> ask it to give back what it took from us and did not change
 *     it, or a source of a promote, gave away what it did not change --> absorb what is left: it was born or changed there
 *     this node died in the middle of a promote, and a third one kept what it had declared --> absorb that
 *
 * So what ended here does not return, what was born there is not lost, and what changed on both sides is joined. Where
 * `ignore.local` is off a former primary's own local flows come too: nothing in a flow tells them apart.
 *
 * Nothing here goes round in circles: an absorb asks for what changed meanwhile, three times at most in one tenure of
 * the peer, with growing pauses. A node that is no primary any more and still changes flows has traffic of its own.
 */
import {
  ABSORB_PAUSE_MS,
  ABSORBS_MAX,
  ASK_AGAIN_MS,
  FORMER_SETTLE_MS,
  PEERS_MAX,
  STREAM_BEGIN,
} from '../limits.js';
import type { SourceView } from './ports.js';
import { incarnationText } from './state.js';

/**
 * What is to be done now: `ask` is one word in the stream, `again` tells it once more that it was taken over, `absorb`
 * is a promote from this one source.
 */
export interface HealStep {
  readonly kind: 'ask' | 'again' | 'absorb';
  readonly source: SourceView;
  /** What it has not changed since this sequence of its stream goes back; 0: what it took from us, 1: since its daemon began. */
  readonly cut: number;
}

interface Case {
  incarnation: string;
  readonly bootId: string;
  term: number;
  /** seen: a former primary, not asked yet. waiting: for it to give away. */
  phase: 'seen' | 'waiting';
  /** How often it had given away when it was asked last. */
  yields: number;
  /** The cut with which it was asked; -1: it was not. */
  asked: number;
  /** Up to where its stream was taken over; -1: it was not, in this tenure of ours. */
  cut: number;
  absorbs: number;
  nextAt: number;
}

/** One case a node name. */
export class Heals {
  readonly #cases = new Map<string, Case>();

  /** Nothing is owed any more: this node is no primary. */
  clear(): void {
    this.#cases.clear();
  }

  /** A promote, or an absorb, of this source is done up to the cut, and the source was told so. */
  taken(source: SourceView, now: number, cut: number): void {
    const before = this.#cases.get(source.node);
    const isSame = before?.incarnation === incarnationText(source.incarnation);
    this.#open(source, 'waiting', isSame ? before.nextAt : now, isSame ? before.absorbs : 0).cut = cut;
  }

  /**
   * Its flows were taken over in this tenure and its daemon was started again since: what it holds is what a restart
   * found, with what ended here meanwhile, until it has been asked.
   */
  isStale({ node, bootId, incarnation, primaryTerm }: SourceView): boolean {
    const known = this.#cases.get(node);
    if (known?.bootId !== bootId || primaryTerm > known.term) return false;
    const isRestarted = known.incarnation !== incarnationText(incarnation) && known.cut > 0;
    return isRestarted || known.asked === STREAM_BEGIN;
  }

  /** The next thing to do, or undefined. Two primaries do not heal: one of them has to step back first. */
  next(now: number, views: readonly SourceView[]): HealStep | undefined {
    if (views.some((view) => view.isAlive && view.role === 'primary')) return undefined;
    for (const view of views) {
      if (!view.isAlive || !view.isReady) continue;
      const step = this.#look(view, now);
      if (step !== undefined) return step;
    }
    return undefined;
  }

  /** Who is proven and has nothing left is done with: what begins on him from now on is his own. */
  settle(views: readonly SourceView[]): void {
    for (const view of views) {
      const known = this.#cases.get(view.node);
      const isIt = known?.incarnation === incarnationText(view.incarnation) && known.phase === 'waiting';
      if (!isIt || view.yields <= known.yields || !view.isProven) continue;
      if (view.flows === 0 && view.isAbsorbed) this.#cases.delete(view.node);
    }
  }

  #look(view: SourceView, now: number): HealStep | undefined {
    const known = this.#cases.get(view.node);
    const isOpenTenure = view.primaryTerm > 0 && !view.isAbsorbed;
    // What it keeps for this node needs no asking.
    if (known === undefined && view.lends) this.#open(view, 'waiting', now, 0).yields = -1;
    if (known === undefined || (isOpenTenure && view.primaryTerm > known.term)) {
      // What stood in its stream up to there this node has, or it has ended here, whatever its term is now.
      const isSame = known?.incarnation === incarnationText(view.incarnation);
      if (isOpenTenure) {
        this.#open(view, 'seen', now + FORMER_SETTLE_MS, 0).cut = isSame ? known.cut : -1;
      }
      return undefined;
    }
    if (known.incarnation !== incarnationText(view.incarnation)) return this.#restarted(known, view, now);
    if (known.phase === 'seen') {
      if (!isOpenTenure)
        this.#cases.delete(view.node); // somebody else was faster
      else if (now >= known.nextAt) return this.#ask(view, Math.max(0, known.cut), now);
      return undefined;
    }
    if (view.yields <= known.yields) {
      // It may have missed the question, but one that was asked it answers within milliseconds. Who missed that it was
      // taken over (the frame had left the ring) steps back and says that its tenure is open.
      const isAsked = known.asked >= 0;
      const isDue = isAsked || (isOpenTenure && known.cut >= 0);
      if (!isDue || now < known.nextAt) return undefined;
      known.nextAt = now + ASK_AGAIN_MS;
      return isAsked
        ? { kind: 'ask', source: view, cut: known.asked }
        : { kind: 'again', source: view, cut: known.cut };
    }
    return view.isProven ? this.#absorb(known, view, now) : undefined;
  }

  #ask(source: SourceView, cut: number, now: number): HealStep {
    this.#open(source, 'waiting', now + ASK_AGAIN_MS, 0).asked = cut;
    return { kind: 'ask', source, cut };
  }

  #absorb(known: Case, source: SourceView, now: number): HealStep | undefined {
    // A tenure that is still open has to be ended, though nothing may be left of it.
    const isNeeded = source.flows > 0 || !source.isAbsorbed;
    if (!isNeeded || known.absorbs >= ABSORBS_MAX) {
      this.#cases.delete(source.node);
      return undefined;
    }
    if (known.absorbs > 0 && now < known.nextAt) return undefined;
    known.nextAt = now + ABSORB_PAUSE_MS * 4 ** known.absorbs++;
    return { kind: 'absorb', source, cut: source.wholeUpTo };
  }

  /**
   * Its daemon was started again before it had given away its flows, and took all that its kernel had for its own. What
   * has not changed since its stream began stays there: the kernel of a node without traffic keeps what ended elsewhere. After a
   * reboot its kernel was empty, and it has nothing of that tenure.
   */
  #restarted(known: Case, view: SourceView, now: number): HealStep | undefined {
    // Nothing of what it had was whole here when it was taken over: then it keeps what it found.
    const cut = known.cut === 0 ? 0 : STREAM_BEGIN;
    if (known.bootId === view.bootId) return this.#ask(view, cut, now);
    this.#cases.delete(view.node);
    return undefined;
  }

  #open(source: SourceView, phase: Case['phase'], nextAt: number, absorbs: number): Case {
    const { node, bootId, yields } = source;
    const opened: Case = {
      incarnation: incarnationText(source.incarnation),
      bootId,
      term: source.primaryTerm,
      phase,
      yields,
      asked: -1,
      cut: -1,
      absorbs,
      nextAt,
    };
    if (this.#cases.size < PEERS_MAX || this.#cases.has(node)) this.#cases.set(node, opened);
    return opened;
  }
}
