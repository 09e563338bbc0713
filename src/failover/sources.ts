/** Whose flows a promote commits. */

import type { SourceView } from './ports.js';
import type { PersistedSource } from './state.js';
import { incarnationText } from './state.js';

/** The sources of a promote, the highest term first, and what an operator should know of them. */
export interface ChosenSources {
  readonly sources: readonly SourceView[];
  /** Why the promote ends with exit code 3; empty: 0. */
  readonly reasons: readonly string[];
}

/**
 * Replicas of peers that were primary and whose tenure nobody has taken over. When nobody in this cluster ever was
 * primary, all replicas are: a cluster whose first promote comes after its first failure has live flows too.
 * `resumed`: sources of a promote that a crash cut short.
 */
export function chooseSources(
  views: readonly SourceView[],
  wasPrimary: boolean,
  resumed: readonly PersistedSource[],
): ChosenSources {
  const reasons: string[] = [];
  const isResumed = (view: SourceView): boolean =>
    resumed.some(
      ({ node, incarnation }) => node === view.node && incarnation === incarnationText(view.incarnation),
    );
  let sources = views.filter(
    (view) => (view.primaryTerm > 0 && !view.isAbsorbed) || (isResumed(view) && !view.isAbsorbed),
  );
  const wasAnyPrimary = wasPrimary || views.some((view) => view.primaryTerm > 0);
  if (sources.length === 0 && !wasAnyPrimary && views.length > 0) {
    sources = [...views];
    reasons.push('no peer was ever primary');
  } else if (sources.length === 0) reasons.push('no source: no peer has flows to take over');
  return inOrder(sources, reasons);
}

/**
 * A primary that lives and was promoted after the tenure of this term. To whoever goes on with a promote of that tenure
 * it is no source until it steps back: it has its own flows all along.
 */
export function isRival({ isAlive, role, primaryTerm }: SourceView, term: number): boolean {
  return isAlive && role === 'primary' && primaryTerm > term;
}

/** These nodes' flows, whatever else there is to take over. */
export function theseSources(views: readonly SourceView[], nodes: readonly string[]): ChosenSources {
  return inOrder(
    views.filter(({ node }) => nodes.includes(node)),
    [],
  );
}

/**
 * What a primary that is promoted again takes over: nothing of nodes that live, or that it had taken over and that died
 * after a restart. What ended here since another one took over is still in its table, and would come back; and what is
 * not in its replica yet would be in no kernel. When it steps back it is asked first what has changed (Heals), and taken
 * over when its replica is proven: a primary has its flows, and time.
 */
export function withoutLiving(
  { sources, reasons }: ChosenSources,
  isStale: (source: SourceView) => boolean,
): ChosenSources {
  // Promoting a primary that has taken over all there is changes nothing.
  if (sources.length === 0) return { sources, reasons: [] };
  const isLeft = (source: SourceView) => source.isAlive || isStale(source);
  const left = sources.filter(isLeft);
  if (left.length === 0) return { sources, reasons };
  const say = ({ node, isAlive, role }: SourceView) => {
    if (!isAlive)
      return `${node} was taken over before it was started again, what it has changed comes over when it is back`;
    return role === 'primary'
      ? `split brain: ${node} is primary too, its flows come over when it steps back`
      : `${node} was primary too, its flows come over in a moment`;
  };
  return inOrder(
    sources.filter((source) => !isLeft(source)),
    left.map(say),
  );
}

function inOrder(views: readonly SourceView[], reasons: readonly string[]): ChosenSources {
  const doubts = views
    .filter((view) => !view.isProven)
    .map(({ node }) => `the replica of ${node} is not proven`);
  const sources = [...views].sort((a, b) => b.primaryTerm - a.primaryTerm || (a.node < b.node ? 1 : -1));
  return { sources, reasons: [...reasons, ...doubts] };
}

/**
 * Whose flows a hot standby's kernel follows: the live primary's, or those of the last one that nobody has taken over.
 * Never those of a mere backup: its local flows are nobody else's.
 */
export function hotSource(views: readonly SourceView[]): SourceView | undefined {
  let best: SourceView | undefined;
  for (const view of views) {
    if (view.primaryTerm > 0 && !view.isAbsorbed && (best === undefined || goesBefore(view, best)))
      best = view;
  }
  return best;
}

function goesBefore(a: SourceView, b: SourceView): boolean {
  const isLive = (view: SourceView) => view.isAlive && view.role === 'primary';
  if (isLive(a) !== isLive(b)) return isLive(a);
  return a.primaryTerm !== b.primaryTerm ? a.primaryTerm > b.primaryTerm : a.node > b.node;
}
