/** Notices that another node is primary beside this one, and says so: once when it is sure, once when it is over. */
import { SPLIT_BRAIN_MS } from '../limits.js';
import type { Core } from './core.js';

/** Time between two looks. Milliseconds. */
const LOOK_MS = 100;

/** Another primary that is heard. */
export interface OtherPrimary {
  readonly node: string;
  readonly term: number;
}

export class SplitBrain {
  /** Primaries beside this one, each for longer than a planned switch takes. */
  others: readonly OtherPrimary[] = [];
  readonly #core: Core;
  #since = new Map<string, number>();
  #nextAt = Number.NEGATIVE_INFINITY;

  constructor(core: Core) {
    this.#core = core;
  }

  tick(now: number): void {
    if (now < this.#nextAt) return;
    this.#nextAt = now + LOOK_MS;
    const { role, replicator, ports } = this.#core;
    const others =
      role === 'primary' ? replicator.peers().filter((p) => p.alive && p.role === 'primary') : [];
    this.#since = new Map(others.map(({ node }) => [node, this.#since.get(node) ?? now]));
    const found = others
      .filter(({ node }) => now - (this.#since.get(node) ?? now) >= SPLIT_BRAIN_MS)
      .map(({ node, term }) => ({ node, term }));
    const before = this.others;
    this.others = found;
    for (const { node, term } of found) {
      if (before.some((other) => other.node === node)) continue;
      ports.counters.count('split-brain');
      ports.log('error', 'split brain: another node is primary too, make one of them backup', {
        peer: node,
        peerTerm: term,
        term: replicator.term,
      });
    }
    for (const { node } of before) {
      if (found.some((other) => other.node === node)) continue;
      ports.log('info', 'the split brain is over', { peer: node, ownRole: role });
    }
  }
}
